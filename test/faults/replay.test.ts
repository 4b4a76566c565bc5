/** An ending that is told twice, because its answer was lost, after the file has been claimed anew. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Ending } from "../../src/core/store.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { fact, openWork, rowIn } from "../support/session.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

const told = { requestId: "r", durationMs: 1, code: "timed_out", message: "slow", delayMs: 0 } as const;

it.each(["postpone", "revise"] as const)("%s leaves the file in the hands that took it since", async (move) => {
  const opened = await openWork(db, { source: `/cards/replay-${move}` });
  const file = await rowIn(db, opened, "uploading");
  const ending: Ending =
    move === "postpone"
      ? { move, file, ...told }
      : { move, file, sizeBytes: 11, mtimeNs: 5n, reason: "settling", delayMs: 0 };
  expect(await db.store.settle(opened.workerId, [ending])).toEqual([]);
  const [again] = await db.store.claim(opened.sessionId, opened.workerId, 0, 10, 3);
  expect(again?.id).toBe(file.id);
  expect(await db.store.settle(opened.workerId, [ending])).toEqual([file]);
  expect(
    await db.sql(`select status, attempts + looks as count from :"schema".file_uploads where id = $1`, [file.id]),
  ).toEqual([{ status: "uploading", count: 1 }]);
  await db.store.settle(opened.workerId, [{ move: "release", file: again! }]);
});

it("settle of the same request is no news; of another it is", async () => {
  const opened = await openWork(db, { source: "/cards/replay-settle" });
  const file = await rowIn(db, opened, "uploading");
  const settle: Ending = { move: "settle", file, object: fact(file), requestId: "one", durationMs: 7 };
  expect(await db.store.settle(opened.workerId, [settle])).toEqual([]);
  expect(await db.store.settle(opened.workerId, [settle])).toEqual([]);
  expect(await db.store.settle(opened.workerId, [{ ...settle, requestId: "two" }])).toEqual([file]);
});
