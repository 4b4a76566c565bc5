import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { describe, expect, it } from "vitest";
import { openRecording, type RecordingOptions } from "../../src/shimmer/recording.ts";
import { columnwise } from "../../src/shimmer/write/columnwise.ts";
import { writeCsv } from "../../src/shimmer/write/csv.ts";
import { readable, writeJson } from "../../src/shimmer/write/json.ts";
import { matlabNames, writeMat } from "../../src/shimmer/write/mat.ts";
import { longestNumber, writeNumber } from "../../src/shimmer/write/number-text.ts";
import { writeParquet } from "../../src/shimmer/write/parquet.ts";
import { renderSummary, sparkline, summarise } from "../../src/shimmer/write/summary.ts";
import { batteryFile, chance, file, poisoned, u16, u64 } from "./support/recording.ts";

const accelBytes = file(
  { enabled: [0x80, 0x30] },
  Array.from({ length: 3000 }, (_, index) =>
    [2000 + (index % 7), 2100, 2200, 2730 - (index % 5), -100, 50, (index % 100) - 1000].flatMap(u16),
  ),
  Array.from({ length: 3000 }, (_, index) => index * 640 + (index > 1000 ? 64_000 : 0)),
);
const open = (options: RecordingOptions = {}, bytes = accelBytes) =>
  openRecording([{ name: "000", chunks: () => poisoned(bytes, 5000) }], options);
const gather = (chunks: Iterable<Uint8Array>) => Buffer.concat([...chunks]);

describe("numbers as text", () => {
  it("are those of String, of every size and sign", () => {
    const random = chance(3);
    const bits = new Uint32Array(2);
    const double = new Float64Array(bits.buffer);
    const out = new Uint8Array(2 * longestNumber);
    const wrong: string[] = [];
    const check = (value: number): void => {
      const written = Buffer.from(out.subarray(0, writeNumber(value, out, 0))).toString();
      if (written !== String(value)) wrong.push(`${value}: ${written}`);
    };
    for (const value of [
      0,
      -0,
      1,
      -1,
      0.1,
      1e-6,
      1e-7,
      9999999999999998,
      1e16,
      1e21,
      5e-324,
      Number.MAX_VALUE,
      2 ** 53,
      2 ** -20,
      123456789,
      4095,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ])
      check(value);
    for (let round = 0; round < 20_000; round++) {
      bits[0] = random() * 2 ** 32;
      bits[1] = random() * 2 ** 32;
      check(double[0]!);
      const value = (random() - 0.5) * 10 ** (random() * 24 - 7);
      for (const one of [
        value,
        Math.round(value),
        Number(value.toPrecision(16)),
        Number(value.toPrecision(15)),
        Math.round(value * 100) / 100,
      ])
        check(one);
      check(((1_761_782_400_000 * 32.768 + round * 640) / 32768) * 1000);
      check((round * 3000) / 4095);
      check((round - 2047) / 83);
    }
    expect(wrong).toEqual([]);
  });
});

describe("CSV", () => {
  it("is laid out as Consensys does", () => {
    const text = gather(writeCsv(open({ channels: ["Battery"] }))).toString();
    const lines = text.split("\r\n");
    expect(lines.slice(0, 4)).toEqual([
      '"sep=\t"',
      "Shimmer_ABCD_Timestamp_Unix_CAL\tShimmer_ABCD_Battery_CAL\t",
      "ms\tmV\t",
      `1761782400000\t${2730 * (6000 / 4095)}\t`,
    ]);
    expect(lines).toHaveLength(3 + 3000 + 1);
    expect(lines.at(-1)).toBe("");
  });

  it("reads back to the same doubles, through many chunks", () => {
    const recording = open();
    const chunks = [...writeCsv(recording)];
    const rows = Buffer.concat(chunks)
      .toString()
      .split("\r\n")
      .slice(3, -1)
      .map((line) => line.split("\t").slice(0, -1).map(Number));
    for (const [column, values] of recording.load().entries())
      expect(rows.map((row) => row[column])).toEqual([...values]);
  });
});

describe("JSON", () => {
  it("holds header, columns, gaps and notes", () => {
    const recording = open();
    const json = JSON.parse(gather(writeJson(recording)).toString());
    expect(Object.keys(json)).toEqual(["header", "columns", "gaps", "oddTicks", "notes"]);
    expect(json.header).toMatchObject({
      device: "Shimmer_ABCD",
      mac: "00:06:66:12:AB:CD",
      model: "Shimmer3",
      firmware: "LogAndStream 0.16.1",
      rateHz: 51.2,
      samples: 3000,
      sensors: ["accelLn", "battery", "accelWr"],
      start: "2025-10-30T00:00:00.000Z",
      timeSource: "header",
    });
    expect(Object.keys(json.columns)).toEqual(recording.columns.map(({ name }) => name));
    recording.load().forEach((values, index) => {
      const { name, unit } = recording.columns[index]!;
      expect(json.columns[name]).toEqual({ unit, values: [...values] });
    });
    expect(json.gaps).toHaveLength(1);
  });

  it("is valid without a row, and with one column only", () => {
    expect(
      JSON.parse(gather(writeJson(open({}, batteryFile(0)))).toString()).columns.Shimmer_ABCD_Battery_CAL.values,
    ).toEqual([]);
    expect(Object.keys(JSON.parse(gather(writeJson(open({ channels: [] }))).toString()).columns)).toHaveLength(1);
  });
});

describe("cloud-sync JSON", () => {
  const stamped = (bytes: Uint8Array) => {
    bytes.set([...u64(32768n * 20n), 0xed, 0xb5, 0x02, 0x69], 44);
    return bytes;
  };
  const cloud = (bytes: Uint8Array, options = {}) =>
    JSON.parse(gather(writeJson(open({ profile: "cloud-sync" }, stamped(bytes)), options)).toString());

  it("has the older service's keys in its order", () => {
    expect(Object.keys(cloud(accelBytes.slice()))).toEqual([
      "sampleRate",
      "macAddress",
      "headerBytes",
      "channelInfo",
      "packetLengthBytes",
      "timestamps",
      "Accel_LN_X",
      "Accel_LN_Y",
      "Accel_LN_Z",
      "VSenseBatt",
      "Accel_WR_X",
      "Accel_WR_Y",
      "Accel_WR_Z",
      "VSenseBatt_cal",
      "timestampCal",
      "initialTime",
      "phoneRwc",
      "shimmerRtcLower40",
      "Accel_LN_X_cal",
      "Accel_LN_Y_cal",
      "Accel_LN_Z_cal",
      "Accel_WR_X_cal",
      "Accel_WR_Y_cal",
      "Accel_WR_Z_cal",
      "Accel_WR_Absolute",
      "Accel_WR_VAR",
      "timestampReadable",
    ]);
  });

  it("erases gaps, counts a small step back as one, and stops at a record of zeros", () => {
    const ticks = [
      1000, 1640, 2280, 2000, 2640, 3280, 3920, 4560, 5200, 5840, 6480, 7120, 7760, 8400, 9040, 200_000, 0, 201_000,
    ];
    const records = ticks.map((tick, index) => u16(tick === 0 ? 0 : index + 1));
    const json = cloud(file({ enabled: [0, 0x20], start: 1000 }, records, ticks));
    expect(json.timestamps).toHaveLength(16);
    const mean = (200_000 - 1000) / 15 / 32768;
    const steps = json.timestampCal.slice(1).map((time: number, index: number) => time - json.timestampCal[index]);
    expect(steps[2]).toBeCloseTo(-280 / 32768, 6);
    expect(steps.at(-1)).toBeCloseTo(mean, 6);
    expect(json.timestampCal[0]).toBe(0x6902b5ed + (1000 - 32768 * 20) / 32768);
  });

  it("transposes the alignment, and takes an empty block for numbers", () => {
    const bytes = file(
      { enabled: [0, 0x10], patch: { 76: [0, 0, 0, 0, 0, 0, 0, 2, 0, 4, 0, 5, 100, 50, 0, 0, 50, 0, 0, 0, 50] } },
      [[20, 40, 50].flatMap(u16)],
    );
    const { Accel_WR_X_cal, Accel_WR_Y_cal, Accel_WR_Z_cal, Accel_WR_Absolute, Accel_WR_VAR } = cloud(bytes);
    expect([Accel_WR_X_cal, Accel_WR_Y_cal, Accel_WR_Z_cal]).toEqual([[10], [10], [5]]);
    expect([Accel_WR_Absolute, Accel_WR_VAR]).toEqual([[15], 0]);
    const empty = cloud(file({ enabled: [0, 0x10], patch: { 76: Array(21).fill(0xff) } }, [[1, 2, 3].flatMap(u16)]));
    expect(empty.Accel_WR_X_cal[0]).toBeCloseTo((-0.01 * (2 + 3 + 4)) / 65535, 15);
  });

  it.each([
    [1761784141.7914734, "2025-10-30 00:29:01.791"],
    [1761784141791.4734, "2025-10-30 00:29:01.791"],
    [Number.NaN, "Invalid timestamp"],
  ])("writes %d as %s", (seconds, text) => {
    expect(readable(seconds, () => 0)).toBe(text);
  });

  it("can write the time of another place", () => {
    expect(
      cloud(batteryFile(1, { start: 640 }), { utcOffsetMs: () => 3_600_000 }).timestampReadable[0].slice(11, 13),
    ).toBe("01");
  });
});

/** Variables of a MATLAB 5 file, read from the format's description. */
function readMat(bytes: Buffer): Map<string, number[]> {
  expect(bytes.subarray(124, 128).toString("latin1")).toBe("\u0000\u0001IM");
  const variables = new Map<string, number[]>();
  for (let at = 128; at < bytes.length; ) {
    expect(bytes.readUInt32LE(at)).toBe(14);
    const end = at + 8 + bytes.readUInt32LE(at + 4);
    expect(bytes.readUInt32LE(at + 16)).toBe(6);
    const [rows, columns] = [bytes.readInt32LE(at + 32), bytes.readInt32LE(at + 36)];
    const nameLength = bytes.readUInt32LE(at + 44);
    const name = bytes.subarray(at + 48, at + 48 + nameLength).toString("latin1");
    let data = at + 48 + Math.ceil(nameLength / 8) * 8;
    expect(bytes.readUInt32LE(data)).toBe(9);
    expect(bytes.readUInt32LE(data + 4)).toBe(8 * rows * columns);
    data += 8;
    variables.set(
      name,
      Array.from({ length: rows * columns }, (_, index) => bytes.readDoubleLE(data + 8 * index)),
    );
    at = end;
  }
  return variables;
}

describe("MATLAB", () => {
  it("has one column vector per signal, with the CSV's values", () => {
    const recording = open();
    const variables = readMat(gather(writeMat(recording)));
    expect([...variables.keys()]).toEqual(recording.columns.map(({ name }) => name));
    for (const [index, values] of recording.load().entries())
      expect([...variables.values()][index]).toEqual([...values]);
  });

  it("gives every variable a name MATLAB can hold", () => {
    expect(matlabNames(["Shimmer_ABCD_ECG_LL-RA_24BIT_CAL", "1st", "a b", "a-b", "x".repeat(70)])).toEqual([
      "Shimmer_ABCD_ECG_LL_RA_24BIT_CAL",
      "S1st",
      "a_b",
      "a_b_2",
      "x".repeat(63),
    ]);
  });

  it("is readable without a row", () => {
    expect(readMat(gather(writeMat(open({}, batteryFile(0))))).get("Shimmer_ABCD_Battery_CAL")).toEqual([]);
  });
});

describe("Parquet", () => {
  it("reads back with another program's reader: values, units, header, gaps", async () => {
    const recording = open();
    const bytes = gather(writeParquet(recording));
    const buffer = new Uint8Array(bytes).buffer;
    const metadata = parquetMetadata(buffer);
    const values = new Map(metadata.key_value_metadata!.map(({ key, value }) => [key, JSON.parse(value!)]));
    expect(values.get("units").Shimmer_ABCD_Battery_CAL).toBe("mV");
    expect(values.get("header").mac).toBe("00:06:66:12:AB:CD");
    expect(values.get("gaps")).toHaveLength(1);
    const rows = await parquetReadObjects({ file: buffer });
    for (const [index, column] of recording.load().entries()) {
      expect(rows.map((row) => row[recording.columns[index]!.name])).toEqual([...column]);
    }
  });

  it("splits long recordings into row groups", async () => {
    const bytes = gather(writeParquet(open({ values: "raw" }, batteryFile(70_000))));
    const buffer = new Uint8Array(bytes).buffer;
    const sizes = parquetMetadata(buffer).row_groups.map(({ num_rows }) => Number(num_rows));
    expect(sizes).toEqual([32_768, 32_768, 70_000 - 65_536]);
    const rows = await parquetReadObjects({ file: buffer, rowStart: 69_999, rowEnd: 70_000 });
    expect(rows[0]!.Shimmer_ABCD_Battery_UNCAL).toBe(69_999 % 65_536);
  });
});

it("columns come one after the other within a memory budget, in one pass or many", () => {
  const recording = open();
  for (const budget of [0, 3000 * 8 * 3, 2 ** 26]) {
    const found = [...columnwise(recording, budget)].map(({ index }) => index);
    expect(found).toEqual([...recording.columns.keys()]);
    for (const { index, pieces } of columnwise(recording, budget)) {
      expect(Array.from(pieces, (piece) => [...piece]).flat()).toEqual([...recording.load()[index]!]);
    }
  }
});

describe("summary", () => {
  const { summary, envelope } = summarise(open());

  it("has least, mean, greatest and deviation of every channel", () => {
    const values = [...open().load()[4]!];
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
    const channel = summary.channels[4]!;
    expect(channel).toMatchObject({ min: Math.min(...values), max: Math.max(...values), values: 3000 });
    expect(channel.mean).toBeCloseTo(mean, 9);
    expect(channel.sd).toBeCloseTo(sd, 9);
  });

  it("knows battery, gaps and the range of the wide-range acceleration", () => {
    expect(summary.batteryMillivolts).toEqual({ min: 2726 * (6000 / 4095), max: 2730 * (6000 / 4095) });
    expect(summary.oddTicks.gaps).toBe(1);
    expect(summary.accelWr!.variation).toBeCloseTo(summary.accelWr!.max - summary.accelWr!.min, 12);
    expect(summary.accelWr!.max).toBeCloseTo(Math.hypot(100, 50, 1000) / 1631, 1);
  });

  it("fits on a screen of 100 characters", () => {
    const screen = renderSummary({ summary, envelope });
    for (const line of screen.split("\n")) expect([...line].length).toBeLessThanOrEqual(100);
    expect(screen).toContain("2025-10-30T00:00:00.000Z");
    expect(screen).toMatch(/Accel_LN_X .*[▁-█]/);
  });

  it("has its columns below each other, however long a figure is", () => {
    const long = { min: -0.000123456789, mean: 0.00000123456789, max: -123456.789, sd: 12 };
    const channels = summary.channels.map((channel, index) => (index === 2 ? { ...channel, ...long } : channel));
    const screen = renderSummary({ summary: { ...summary, channels }, envelope: null });
    const table = screen.split("\n\n")[1]!.trimEnd().split("\n");
    expect(table.join()).toContain(" -0.000123457 ");
    const ends = table.map((row) => /^\S+ +\S+/.exec(row)![0].length);
    expect(new Set(ends).size).toBe(1);
    expect(new Set(table.map((row) => row.lastIndexOf("  "))).size).toBe(1);
  });

  it("counts one as one", () => {
    const back = batteryFile(
      40,
      {},
      Array.from({ length: 40 }, (_, index) => index * 640 - (index === 20 ? 700 : 0)),
    );
    const found = summarise(openRecording([{ name: "000", chunks: () => [back.subarray(0, -4)] }]));
    const screen = renderSummary(found).replace(/\s+/g, " ");
    expect(screen).toContain("note 1 record back in time");
    expect(screen).toContain("the file ends 1 byte into a record of 5");
    const turned = batteryFile(40, { start: 2 ** 24 - 6400 });
    expect(renderSummary(summarise(openRecording([{ name: "000", chunks: () => [turned] }])))).toContain(
      "; 1 rollover\n",
    );
  });

  it("says the day of a gap that is not the first one", () => {
    const days = Array.from(
      { length: 30 * 3600 },
      (_, index) => ((index + (index > 100_000 ? 60 : 0)) * 32768) % 2 ** 24,
    );
    const bytes = batteryFile(30 * 3600, { divider: 32768 }, days);
    expect(renderSummary(summarise(openRecording([{ name: "000", chunks: () => [bytes] }])))).toContain(
      "61 s at 2025-10-31 03:46:40.000 (record 100001)",
    );
  });

  it("without curves has no column for them", () => {
    const lines = renderSummary({ summary, envelope: null }).split("\n");
    const row = lines.find((line) => line.startsWith("Battery "));
    expect(row).toMatch(/\d {2}mV$/);
    expect(lines.find((line) => line.startsWith("channel "))).toMatch(/ SD {2}unit$/);
  });

  it("a sparkline shows a spike of one sample, and blanks where nothing was recorded", () => {
    const flat = new Float64Array(48).fill(1);
    const max = flat.slice().fill(9, 20, 21);
    const holes = flat.slice().fill(Number.NaN, 40, 44);
    expect(sparkline(flat, max, flat, 24)[10]).toBe("█");
    expect(sparkline(holes, holes, holes, 24).slice(20, 22)).toBe("  ");
  });
});
