import { describe, expect, it } from "vitest";
import type { ClaimedFile, Ending, ObjectFact } from "../../src/core/store.ts";
import type { Context } from "../../src/operations/context.ts";
import type { Lease } from "../../src/operations/lease.ts";
import type { Recorder } from "../../src/operations/recorder.ts";
import { createSettler } from "../../src/operations/settler.ts";

const file = (id: number): ClaimedFile => ({
  id,
  path: `${id}`,
  key: `${id}`,
  sizeBytes: 1,
  mtimeNs: 1n,
  attempts: 0,
  expect: "absent",
  looks: 0,
  derivedFrom: null,
});
const ending = (id: number): Ending => ({ move: "release", file: file(id) });

function settlerWith(record: Recorder["record"], onApplied = (): void => undefined) {
  const lease: Lease = { workerId: 1, inHand: new Set(), onLost: () => undefined, end: async () => undefined };
  const recorder = { record, flush: async () => undefined } as unknown as Recorder;
  const cx = { emit: () => undefined, wallClock: () => 0 } as unknown as Context;
  return createSettler(cx, 1, lease, recorder, onApplied);
}

describe("the settler", () => {
  it("goes on after a flush that found nothing to write", async () => {
    const batches: number[] = [];
    const settler = settlerWith(async (memo, applied) => {
      if (memo.call === "settle") batches.push(memo.endings.length);
      applied([]);
    });
    await settler.flush();
    for (let id = 0; id < 5_000; id++) settler.add(ending(id));
    await settler.room();
    await settler.flush();
    expect(batches.reduce((sum, count) => sum + count, 0)).toBe(5_000);
    expect(Math.max(...batches)).toBeLessThanOrEqual(500);
  });

  it("a timer that fires with nothing left does not stop later results", async () => {
    let written = 0;
    const settler = settlerWith(async (memo, applied) => {
      if (memo.call === "settle") written += memo.endings.length;
      applied([]);
    });
    settler.add(ending(0));
    // Fills a batch, so the pump runs at once and the timer of the first result finds nothing.
    for (let id = 1; id <= 500; id++) settler.add(ending(id));
    await expect.poll(() => written).toBe(501);
    for (let id = 501; id < 3_000; id++) settler.add(ending(id));
    await settler.room();
    await settler.flush();
    expect(written).toBe(3_000);
  });

  it("tells of results when the database has them, though no slot ends: as in a pause", async () => {
    const told: number[] = [];
    const settler = settlerWith(
      async (_, applied) => applied([]),
      () => told.push(settler.settledFiles),
    );
    const object = { sizeBytes: 1, mtimeNs: 1n } as ObjectFact;
    settler.add({ move: "settle", file: file(1), object, requestId: null, durationMs: 1 });
    await expect.poll(() => told).toEqual([1]);
  });

  it("what the database refuses is thrown, not swallowed", async () => {
    const settler = settlerWith(async () => {
      throw new Error("no");
    });
    settler.add(ending(1));
    await expect(settler.flush()).rejects.toMatchObject({ code: "internal", message: "no" });
    await expect(settler.room()).rejects.toMatchObject({ code: "internal" });
  });
});
