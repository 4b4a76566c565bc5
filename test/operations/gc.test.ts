/** Our own unfinished uploads are aborted when nobody can go on with them; those of others are never touched. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { S3Destination } from "../../src/adapters/s3.ts";
import type { FileStatus } from "../../src/core/states.ts";
import type { OpenedSession } from "../../src/core/store.ts";
import { type Fate, type GcInput, gc, type SweptUpload } from "../../src/operations/gc.ts";
import { testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { sendRaw } from "../support/raw-s3.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { openWork, rowIn } from "../support/session.ts";
import { temporaryFolder } from "../support/tree.ts";

const hourMs = 3_600_000;

let db: TestDatabase;
let s3: S3Server;
let to: S3Destination;
let opened: OpenedSession;
let card: ReturnType<typeof temporaryFolder>;
let nowMs: number;

beforeEach(async () => {
  nowMs = Date.parse("2026-11-01T00:00:00Z");
  s3 = await startS3Server({ buckets: ["reef"], now: () => new Date(nowMs) });
  db = await testDatabase();
  card = temporaryFolder();
  to = await openOn(s3, "reef", { now: () => nowMs });
  opened = await openWork(db);
});
afterEach(async () => {
  await to.close();
  await s3.close();
  card.remove();
  await db.drop();
});

/** What another program might have begun. */
async function begin(key: string): Promise<string> {
  const answer = await sendRaw(s3, {
    method: "POST",
    path: `/reef/${key}`,
    query: { uploads: "" },
    time: new Date(nowMs),
  });
  return /<UploadId>(.*)<\/UploadId>/.exec(answer.text)![1]!;
}

/** An upload of ours; it is open, and its file in the given state. */
async function own(status: FileStatus): Promise<{ uploadId: string; fileId: number; key: string }> {
  const file = await rowIn(db, opened, status);
  const uploadId = await begin(file.key);
  await db.store.uploads.begin(file.id, {
    uploadId,
    key: file.key,
    partSizeBytes: 8 * 1024 * 1024,
    sizeBytes: file.sizeBytes,
    mtimeNs: file.mtimeNs,
    checksumAlgorithm: "crc32",
  });
  return { uploadId, fileId: file.id, key: file.key };
}

async function sweep(over: Partial<GcInput> = {}) {
  const seen: SweptUpload[] = [];
  const cx = { ...testContext({ db, destination: to, root: card.path }), wallClock: () => nowMs, uploads: to };
  const counts = await gc(cx, {
    prefix: "C1",
    olderThanMs: 24 * hourMs,
    force: false,
    dryRun: false,
    onUpload: (upload) => seen.push(upload),
    ...over,
  });
  const fates: Record<string, Fate> = Object.fromEntries(seen.map((upload) => [upload.uploadId, upload.fate]));
  return { counts, fates, seen };
}
const inStore = () => s3.uploads("reef").map((upload) => upload.uploadId);
const statusOf = async (uploadId: string) =>
  (await db.sql(`select status from :"schema".multipart_uploads where upload_id = $1`, [uploadId]))[0]?.status;

it("aborts what is finished with and keeps what its file may resume", async () => {
  const byState = {
    uploaded: await own("uploaded"),
    skipped: await own("skipped"),
    failed: await own("failed"),
    hopeless: await own("failed"),
    uploading: await own("uploading"),
    pending: await own("pending"),
  };
  await db.sql(`update :"schema".file_uploads set permanent = true where id = $1`, [byState.hopeless.fileId]);
  nowMs += 25 * hourMs;
  const { fates, counts } = await sweep();
  expect(fates).toEqual({
    [byState.pending.uploadId]: "resumable",
    [byState.uploaded.uploadId]: "aborted",
    [byState.skipped.uploadId]: "aborted",
    [byState.failed.uploadId]: "resumable",
    [byState.hopeless.uploadId]: "aborted",
    [byState.uploading.uploadId]: "resumable",
  });
  expect(counts).toMatchObject({ aborted: 3, resumable: 3, foreign: 0 });
  expect(inStore().sort()).toEqual(
    [byState.pending.uploadId, byState.failed.uploadId, byState.uploading.uploadId].sort(),
  );
  expect(await statusOf(byState.uploaded.uploadId)).toBe("aborted");
  expect(await statusOf(byState.pending.uploadId)).toBe("open");
});

it("aborts an upload that was given up for a newer one, and keeps the newer", async () => {
  const first = await own("pending");
  const second = await begin(first.key);
  await db.store.uploads.begin(first.fileId, {
    uploadId: second,
    key: first.key,
    partSizeBytes: 8,
    sizeBytes: 10,
    mtimeNs: 1n,
    checksumAlgorithm: null,
  });
  nowMs += 25 * hourMs;
  expect((await sweep()).fates).toEqual({ [first.uploadId]: "aborted", [second]: "resumable" });
  expect(inStore()).toEqual([second]);
});

it("never touches those of others, of neighbours, or young ones", async () => {
  const foreign = await begin("C1/foreign.wav");
  const beside = await begin("C10/beside.wav");
  nowMs += 20 * hourMs;
  const young = await own("uploaded");
  nowMs += 5 * hourMs;
  const { fates, seen } = await sweep();
  expect(fates).toEqual({ [foreign]: "foreign", [young.uploadId]: "young" });
  expect(seen.find((upload) => upload.uploadId === foreign)).toMatchObject({
    key: "C1/foreign.wav",
    sessionId: null,
    why: expect.stringMatching(/^this database does not know it/),
  });
  expect(inStore().sort()).toEqual([foreign, beside, young.uploadId].sort());
  expect((await sweep({ olderThanMs: 4 * hourMs })).fates[young.uploadId]).toBe("aborted");
  expect((await sweep({ olderThanMs: 0, force: true })).fates).toEqual({ [foreign]: "foreign" });
  expect(inStore().sort()).toEqual([foreign, beside].sort());
});

it("with force takes old resumable ones too, but none that a live worker sends", async () => {
  const uploading = await own("uploading");
  const pending = await own("pending");
  expect((await sweep({ force: true })).counts).toMatchObject({ young: 1, resumable: 1, aborted: 0 });
  nowMs += 25 * hourMs;
  expect((await sweep({ force: true })).fates).toEqual({
    [pending.uploadId]: "aborted",
    [uploading.uploadId]: "resumable",
  });
  await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s'`);
  expect((await sweep({ force: true })).fates).toEqual({ [uploading.uploadId]: "aborted" });
  expect(await db.store.uploads.find(pending.fileId)).toBeNull();
});

it("a dry run names what it would abort and leaves it", async () => {
  const stale = await own("uploaded");
  nowMs += 25 * hourMs;
  expect((await sweep({ dryRun: true })).fates).toEqual({ [stale.uploadId]: "would_abort" });
  expect(inStore()).toEqual([stale.uploadId]);
  expect(await statusOf(stale.uploadId)).toBe("open");
});

it("says what it may not do", async () => {
  s3.credential.allow = ["s3:PutObject"];
  await expect(sweep()).rejects.toMatchObject({ code: "access_denied", exitCode: 12 });
});
