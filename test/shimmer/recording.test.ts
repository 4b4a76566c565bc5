import { describe, expect, it } from "vitest";
import { openDecoder } from "../../src/shimmer/decoder.ts";
import { decode, openRecording, type RecordingOptions } from "../../src/shimmer/recording.ts";
import { writeJson } from "../../src/shimmer/write/json.ts";
import { batteryFile, clockSetTicks, file, header, join, poisoned, u16 } from "./support/recording.ts";

const setMs = (clockSetTicks / 32768) * 1000;
const part = (name: string, bytes: Uint8Array, portion = 1000) => ({ name, chunks: () => poisoned(bytes, portion) });

describe("streaming", () => {
  const bytes = file(
    { enabled: [0xe0, 0x31], firmware: [3, 0, 16, 1] },
    Array.from({ length: 5000 }, (_, record) =>
      Array.from({ length: 28 }, (_, byte) => (record * 7 + byte * 13) & 0xff),
    ),
  );
  const whole = decode(bytes);

  it.each([1, 100, 255, 257, 4096, 1 << 20])(
    "gives the same columns whatever the portions (%d bytes), and keeps no chunk",
    (portion) => {
      const columns = openRecording([part("000", bytes, portion)]).load();
      expect(columns).toEqual(whole.columns.map(({ values }) => values));
    },
  );

  it("yields borrowed blocks with running record numbers", () => {
    const recording = openRecording([part("000", bytes)]);
    let next = 0;
    for (const block of recording.blocks([2])) {
      expect(block.firstRecord).toBe(next);
      expect(block.columns).toHaveLength(1);
      expect([...block.columns[0]!]).toEqual([...whole.columns[2]!.values.subarray(next, next + block.count)]);
      next += block.count;
    }
    expect(next).toBe(5000);
  });

  it("pushes chunks through a decoder of one's own", () => {
    const decoder = openDecoder(bytes.subarray(0, 256));
    let rows = 0;
    for (const chunk of poisoned(bytes.subarray(256), 777))
      for (const block of decoder.push(chunk)) rows += block.count;
    expect(rows).toBe(5000);
    expect(decoder.finish()).toMatchObject({ records: 5000, startMs: setMs });
    expect(decoder.columns).toEqual(whole.recording.columns.map((column) => expect.objectContaining(column)));
  });

  it("can be read as often as wanted", () => {
    const recording = openRecording([part("000", bytes)]);
    expect(recording.load()).toEqual(recording.load());
  });
});

describe("what the result says", () => {
  it("a partial record at the end is left out and noted", () => {
    const { recording } = decode(join(batteryFile(3), [1, 2, 3]));
    expect(recording.count).toBe(3);
    expect(recording.report.notes).toContainEqual({
      code: "partial_record",
      message: "the file ends 3 bytes into a record of 5, which was left out",
    });
  });

  it("a file of a header alone has columns, no rows, and a note", () => {
    const { recording, columns } = decode(batteryFile(0));
    expect(columns.map(({ signal, values }) => [signal, values.length])).toEqual([
      ["Timestamp_Unix", 0],
      ["Battery", 0],
    ]);
    expect(recording.report).toMatchObject({ records: 0, startMs: null, endMs: null });
    expect(recording.report.notes.map(({ code }) => code)).toContain("no_records");
  });

  it("records that do not line up with the header are refused", () => {
    // Three bytes too many in each record: ticks are noise.
    const bytes = join(
      header({ enabled: [0, 0x20] }),
      Array.from({ length: 300 }, (_, index) => [...u16(index * 640), index >> 6, 1, 2, 77, 88, 99]).flat(),
    );
    expect(() => decode(bytes, { name: "000" })).toThrow(
      /^000: records at byte 256: expected time stamps about 640 ticks apart every 5 bytes, found \d+ of \d+ steps/,
    );
  });

  it("names columns after the device, or the user's name for it", () => {
    expect(decode(batteryFile(1)).columns.map(({ name }) => name)).toEqual([
      "Shimmer_ABCD_Timestamp_Unix_CAL",
      "Shimmer_ABCD_Battery_CAL",
    ]);
    expect(decode(batteryFile(1), { deviceName: "LEFT" }).columns[1]!.name).toBe("LEFT_Battery_CAL");
    expect(decode(batteryFile(1), { values: "raw" }).columns[1]).toMatchObject({
      name: "Shimmer_ABCD_Battery_UNCAL",
      unit: "no_units",
    });
  });

  it("warns of a crystal whose rate is not known", () => {
    expect(decode(batteryFile(1, { patch: { 17: [0x10] } })).recording.report.notes.map(({ code }) => code)).toContain(
      "tcxo",
    );
  });
});

describe("--channels, --from and --to", () => {
  const bytes = file(
    { enabled: [0x80, 0x20] },
    Array.from({ length: 100 }, (_, index) => [...u16(1), ...u16(2), ...u16(3), ...u16(index)]),
  );
  const signals = (options: RecordingOptions) => decode(bytes, options).columns.map(({ signal }) => signal);

  it.each<[string[], string[]]>([
    [["Battery"], ["Timestamp_Unix", "Battery"]],
    [["accel_ln"], ["Timestamp_Unix", "Accel_LN_X", "Accel_LN_Y", "Accel_LN_Z"]],
    [
      ["Accel_LN_Z", "battery"],
      ["Timestamp_Unix", "Accel_LN_Z", "Battery"],
    ],
    [["Shimmer_ABCD_Accel_LN_Y_CAL"], ["Timestamp_Unix", "Accel_LN_Y"]],
  ])("%j", (channels, expected) => expect(signals({ channels })).toEqual(expected));

  it("an unknown channel is named, with those there are", () => {
    const choose = () => decode(bytes, { channels: ["Gyro"] });
    expect(choose).toThrow('no channel "Gyro" in this recording');
    expect(choose).toThrow(expect.objectContaining({ code: "usage", hint: expect.stringContaining("Accel_LN_X") }));
  });

  it("a part of a sensor has the same values as the whole", () => {
    expect(decode(bytes, { channels: ["Accel_LN_Z"] }).columns[1]!.values).toEqual(decode(bytes).columns[3]!.values);
  });

  it("keeps rows from one time (inclusive) to another (exclusive)", () => {
    const step = (640 / 32768) * 1000;
    const { recording, columns } = decode(bytes, { values: "raw", fromMs: setMs + 10 * step, toMs: setMs + 13 * step });
    expect([...columns.at(-1)!.values]).toEqual([10, 11, 12]);
    expect(recording.count).toBe(3);
    expect(recording.report.records).toBe(100);
    expect([...recording.blocks()].map(({ firstRecord }) => firstRecord)).toEqual([10]);
  });

  it("a range without a row is empty, not an error", () => {
    expect(decode(bytes, { fromMs: 0, toMs: 1 }).columns[1]!.values).toHaveLength(0);
  });
});

describe("hourly parts of a session", () => {
  const hour = (start: number, count: number, more = {}) => batteryFile(count, { start, ...more });
  const first = hour(5000, 100);
  const second = hour(5000 + 100 * 640, 50);

  it("are joined in order, each with its own clock", () => {
    const recording = openRecording([part("000", first), part("001", second)], { values: "raw" });
    const [time, battery] = recording.load();
    expect(recording.count).toBe(150);
    expect([...battery!.subarray(98, 102)]).toEqual([98, 99, 0, 1]);
    expect(time![100]! - time![99]!).toBeCloseTo((640 / 32768) * 1000, 6);
    expect(recording.report.counts.gaps).toBe(0);
    expect(recording.partNames).toEqual(["000", "001"]);
  });

  it("are told by their names alone: a result is the same from whatever disk", () => {
    const results = ["sd/000", "/media/other/000"].map((name) => {
      const text = Buffer.concat([...writeJson(openRecording([part(name, first)]))]).toString();
      expect(JSON.parse(text).header.parts).toEqual(["000"]);
      return text;
    });
    expect(results[0]).toBe(results[1]);
  });

  it("a pause between them is a gap, an overlap a note", () => {
    const late = openRecording([part("000", first), part("001", hour(5000 + 200 * 640, 2))]);
    expect(late.report.gaps).toEqual([
      expect.objectContaining({ record: 100, durationMs: expect.closeTo((101 * 640 * 1000) / 32768, 3) }),
    ]);
    const early = openRecording([part("000", first), part("001", hour(5000, 2))]);
    expect(early.report.notes.map(({ code }) => code)).toContain("parts_overlap");
  });

  it.each<[string, object, RegExp]>([
    [
      "device",
      { patch: { 24: [1, 2, 3, 4, 5, 6] } },
      /^001: MAC at byte 24: expected 00:06:66:12:AB:CD as in 000, found 01:02/,
    ],
    ["rate", { divider: 320 }, /sampling divider at byte 0: expected 640 as in 000, found 320/],
    ["sensors", { enabled: [0, 0x02] }, /enabled sensors at byte 3/],
    ["trial", { patch: { 32: [9] } }, /trial id at byte 32/],
  ])("of another %s are refused", (_, more, sentence) => {
    const open = () => openRecording([part("000", first), part("001", hour(70_000, 5, more))]);

    expect(open).toThrow(sentence);
  });

  it("all count device time when one part's clock is unsure", () => {
    const odd = hour(5000 + 100 * 640, 5, { patch: { 44: [0x40, 0, 0, 0, 0, 0x55, 0x55, 0x55] } });
    const recording = openRecording([part("000", first), part("001", odd)]);
    expect(recording.columns[0]!.signal).toBe("Timestamp_Device");
    expect(recording.start.source).toBe("device");
  });
});
