import { describe, expect, it } from "vitest";
import { decode } from "../../src/shimmer/recording.ts";
import { file, type Spelling, u16, u16r, u24, u24r, u32r } from "./support/recording.ts";

/** Raw values of the first record by signal, and what else is in the record. */
function raw(spelling: Spelling, record: readonly number[]): Record<string, number> {
  const { columns } = decode(file(spelling, [record]), { values: "raw" });
  return Object.fromEntries(columns.slice(1).map(({ signal, values }) => [signal, values[0]!]));
}

const axes = (stem: string, x: number, y: number, z: number) => ({
  [`${stem}_X`]: x,
  [`${stem}_Y`]: y,
  [`${stem}_Z`]: z,
});
const newBoard = { 214: [48, 3, 0] };
const sdLog = [2, 0, 19, 0] as const;

describe("every row of a Shimmer3 record", () => {
  it.each<[string, Spelling, number[], Record<string, number>]>([
    ["LN accel", { enabled: [0x80] }, [...u16(1759), ...u16(65535), ...u16(0)], axes("Accel_LN", 1759, 65535, 0)],
    ["battery", { enabled: [0, 0x20] }, u16(2730), { Battery: 2730 }],
    ["ext A7", { enabled: [0x02] }, u16(7), { Ext_Exp_A7: 7 }],
    ["ext A6", { enabled: [0x01] }, u16(6), { Ext_Exp_A6: 6 }],
    ["ext A15", { enabled: [0, 0x08] }, u16(15), { Ext_Exp_A15: 15 }],
    ["int A12", { enabled: [0, 0x02] }, u16(12), { Int_Exp_A12: 12 }],
    ["bridge amplifier", { enabled: [0, 0x80] }, [...u16(1), ...u16(2)], { Bridge_Amp_High: 1, Bridge_Amp_Low: 2 }],
    ["int A13", { enabled: [0, 0x01] }, u16(13), { Int_Exp_A13: 13 }],
    ["int A14", { enabled: [0, 0, 0x80] }, u16(61234), { Int_Exp_A14: 61234 }],
    ["GSR", { enabled: [0x04] }, u16(0xc123), { GSR_Raw: 0xc123 }],
    ["int A1", { enabled: [0, 0x04] }, u16(1), { Int_Exp_A1: 1 }],
    ["gyro", { enabled: [0x40] }, [...u16r(-842), ...u16r(118), ...u16r(-571)], axes("Gyro", -842, 118, -571)],
    [
      "WR accel",
      { enabled: [0, 0x10] },
      [...u16(-10288), ...u16(4864), ...u16(-32768)],
      axes("Accel_WR", -10288, 4864, -32768),
    ],
    ["old mag", { enabled: [0x20] }, [...u16r(853), ...u16r(-910), ...u16r(-167)], axes("Mag", 853, -167, -910)],
    [
      "new mag",
      { enabled: [0x20], patch: newBoard },
      [...u16(853), ...u16(-167), ...u16(-910)],
      axes("Mag", 853, -167, -910),
    ],
    ["MPU accel", { enabled: [0, 0, 0x40] }, [...u16r(1), ...u16r(-2), ...u16r(3)], axes("Accel_MPU", 1, -2, 3)],
    ["MPU mag", { enabled: [0, 0, 0x20] }, [...u16(1), ...u16(-2), ...u16(3)], axes("Mag_MPU", 1, -2, 3)],
    [
      "pressure",
      { enabled: [0, 0, 0x04] },
      [...u16r(65000), ...u24r(0xfedcba)],
      { Temperature_BMP180: 65000, Pressure_BMP180: 0xfedcba },
    ],
    [
      "ExG 1, 24 bits",
      { enabled: [0x10] },
      [0x80, ...u24r(-1 & 0xffffff), ...u24r(5)],
      { ECG_EMG_Status1: 0x80, ExG1_CH1_24BIT: -1, ExG1_CH2_24BIT: 5 },
    ],
    [
      "ExG 1, 16 bits",
      { enabled: [0, 0, 0x10] },
      [0x80, ...u16r(-1), ...u16r(5)],
      { ECG_EMG_Status1: 0x80, ExG1_CH1_16BIT: -1, ExG1_CH2_16BIT: 5 },
    ],
    [
      "ExG 1, both bits: 24 wins",
      { enabled: [0x10, 0, 0x10] },
      [0, ...u24r(1), ...u24r(5)],
      { ECG_EMG_Status1: 0, ExG1_CH1_24BIT: 1, ExG1_CH2_24BIT: 5 },
    ],
    [
      "ExG 2, 24 bits",
      { enabled: [0x08] },
      [0, ...u24r(1), ...u24r(2)],
      { ECG_EMG_Status2: 0, ExG2_CH1_24BIT: 1, ExG2_CH2_24BIT: 2 },
    ],
    [
      "ExG 2, 16 bits",
      { enabled: [0, 0, 0x08] },
      [0, ...u16r(1), ...u16r(2)],
      { ECG_EMG_Status2: 0, ExG2_CH1_16BIT: 1, ExG2_CH2_16BIT: 2 },
    ],
    [
      "ExG by chip, 16 then 24 bits",
      { enabled: [0x08, 0, 0x10] },
      [1, ...u16r(1), ...u16r(2), 2, ...u24r(3), ...u24r(4)],
      {
        ECG_EMG_Status1: 1,
        ExG1_CH1_16BIT: 1,
        ExG1_CH2_16BIT: 2,
        ECG_EMG_Status2: 2,
        ExG2_CH1_24BIT: 3,
        ExG2_CH2_24BIT: 4,
      },
    ],
    [
      "MPL quaternion, 6 axes",
      { firmware: sdLog, enabled: [0, 0, 0, 0x80] },
      [1, 2, 3, 4].flatMap(u32r),
      { Quat_MPL_6DOF_W: 1, Quat_MPL_6DOF_X: 2, Quat_MPL_6DOF_Y: 3, Quat_MPL_6DOF_Z: 4 },
    ],
    [
      "MPL quaternion, 9 axes",
      { firmware: sdLog, enabled: [0, 0, 0, 0x40] },
      [1, 2, 3, -4].flatMap(u32r),
      { Quat_MPL_9DOF_W: 1, Quat_MPL_9DOF_X: 2, Quat_MPL_9DOF_Y: 3, Quat_MPL_9DOF_Z: -4 },
    ],
    [
      "MPL Euler, 6 axes",
      { firmware: sdLog, enabled: [0, 0, 0, 0x20] },
      [1, -2, 3].flatMap(u32r),
      axes("Euler_MPL_6DOF", 1, -2, 3),
    ],
    [
      "MPL Euler, 9 axes",
      { firmware: sdLog, enabled: [0, 0, 0, 0x10] },
      [1, -2, 3].flatMap(u32r),
      axes("Euler_MPL_9DOF", 1, -2, 3),
    ],
    ["MPL heading", { firmware: sdLog, enabled: [0, 0, 0, 0x08] }, u32r(-65536), { MPL_heading: -65536 }],
    ["MPL temperature", { firmware: sdLog, enabled: [0, 0, 0x02] }, u32r(65536), { MPL_Temperature: 65536 }],
    [
      "pedometer",
      { firmware: sdLog, enabled: [0, 0, 0, 0x04] },
      [...u32r(3), ...u32r(0xffffffff)],
      { MPL_Pedom_cnt: 3, MPL_Pedom_Time: 0xffffffff },
    ],
    ["tap", { firmware: sdLog, enabled: [0, 0, 0, 0x02] }, [200], { TapDirAndTapCnt: 200 }],
    ["motion", { firmware: sdLog, enabled: [0, 0, 0, 0x01] }, [201], { MotionAndOrient: 201 }],
    [
      "MPL gyro",
      { firmware: sdLog, enabled: [0, 0, 0, 0, 0x80] },
      [1, 2, 3].flatMap(u32r),
      axes("Gyro_MPU_MPL", 1, 2, 3),
    ],
    [
      "MPL accel",
      { firmware: sdLog, enabled: [0, 0, 0, 0, 0x40] },
      [1, 2, 3].flatMap(u32r),
      axes("Accel_MPU_MPL", 1, 2, 3),
    ],
    [
      "MPL mag",
      { firmware: sdLog, enabled: [0, 0, 0, 0, 0x20] },
      [1, 2, 3].flatMap(u32r),
      axes("Mag_MPU_MPL", 1, 2, 3),
    ],
    [
      "DMP quaternion",
      { firmware: sdLog, enabled: [0, 0, 0, 0, 0x10] },
      [1, 2, 3, 4].flatMap(u32r),
      { Quat_DMP_6DOF_W: 1, Quat_DMP_6DOF_X: 2, Quat_DMP_6DOF_Y: 3, Quat_DMP_6DOF_Z: 4 },
    ],
    ["heart rate", { enabled: [0, 0x40] }, [72], { ECGtoHR_FW: 72 }],
  ])("%s", (_, spelling, record, expected) => {
    expect(raw(spelling, record)).toEqual(expected);
  });

  it("stands in the fixed order when all are on", () => {
    const record = [
      ...[1, 2, 3].flatMap(u16),
      ...u16(4),
      ...u16(5),
      ...u16(6),
      ...u16(7),
      ...u16(8),
      ...u16(9),
      ...u16(10),
      ...u16(11),
      ...[12, 13, 14].flatMap(u16r),
      ...[15, 16, 17].flatMap(u16),
      ...[18, 20, 19].flatMap(u16r),
      ...[21, 22, 23].flatMap(u16r),
      ...[24, 25, 26].flatMap(u16),
      ...u16r(27),
      ...u24r(28),
      29,
      ...u24r(30),
      ...u24r(31),
      32,
      ...u24r(33),
      ...u24r(34),
      ...Array.from({ length: 33 }, (_, index) => index).flatMap((index) =>
        index === 18 || index === 19 ? [100 + index] : u32r(100 + index),
      ),
      99,
    ];
    const values = raw({ firmware: sdLog, enabled: [0xff, 0xff, 0xff, 0xff, 0xff] }, record);
    expect(values).toMatchObject({
      ...axes("Accel_LN", 1, 2, 3),
      Battery: 4,
      Ext_Exp_A7: 5,
      Ext_Exp_A6: 6,
      Ext_Exp_A15: 7,
      Int_Exp_A12: 8,
      Bridge_Amp_High: 9,
      Bridge_Amp_Low: 10,
      GSR_Raw: 11,
      ...axes("Gyro", 12, 13, 14),
      ...axes("Accel_WR", 15, 16, 17),
      ...axes("Mag", 18, 19, 20),
      ...axes("Accel_MPU", 21, 22, 23),
      ...axes("Mag_MPU", 24, 25, 26),
      Temperature_BMP180: 27,
      Pressure_BMP180: 28,
      ECG_EMG_Status1: 29,
      ExG1_CH1_24BIT: 30,
      ECG_EMG_Status2: 32,
      ExG2_CH2_24BIT: 34,
      Quat_MPL_6DOF_W: 100,
      Quat_MPL_9DOF_Z: 107,
      ...axes("Euler_MPL_6DOF", 108, 109, 110),
      ...axes("Euler_MPL_9DOF", 111, 112, 113),
      MPL_heading: 114,
      MPL_Temperature: 115,
      ECGtoHR_FW: 99,
    });
    expect(values).not.toHaveProperty("Int_Exp_A13");
    expect(values).not.toHaveProperty("Int_Exp_A1");
  });

  it("scales MPL fixed point by 2^30 and 2^16", () => {
    const one = decode(
      file({ firmware: sdLog, enabled: [0, 0, 0, 0x80] }, [[2 ** 30, -(2 ** 29), 0, 0].flatMap(u32r)]),
    );
    expect(one.columns.slice(1).map(({ values }) => values[0])).toEqual([1, -0.5, 0, 0]);
    const two = decode(file({ firmware: sdLog, enabled: [0, 0, 0x02] }, [u32r(36.5 * 65536)]));
    expect(two.columns[1]).toMatchObject({ signal: "MPL_Temperature", unit: "Degrees Celsius" });
    expect(two.columns[1]!.values[0]).toBe(36.5);
  });

  it("reads two-byte time stamps of early firmware", () => {
    const head = file({ firmware: [3, 0, 5, 0], enabled: [0, 0x20] }, []);
    const body = [0, 640, 1280].flatMap((tick, index) => [...u16(tick), ...u16(index)]);
    const { columns } = decode(Uint8Array.from([...head, ...body]), { values: "raw", timeSource: "device" });
    expect([...columns[1]!.values]).toEqual([0, 1, 2]);
    expect([...columns[0]!.values]).toEqual([0, 640, 1280].map((tick) => (tick / 32768) * 1000));
  });
});

describe("Shimmer3R's channel list", () => {
  const shimmer3r = (ids: number[], enabled: number[], patch: Record<number, number[]> = {}): Spelling => ({
    hardware: 10,
    firmware: [3, 1, 1, 14],
    enabled,
    patch: { 314: [ids.length, ...ids], ...patch },
  });

  it.each<[string, number[], number[], number[], Record<string, number>]>([
    ["LN accel", [0, 1, 2], [0x80], [...u16(-1), ...u16(2), ...u16(3)], axes("Accel_LN", -1, 2, 3)],
    ["battery", [3], [0, 0x20], u16(3000), { Battery: 3000 }],
    ["WR accel", [4, 5, 6], [0, 0x10], [...u16(-1), ...u16(2), ...u16(3)], axes("LIS2DW12_ACC", -1, 2, 3)],
    ["mag", [7, 8, 9], [0x20], [...u16(-1), ...u16(2), ...u16(3)], axes("Mag", -1, 2, 3)],
    ["gyro", [10, 11, 12], [0x40], [...u16(-1), ...u16(2), ...u16(3)], axes("Gyro", -1, 2, 3)],
    [
      "ext 0, 1, 2",
      [13, 14, 15],
      [0x03, 0x08],
      [1, 2, 3].flatMap(u16),
      { Ext_Exp_A0: 1, Ext_Exp_A1: 2, Ext_Exp_A2: 3 },
    ],
    [
      "int 3, 0, 1, 2",
      [16, 17, 18, 19],
      [0, 0x07, 0x80],
      [1, 2, 3, 4].flatMap(u16),
      { Int_Exp_A3: 1, Int_Exp_A0: 2, Int_Exp_A1: 3, Int_Exp_A2: 4 },
    ],
    [
      "alt accel",
      [20, 21, 22],
      [0, 0, 0x40],
      [0x80, 0x0f, 0x7f, 0xf0, 0x00, 0x10],
      axes("Accel_HighG", -2048, 2047, 1),
    ],
    ["alt mag", [23, 24, 25], [0, 0, 0x20], [...u16(-1), ...u16(2), ...u16(3)], axes("Mag_Alt", -1, 2, 3)],
    [
      "pressure, then temperature",
      [27, 26],
      [0, 0, 0x04],
      [...u24(0xfedcba), ...u24(0x812345)],
      { BMP390_Pressure: 0xfedcba, BMP390_Temperature: 0x812345 },
    ],
    ["GSR", [28], [0x04], u16(5), { GSR_Raw: 5 }],
    [
      "ExG 1, 24 bits",
      [29, 30, 31],
      [0x10],
      [0x80, ...u24r(-1 & 0xffffff), ...u24r(2)],
      { ECG_EMG_Status1: 0x80, ExG1_CH1_24BIT: -1, ExG1_CH2_24BIT: 2 },
    ],
    [
      "ExG 2, 24 bits",
      [32, 33, 34],
      [0x08],
      [0x80, ...u24r(1), ...u24r(2)],
      { ECG_EMG_Status2: 0x80, ExG2_CH1_24BIT: 1, ExG2_CH2_24BIT: 2 },
    ],
    [
      "ExG 1, 16 bits",
      [29, 35, 36],
      [0, 0, 0x10],
      [0x80, ...u16r(1), ...u16r(2)],
      { ECG_EMG_Status1: 0x80, ExG1_CH1_16BIT: 1, ExG1_CH2_16BIT: 2 },
    ],
    [
      "ExG 2, 16 bits",
      [32, 37, 38],
      [0, 0, 0x08],
      [0x80, ...u16r(1), ...u16r(2)],
      { ECG_EMG_Status2: 0x80, ExG2_CH1_16BIT: 1, ExG2_CH2_16BIT: 2 },
    ],
    [
      "bridge amplifier, apart",
      [39, 3, 40],
      [0, 0xa0],
      [1, 2, 3].flatMap(u16),
      { Bridge_Amp_High: 1, Battery: 2, Bridge_Amp_Low: 3 },
    ],
  ])("%s", (_, ids, enabled, record, expected) => {
    const bytes = file(shimmer3r(ids, enabled), [record]);
    expect(raw(shimmer3r(ids, enabled), record)).toEqual(expected);
    expect(decode(bytes).recording.report.notes.map(({ code }) => code)).not.toContain("channels_disagree");
  });

  it("an unknown id is fatal: the stride would be wrong", () => {
    expect(() => decode(file(shimmer3r([3, 0x29], [0, 0x20]), []))).toThrow(
      "channel id at byte 316: expected 0x00 to 0x28, found 0x29",
    );
  });

  it("so is one that comes twice", () => {
    expect(() => decode(file(shimmer3r([3, 3], [0, 0x20]), []))).toThrow(
      "channel id at byte 316: expected each id once, found 0x03 again",
    );
  });

  it("a list that differs from the enabled bits is used, and noted", () => {
    const { recording, columns } = decode(file(shimmer3r([3, 4], [0, 0x20]), [[...u16(1), ...u16(2)]]));
    expect(recording.report.notes.map(({ code }) => code)).toEqual(
      expect.arrayContaining(["channels_disagree", "sensor_partial"]),
    );
    expect(columns.map(({ name }) => name)).toContain("Shimmer_ABCD_LIS2DW12_ACC_X_UNCAL");
  });

  it("compensates BMP581 without coefficients", () => {
    const spelling = { ...shimmer3r([27, 26], [0, 0, 0x04], { 214: [48, 8, 2] }), firmware: [3, 1, 1, 6] as const };
    const { columns } = decode(file(spelling, [[...u24(101325 * 64), ...u24(20 * 65536)]]));
    expect(columns.slice(1).map(({ signal, unit, values }) => [signal, unit, values[0]])).toEqual([
      ["BMP581_Pressure", "kPa", 101.325],
      ["BMP581_Temperature", "Degrees Celsius", 20],
    ]);
  });

  it("assembles the 64-bit start time", () => {
    const ticks = clockTicks("2026-03-01T12:00:00Z");
    const bytes = file(
      {
        ...shimmer3r([3], [0, 0x20]),
        start: Number(ticks % 2n ** 40n),
        patch: {
          314: [1, 3],
          44: [Number(ticks >> 56n), Number((ticks >> 48n) & 0xffn), Number((ticks >> 40n) & 0xffn)],
        },
      },
      [u16(1)],
    );
    expect(decode(bytes).recording.report.startMs).toBe(Date.parse("2026-03-01T12:00:00Z"));
  });
});

function clockTicks(time: string): bigint {
  return BigInt(Date.parse(time) / 1000) * 32768n;
}
