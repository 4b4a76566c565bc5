/** What every command says, where, and with which exit code. */
import { existsSync, readFileSync } from "node:fs";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filesBelow, openWorkplace, textOf, type Workplace } from "./workplace.ts";

let place: Workplace;
let card: string;
beforeAll(async () => {
  place = await openWorkplace();
  card = place.tree("card", { "a/1.wav": 100, "a/2.wav": 200, "b/3.flac": 300, "notes.doc": "left out" });
  expect(await place.run(["upload", card, "s3://reef/C1", "--project", "first"])).toMatchObject({ exitCode: 0 });
});
afterAll(() => place?.close());

const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const camelCase = (value: unknown): boolean =>
  value === null ||
  typeof value !== "object" ||
  (Array.isArray(value)
    ? value.every(camelCase)
    : Object.entries(value).every(([key, inner]) => /^[a-z][a-zA-Z0-9]*$/.test(key) && camelCase(inner)));

describe.concurrent("usage", () => {
  it("uploader --version", async () => {
    const { version } = JSON.parse(textOf(new URL("../../package.json", import.meta.url).pathname)) as {
      version: string;
    };
    expect(await place.run(["--version"])).toMatchObject({ exitCode: 0, stdout: `${version}\n`, stderr: "" });
  });

  it("uploader", async () => {
    const { exitCode, stdout, stderr } = await place.run([]);
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^Examples:\n/);
  });

  it("uploader --help, and that of every command it names", { timeout: 60_000 }, async () => {
    const { exitCode, stdout } = await place.run(["--help"]);
    expect(exitCode).toBe(0);
    const names = [...stdout.matchAll(/^ {2}([a-z]+)\b(?! {0,1}-)/gm)].map(([, name]) => name!);
    const commands = names.filter((name) => !["uploader", "help"].includes(name));
    expect(commands).toEqual(expect.arrayContaining(["upload", "retry", "status", "sessions", "files", "doctor"]));
    const lines = commands.flatMap((name) => (name === "config" ? [] : name === "db" ? [] : [[name]]));
    const helps = await Promise.all(
      [[], ...lines, ["config", "show"], ["db", "url"]].map((words) => place.run([...words, "--help"])),
    );
    for (const help of helps) {
      expect(help).toMatchObject({ exitCode: 0, stderr: "" });
      expect(help.stdout).toMatch(/^Examples:\n {2}\S/);
      expect(help.stdout.indexOf("Examples:")).toBeLessThan(help.stdout.indexOf("Usage:"));
      expect(help.stdout).toMatch(/^(?:Exit status|.*exit status):/im);
      const wide = help.stdout.slice(help.stdout.indexOf("Usage:")).split("\n");
      expect(wide.filter((line) => line.length > 80)).toEqual([]);
    }
    for (const code of [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 130, 143]) {
      expect(helps[0]!.stdout).toMatch(new RegExp(`^  ${code} +\\S`, "m"));
    }
    const upload = helps[1 + lines.findIndex(([name]) => name === "upload")]!.stdout;
    for (const code of [0, 1, 2, 3, 4, 11, 12, 13, 14, 130, 143])
      expect(upload).toMatch(new RegExp(`^  ${code} +\\S`, "m"));
    expect(upload).not.toMatch(/--database-password|--secret/);
  });

  it.each([
    [["uplod"], /^error: unknown command 'uplod'\n {2}did you mean upload\?\n$/],
    [["upload", "--inclde", "x"], /^error: unknown option '--inclde'\n {2}did you mean --include\?\n$/],
    [["upload", "--bananas"], /^error: unknown option '--bananas'\n {2}see: uploader upload --help\n$/],
    [["retry"], /^error: missing required argument 'session'\n {2}see: uploader retry --help\n$/],
    [["upload", "a", "b", "c"], /^error: too many arguments for 'upload'/],
    [
      ["upload", "a", "b", "--attempts", "0"],
      /^error: flag --attempts: expected a whole number from 1 to 100, found 0\n$/,
    ],
    [["upload", "a", "b", "--existing", "sise"], /found "sise"\n {2}did you mean "size"\?\n$/],
    [["files", "--status", "lost"], /Allowed choices are pending, uploading, uploaded, failed, skipped/],
    [["status", "two"], /^error: "two" is no session\n {2}give its number, or: latest\n$/],
    [["status", "99999"], /^error: there is no session 99999 in this database\n {2}see: uploader sessions --all\n$/],
    [["status", "--project", "unheard"], /^error: project unheard has no session yet\n/],
    [["upload"], /^error: no destination is named\n {2}uploader upload/],
    [
      ["upload", "card", "s3://Reef/x"],
      /^error: argument destination: .*only lower-case letters, digits, dots and dashes/,
    ],
    [["upload", "card", "--destination", "s3://Reef/x"], /^error: flag --destination: /],
    [["upload", "card", "gs://reef/x"], /gs: is not supported/],
  ] as const)("uploader %j", async (args, message) => {
    const { exitCode, stdout, stderr } = await place.run(args);
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
  });

  it("uploader --json upload --bananas", async () => {
    const ended = await place.run(["--json", "upload", "--bananas"]);
    expect(ended).toMatchObject({ exitCode: 2, stderr: "" });
    expect(ended.events()).toEqual([
      {
        type: "error",
        time,
        sessionId: null,
        code: "usage",
        exitCode: 2,
        message: "unknown option '--bananas'",
        hint: "see: uploader upload --help",
      },
      expect.objectContaining({ type: "summary", sessionId: null, status: "failed", totalFiles: 0, exitCode: 2 }),
    ]);
    // A command that runs no session ends with its error.
    expect((await place.run(["status", "two", "--json"])).events()).toHaveLength(1);
  });
});

describe.concurrent("upload", () => {
  it("uploader upload CARD s3://reef/text", async () => {
    const { exitCode, stdout, stderr } = await place.run(["upload", card, "s3://reef/text", "--project", "text"]);
    expect(exitCode).toBe(0);
    expect(stdout.replace(/in [\d.]+ m?s/, "in TIME")).toMatch(
      /^session \d+ complete: every selected file is confirmed in the store\n {2}3 files, 600 B: 3 uploaded\n {2}this run sent 3 files, 600 B in TIME\n$/,
    );
    expect(stderr).toMatch(
      /^session \d+: \S+\/card → s3:\/\/reef\/text \(project text\)\n1 other file left out \(uploader explain PATH says why\)\n$/,
    );
    for (const name of ["a/1.wav", "a/2.wav", "b/3.flac"]) {
      expect(Buffer.from(await place.s3.object("reef", `text/${name}`)!.bytes())).toEqual(
        readFileSync(`${card}/${name}`),
      );
    }
  });

  it("uploader upload CARD s3://reef/json --json", async () => {
    const ended = await place.run(["upload", card, "s3://reef/json", "--json", "--project", "json"]);
    expect(ended).toMatchObject({ exitCode: 0, stderr: "" });
    const events = ended.events();
    const { id } = await place.session("json");
    for (const event of events) {
      expect(event).toMatchObject({ time, type: expect.any(String), sessionId: id });
      expect(camelCase(event)).toBe(true);
    }
    expect(events[0]).toMatchObject({ type: "start", project: "json", destination: "s3://reef/json", resumed: false });
    const sent = events
      .filter((event) => event.type === "file")
      .map(({ path, key, size, status, errorCode, attempt }) => ({
        ...{ path, key, size, status, errorCode, attempt },
      }));
    const done = { status: "uploaded", errorCode: null, attempt: 1 };
    expect(sent.sort((a, b) => String(a.path).localeCompare(String(b.path)))).toEqual([
      { path: "a/1.wav", key: "json/a/1.wav", size: 100, ...done },
      { path: "a/2.wav", key: "json/a/2.wav", size: 200, ...done },
      { path: "b/3.flac", key: "json/b/3.flac", size: 300, ...done },
    ]);
    expect(events.at(-1)).toEqual({
      type: "summary",
      time,
      sessionId: id,
      status: "completed",
      totalFiles: 3,
      totalBytes: 600,
      filesSafe: 0,
      filesUploaded: 3,
      filesSkipped: 0,
      filesFailed: 0,
      failures: [],
      filesNotReady: 0,
      filesUndecoded: 0,
      bytesUploaded: 600,
      filesThisRun: 3,
      bytesThisRun: 600,
      durationMs: expect.any(Number),
      exitCode: 0,
    });
  });

  it("uploader upload CARD s3://reef/quiet --quiet", async () => {
    const args = ["upload", card, "s3://reef/quiet", "--quiet", "--project", "quiet"];
    expect(await place.run(args)).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
    expect(place.s3.keys("reef").filter((key) => key.startsWith("quiet/"))).toHaveLength(3);
  });

  it("uploader upload CARD archive -q, with a file that fails", async () => {
    const bad = place.tree("long", { [`${"d".repeat(200)}/`.repeat(5).concat("x.wav")]: 1, "ok.wav": 2 });
    const args = ["upload", bad, "s3://reef/a-prefix-that-makes-the-key-too-long", "-q", "--project", "long"];
    const { exitCode, stdout, stderr } = await place.run(args);
    expect(exitCode).toBe(3);
    expect(stderr).toMatch(/^failed: d+\/.*x\.wav: the key is longer than 1024 bytes\n$/);
    expect(stdout).toMatch(/finished, but some files failed\n {2}2 files, 3 B: 1 uploaded, 1 failed\n/);
    expect(stdout).toMatch(
      / {2}why: {3}uploader files \d+ --status failed\n {2}mend: {2}1 key_impossible: rename the file\n$/,
    );
  });

  it("uploader upload CARD2 …, a second card with the same names: what to do about it", async () => {
    const second = place.tree("second", { "a/1.wav": 101, "ok.wav": 1 });
    const args = [second, "s3://reef/cards", "--project", "second"];
    await place.run(["upload", card, ...args.slice(1)]);
    const { exitCode, stdout } = await place.run(["upload", ...args]);
    expect(exitCode).toBe(3);
    const mend = "give the other card a prefix of its own, or send it as a new version with --on-change replace";
    const way = new RegExp(
      ` {2}mend: {2}1 changed: ${mend}\\n {2}again: uploader retry (\\d+) --include-permanent\\n$`,
    );
    expect(stdout).toMatch(way);
    expect((await place.run(["status", "--project", "second"])).stdout).toMatch(way);
    const all = ["retry", "latest", "--project", "second", "--rounds", "1", "--include-permanent", "--json"];
    const summary = (await place.run([...all, "--source", second, "--destination", "s3://reef/cards"])).events().at(-1);
    expect(summary).toMatchObject({ failures: [{ errorCode: "changed", permanent: true, files: 1 }] });
  });

  it("uploader explain PATH: what another card's file of that name became is told as another's", async () => {
    const other = place.tree("other", { "a/1.wav": 7 });
    for (const [source, at] of [
      [card, "told/1"],
      [other, "told/2"],
      [other, "told/2"],
    ] as const) {
      await place.run(["upload", source, `s3://reef/${at}`, "--project", "told", "--new-session"]);
      place.tree("other", { "a/1.wav": 8 });
    }
    const { stdout } = await place.run(["explain", "a/1.wav", "--project", "told"]);
    expect(stdout).toMatch(/ {2}earlier {3}session \d+: uploaded\n/);
    expect(stdout).toMatch(/ {2}elsewhere session \d+, \S+\/card → s3:\/\/reef\/told\/1: uploaded\n/);
  });

  it("uploader upload CARD archive -vv", async () => {
    const { exitCode, stderr } = await place.run(["upload", card, "archive-vv", "-vv", "--project", "vv"]);
    expect(exitCode).toBe(0);
    expect(stderr).toContain("uploaded: a/1.wav (100 B)\n");
    expect(filesBelow(place.path("archive-vv"))).toEqual(["a/1.wav", "a/2.wav", "b/3.flac"]);
  });

  it("uploader upload CARD s3://reef/log --log-format json", async () => {
    const { stderr, stdout } = await place.run([
      "upload",
      card,
      "s3://reef/log",
      "--log-format",
      "json",
      "--project",
      "log",
    ]);
    expect(stdout).toMatch(/^session \d+ complete/);
    for (const line of stderr.trim().split("\n")) expect(JSON.parse(line)).toMatchObject({ time, level: "info" });
  });

  it("uploader upload CARD s3://reef/never --dry-run", async () => {
    const untouched = { UPLOADER_STATE_DIR: place.path("untouched"), UPLOADER_DATABASE_URL: undefined };
    const ended = await place.run(["upload", card, "s3://reef/never", "-n"], { env: untouched });
    expect(ended).toMatchObject({ exitCode: 0, stderr: "" });
    expect(ended.stdout).toBe(
      [
        "dry run: nothing was written",
        "  3 files, 600 B selected (1 other left out)",
        "  3 files, 600 B would be sent",
        "  0 files, 0 B already safe\n",
      ].join("\n"),
    );
    expect(existsSync(place.path("untouched"))).toBe(false);
    expect(place.s3.keys("reef").some((key) => key.startsWith("never"))).toBe(false);
  });

  it("uploader upload CARD dry-archive --dry-run --json", async () => {
    const before = await place.db.sql(
      `select count(*)::int as n from :"schema".sync_sessions where destination like '%dry%'`,
    );
    const ended = await place.run(["upload", card, "dry-archive", "--dry-run", "--json", "--quiet"]);
    expect(ended.exitCode).toBe(0);
    const answers = ended.events().filter((event) => event.type !== "notice");
    expect(answers).toMatchObject([
      { type: "dryRun", time, files: 3, bytes: 600, toSend: 3, safeFiles: 0, excluded: 1 },
      { type: "summary", time, sessionId: null, status: "dry_run", totalFiles: 3, exitCode: 0 },
    ]);
    expect(existsSync(place.path("dry-archive"))).toBe(false);
    expect(
      await place.db.sql(`select count(*)::int as n from :"schema".sync_sessions where destination like '%dry%'`),
    ).toEqual(before);
  });
});

describe.concurrent("what is known", () => {
  it("uploader status --project first", async () => {
    const { exitCode, stdout, stderr } = await place.run(["status", "--project", "first"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const when = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ";
    expect(stdout).toMatch(
      new RegExp(
        [
          "^session \\d+ \\(upload, project first\\): completed",
          `  from      ${card}`,
          "  to        s3://reef/C1",
          `  started   ${when}, completed ${when} \\([\\d.]+ m?s\\)`,
          "  selected  3 files, 600 B",
          "  already safe 0 \\| uploaded 3 \\(600 B\\) \\| skipped 0 \\| failed 0 \\| left 0\n$",
        ].join("\n"),
      ),
    );
  });

  it("uploader status --project first --json", async () => {
    const { id } = await place.session("first");
    const ended = await place.run(["status", String(id), "--json"]);
    const [row, ...more] = ended.events();
    expect(more).toEqual([]);
    expect(row).toMatchObject({
      sessionId: id,
      project: "first",
      source: card,
      destination: "s3://reef/C1",
      status: "completed",
      totalFiles: 3,
      totalSizeBytes: 600,
      filesUploaded: 3,
      filesFailed: 0,
      filesSkipped: 0,
      bytesUploaded: 600,
      startedAt: time,
      completedAt: time,
      workers: [],
      causes: [],
    });
    expect(camelCase(row)).toBe(true);
  });

  it("uploader status --follow, of a session that has ended", async () => {
    expect(await place.run(["status", "--follow", "--project", "first"])).toMatchObject({ exitCode: 0, stderr: "" });
  });

  it("uploader sessions --project first", async () => {
    const { exitCode, stdout } = await place.run(["sessions", "--project", "first"]);
    expect(exitCode).toBe(0);
    const [head, row, ...rest] = stdout.trimEnd().split("\n");
    expect(head!.split(/ {2,}/)).toEqual([
      "session",
      "started (UTC)",
      "project",
      "status",
      "files",
      "uploaded",
      "failed",
    ]);
    const started = expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d$/);
    expect(row!.trim().split(/ {2,}/)).toEqual([expect.any(String), started, "first", "completed", "3", "3", "0"]);
    expect(rest).toEqual([]);
  });

  it("uploader sessions --project first --json", async () => {
    const { id } = await place.session("first");
    const rows = (await place.run(["sessions", "--project", "first", "--json"])).events();
    expect(rows).toMatchObject([{ sessionId: id, project: "first", status: "completed", filesUploaded: 3 }]);
    expect(camelCase(rows)).toBe(true);
  });

  it("uploader files --project first", async () => {
    const { exitCode, stdout, stderr } = await place.run(["files", "--project", "first"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(
      "uploaded       100 B  a/1.wav\nuploaded       200 B  a/2.wav\nuploaded       300 B  b/3.flac\n",
    );
  });

  it("uploader files --project first --json --status uploaded --limit 2", async () => {
    const rows = (
      await place.run(["files", "--project", "first", "--json", "--status", "uploaded", "--limit", "2"])
    ).events();
    expect(rows).toMatchObject([
      {
        path: "a/1.wav",
        key: "C1/a/1.wav",
        size: 100,
        status: "uploaded",
        attempts: expect.any(Number),
        uploadedAt: time,
      },
      { path: "a/2.wav", key: "C1/a/2.wav", size: 200, status: "uploaded", errorCode: null, permanent: false },
    ]);
    expect(camelCase(rows)).toBe(true);
  });

  it("uploader files --project first --status failed", async () => {
    const { exitCode, stdout, stderr } = await place.run(["files", "--project", "first", "--status", "failed"]);
    expect([exitCode, stdout]).toEqual([0, ""]);
    expect(stderr).toMatch(/^session \d+ has no failed files\n$/);
  });

  it("uploader config show --config reef.json --origin", async () => {
    place.tree(".", {
      "reef.json": JSON.stringify({
        project: "reef",
        s3: { region: "eu-west-1" },
        database: { url: "postgresql://u:hush@h/d" },
      }),
    });
    const env = { UPLOADER_DATABASE_URL: undefined, UPLOADER_ATTEMPTS: "7" };
    const text = await place.run(["config", "show", "--config", "reef.json", "--origin"], { env });
    expect(text).toMatchObject({ exitCode: 0, stderr: "" });
    expect(text.stdout).toMatch(/^project +"reef" +file reef\.json:1$/m);
    expect(text.stdout).toMatch(/^s3\.region +"eu-west-1" +file reef\.json:1$/m);
    expect(text.stdout).toMatch(/^attempts +7 +environment UPLOADER_ATTEMPTS$/m);
    expect(text.stdout).toMatch(/^existing +"checksum" +default$/m);
    const lines = (await place.run(["config", "show", "-c", "reef.json", "--origin", "--json"], { env })).events();
    expect(lines).toContainEqual({ path: "attempts", value: 7, origin: "environment UPLOADER_ATTEMPTS" });
    const whole = await place.run(["config", "show", "-c", "reef.json", "--json"], { env });
    expect(whole.events()).toMatchObject([{ project: "reef", attempts: 7 }]);
    expect(text.stdout + whole.stdout).not.toContain("hush");
  });

  it("psql $(uploader db url)", async () => {
    const { exitCode, stdout, stderr } = await place.run(["db", "url"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const client = new pg.Client({ connectionString: stdout.trimEnd() });
    await client.connect();
    const { rows } = await client.query(
      `select count(*)::int as n from "${place.db.schema}".projects where name = 'first'`,
    );
    await client.end();
    expect(rows).toEqual([{ n: 1 }]);
    expect((await place.run(["db", "url", "--json"])).events()).toEqual([
      { url: stdout.trimEnd(), schema: place.db.schema },
    ]);
  });

  it("uploader doctor --source CARD --destination s3://reef/C1", async () => {
    const { exitCode, stdout } = await place.run(["doctor", "--source", card, "--destination", "s3://reef/C1"]);
    expect(stdout).toMatch(/^ok {5}database {5}PostgreSQL \d+.*up to date$/m);
    expect(stdout.match(/^(?:ok|FAULT) /gm)).toEqual(Array(7).fill("ok "));
    expect(exitCode).toBe(0);
  });

  it("uploader doctor --source nowhere --destination s3://missing --json", async () => {
    const ended = await place.run(["doctor", "--source", "nowhere", "--destination", "s3://missing", "--json"]);
    expect(ended.exitCode).toBe(10);
    const findings = ended.events();
    expect(findings.map(({ name, ok }) => [name, ok])).toEqual([
      ["program", true],
      ["database", true],
      ["clock", true],
      ["disk", true],
      ["limits", true],
      ["source", false],
      ["destination", false],
    ]);
    for (const { ok, fix } of findings) expect(fix).toEqual(ok ? null : expect.stringMatching(/\w{3}/));
    const quiet = await place.run(["doctor", "--source", "nowhere", "--quiet"]);
    expect(quiet.stdout).toMatch(/^FAULT {2}source .*\n {7,}fix: .*\n$/);
  });
});

describe("retry", () => {
  it("uploader retry latest --project again", async () => {
    const bad = place.tree("again", { "one.wav": 10, "two.wav": 20 });
    place.s3.faults.push({
      match: { key: "again/two.wav" },
      action: { kind: "error", code: "InternalError" },
      times: 50,
    });
    const args = ["upload", bad, "s3://reef/again", "--project", "again", "--attempts", "1", "--skip-retry"];
    const first = await place.run(args);
    expect(first.exitCode).toBe(3);
    expect(first.stderr).toMatch(/^failed: two\.wav: \S/m);
    expect(await place.rows("again")).toMatchObject([
      { key: "again/one.wav", status: "uploaded" },
      { key: "again/two.wav", status: "failed", permanent: false, code: "store_failed" },
    ]);
    const verified = await place.run(["verify", "latest", "--project", "again"]);
    expect(verified.stderr).toBe("1 file of the session failed, and was not asked about\n");
    const listed = await place.run(["files", "--project", "again", "--status", "failed"]);
    expect(listed.stdout).toMatch(/^failed {10,}20 B {2}two\.wav {2}\[store_failed: .+, 1 attempt\]\n$/);
    const known = await place.run(["status", "--project", "again"]);
    expect(known.stdout).toMatch(/ {2}causes:\n {4}1 failed \(store_failed\): .*two\.wav/);
    expect(known.stdout).toMatch(/ {2}again: uploader retry \d+\n$/);

    place.s3.faults.clear();
    const second = await place.run(["retry", "latest", "--project", "again"]);
    expect(second).toMatchObject({ exitCode: 0 });
    expect(second.stderr).toMatch(/^session \d+ goes on: .*\n1 failed file put back\n$/);
    expect(second.stdout).toMatch(/ complete: every selected file is confirmed/);
    expect((await place.rows("again")).map(({ status }) => status)).toEqual(["uploaded", "uploaded"]);

    const third = await place.run(["retry", "latest", "--project", "again", "--json"]);
    expect(third.exitCode).toBe(0);
    expect(third.events()).toMatchObject([
      { type: "start", command: "retry" },
      { type: "notice", message: "no file of this session has failed" },
      { type: "summary", exitCode: 0, filesThisRun: 0 },
    ]);
  });

  it("uploader retry latest --rounds 1, in vain", async () => {
    const bad = place.tree("vain", { "one.wav": 10 });
    place.s3.faults.push({
      match: { key: "vain/one.wav" },
      action: { kind: "error", code: "InternalError" },
      times: 500,
    });
    await place.run(["upload", bad, "s3://reef/vain", "--project", "vain", "--attempts", "1", "--skip-retry", "-q"]);
    const args = ["retry", "latest", "--project", "vain", "--attempts", "1"];
    expect(await place.run([...args, "--rounds", "1"])).toMatchObject({ exitCode: 3 });
    expect(await place.rows("vain")).toMatchObject([{ status: "failed", permanent: true }]);
    const hopeless = await place.run([...args, "--rounds", "1"]);
    expect(hopeless.exitCode).toBe(3);
    expect(hopeless.stderr).toMatch(
      /no failed file that another attempt could help; 1 failed file stays so for good .*--include-permanent/,
    );
    place.s3.faults.clear();
    expect(await place.run([...args, "--include-permanent"])).toMatchObject({ exitCode: 0 });
  });

  it("uploader retry SESSION, of one whose folder was not seen to its end: exit 2, never 0", async () => {
    expect(await place.run(["upload", card, "s3://reef/half", "--project", "half"])).toMatchObject({ exitCode: 0 });
    const { id } = await place.session("half");
    await place.db.sql(
      `update :"schema".sync_sessions set status = 'interrupted', scan_finished_at = null where id = $1`,
      [id],
    );
    const ended = await place.run(["retry", String(id)]);
    expect([ended.exitCode, ended.stdout]).toEqual([2, ""]);
    expect(ended.stderr).toMatch(
      /^error: session \d+ has not seen all files of \S+ yet\n {2}run its upload command again/,
    );
    const known = await place.run(["status", String(id)]);
    expect(known.stdout).toMatch(/selected {2}3 files, 600 B so far \(scan not finished\)\n/);
    expect(known.stdout).toMatch(/next: nobody works on it; the same upload command goes on from here\n$/);
    const again = await place.run(["upload", card, "s3://reef/half", "--project", "half"]);
    expect(again).toMatchObject({ exitCode: 0 });
    expect(await place.session("half")).toMatchObject({ id, status: "completed" });
  });
});
