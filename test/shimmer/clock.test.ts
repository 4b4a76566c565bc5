import { describe, expect, it } from "vitest";
import type { Profile } from "../../src/shimmer/layout.ts";
import { decode, type RecordingOptions } from "../../src/shimmer/recording.ts";
import { batteryFile, file, header, i64r, type Spelling, u16, u64 } from "./support/recording.ts";

/** Elapsed ticks of each record, and the report, of records with these raw ticks. */
function run(ticks: readonly number[], options: RecordingOptions = {}, spelling: Spelling = {}) {
  const bytes = batteryFile(ticks.length, { start: ticks[0]!, ...spelling }, ticks);
  const { columns, recording } = decode(bytes, { timeSource: "device", ...options });
  const start = columns[0]!.values[0]!;
  return { elapsed: [...columns[0]!.values].map((ms) => ((ms - start) / 1000) * 32768), report: recording.report };
}

const turn = 2 ** 24;

describe("unwrapping the tick counter", () => {
  it.each<[string, number[], number[], Partial<Record<string, number>>]>([
    ["plain steps", [1000, 1640, 2280], [0, 640, 1280], {}],
    ["a rollover", [turn - 700, turn - 60, 580], [0, 640, 1280], { rollovers: 1 }],
    ["a rollover onto tick 0", [turn - 640, 0, 640], [0, 640, 1280], { rollovers: 1 }],
    ["a step back is none", [8211633, 8212273, 8211724, 8212364], [0, 640, 91, 731], { backward: 1 }],
    ["a step back over the turn", [turn - 100, 540, turn - 60, 580], [0, 640, 40, 680], { backward: 1, rollovers: 2 }],
    ["a duplicate", [1000, 1640, 1640, 2280], [0, 640, 640, 1280], { duplicate: 1 }],
    ["tick 0 out of turn", [5_000_000, 5_000_640, 0, 5_001_920], [0, 640, 640, 1920], { zero: 1 }],
    ["a gap", [1000, 1640, 101_640, 102_280], [0, 640, 100_640, 101_280], { gaps: 1 }],
    ["ten periods are no gap", [1000, 7400], [0, 6400], {}],
    ["more than ten are", [1000, 7401], [0, 6401], { gaps: 1 }],
    ["a gap over the turn", [turn - 100, 5_000_000], [0, 5_000_100], { gaps: 1, rollovers: 1 }],
  ])("%s", (_, ticks, elapsed, counts) => {
    const found = run(ticks);
    expect(found.elapsed).toEqual(elapsed);
    expect(found.report.counts).toEqual({ gaps: 0, rollovers: 0, backward: 0, duplicate: 0, zero: 0, ...counts });
    expect(found.report.records).toBe(ticks.length);
  });

  it("lists where and how much", () => {
    const { report } = run([1000, 1640, 1400, 101_400]);
    expect(report.oddTicks).toEqual([{ kind: "backward", record: 2, stepTicks: -240, timeMs: (1400 / 32768) * 1000 }]);
    expect(report.gaps).toEqual([
      { record: 3, startMs: (1400 / 32768) * 1000, durationMs: expect.closeTo((100_000 / 32768) * 1000, 9) },
    ]);
    expect(report.notes.map(({ code }) => code)).toContain("tick_backward");
  });

  it("makes the vendor's jump of 512 s only with the consensys profile", () => {
    const ticks = [8211633, 8212273, 8211724, 8212364];
    const jump = run(ticks, { profile: "consensys" });
    expect(jump.elapsed).toEqual([0, 640, 91 + turn, 731 + turn]);
    expect(jump.report.counts).toMatchObject({ rollovers: 1, backward: 0, gaps: 1 });
  });

  it("records of nothing but zeros do not move the clock", () => {
    const bytes = file(
      { enabled: [0, 0x20], start: 5_000_000 },
      [u16(1), u16(2), u16(0), u16(0)],
      [5_000_000, 5_000_640, 0, 0],
    );
    const { columns, recording } = decode(bytes, { timeSource: "device", values: "raw" });
    expect([...columns[1]!.values]).toEqual([1, 2, 0, 0]);
    expect(columns[0]!.values[3]).toBe(columns[0]!.values[1]);
    expect(recording.report.counts.zero).toBe(2);
  });

  it("… not even shortly before a rollover, where a tick of 0 with values is a gap", () => {
    const ticks = [turn - 60_000, turn - 59_360, 0, turn - 58_080];
    const read = (last: number) => {
      const records = [u16(1), u16(2), u16(last), u16(4)];
      const bytes = file({ enabled: [0, 0x20], start: ticks[0]! }, records, ticks);
      return decode(bytes, { timeSource: "device" }).recording.report.counts;
    };
    expect(read(0)).toMatchObject({ zero: 1, gaps: 0, backward: 0 });
    expect(read(3)).toMatchObject({ zero: 0, gaps: 1, backward: 1 });
  });

  it("a first record with tick 0 is not the anchor", () => {
    const bytes = batteryFile(3, { start: 5_000_000 }, [0, 5_000_000, 5_000_640]);
    const { recording, columns } = decode(bytes, { timeSource: "device" });
    expect(recording.report.counts).toMatchObject({ zero: 1, gaps: 0 });
    expect(columns[0]!.values[2]).toBe((5_000_640 / 32768) * 1000);
  });

  it.each<[Profile, number[]]>([
    ["vendor", [0, 640, 1280]],
    ["consensys", [0, 640, 1280]],
  ])("%s: 16-bit ticks turn every 2 s", (profile, elapsed) => {
    const head = header({ firmware: [3, 0, 5, 0], enabled: [0, 0x20], start: 65000 });
    const body = [65000, 104, 744].flatMap((tick, index) => [...u16(tick), ...u16(index)]);
    const { columns } = decode(Uint8Array.from([...head, ...body]), { timeSource: "device", profile });
    expect([...columns[0]!.values].map((ms) => (ms / 1000) * 32768 - 65000)).toEqual(elapsed);
  });

  it("16-bit ticks almost a turn apart, below 1 Hz, step forward", () => {
    const divider = 60_000;
    const head = header({ firmware: [3, 0, 5, 0], enabled: [0, 0x20], divider });
    const body = Array.from({ length: 20 }, (_, index) => [...u16((index * divider) % 2 ** 16), ...u16(index)]).flat();
    const { recording } = decode(Uint8Array.from([...head, ...body]), { timeSource: "device" });
    expect(recording.report.counts).toMatchObject({ backward: 0, gaps: 0 });
    expect(recording.report.endMs).toBe((19 * divider * 1000) / 32768);
  });

  it("pins the first record to the header's time, or finds the time nearest to it", () => {
    const ticks = [1_000_000 + 2500, 1_000_000 + 3140];
    const spelling = { start: 7 * turn + 1_000_000 };
    const time = (anchor: "pinned" | "nearest") =>
      (decode(batteryFile(2, spelling, ticks), { timeSource: "device", anchor }).columns[0]!.values[0]! / 1000) * 32768;
    expect(time("pinned")).toBe(7 * turn + 1_000_000);
    expect(time("nearest")).toBe(7 * turn + 1_002_500);
  });
});

describe("where the start comes from", () => {
  const seconds = (time: string) => Date.parse(time) / 1000;
  const setAt = seconds("2025-10-30T00:00:00Z");
  const bootTicks = 40_862_285;
  const stamp = (unix: number, ticks: number) => ({
    44: u64(BigInt(ticks)),
    52: [unix & 255, (unix >>> 8) & 255, (unix >>> 16) & 255, unix >>> 24],
  });
  const plain = (difference: bigint) => ({ 44: i64r(difference), 52: [0x68, 0xb5, 0xa7, 0x4e] });
  const start = 2_090_908;

  it.each<[string, Record<number, readonly number[]>, string, number]>([
    ["a clock that was set", plain(BigInt(setAt) * 32768n), "header", setAt * 32768 + start],
    ["a negative difference", plain(-89470n), "header", start - 89470],
    ["a clock never set", plain(0n), "header", start],
    ["a phone's stamp", stamp(1_761_785_325, bootTicks), "phone", 1_761_785_325 * 32768 + start - bootTicks],
    ["a stamp older than the start: unsure", stamp(1_761_785_325, 1000), "device", start],
    ["neither: unsure", plain(2n ** 62n + 0x55_55_55n), "device", start],
  ])("%s", (_, patch, source, ticks) => {
    const { recording } = decode(batteryFile(1, { start, patch }));
    expect(recording.start.source).toBe(source);
    expect(recording.report.startMs).toBe((ticks / 32768) * 1000);
    expect(recording.report.notes.some(({ code }) => code === "time_source_unsure")).toBe(source === "device");
  });

  it("does not believe a phone of the day after tomorrow", () => {
    const bytes = batteryFile(1, { start, patch: stamp(1_761_785_325, bootTicks) });
    const nowMs = (1_761_785_325 - 2 * 86_400) * 1000;
    expect(decode(bytes, { nowMs }).recording.start.source).toBe("device");
  });

  it.each(["header", "phone", "device"] as const)("takes %s when told to", (timeSource) => {
    const { recording } = decode(batteryFile(1, { start, patch: stamp(1_761_785_325, bootTicks) }), { timeSource });
    expect(recording.start.source).toBe(timeSource);
  });

  it("names a clock that was never set, and a time that is not Unix time", () => {
    const unset = decode(batteryFile(1, { start, patch: plain(0n) }));
    expect(unset.recording.report.notes.map(({ code }) => code)).toContain("clock_unset");
    const device = decode(batteryFile(1, { start }), { timeSource: "device" });
    expect(device.columns[0]!.name).toBe("Shimmer_ABCD_Timestamp_Device_CAL");
  });

  it("keeps exact ticks beyond 2^40", () => {
    const late = 2 ** 39 + 5;
    const { columns } = decode(batteryFile(2, { start: late }, [5, 645]), { timeSource: "device" });
    expect(columns[0]!.values[1]! - (late / 32768) * 1000).toBeCloseTo((640 / 32768) * 1000, 6);
  });
});
