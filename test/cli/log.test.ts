/** Where the words of a run go, and what signals ask of it. */
import { existsSync, readFileSync, renameSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openWorkplace, type Running, type Workplace } from "./workplace.ts";

let place: Workplace;
let card: string;
beforeAll(async () => {
  place = await openWorkplace();
  card = place.tree("card", { "a.wav": 100_000 });
});
afterAll(() => place?.close());

/** A run that lasts until it is told to stop. */
async function slow(project: string, ...args: string[]): Promise<Running> {
  const to = place.path(`archive-${project}`);
  const running = place.start(["upload", card, to, "--project", project, "--bwlimit", "1K", ...args]);
  return running;
}
async function ended(running: Running): Promise<Awaited<Running["ended"]>> {
  running.child.kill("SIGINT");
  running.child.kill("SIGTERM");
  return running.ended;
}

/** As systemd starts it: stderr is a stream of journald's, which its device and inode name. */
const asJournal = ["bash", "-c", 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"', "_"];

it("under journald every line has its level, the last error too", async () => {
  const { stderr, exitCode } = await place.run(["upload", place.path("nowhere"), place.path("x")], {
    under: asJournal,
  });
  expect(exitCode).toBe(2);
  expect(stderr.split("\n")[0]).toMatch(/^<3>error: /);
  const run = await place.run(["upload", card, place.path("journal"), "--project", "journal"], { under: asJournal });
  expect(
    run.stderr
      .trim()
      .split("\n")
      .every((line) => line.startsWith("<6>")),
  ).toBe(true);
  const json = await place.run(
    ["upload", card, place.path("journal"), "--project", "journal", "--log-format", "json"],
    {
      under: asJournal,
    },
  );
  expect(json.stderr).toMatch(/^<6>\{"time":/);
  const elsewhere = await place.run(["upload", card, place.path("journal"), "--project", "journal"], {
    env: { JOURNAL_STREAM: "1:1" },
  });
  expect(elsewhere.stderr).not.toMatch(/^</);
});

it("into a file, with the time; results stay on stdout, and what one asks is answered", async () => {
  const log = place.path("up.log");
  const { stdout, stderr } = await place.run(["upload", card, place.path("filed"), "--log-file", log]);
  expect(stdout).toMatch(/complete: every selected file/);
  expect(stderr).toBe("");
  expect(readFileSync(log, "utf8")).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z .*\n/);
  const refused = await place.run(["upload", card, place.path("x"), "--log-file", place.path("no/up.log")]);
  expect([refused.exitCode, refused.stderr]).toEqual([
    2,
    `error: the log file ${place.path("no/up.log")} cannot be written: there is no such folder\n  make its folder, or name another one: --log-file\n`,
  ]);
  const asked = await place.run(["sessions", "--log-file", place.path("no/up.log")]);
  expect(asked.exitCode).toBe(0);
});

it("the log is never sent, however wide the selection", async () => {
  const own = place.tree("own", { "a.wav": 10 });
  const flags = ["--include", "**/*", "--log-file", `${own}/up.log`, "--log-max-size", "4096", "--project", "own"];
  await place.run(["upload", own, place.path("own-archive"), ...flags]);
  await place.run(["upload", own, place.path("own-archive"), ...flags]);
  expect(existsSync(`${own}/up.log`)).toBe(true);
  expect((await place.db.sql(`select s3_key from :"schema".file_uploads where s3_key like '%up.log%'`)).length).toBe(0);
});

it("SIGUSR2 prints where the run is, SIGUSR1 opens no inspector, SIGHUP goes on with a log that was moved", async () => {
  const log = place.path("moved.log");
  const running = await slow("signals", "--log-file", log);
  const until = async (matches: () => boolean): Promise<void> => {
    while (!matches()) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const text = (name = log): string => (existsSync(name) ? readFileSync(name, "utf8") : "");
  await until(() => /session \d+: /.test(text()));
  const ask = setInterval(() => running.child.kill("SIGUSR2"), 200);
  await until(() => /uploading \d+\.\d % of 1 file, 97\.7 KiB/.test(text()));
  clearInterval(ask);
  running.child.kill("SIGUSR1");
  renameSync(log, `${log}.old`);
  running.child.kill("SIGHUP");
  await until(() => /the configuration has been read again/.test(text()));
  const { stderr } = await ended(running);
  expect(stderr).not.toMatch(/Debugger listening/);
  expect(text()).toMatch(/stopping cleanly/);
}, 30_000);
