/** Telling others, as a user does it: the program, a store, a receiver. */
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { selfSignedCertificate } from "../support/certificate.ts";
import { answers, olderSecret, type Receiver, secret, startReceiver } from "../support/receiver.ts";
import { openWorkplace, type Workplace } from "./workplace.ts";

// Up to six runs of the program in one test, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 });

let place: Workplace;
let receiver: Receiver;
beforeAll(async () => {
  place = await openWorkplace();
  receiver = await startReceiver();
});
afterAll(async () => {
  await receiver?.close();
  await place?.close();
});
beforeEach(() => {
  receiver.received.length = 0;
  receiver.script = [];
  receiver.otherwise = answers(202, '{"job_id":"job-1"}');
});

const signing = { UPLOADER_TRIGGER_SECRET: secret };
let number = 0;

/** A card of its own, and what names its project. */
function card(files: Record<string, number> = { "a/1.wav": 10, "a/2.wav": 20 }): {
  to: string[];
  project: string;
  folder: string;
} {
  const project = `p${++number}`;
  const folder = place.tree(`card-${number}`, files);
  return { project, folder, to: [folder, `s3://reef/${project}`, "--project", project] };
}

const deliveries = (project: string) =>
  place.db.sql<{ webhook_id: string; status: string; attempts: number }>(
    `select d.webhook_id, d.status, d.attempts from :"schema".deliveries d join :"schema".projects p on p.id = d.project_id
     where p.name = $1 order by d.id`,
    [project],
  );

describe("upload", () => {
  it("tells of its own session, once, after the last file", async () => {
    const { to, project } = card();
    const ended = await place.run(["upload", ...to, "--trigger-url", receiver.url, "--trigger-list-files"], {
      env: signing,
    });
    expect(ended, ended.stderr).toMatchObject({ exitCode: 0 });
    expect(ended.stderr).toMatch(/told session \d+ to http:\S+ \(HTTP 202; job job-1\)/);
    expect(receiver.received).toHaveLength(1);
    receiver.verify(receiver.received[0]!);
    expect(receiver.received[0]!.json()).toMatchObject({
      files_uploaded: 2,
      files: [`s3://reef/${project}/a/1.wav`, `s3://reef/${project}/a/2.wav`],
    });
    // Again: nothing is new, and nobody is told of that.
    expect(await place.run(["upload", ...to, "--trigger-url", receiver.url], { env: signing })).toMatchObject({
      exitCode: 0,
    });
    expect(receiver.received).toHaveLength(1);
  });

  it("endpoint down: exit 16, and the next upload of the project sends it, same id, even without a URL of its own", async () => {
    const { to, project } = card();
    receiver.otherwise = answers(500);
    const told = ["--trigger-url", receiver.url, "--trigger-wait-seconds", "0"];
    const first = await place.run(["upload", ...to, ...told, "--json"], { env: signing });
    expect(first.exitCode).toBe(16);
    expect(first.events().at(-1)).toMatchObject({ type: "summary", status: "completed", exitCode: 16 });
    receiver.otherwise = answers(200);
    await place.db.sql(`update :"schema".deliveries set next_attempt_at = now()`);
    const without = await place.run(["upload", ...to]);
    expect(without.exitCode).toBe(16);
    expect(without.stderr).toContain("cannot be sent from here");
    expect(await place.run(["upload", ...to], { env: signing })).toMatchObject({ exitCode: 0 });
    expect(receiver.received.map(({ id }) => id)).toEqual([receiver.received[0]!.id, receiver.received[0]!.id]);
    expect(await deliveries(project)).toMatchObject([{ status: "delivered", attempts: 2 }]);
  });

  it("files failed: nobody is told, which is said; the retry that brings them in tells", async () => {
    const { to, project } = card();
    const match = { operation: "PutObject", key: new RegExp(`^${project}/a/2`) } as const;
    place.s3.faults.push({ match, action: { kind: "error", code: "InternalError" }, times: 1_000 });
    const first = await place.run(["upload", ...to, "--trigger-url", receiver.url, "--attempts", "1", "--skip-retry"], {
      env: signing,
    });
    place.s3.faults.clear();
    expect(first.exitCode, first.stderr).toBe(3);
    expect(first.stderr).toMatch(/nobody is told of this session yet: .*--force/s);
    expect(receiver.received).toEqual([]);
    const second = await place.run(["retry", "latest", "--project", project], { env: signing });
    expect(second.exitCode, second.stderr).toBe(0);
    expect(receiver.received).toHaveLength(1);
    expect(receiver.received[0]!.json()).toMatchObject({ files_uploaded: 2 });
  });

  it("no secret: exit 2 before the first file", async () => {
    const { to, project } = card();
    const ended = await place.run(["upload", ...to, "--trigger-url", receiver.url]);
    expect(ended).toMatchObject({ exitCode: 2, stdout: "" });
    expect(ended.stderr).toMatch(/no secret to sign with\n.*UPLOADER_TRIGGER_SECRET/);
    expect(await place.rows(project)).toEqual([]);
    expect(await place.run(["upload", ...to, "--trigger-url", receiver.url, "--skip-trigger"])).toMatchObject({
      exitCode: 0,
    });
    expect(await deliveries(project)).toEqual([]);
  });
});

describe("sync", () => {
  it("tells for each pass that sent something, with those files", async () => {
    const { to, project, folder } = card({ "1.csv": 10, "2.csv": 20 });
    const pass = () => place.run(["sync", ...to, "--settle", "0", "--trigger-url", receiver.url], { env: signing });
    const named = () => receiver.received.map((got) => (got.json() as { files: string[] }).files);
    const first = await pass();
    expect(first.exitCode, first.stderr).toBe(0);
    expect(await pass()).toMatchObject({ exitCode: 0 });
    writeFileSync(`${folder}/3.csv`, "new");
    expect(await pass()).toMatchObject({ exitCode: 0 });
    const path = (name: string): string => `s3://reef/${project}/${name}`;
    expect(named()).toEqual([[path("1.csv"), path("2.csv")], [path("3.csv")]]);
    for (const got of receiver.received) receiver.verify(got);
  });
});

describe("trigger", () => {
  it("upload --quiet with an endpoint that fails: exit 16, and why", async () => {
    const { to } = card();
    receiver.otherwise = answers(500);
    const flags = ["--quiet", "--trigger-url", receiver.url, "--trigger-wait-seconds", "1"];
    const ended = await place.run(["upload", ...to, ...flags], { env: signing });
    expect(ended.exitCode).toBe(16);
    expect(ended.stderr).toMatch(/^1 delivery is still due \(.*HTTP 500.*\); the next upload, .*sends it\n$/);
  });

  it("job format as the older program's settings name it, with its key alone", async () => {
    const { to, project } = card();
    await place.run(["upload", ...to]);
    const env = { MADXXX_API_URL: receiver.url, MADXXX_API_KEY: "key-1", MADXXX_FUNCTION_NAME: "register" };
    const ended = await place.run(["trigger", "latest", "--project", project, "--list-files"], { env });
    expect(ended.exitCode, ended.stderr).toBe(0);
    expect(ended.stdout).toMatch(
      /^session \d+ told\n {2}delivery \d+ \(msg_\w+\): job format, 2 files, [\d,]+ bytes\n.*HTTP 202, 1 attempt, job job-1\n$/,
    );
    const [got] = receiver.received;
    expect(got!.headers).toMatchObject({ api_key: "key-1" });
    expect(got!.json()).toMatchObject({
      job: {
        arguments: [[`s3://reef/${project}/a/1.wav`, `s3://reef/${project}/a/2.wav`]],
        function_name: "register",
        keywords: {},
      },
    });
  });

  it("secrets from a file, several; history and replay", async () => {
    const { to, project } = card();
    await place.run(["upload", ...to]);
    writeFileSync(place.path("secrets"), `${secret},${olderSecret}\n`, { mode: 0o600 });
    const env = { UPLOADER_TRIGGER_SECRET_FILE: place.path("secrets") };
    const own = ["--project", project];
    const told = await place.run(["trigger", "latest", ...own, "--url", receiver.url, "--json"], { env });
    expect(told.events()).toMatchObject([
      { type: "notice" },
      { type: "delivery", status: "delivered", httpStatus: 202, jobId: "job-1", already: false, exitCode: 0 },
    ]);
    for (const each of [secret, olderSecret]) receiver.verify(receiver.received[0]!, each);
    const again = await place.run(["trigger", "latest", ...own, "--url", receiver.url], { env });
    expect(again.stdout).toMatch(/was told already, on .*\n[\s\S]*--replay/);
    expect(receiver.received).toHaveLength(1);
    expect(await place.run(["trigger", "latest", ...own, "--replay"], { env })).toMatchObject({ exitCode: 0 });
    expect(receiver.received[1]).toMatchObject({ id: receiver.received[0]!.id, body: receiver.received[0]!.body });
    const history = await place.run(["trigger", "latest", ...own, "--history", "--json"]);
    expect(history.events()).toMatchObject([
      { attempts: 2, history: [{ verdict: "delivered" }, { verdict: "delivered", httpStatus: 202 }] },
    ]);
    const text = await place.run(["trigger", "latest", ...own, "--history"]);
    expect(text.stdout).toMatch(
      /^delivery \d+ delivered: made \S+Z, session format, 2 files, job job-1\n {2}to http:.*\n {2}1\. \S+Z \[.*\] delivered: HTTP 202 .*\n {2}2\. /,
    );
    const narrow = await place.run(["trigger", "latest", ...own, "--history"], { columns: 60 });
    expect(Math.max(...narrow.stdout.split(/\r?\n/).map((line) => line.length))).toBeLessThanOrEqual(60);
    expect(text.stdout + history.stdout + told.stdout).not.toMatch(/whsec_/);
  });

  describe("a session that could be told of", () => {
    let known: string[];
    beforeAll(async () => {
      const { to, project } = card({ "1.wav": 1 });
      await place.run(["upload", ...to]);
      known = ["latest", "--project", project];
    });

    it.each([
      [["--url", "nonsense"], /^error: flag --url: expected a URL/],
      [["--sqs-queue", ""], /^error: flag --sqs-queue: expected/],
      [["--url", "http://%%"], /the URL of the webhook is none/],
      [["--url", "http://169.254.169.254/latest"], /link-local or metadata address/],
      [["--url", "http://x.example", "--format", "xml"], /Allowed choices are session, job/],
      [["--wait", "soon"], /expected a whole number/],
      [["--replay", "one"], /is no delivery/],
      [["--replay", "4711"], /has no delivery 4711/],
      [[], /nobody is named to be told/],
    ])("%j: exit 2, and why", async (flags, why) => {
      const ended = await place.run(["trigger", ...known, ...flags], { env: signing });
      expect(ended).toMatchObject({ exitCode: 2, stdout: "" });
      expect(ended.stderr).toMatch(why);
      expect(receiver.received).toEqual([]);
    });
  });

  it("a session that is not there, or uploaded nothing: exit 2; --force", async () => {
    const { to, project } = card({ "1.wav": 1 });
    const url = ["--url", receiver.url];
    expect(await place.run(["trigger", "987654", ...url], { env: signing })).toMatchObject({ exitCode: 2 });
    await place.run(["upload", ...to]);
    await place.run(["upload", ...to]);
    const ended = await place.run(["trigger", "latest", "--project", project, ...url], { env: signing });
    expect([ended.exitCode, ended.stderr]).toEqual([2, expect.stringMatching(/uploaded nothing\n.*--force/)]);
    expect(
      await place.run(["trigger", "latest", "--project", project, ...url, "--force"], { env: signing }),
    ).toMatchObject({ exitCode: 0 });
  });

  it("left due by a --url, it goes there again by its session's number alone", async () => {
    const { to, project } = card({ "1.wav": 1 });
    await place.run(["upload", ...to]);
    receiver.script.push(answers(500));
    const trigger = (...flags: string[]) =>
      place.run(["trigger", "latest", "--project", project, ...flags], { env: signing });
    const left = await trigger("--url", receiver.url, "--wait", "0");
    expect([left.exitCode, left.stdout]).toEqual([16, expect.stringMatching(/again: uploader trigger \d+\n$/)]);
    expect(await trigger()).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^session \d+ told\n/) });
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1);
    // Then there is nothing left to send, and nobody who would get anything new.
    expect(await trigger()).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("nobody is named") });
  });

  it("Ctrl-C while it waits for the next attempt: 130, and it stays due", async () => {
    const { to, project } = card({ "1.wav": 1 });
    await place.run(["upload", ...to]);
    receiver.otherwise = answers(503, "", { "retry-after": "60" });
    const running = place.start(["trigger", "latest", "--project", project, "--url", receiver.url], { env: signing });
    await running.says(/could not tell/);
    running.child.kill("SIGINT");
    expect(await running.ended).toMatchObject({ exitCode: 130 });
    expect(await deliveries(project)).toMatchObject([{ status: "due" }]);
  });

  it("https, with a certificate that the system trusts; through a tunnel of nobody it is not", async () => {
    const { to, project } = card({ "1.wav": 1 });
    await place.run(["upload", ...to]);
    const certificate = selfSignedCertificate(new Date());
    const secure = await startReceiver({ tls: certificate });
    try {
      writeFileSync(place.path("ca.pem"), certificate.cert);
      const command = ["trigger", "latest", "--project", project, "--url", secure.url, "--wait", "0"];
      const stranger = await place.run(command, { env: signing });
      expect([stranger.exitCode, stranger.stderr]).toEqual([16, expect.stringContaining("SELF_SIGNED")]);
      const trusted = await place.run(command, { env: { ...signing, NODE_EXTRA_CA_CERTS: place.path("ca.pem") } });
      expect(trusted.exitCode, trusted.stderr).toBe(0);
      secure.verify(secure.received[0]!);
    } finally {
      await secure.close();
    }
  });
});
