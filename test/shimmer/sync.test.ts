import { describe, expect, it } from "vitest";
import { openRecording } from "../../src/shimmer/recording.ts";
import { openSyncFit } from "../../src/shimmer/sync-line.ts";
import { header, join, poisoned, u16, u24, u64 } from "./support/recording.ts";

const recordBytes = 5;
const perBlock = Math.floor((512 - 9) / recordBytes);
const none = Array(9).fill(0xff);
const measured = (ticks: number) => [ticks < 0 ? 1 : 0, ...u64(BigInt(Math.abs(ticks)))];

/** Battery records in blocks with a prefix each, as SDLog writes them. */
function synced(
  records: number,
  prefixes: readonly (readonly number[])[],
  firmware = [2, 0, 19, 0] as const,
): Uint8Array {
  const body: number[] = [];
  for (let record = 0; record < records; record++) {
    if (record % perBlock === 0) body.push(...(prefixes[record / perBlock] ?? none));
    body.push(...u24(record * 640), ...u16(record));
  }
  return join(header({ firmware, enabled: [0, 0x20], patch: { 16: [0x04] } }), body);
}

function read(bytes: Uint8Array, portion = bytes.length) {
  const recording = openRecording([{ name: "000", chunks: () => poisoned(bytes, portion) }], {
    timeSource: "device",
    values: "raw",
  });
  const [time, battery] = recording.load();
  return { recording, ticks: [...time!].map((ms) => (ms / 1000) * 32768), battery: [...battery!] };
}

describe("sync prefixes", () => {
  it.each([1, 7, 100, 511, 4096])("are taken out of the record stream, read %d bytes at a time", (portion) => {
    const { battery, recording } = read(synced(250, []), portion);
    expect(battery).toEqual(Array.from({ length: 250 }, (_, index) => index));
    expect(recording.columns[0]!.signal).toBe("Timestamp_Device");
    expect(recording.report.syncMeasurements).toBe(0);
  });

  it("without a measurement leave the time alone, with one shift it", () => {
    expect(read(synced(3, [none])).ticks).toEqual([0, 640, 1280]);
    expect(read(synced(3, [measured(1000)])).ticks).toEqual([-1000, -360, 280]);
    expect(read(synced(3, [measured(-1000)])).ticks).toEqual([1000, 1640, 2280]);
  });

  it("fit one straight line, through the first record of each block", () => {
    // Own clock gains one tick in every hundred; the measurements stand at records 0, 100 and 200.
    const prefixes = [0, 1, 2].map((index) => measured(5000 + (index * perBlock * 640) / 100));
    const { ticks, recording } = read(synced(250, prefixes), 33);
    for (const [record, value] of ticks.entries()) expect(value).toBeCloseTo(record * 640 * 0.99 - 5000, 4);
    expect(recording.columns[0]!.signal).toBe("TimestampSync_Unix");
    expect(recording.report.syncMeasurements).toBe(3);
  });

  it("take no measurement from a prefix that cannot be one", () => {
    const { recording } = read(synced(250, [[2, ...u64(5n)], [0, ...u64(2n ** 60n)], measured(7)]));
    expect(recording.report.syncMeasurements).toBe(1);
  });

  it("may be cut off at the end of the file", () => {
    const bytes = synced(perBlock, []);
    expect(read(join(bytes, none.slice(0, 4))).recording.report.notes).toContainEqual(
      expect.objectContaining({ code: "partial_record", message: expect.stringContaining("4 bytes") }),
    );
    const whole = read(join(bytes, measured(3)));
    expect(whole.recording.count).toBe(perBlock);
    expect(whole.recording.report.syncMeasurements).toBe(0);
  });

  it("are not there in firmware that only sets the bit", () => {
    const bytes = join(header({ enabled: [0, 0x20], patch: { 16: [0x04] } }), u24(0), u16(1), u24(640), u16(2));
    expect(read(bytes).battery).toEqual([1, 2]);
  });
});

it("the line is that of ordinary least squares", () => {
  const fit = openSyncFit();
  // By hand: means 2 and 4; Σ(x−2)(y−4) = 2 + 3 + 0 + 9 = 14, Σ(x−2)² = 4 + 1 + 0 + 9 = 14.
  for (const [x, y] of [
    [0, 3],
    [1, 1],
    [2, 5],
    [5, 7],
  ] as const)
    fit.add(1e12 + x, y);
  const { slope, measurements } = fit.line()!;
  expect(measurements).toBe(4);
  expect(slope).toBeCloseTo(14 / 14, 9);
});
