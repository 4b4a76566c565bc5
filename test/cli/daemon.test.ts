/** `sync --watch` as those see it who look after it: health, metrics, alarms, signals. */
import { mkdirSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openWorkplace, type Running, type Workplace } from "./workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place?.close());

/** A file that has been at rest for long. */
function settled(path: string, content = "RIFF"): void {
  writeFileSync(path, content);
  utimesSync(path, 1_700_000_000, 1_700_000_000);
}

/** A configuration in a folder of its own, with settled files below each source. */
function configure(project: string, sources: readonly string[], over: Record<string, unknown> = {}): string {
  const list = sources.map((name) => {
    const source = place.path(project, name);
    mkdirSync(source, { recursive: true });
    settled(`${source}/a.wav`);
    return { name, source, destination: place.path(project, `to-${name}`) };
  });
  const path = place.path(project, "clinic.json");
  const sync = { intervalSeconds: 1, settleSeconds: 0 };
  writeFileSync(path, JSON.stringify({ project, http: "127.0.0.1:0", sync, sources: list, ...over }));
  return path;
}

interface Watched extends Running {
  address: string;
  get(path: string): Promise<{ status: number; text: string }>;
  /** Resolves when the series, as it is written, has a value that satisfies. */
  has(series: string, satisfies: (value: number) => boolean): Promise<void>;
  end(): Promise<void>;
}

async function watch(config: string, ...args: string[]): Promise<Watched> {
  const running = place.start(["sync", "--watch", "--config", config, ...args]);
  await running.says(/health and metrics: /);
  const address = /health and metrics: (\S+)/.exec(running.stderr())![1]!;
  const get = async (path: string) => {
    const answer = await fetch(address + path);
    return { status: answer.status, text: await answer.text() };
  };
  return {
    ...running,
    address,
    get,
    async has(series, satisfies) {
      for (;;) {
        const line = (await get("/metrics")).text.split("\n").find((each) => each.startsWith(`${series} `));
        if (line !== undefined && satisfies(Number(line.slice(series.length + 1)))) return;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async end() {
      running.child.kill("SIGTERM");
      expect((await running.ended).exitCode).toBe(143);
    },
  };
}

it("answers while it looks after two sources, and status says the same from elsewhere", async () => {
  const daemon = await watch(configure("two", ["ecg", "holter"]));
  await daemon.has('uploader_source_passes_total{project="two",source="holter",result="ok"}', (value) => value >= 2);
  await daemon.has('uploader_attempts_total{source="ecg",outcome="uploaded",cause=""}', (value) => value === 1);
  await daemon.has('uploader_source_last_success_age_seconds{project="two",source="ecg"}', (value) => value < 20);
  expect(await daemon.get("/readyz")).toEqual({ status: 200, text: "ready\n" });
  expect(await daemon.get("/healthz")).toEqual({ status: 200, text: "ok\n" });
  expect((await daemon.get("/metrics")).text).not.toMatch(/\.wav|\/two\//);

  const { stdout } = await place.run(["status", "--project", "two"]);
  expect(stdout).toMatch(
    new RegExp(`^source +last upload +all safe .*\\necg +\\d+ s ago .*process ${daemon.child.pid} on `),
  );
  const rows = (await place.run(["status", "--project", "two", "--json"])).events();
  expect(rows.map(({ type, name }) => [type, name]).slice(0, 2)).toEqual([
    ["source", "ecg"],
    ["source", "holter"],
  ]);
  expect(rows[0]).toMatchObject({ holderPid: daemon.child.pid, filesWaiting: 0, bytesWaiting: 0, alarms: [] });
  expect((await place.run(["status", "latest", "--project", "two", "--json"])).events()).toHaveLength(1);

  daemon.child.kill("SIGUSR2");
  await daemon.says(/\nholter +\d+ s ago/);
  await daemon.end();
  await expect(daemon.get("/healthz")).rejects.toThrow();
  const after = (await place.run(["status", "--project", "two"])).stdout;
  expect(after).toMatch(/\necg .*nobody \(last: /);
});

it("a source that is gone, and one that has gone silent, are alarms", async () => {
  const config = configure("gone", ["ecg", "quiet"], { expectEverySeconds: 2 });
  const daemon = await watch(config);
  await daemon.has('uploader_source_passes_total{project="gone",source="ecg",result="ok"}', (value) => value >= 1);
  renameSync(place.path("gone/ecg"), place.path("gone/pulled"));
  await daemon.has('uploader_source_alarm{project="gone",source="ecg",kind="failing"}', (value) => value === 1);
  await daemon.has('uploader_source_alarm{project="gone",source="quiet",kind="silent"}', (value) => value === 1);
  const { stdout } = await place.run(["status", "--project", "gone"]);
  expect(stdout).toMatch(/\n {2}! quiet: nothing for \d+ s, expected every 2 s\n/);
  expect(stdout).toMatch(/\n {2}! ecg: fails \(source_missing\) for \d+ s\n/);
  renameSync(place.path("gone/pulled"), place.path("gone/ecg"));
  await daemon.has('uploader_source_alarm{project="gone",source="ecg",kind="failing"}', (value) => value === 0);
  await daemon.end();
});

it("SIGHUP: a source more, without a restart; what cannot be used changes nothing", async () => {
  const config = configure("hup", ["ecg"]);
  const daemon = await watch(config);
  await daemon.has('uploader_source_passes_total{project="hup",source="ecg",result="ok"}', (value) => value >= 1);
  writeFileSync(config, JSON.stringify({ project: "hup" }));
  daemon.child.kill("SIGHUP");
  await daemon.says(/the configuration stays as it was: no source is named/);
  configure("hup", ["ecg", "more"]);
  daemon.child.kill("SIGHUP");
  await daemon.has('uploader_source_passes_total{project="hup",source="more",result="ok"}', (value) => value >= 1);

  const [source, destination] = [place.path("hup/ecg"), "s3://no-such-bucket/hup"];
  configure("hup", [], { sources: [{ name: "ecg", source, destination }] });
  daemon.child.kill("SIGHUP");
  await daemon.says(/the configuration stays as it was: .*no-such-bucket does not exist/);
  settled(`${source}/late.wav`);
  await daemon.has('uploader_attempts_total{source="ecg",outcome="uploaded",cause=""}', (value) => value === 2);
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  await daemon.end();
});

it("while the database is away: SIGHUP goes on, SIGTERM ends it with 143", async () => {
  const config = configure("waits", ["ecg"]);
  const running = place.start(["sync", "--watch", "--config", config, "--database-url", "postgres://a@127.0.0.1:1/a"]);
  await running.says(/no answer from the database .*; waiting for it/);
  configure("waits", ["ecg", "more"]);
  running.child.kill("SIGHUP");
  await running.says(/read again[\s\S]*no answer from the database .*; waiting for it/);
  running.child.kill("SIGTERM");
  expect(await running.ended).toMatchObject({ exitCode: 143 });
});

it("is not offered to other machines unless somebody says so", async () => {
  const config = configure("remote", ["ecg"]);
  const refused = await place.run(["sync", "--watch", "--config", config, "--http", "0.0.0.0:0"]);
  expect([refused.exitCode, refused.stderr]).toEqual([
    2,
    'error: http: "0.0.0.0:0" can be reached from other machines, and nothing there asks for a password\n  take 127.0.0.1 or a unix socket; or, behind a firewall, add --http-allow-remote\n',
  ]);
  const daemon = await watch(config, "--http", "0.0.0.0:0", "--http-allow-remote");
  expect((await daemon.get("/healthz")).status).toBe(200);
  await daemon.end();
});

it("what ends it stands in its log, too", async () => {
  const config = configure("log", ["ecg"], { http: "127.0.0.1:1", logFile: place.path("log-of-it.log") });
  const { exitCode, stderr } = await place.run(["sync", "--watch", "--config", config, "--http", "nowhere:1"]);
  expect([exitCode, stderr.split("\n")[0]]).toEqual([
    2,
    'error: http: "nowhere:1" can be reached from other machines, and nothing there asks for a password',
  ]);
  const { readFileSync } = await import("node:fs");
  expect(readFileSync(place.path("log-of-it.log"), "utf8")).toMatch(/Z error: http: "nowhere:1" can be reached/);
});
