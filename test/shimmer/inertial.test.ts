import { describe, expect, it } from "vitest";
import { decode } from "../../src/shimmer/recording.ts";
import { block, file, type Spelling, u16, u16r } from "./support/recording.ts";

function first(spelling: Spelling, record: readonly number[]) {
  const { columns, recording } = decode(file(spelling, [record]));
  return {
    values: columns.slice(1).map(({ values }) => values[0]!),
    columns,
    codes: recording.report.notes.map(({ code }) => code),
  };
}

const xyz = [100, 200, 300];
const identity = [100, 0, 0, 0, 100, 0, 0, 0, 100];

describe("C = inv(R) · inv(K) · (U − B)", () => {
  it("is neither R nor its transpose", () => {
    const skewed = {
      enabled: [0, 0x10],
      patch: { 76: block([10, 20, 30], [2, 4, 5], [100, 50, 0, 0, 50, 0, 0, 0, 50]) },
    };
    // inv([[1, .5, 0], [0, .5, 0], [0, 0, .5]]) = [[1, -1, 0], [0, 2, 0], [0, 0, 2]]; (U − B)/K = [45, 45, 54].
    const { values, codes } = first(skewed, xyz.flatMap(u16));
    expect(values).toEqual([0, 90, 108]);
    expect(codes).not.toContain("calibration_default");
  });

  it("undoes U = B + K · R · C for a matrix without zeros", () => {
    // C = (3, −2, 5): R · C = (1.5, 4.5, 4.7).
    const own = block([10, 20, 30], [100, 200, 400], [90, 10, -20, 30, -80, 40, -10, 25, 110]);
    const { values } = first({ enabled: [0, 0x10], patch: { 76: own } }, [10 + 150, 20 + 900, 30 + 1880].flatMap(u16));
    for (const [axis, value] of values.entries()) expect(value).toBeCloseTo([3, -2, 5][axis]!, 12);
  });

  it.each([
    ["LN accel", 139, [0x80], u16],
    ["WR accel", 76, [0, 0x10], u16],
    ["mag", 118, [0x20], u16r],
  ] as const)("takes the header's own block for %s", (name, at, enabled, word) => {
    const patch = { [at]: block([1, 2, 3], [10, 20, 30], identity) };
    const record = name === "mag" ? [100, 300, 200] : xyz;
    expect(first({ enabled, patch }, record.flatMap(word)).values).toEqual([9.9, 9.9, 9.9]);
  });

  it("divides the gyro's gain by 100", () => {
    const patch = { 97: block([0, 0, 0], [6550, 6550, 6550], identity) };
    const { values } = first({ enabled: [0x40], patch }, [655, -655, 0].flatMap(u16r));
    expect(values).toEqual([10, -10, 0]);
  });
});

const on = {
  accelLn: [0x80],
  accelWr: [0, 0x10],
  gyro: [0x40],
  mag: [0x20],
  accelAlt: [0, 0, 0x40],
  magAlt: [0, 0, 0x20],
};
const card = { old: [255, 255, 255], new: [48, 3, 0] };
const ids: Record<string, number[]> = {
  accelLn: [0, 1, 2],
  accelWr: [4, 5, 6],
  mag: [7, 8, 9],
  gyro: [10, 11, 12],
  accelAlt: [20, 21, 22],
  magAlt: [23, 24, 25],
};

type Part = keyof typeof on;

/** What the default calibration makes of the raw axes (100, 200, 300). */
describe.each([[0x00], [0xff]])("a block of all %d means the defaults of range and board", (blank) => {
  const blocks = Object.fromEntries([76, 97, 118, 139].map((at) => [at, Array(21).fill(blank)]));
  const blocks3r = { ...blocks, 256: Array(21).fill(blank), 285: Array(21).fill(blank) };

  it.each<[Part, "old" | "new", number, number, number[]]>([
    ["accelLn", "old", 11, 0, [(200 - 2047) / -83, (100 - 2047) / -83, (300 - 2047) / -83]],
    ["accelLn", "new", 11, 0, [(200 - 2253) / -92, (100 - 2253) / -92, (300 - 2253) / -92]],
    ["accelWr", "old", 8, 0 << 2, [-100 / 1631, 200 / 1631, -300 / 1631]],
    ["accelWr", "old", 8, 1 << 2, [-100 / 815, 200 / 815, -300 / 815]],
    ["accelWr", "old", 8, 2 << 2, [-100 / 408, 200 / 408, -300 / 408]],
    ["accelWr", "old", 8, 3 << 2, [-100 / 135, 200 / 135, -300 / 135]],
    ["accelWr", "new", 8, 0 << 2, [200 / 1671, -100 / 1671, -300 / 1671]],
    ["accelWr", "new", 8, 2 << 2, [200 / 836, -100 / 836, -300 / 836]],
    ["accelWr", "new", 8, 3 << 2, [200 / 418, -100 / 418, -300 / 418]],
    ["accelWr", "new", 8, 1 << 2, [200 / 209, -100 / 209, -300 / 209]],
    ["gyro", "old", 10, 0, [-200 / 131, -100 / 131, -300 / 131]],
    ["gyro", "new", 10, 1, [-200 / 65.5, -100 / 65.5, -300 / 65.5]],
    ["gyro", "old", 10, 2, [-200 / 32.8, -100 / 32.8, -300 / 32.8]],
    ["gyro", "old", 10, 3, [-200 / 16.4, -100 / 16.4, -300 / 16.4]],
    ["mag", "old", 10, 1 << 5, [-100 / 1100, 200 / 1100, -300 / 980]],
    ["mag", "old", 10, 2 << 5, [-100 / 855, 200 / 855, -300 / 760]],
    ["mag", "old", 10, 3 << 5, [-100 / 670, 200 / 670, -300 / 600]],
    ["mag", "old", 10, 4 << 5, [-100 / 450, 200 / 450, -300 / 400]],
    ["mag", "old", 10, 5 << 5, [-100 / 400, 200 / 400, -300 / 355]],
    ["mag", "old", 10, 6 << 5, [-100 / 330, 200 / 330, -300 / 295]],
    ["mag", "old", 10, 7 << 5, [-100 / 230, 200 / 230, -300 / 205]],
    ["mag", "old", 10, 0, [-100 / 230, 200 / 230, -300 / 205]],
    ["mag", "new", 10, 5 << 5, [200 / 667, -100 / 667, -300 / 667]],
  ])("%s, %s board, byte %d = %d", (part, board, at, setup, expected) => {
    const order = part === "mag" && board === "old" ? [100, 300, 200] : xyz;
    const word = part === "gyro" || (part === "mag" && board === "old") ? u16r : u16;
    const patch = { ...blocks, 214: card[board], [at]: [setup] };
    const { values, codes } = first({ enabled: on[part], patch }, order.flatMap(word));
    for (const [axis, value] of values.entries()) expect(value).toBeCloseTo(expected[axis]!, 12);
    expect(codes).toContain("calibration_default");
  });

  it.each<[Part, Record<number, number[]>, number[]]>([
    ["accelLn", { 11: [0 << 6] }, [-100 / 1672, 200 / 1672, -300 / 1672]],
    ["accelLn", { 11: [3 << 6] }, [-100 / 209, 200 / 209, -300 / 209]],
    ["accelWr", { 8: [1 << 2] }, [-200 / 836, -100 / 836, -300 / 836]],
    ["gyro", { 10: [0] }, [-100 / 229, 200 / 229, -300 / 229]],
    ["gyro", { 10: [1], 12: [4] }, [-100 / 7, 200 / 7, -300 / 7]],
    ["mag", {}, [-100 / 667, -200 / 667, -300 / 667]],
    ["accelAlt", {}, [190, 90, -290]],
    ["magAlt", { 10: [2 << 5] }, [100 / 2281, -200 / 2281, -300 / 2281]],
  ])("Shimmer3R %s %j", (part, setup, expected) => {
    const spelling: Spelling = {
      hardware: 10,
      firmware: [3, 1, 1, 14],
      enabled: on[part],
      patch: { ...blocks3r, 314: [3, ...ids[part]!], ...setup },
    };
    const record = part === "accelAlt" ? xyz.flatMap((value) => [value >> 4, (value & 15) << 4]) : xyz.flatMap(u16);
    const { values } = first(spelling, record);
    for (const [axis, value] of values.entries()) expect(value).toBeCloseTo(expected[axis]!, 12);
  });
});

it.each([
  ["R", block([0, 0, 0], [1, 1, 1], [1, 2, 3, 2, 4, 6, 0, 0, 1])],
  ["K", block([0, 0, 0], [1, 0, 1], identity)],
])("falls back to the defaults when %s cannot be inverted, and says so", (_, own) => {
  const { values, codes } = first({ enabled: [0, 0x10], patch: { 76: own } }, xyz.flatMap(u16));
  expect(values[0]).toBeCloseTo(-100 / 1631, 12);
  expect(codes).toContain("calibration_singular");
});

it("a range code without default leaves the sensor raw, named so", () => {
  const spelling: Spelling = {
    hardware: 10,
    firmware: [3, 1, 1, 14],
    enabled: [0x40],
    patch: { 314: [3, 10, 11, 12], 10: [3], 12: [4] },
  };
  const { columns, codes } = first(spelling, xyz.flatMap(u16));
  expect(columns[1]).toMatchObject({ name: "Shimmer_ABCD_Gyro_X_UNCAL", unit: "no_units" });
  expect(codes).toContain("range_unknown");
});
