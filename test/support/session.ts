/** Sessions and rows in any state, for tests of moves. */

import type { FileStatus } from "../../src/core/states.ts";
import type { Candidate, ClaimedFile, ObjectFact, OpenedSession, Work } from "../../src/core/store.ts";
import { type TestDatabase, worker } from "./database.ts";

export const work = (over: Partial<Work> = {}): Work => ({
  project: "reef",
  source: "/cards/one",
  destination: { kind: "s3", identity: "s3://reef", text: "s3://reef/C1", prefix: "C1" },
  command: "upload",
  ...over,
});

export const candidate = (name: string, sizeBytes = 10, mtimeNs = 1_700_000_000_123_456_789n): Candidate => ({
  path: name,
  key: `C1/${name}`,
  sizeBytes,
  mtimeNs,
});

export const fact = (file: { sizeBytes: number; mtimeNs: bigint }, over: Partial<ObjectFact> = {}): ObjectFact => ({
  sizeBytes: file.sizeBytes,
  mtimeNs: file.mtimeNs,
  checksum: { algorithm: "crc32", type: "full", value: "AAAAAA==" },
  etag: '"e"',
  versionId: null,
  proof: "checksum_echoed",
  ours: true,
  ...over,
});

export const openWork = (db: TestDatabase, over: Partial<Work> = {}, pid = 1): Promise<OpenedSession> =>
  db.store.openSession(work(over), worker(pid), { newSession: false, concurrency: 4 });

let counter = 0;

/** A row of the session in the given state, held by its worker when `uploading`. */
export async function rowIn(db: TestDatabase, opened: OpenedSession, status: FileStatus): Promise<ClaimedFile> {
  const file = candidate(`file-${counter++}`);
  await db.store.register(opened.sessionId, opened.destinationId, [file], "absent");
  const claimed = (await db.store.claim(opened.sessionId, opened.workerId, 0, 10, 3)).find(
    (each) => each.key === file.key,
  )!;
  const end = { file: claimed, requestId: null, durationMs: 1 };
  if (status === "pending") await db.store.settle(opened.workerId, [{ move: "release", file: claimed }]);
  if (status === "uploaded")
    await db.store.settle(opened.workerId, [{ move: "settle", ...end, object: fact(claimed) }]);
  if (status === "skipped") {
    await db.store.settle(opened.workerId, [{ move: "skip", file: claimed, reason: "already_there", object: null }]);
  }
  if (status === "failed") {
    await db.store.settle(opened.workerId, [
      { move: "give_up", ...end, code: "network_lost", message: "reset", permanent: false },
    ]);
  }
  return claimed;
}
