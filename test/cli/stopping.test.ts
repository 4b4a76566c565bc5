/** Signals, readers that go away, and what a terminal sees that a pipe does not. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { statementNamer } from "../faults/scene.ts";
import { findProgram } from "../support/daemons.ts";
import { startPostgresProxy } from "../support/postgres-proxy.ts";
import { openWorkplace, type RunOptions, type Workplace } from "./workplace.ts";

const thirty = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`${n}.wav`, 100 + n]));
let place: Workplace;
let card: string;
beforeAll(async () => {
  place = await openWorkplace();
  card = place.tree("card", thirty);
});
afterAll(() => place?.close());
beforeEach(() => place.s3.faults.clear());

interface HangOptions extends RunOptions {
  source?: string;
  args?: readonly string[];
}

/** Starts a run whose fifth file and all after it hang in the store until the faults are cleared: two do when it resolves. */
async function hangingRun(project: string, { source = card, args = [], ...options }: HangOptions = {}) {
  let sent = 0;
  const where = ({ key }: { key: string }): boolean => key.startsWith(`${project}/`) && ++sent > 4;
  place.s3.faults.push({ match: { operation: "PutObject", where }, action: { kind: "stall" }, times: 1_000 });
  const line = ["upload", source, `s3://reef/${project}`, "--project", project, "-j", "2", ...args];
  const running = place.start(line, options);
  const hanging = new Set<number>();
  await place.s3.waitFor(({ id, state, key }) => {
    if (state === "stalled" && key.startsWith(`${project}/`)) hanging.add(id);
    return hanging.size === 2;
  });
  return running;
}

const states = async (project: string): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { status } of await place.rows(project)) counts[String(status)] = (counts[String(status)] ?? 0) + 1;
  return counts;
};

/** The same command again: nothing lost, nothing sent twice. */
async function expectCompleted(project: string): Promise<void> {
  place.s3.faults.clear();
  const again = await place.run(["upload", card, `s3://reef/${project}`, "--project", project, "--json"]);
  expect(again.exitCode).toBe(0);
  expect(again.events()[0]).toMatchObject({ type: "start", resumed: true });
  expect(await states(project)).toEqual({ uploaded: 30 });
  expect(await place.session(project)).toMatchObject({ status: "completed", files_uploaded: 30, files_failed: 0 });
  const keys = place.s3.keys("reef").filter((key) => key.startsWith(`${project}/`));
  expect(keys).toHaveLength(30);
  for (const key of keys) expect(place.s3.object("reef", key)!.writes).toBe(1);
}

describe("signals", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("uploader upload …, then %s: what runs may finish, the rest waits", async (signal, exitCode) => {
    const project = signal.toLowerCase();
    const running = await hangingRun(project);
    running.child.kill(signal);
    await running.says(/stopping cleanly; once more stops at once/);
    place.s3.faults.clear();
    const ended = await running.ended;
    expect(ended).toMatchObject({ exitCode, signal: null });
    expect(ended.stdout).toMatch(/^session \d+ interrupted: the same command goes on from here\n/);
    expect(ended.stdout).toMatch(/30 files, .*: 6 uploaded, 24 left\n/);
    expect(await place.session(project)).toMatchObject({ status: "interrupted", files_uploaded: 6, files_pending: 24 });
    expect(await states(project)).toEqual({ uploaded: 6, pending: 24 });
    await expectCompleted(project);
  });

  it("uploader upload … --json, then SIGINT: the summary is the last line", async () => {
    const running = await hangingRun("json", { args: ["--json"] });
    running.child.kill("SIGINT");
    await running.says(/stopping cleanly/);
    place.s3.faults.clear();
    const ended = await running.ended;
    expect(ended.events().at(-1)).toMatchObject({ type: "summary", status: "interrupted", exitCode: 130 });
    expect(ended.stderr).toBe("");
    await expectCompleted("json");
  });

  it("uploader upload …, then SIGINT twice: at once, and still nothing is lost", async () => {
    const running = await hangingRun("twice");
    running.child.kill("SIGINT");
    await running.says(/stopping cleanly/);
    running.child.kill("SIGINT");
    const ended = await running.ended;
    expect(ended).toMatchObject({ exitCode: 130, signal: null, stdout: "" });
    expect(ended.stderr).toMatch(/stopped at once; the same command goes on from here\n$/);
    // The two that hung were never carried out.
    const known = await place.run(["status", "--project", "twice"]);
    expect(known.stdout).toMatch(/in progress\n[\s\S]* gone: its files go to the next who looks\n/);
    expect(known.stdout).toMatch(/next: nobody works on it; the same upload command goes on from here\n$/);
    await expectCompleted("twice");
  });

  /** A read that never ends, as on a network mount whose server is gone: opening a fifo waits in the kernel for a writer. */
  const stuck = {
    pool: (fifo: string) => `import { open } from "node:fs"; open(${JSON.stringify(fifo)}, "r", () => undefined);`,
    // Asked, and waited for, as the reading thread is.
    thread: (fifo: string) => {
      const wait = `require("node:worker_threads").parentPort.on("message", (fifo) => require("node:fs").openSync(fifo, "r"))`;
      return `import { Worker } from "node:worker_threads";
        const thread = new Worker(${JSON.stringify(wait)}, { eval: true });
        thread.on("message", () => undefined).postMessage(${JSON.stringify(fifo)});`;
    },
  };
  it.each(["pool", "thread"] as const)(
    "… SIGINT twice while the disk keeps the %s waiting: at once all the same",
    async (who) => {
      const project = `stuck-${who}`;
      const fifo = place.path(`${who}.fifo`);
      execFileSync("mkfifo", [fifo]);
      const preload = place.path(`${who}.mjs`);
      writeFileSync(preload, stuck[who](fifo));
      const running = await hangingRun(project, { env: { NODE_OPTIONS: `--import=${preload}` } });
      running.child.kill("SIGINT");
      await running.says(/stopping cleanly/);
      running.child.kill("SIGINT");
      // What a shell calls 130.
      expect(await running.ended).toMatchObject({ exitCode: null, signal: "SIGINT" });
      expect(running.stderr()).toMatch(/stopped at once; the same command goes on from here\n$/);
      await expectCompleted(project);
    },
  );

  it("uploader status, then SIGINT while the database does not answer", async () => {
    const server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const running = place.start(["status"], { env: { UPLOADER_DATABASE_URL: `postgresql://u@127.0.0.1:${port}/d` } });
    await new Promise<void>((resolve) => server.once("connection", () => resolve()));
    running.child.kill("SIGINT");
    await running.says(/stopping cleanly/);
    running.child.kill("SIGINT");
    expect(await running.ended).toMatchObject({ exitCode: 130 });
    server.close();
  });

  it("uploader status --follow, then SIGINT", async () => {
    const upload = await hangingRun("followed");
    const running = place.start(["status", "--follow", "--project", "followed"]);
    await running.says(/in progress\n[\s\S]* alive\n/);
    running.child.kill("SIGINT");
    expect(await running.ended).toMatchObject({ exitCode: 130, stderr: "stopping cleanly; once more stops at once\n" });
    const other = place.start(["status", "--follow", "--project", "followed", "--json"]);
    await other.says(/"status":"in_progress"/);
    place.s3.faults.clear();
    expect(await upload.ended).toMatchObject({ exitCode: 0 });
    const ended = await other.ended;
    expect(ended.exitCode).toBe(0);
    expect(ended.events().at(-1)).toMatchObject({ status: "completed", filesUploaded: 30 });
  });
});

describe("readers that go away", () => {
  it("uploader upload … --json | head -1: the run goes on to its end", async () => {
    const ended = await place.run(["upload", card, "s3://reef/head", "--project", "head", "--json"], {
      under: ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash"],
    });
    expect(ended).toMatchObject({ exitCode: 0, stderr: "" });
    expect(ended.events()).toMatchObject([{ type: "start" }]);
    expect(await place.session("head")).toMatchObject({ status: "completed", files_uploaded: 30 });
  });

  it("uploader upload … 2>&- >&-", async () => {
    const ended = await place.run(["upload", card, "s3://reef/closed", "--project", "closed"], {
      under: ["bash", "-c", '"$@" 2>&- >&-', "bash"],
    });
    expect(ended).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
    expect(await place.session("closed")).toMatchObject({ status: "completed", files_uploaded: 30 });
  });

  it("uploader files … | head -1", async () => {
    const ended = await place.run(["files", "--project", "head"], {
      under: ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash"],
    });
    expect(ended.exitCode).toBe(0);
    expect(ended.stdout.trimEnd().split("\n")).toHaveLength(1);
  });
});

const csi = "\x1b[";
const hidden = `${csi}?25l`;
const shown = `${csi}?25h`;
/** The lines of the block are redrawn; a bar is what nothing else contains. */
const bar = /[█░]{10,}/;

const hasScript = process.platform === "linux" && (await findProgram("script")) !== null;

describe.skipIf(!hasScript)("a terminal", () => {
  it.each([80, 120])("uploader upload …, %i columns: a block, messages above it, and a clean end", async (columns) => {
    const project = `wide${columns}`;
    const unreadable = `${"d".repeat(220)}/`.repeat(5);
    const source = place.tree(project, { ...thirty, [`${unreadable}x.wav`]: 1 });
    const running = await hangingRun(project, { columns, source });
    await running.says(bar);
    place.s3.faults.clear();
    const { exitCode, stdout } = await running.ended;
    expect(exitCode).toBe(3);
    expect(stdout).toMatch(/failed:\s+d+…d+\/x\.wav:/);
    expect(stdout).toMatch(/already safe 0 \| this run \d+ \| left \d+/);
    expect(stdout.lastIndexOf(shown)).toBeGreaterThan(stdout.lastIndexOf(hidden));
    // Nor is the terminal told to cut long lines.
    expect(stdout).not.toContain(`${csi}?7l`);
    expect(stdout.slice(stdout.lastIndexOf(shown))).toMatch(/session \d+ finished, but some files failed\r\n/);
    const bars = [...stdout.matchAll(/[█░]{10,}[^\r\n\x1b]*/g)].map(([line]) => line);
    expect(bars.filter((line) => line.length >= columns)).toEqual([]);
    expect(bars[0]!.length).toBeGreaterThan(40);
  });

  it("uploader upload …, then Ctrl-C twice: what was said is read, the cursor is back", async () => {
    const running = await hangingRun("typed", { columns: 80 });
    await running.says(bar);
    running.child.stdin!.write("\x03");
    // The block hides what is said until it is drawn again.
    await running.says(/stopping cleanly; once more stops at once/);
    running.child.stdin!.write("\x03");
    const ended = await running.ended;
    expect(ended.exitCode).toBe(130);
    expect(ended.stdout).toContain("stopped at once; the same command goes on from here");
    expect(ended.stdout.lastIndexOf(shown)).toBeGreaterThan(ended.stdout.lastIndexOf(hidden));
    await expectCompleted("typed");
  });

  it("uploader upload …, and the credentials expire: the error is not wiped away with the block", async () => {
    const running = await hangingRun("expiry", { columns: 80, args: ["--max-outage-minutes", "0.01"] });
    await running.says(bar);
    const credential = place.s3.credentials.get("AKIDEXAMPLE")!;
    credential.expired = true;
    place.s3.faults.clear();
    const { exitCode, stdout } = await running.ended;
    credential.expired = false;
    expect(exitCode).toBe(12);
    expect(stdout).toMatch(/error: [\s\S]*expired/);
    expect(stdout.slice(stdout.lastIndexOf(shown))).toMatch(
      /stopped: the same command goes on from here once the cause/,
    );
    await expectCompleted("expiry");
  });

  it("NO_COLOR=1 uploader …; uploader … --no-color; uploader …", async () => {
    const args = [
      "upload",
      place.tree("red", { [`${"d/".repeat(500)}x.wav`]: 1 }),
      "s3://reef/long-prefix-for-a-key",
      "-q",
    ];
    const red = `${csi}31m`;
    const options = { columns: 80, env: { TERM: "xterm" } };
    expect((await place.run(args, options)).stdout).toContain(`${red}failed: `);
    expect((await place.run([...args, "--no-color"], options)).stdout).not.toContain(csi);
    const plain = await place.run(args, { columns: 80, env: { TERM: "xterm", NO_COLOR: "1" } });
    expect(plain.stdout).not.toContain(csi);
    expect(plain.stdout).toContain("failed: ");
  });
});

describe("a pipe", () => {
  it("uploader upload … 2>&1 | cat: no bar, no colour, no control characters", async () => {
    const postgres = await startPostgresProxy({ url: place.db.url, nameOf: statementNamer(place.db.schema) });
    const running = await hangingRun("piped", { env: { UPLOADER_DATABASE_URL: postgres.url } });
    // The progress has been asked for twice: a terminal would show it.
    await postgres.until(() => postgres.log.filter((name) => name === "sessions_get").length >= 2);
    place.s3.faults.clear();
    const { exitCode, stdout, stderr } = await running.ended;
    await postgres.close();
    expect(exitCode).toBe(0);
    expect(stdout + stderr).not.toMatch(/[\x00-\x09\x0b-\x1f█░]/);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });
});
