/** The story of one file: the rule, the key, the attempts, the parts, and what happens next. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSelectionRules } from "../../src/adapters/source/rules.ts";
import type { Destination } from "../../src/core/ports.ts";
import { type ExplainInput, explain, type Story } from "../../src/operations/explain.ts";
import { createRunner } from "../../src/store/runner.ts";
import { loadStatements } from "../../src/store/statements.ts";
import { runUpload, type TestContext, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { fact, openWork, rowIn } from "../support/session.ts";
import { makeTree, shimmerHead, temporaryFolder } from "../support/tree.ts";

let db: TestDatabase;
let s3: S3Server;
let to: Destination;
let card: ReturnType<typeof temporaryFolder>;

beforeEach(async () => {
  s3 = await startS3Server({ buckets: ["reef"] });
  db = await testDatabase();
  card = temporaryFolder();
  makeTree(card.path, { "a/1.wav": 100, "a/2.wav": 200 });
  to = await openOn(s3, "reef");
});
afterEach(async () => {
  await to.close();
  await s3.close();
  card.remove();
  await db.drop();
});

const context = (policy = {}): TestContext => testContext({ db, destination: to, root: card.path, policy });

async function stories(text: string, over: Partial<ExplainInput> = {}): Promise<Story[]> {
  return explain(db.store, {
    text,
    absolute: text.startsWith("/") ? text : join("/somewhere/else", text),
    project: "reef",
    sessionId: null,
    configured: { source: card.path, prefix: "C1", include: [], exclude: [] },
    isMirrored: true,
    rulesOf: (root, chosen) => openSelectionRules({ root, ...chosen, excludePaths: [] }),
    isAlive: () => null,
    ...over,
  });
}
const story = async (text: string, over: Partial<ExplainInput> = {}) => (await stories(text, over))[0]!;

const failing = (key: string, code: string, times: number) =>
  s3.faults.push({ match: { operation: "PutObject", key }, action: { kind: "error", code }, times });

describe("a file of a session", () => {
  it("is found by key, by address, and by path from anywhere", async () => {
    await runUpload(context());
    for (const [text, absolute] of [
      ["C1/a/1.wav", "/elsewhere/C1/a/1.wav"],
      ["s3://reef/C1/a/1.wav", "/elsewhere/s3:/reef/C1/a/1.wav"],
      ["a/1.wav", "/elsewhere/a/1.wav"],
      ["./a/1.wav", "/elsewhere/a/1.wav"],
      ["1.wav", join(card.path, "a/1.wav")],
      [join(card.path, "a/1.wav"), join(card.path, "a/1.wav")],
    ] as const) {
      expect(await story(text, { absolute }), text).toMatchObject({
        key: "C1/a/1.wav",
        path: "a/1.wav",
        keyFrom: "path",
        file: { status: "uploaded", project: "reef" },
        selection: { selected: true, rule: "kind", detail: "sound" },
        object: { sizeBytes: 100, proof: "checksum_echoed", ours: true },
        next: { command: null },
      });
    }
  });

  it("tells each attempt with its cause, request and time", async () => {
    failing("C1/a/1.wav", "InternalError", 8);
    await runUpload(context());
    const { attempts, file } = await story("a/1.wav");
    expect(file).toMatchObject({ status: "uploaded", attempts: 2 });
    expect(attempts.map(({ attempt, outcome, errorCode }) => [attempt, outcome, errorCode])).toEqual([
      [1, "postponed", "store_failed"],
      [2, "postponed", "store_failed"],
      [3, "uploaded", null],
    ]);
    for (const attempt of attempts) {
      expect(attempt.requestId).toMatch(/^[0-9A-F]{16}$/);
      expect(attempt.durationMs).toBeGreaterThanOrEqual(0);
    }
    expect(attempts[0]).toMatchObject({ workerHost: "test-host", workerPid: 1 });
  });

  it("that failed says what mends it", async () => {
    s3.plant("reef", "C1/a/1.wav", "somebody else's");
    failing("C1/a/2.wav", "InternalError", Number.POSITIVE_INFINITY);
    await runUpload(context({ attempts: 1 }));
    const { sessionId } = (await story("a/1.wav")).file!;
    expect(await story("a/1.wav")).toMatchObject({
      file: { status: "failed", errorCode: "conflict", permanent: true },
      next: {
        command: `uploader retry ${sessionId} --include-permanent`,
        what: expect.stringContaining("--on-conflict"),
      },
    });
    expect(await story("a/2.wav")).toMatchObject({
      file: { status: "failed", permanent: false },
      next: { command: `uploader retry ${sessionId}` },
    });
  });

  it("in every open state names who goes on, and when", async () => {
    const opened = await openWork(db);
    const pending = await rowIn(db, opened, "pending");
    expect((await story(pending.key)).next).toMatchObject({
      what: expect.stringContaining("by the run at work"),
      at: expect.any(Date),
    });
    const [uploading] = await db.store.claim(opened.sessionId, opened.workerId, 0, 1, 3);
    expect((await story(uploading!.key)).next.what).toBe("process 1 on test-host has it in hand");
    expect((await story(uploading!.key, { isAlive: () => false })).next.what).toContain("gone or silent");
    await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s'`);
    expect((await story(uploading!.key)).next).toMatchObject({
      what: expect.stringContaining("silent"),
      command: "uploader upload",
    });
  });

  it("newest session first, the older ones after it, and only one when asked", async () => {
    failing("C1/a/1.wav", "InternalError", Number.POSITIVE_INFINITY);
    const first = await runUpload(context({ attempts: 1 }));
    s3.faults.clear();
    const second = await runUpload(context());
    const told = await stories("a/1.wav");
    expect(told.map(({ file }) => [file!.sessionId, file!.status, file!.reason])).toEqual([
      [second.sessionId, "uploaded", null],
      [first.sessionId, "skipped", "superseded"],
    ]);
    expect(await stories("a/1.wav", { sessionId: first.sessionId })).toHaveLength(1);
    await expect(
      stories("C1/a/1.wav", { project: "other", configured: { source: null, prefix: "", include: [], exclude: [] } }),
    ).rejects.toMatchObject({ code: "usage" });
  });

  it("with a decomposed name tells how its key came about", async () => {
    const decomposed = "cafe\u0301.wav";
    makeTree(card.path, { [decomposed]: 10 });
    await runUpload(context());
    expect(await story(decomposed)).toMatchObject({ key: "C1/caf\u00e9.wav", keyFrom: "nfc" });
    makeTree(card.path, { "caf\u00e9.wav": 11 });
    await runUpload(context(), { prefix: "C2" });
    expect(await story(`C2/${decomposed}`)).toMatchObject({ keyFrom: "kept_own_form" });
  });

  it("was chosen by the patterns its session ran with, whatever is configured now", async () => {
    const { sessionId } = await runUpload(context());
    await db.store.rememberConfig(sessionId!, { include: ["**/*.flac", "a/?.wav"], exclude: ["tmp/**"] });
    const configured = { source: card.path, prefix: "C1", include: [], exclude: ["a/**"] };
    expect((await story("a/1.wav", { configured })).selection).toEqual({
      selected: true,
      rule: "include",
      detail: "a/?.wav",
      at: "a/1.wav",
    });
  });

  it("shows how many of its parts the store has", async () => {
    const opened = await openWork(db);
    const file = await rowIn(db, opened, "pending");
    const upload = { key: file.key, partSizeBytes: 8, sizeBytes: 20, mtimeNs: 1n, checksumAlgorithm: "crc32" } as const;
    await db.store.uploads.begin(file.id, { ...upload, uploadId: "first" });
    await db.store.uploads.begin(file.id, { ...upload, uploadId: "second" });
    for (const partNumber of [1, 3]) {
      await db.store.uploads.part("second", { partNumber, sizeBytes: 8, etag: "e", checksum: null });
    }
    expect((await story(file.key)).multipart).toMatchObject({
      uploadId: "second",
      status: "open",
      partsDone: 2,
      parts: 3,
      bytesDone: 16,
    });
  });

  it("whose key does not follow its path is found by path in such layouts", async () => {
    const opened = await openWork(db, { source: card.path });
    const file = { path: "ECG_1.pdf", key: "C1/reports/2026/ECG_1.pdf", sizeBytes: 1, mtimeNs: 1n };
    await db.store.register(opened.sessionId, opened.destinationId, [file], "absent");
    await expect(story("ECG_1.pdf")).rejects.toMatchObject({ code: "usage" });
    expect(await story("ECG_1.pdf", { isMirrored: false })).toMatchObject({ key: file.key, keyFrom: "layout" });
  });
});

describe("a file without a row", () => {
  it("that was safe already says so", async () => {
    await runUpload(context());
    await runUpload(context(), { project: "other" });
    expect(await story("a/1.wav", { project: "other" })).toMatchObject({
      file: null,
      key: "C1/a/1.wav",
      object: { sizeBytes: 100 },
      next: { what: expect.stringContaining("safe before") },
    });
  });

  it("tells by which rule it is left out, or that the next run takes it", async () => {
    makeTree(card.path, {
      "._1.wav": 1,
      "tmp/x.wav": 1,
      "notes.docx": 1,
      readme: 1,
      "000": shimmerHead(),
      "new.wav": 1,
      "deep/er/y.wav": 1,
    });
    symlinkSync(join(card.path, "new.wav"), join(card.path, "link.wav"));
    symlinkSync(join(card.path, "deep"), join(card.path, "linked"));
    mkdirSync(join(card.path, "empty.wav"));
    const configured = { source: card.path, prefix: "C1", include: [], exclude: ["**/tmp", "deep/er/**"] };
    const told = async (text: string) => {
      const { selection, key, next } = await story(text, { configured });
      return [selection!.selected, selection!.rule, selection!.detail, selection!.at, key, next.command];
    };
    expect(await told("._1.wav")).toEqual([false, "never_sent", "._1.wav", "._1.wav", null, null]);
    expect(await told("tmp/x.wav")).toEqual([false, "exclude", "**/tmp", "tmp", null, null]);
    expect(await told("deep/er/y.wav")).toEqual([false, "exclude", "deep/er/**", "deep/er", null, null]);
    expect(await told("notes.docx")).toEqual([false, "no_include", null, "notes.docx", null, null]);
    expect(await told("readme")).toEqual([false, "no_shimmer_header", null, "readme", null, null]);
    expect(await told("000")).toEqual([true, "shimmer_header", null, "000", "C1/000", "uploader upload"]);
    expect(await told("new.wav")).toEqual([true, "kind", "sound", "new.wav", "C1/new.wav", "uploader upload"]);
    expect(await told("link.wav")).toEqual([false, "symlink", null, "link.wav", null, null]);
    expect(await told("linked/er/y.wav")).toEqual([false, "symlink", null, "linked", null, null]);
    expect(await told("empty.wav")).toEqual([false, "folder", null, "empty.wav", null, null]);
  });

  it("says what the scan does: every file of a mixed tree is taken or left alike", async () => {
    const include = ["**/*.wav", "x/**", "!x/no/**"];
    const exclude = ["**/skip*"];
    const paths = ["1.wav", "1.WAV", "x/any", "x/no/any", "skip.wav", "y/skipped/2.wav", "z.txt", ".env.wav"];
    makeTree(card.path, Object.fromEntries(paths.map((path) => [path, 5])));
    const { openSourceTree } = await import("../../src/adapters/source-tree.ts");
    const scanned = new Set<string>();
    for await (const batch of openSourceTree({ root: card.path, include, exclude }).scan(
      new AbortController().signal,
    )) {
      for (const file of batch.files) scanned.add(file.path);
    }
    const rules = await openSelectionRules({ root: card.path, include, exclude, excludePaths: [] });
    for (const path of paths) {
      expect((await rules.onDisk(path)).selected, path).toBe(scanned.has(path));
      expect(rules.byName(path).selected, path).toBe(scanned.has(path));
    }
    expect(scanned.size).toBe(4 + 2 - 1);
  });

  it("our own state is named as such", async () => {
    makeTree(card.path, { "state/journal/x.json": 1 });
    const rulesOf: ExplainInput["rulesOf"] = (root, chosen) =>
      openSelectionRules({ root, ...chosen, excludePaths: [join(card.path, "state")] });
    expect((await story("state/journal/x.json", { rulesOf })).selection).toMatchObject({
      rule: "own_file",
      at: "state",
    });
  });

  it("that nobody knows is an error, and so is one outside the source", async () => {
    await expect(story("nowhere.wav")).rejects.toMatchObject({ code: "usage", exitCode: 2 });
    await expect(story("/etc/hostname")).rejects.toMatchObject({ message: expect.stringContaining("not below") });
    rmSync(join(card.path, "a/1.wav"));
    await expect(story("a/1.wav")).rejects.toMatchObject({ code: "usage" });
  });
});

it("looks into indexes only: no statement reads all files", async () => {
  const opened = await openWork(db);
  const file = await rowIn(db, opened, "failed");
  await db.sql(
    `insert into :"schema".file_uploads (session_id, destination_id, local_path, s3_key, file_size, mtime_ns)
     select $1, $2, 'n/' || n, 'C1/n/' || n, 1, 1 from generate_series(1, 20000) n`,
    [opened.sessionId, opened.destinationId],
  );
  await db.store.settle(opened.workerId, [
    { move: "settle", file, object: fact(file), requestId: null, durationMs: 1 },
  ]);
  await db.sql(`analyze :"schema".file_uploads`);
  const run = createRunner(
    {
      ...db.database,
      query: (text, values) => db.database.query(`explain ${text}`, values),
    },
    loadStatements(db.schema),
  );
  const keys = [file.key, "C1/n/77"];
  for (const [statement, values] of [
    ["explain_files", { project: "reef", sessionId: null, keys, max: 10 }],
    ["explain_files", { project: null, sessionId: opened.sessionId, keys, max: 10 }],
    ["explain_attempts", { fileIds: [file.id] }],
    ["verify_session", { sessionId: opened.sessionId, afterKey: "C1/n/5", max: 1000 }],
  ] as const) {
    const plan = (await run<{ "QUERY PLAN": string }>(statement, values)).map((line) => line["QUERY PLAN"]).join("\n");
    expect(plan, `${statement}\n${plan}`).not.toMatch(/Seq Scan on file_uploads/);
  }
});
