import type { Word } from "./bytes.ts";
import type { InertialPart } from "./inertial.ts";

/** One bit of the header's enabled-sensor bytes: byte number in the file (3-7) and mask (SF 3). */
export type Flag = readonly [byte: number, mask: number];

/** How the raw numbers of a sensor become units. Each kind has one function in `conversions.ts`. */
export type Conversion =
  | { kind: "none" }
  | { kind: "linear"; factor: number; zero?: number }
  | { kind: "inertial"; part: InertialPart }
  | { kind: "gsr" }
  | { kind: "bridgeLow" }
  | { kind: "exg"; chip: 0 | 1; bits: 16 | 24 }
  | { kind: "pressure" };

/** Which signal of the row, read as which word. */
type Place = readonly [signal: number, word: Word];

/** Everything known about one sensor. */
export interface Sensor {
  key: string;
  on: Flag;
  /** The row is off when this bit is set (the pin or the chip serves the other sensor). */
  unless?: Flag;
  /** Names of Consensys (SF 10); `names.ts` replaces those that depend on the header. */
  signals: readonly string[];
  unit: string;
  /** Unit of a signal that has another one than the row. */
  units?: Readonly<Record<number, string>>;
  conversion: Conversion;
  /** Shimmer3: places in record order. */
  shimmer3?: readonly Place[] | { readonly old: readonly Place[]; readonly new: readonly Place[] };
  /** Shimmer3R: id and word of each signal; the order stands in the header's id list. */
  shimmer3r?: readonly (readonly [id: number, word: Word])[];
}

export const unitless = "no_units";
const acceleration = "m/(s^2)";
const field = "local_flux";

function axes(stem: string, letters = "XYZ"): string[] {
  return [...letters].map((letter) => `${stem}_${letter}`);
}

function each(word: Word, count: number): Place[] {
  return Array.from({ length: count }, (_, signal) => [signal, word] as const);
}

function ids(first: number, word: Word, count: number): (readonly [number, Word])[] {
  return Array.from({ length: count }, (_, index) => [first + index, word] as const);
}

/** 12 bits of 3 V: mV = raw · 3000 / 4095, never masked (SF 4.1, 9.1). */
const millivolts: Conversion = { kind: "linear", factor: 3000 / 4095 };

function adc(key: string, on: Flag, name: string, id: number, unless?: Flag): Sensor {
  const sensor: Sensor = { key, on, signals: [name], unit: "mV", conversion: millivolts, shimmer3: each("u16", 1) };
  return { ...sensor, shimmer3r: ids(id, "u16", 1), ...(unless === undefined ? {} : { unless }) };
}

function exg(chip: 0 | 1, bits: 16 | 24, on: Flag, statusId: number, firstId: number, unless?: Flag): Sensor {
  const word: Word = bits === 24 ? "i24r" : "i16r";
  const stem = `ExG${chip + 1}`;
  return {
    key: `exg${chip + 1}${bits}`,
    on,
    ...(unless === undefined ? {} : { unless }),
    signals: [`ECG_EMG_Status${chip + 1}`, `${stem}_CH1_${bits}BIT`, `${stem}_CH2_${bits}BIT`],
    unit: "mV",
    units: { 0: unitless },
    conversion: { kind: "exg", chip, bits },
    shimmer3: [[0, "u8"], ...each(word, 3).slice(1)],
    shimmer3r: [[statusId, "u8"], ...ids(firstId, word, 2)],
  };
}

function mpl(
  key: string,
  on: Flag,
  signals: string[],
  unit: string,
  fixedPointBits: number,
  word: Word = "i32r",
): Sensor {
  const conversion: Conversion = { kind: "linear", factor: 2 ** -fixedPointBits };
  return { key, on, signals, unit, conversion, shimmer3: each(word, signals.length) };
}

const bridge: Flag = [4, 0x80];
const gsr: Flag = [3, 0x04];
const exg1Wide: Flag = [3, 0x10];
const exg2Wide: Flag = [3, 0x08];

/** One row per sensor, in Shimmer3's record order (SF 4.1); Shimmer3R ids from SF 4.3. */
export const sensors: readonly Sensor[] = [
  {
    key: "accelLn",
    on: [3, 0x80],
    signals: axes("Accel_LN"),
    unit: acceleration,
    conversion: { kind: "inertial", part: "accelLn" },
    shimmer3: each("u16", 3),
    shimmer3r: ids(0x00, "i16", 3),
  },
  { ...adc("battery", [4, 0x20], "Battery", 0x03), conversion: { kind: "linear", factor: 6000 / 4095 } },
  adc("extA7", [3, 0x02], "Ext_Exp_A7", 0x0d),
  adc("extA6", [3, 0x01], "Ext_Exp_A6", 0x0e),
  adc("extA15", [4, 0x08], "Ext_Exp_A15", 0x0f),
  adc("intA12", [4, 0x02], "Int_Exp_A12", 0x11),
  {
    key: "bridgeHigh",
    on: bridge,
    signals: ["Bridge_Amp_High"],
    unit: "mV",
    conversion: { kind: "linear", factor: 3000 / 551 / 4095, zero: 60 },
    shimmer3: each("u16", 1),
    shimmer3r: ids(0x27, "u16", 1),
  },
  {
    key: "bridgeLow",
    on: bridge,
    signals: ["Bridge_Amp_Low"],
    unit: "mV",
    conversion: { kind: "bridgeLow" },
    shimmer3: each("u16", 1),
    shimmer3r: ids(0x28, "u16", 1),
  },
  adc("intA13", [4, 0x01], "Int_Exp_A13", 0x12, bridge),
  adc("intA14", [5, 0x80], "Int_Exp_A14", 0x13, bridge),
  {
    key: "gsr",
    on: gsr,
    signals: ["GSR_Raw"],
    unit: unitless,
    conversion: { kind: "gsr" },
    shimmer3: each("u16", 1),
    shimmer3r: ids(0x1c, "u16", 1),
  },
  adc("intA1", [4, 0x04], "Int_Exp_A1", 0x10, gsr),
  {
    key: "gyro",
    on: [3, 0x40],
    signals: axes("Gyro"),
    unit: "deg/s",
    conversion: { kind: "inertial", part: "gyro" },
    shimmer3: each("i16r", 3),
    shimmer3r: ids(0x0a, "i16", 3),
  },
  {
    key: "accelWr",
    on: [4, 0x10],
    signals: axes("Accel_WR"),
    unit: acceleration,
    conversion: { kind: "inertial", part: "accelWr" },
    shimmer3: each("i16", 3),
    shimmer3r: ids(0x04, "i16", 3),
  },
  {
    key: "mag",
    on: [3, 0x20],
    signals: axes("Mag"),
    unit: field,
    conversion: { kind: "inertial", part: "mag" },
    // The old part puts Z before Y.
    shimmer3: {
      old: [
        [0, "i16r"],
        [2, "i16r"],
        [1, "i16r"],
      ],
      new: each("i16", 3),
    },
    shimmer3r: ids(0x07, "i16", 3),
  },
  // No calibration block in the header for these two: raw, as the vendor leaves them in logs (SF 8.1).
  {
    key: "accelMpu",
    on: [5, 0x40],
    signals: axes("Accel_MPU"),
    unit: unitless,
    conversion: { kind: "none" },
    shimmer3: each("i16r", 3),
  },
  {
    key: "magMpu",
    on: [5, 0x20],
    signals: axes("Mag_MPU"),
    unit: unitless,
    conversion: { kind: "none" },
    shimmer3: each("i16", 3),
  },
  {
    key: "accelAlt",
    on: [5, 0x40],
    signals: axes("Accel_HighG"),
    unit: acceleration,
    conversion: { kind: "inertial", part: "accelAlt" },
    shimmer3r: ids(0x14, "l12r", 3),
  },
  {
    key: "magAlt",
    on: [5, 0x20],
    signals: axes("Mag_Alt"),
    unit: field,
    conversion: { kind: "inertial", part: "magAlt" },
    shimmer3r: ids(0x17, "i16", 3),
  },
  {
    key: "pressure",
    on: [5, 0x04],
    signals: ["Temperature", "Pressure"],
    unit: "kPa",
    units: { 0: "Degrees Celsius" },
    conversion: { kind: "pressure" },
    shimmer3: [
      [0, "u16r"],
      [1, "u24r"],
    ],
    shimmer3r: ids(0x1a, "u24", 2),
  },
  // By chip, as the firmware writes them; with both widths of one chip set, 24 bits win (SF 4.1).
  exg(0, 24, exg1Wide, 0x1d, 0x1e),
  exg(0, 16, [5, 0x10], 0x1d, 0x23, exg1Wide),
  exg(1, 24, exg2Wide, 0x20, 0x21),
  exg(1, 16, [5, 0x08], 0x20, 0x25, exg2Wide),
  mpl("quat6", [6, 0x80], axes("Quat_MPL_6DOF", "WXYZ"), unitless, 30),
  mpl("quat9", [6, 0x40], axes("Quat_MPL_9DOF", "WXYZ"), unitless, 30),
  mpl("euler6", [6, 0x20], axes("Euler_MPL_6DOF"), "Degrees", 16),
  mpl("euler9", [6, 0x10], axes("Euler_MPL_9DOF"), "Degrees", 16),
  mpl("heading", [6, 0x08], ["MPL_heading"], "Degrees", 16),
  mpl("mplTemperature", [5, 0x02], ["MPL_Temperature"], "Degrees Celsius", 16),
  mpl("pedometer", [6, 0x04], ["MPL_Pedom_cnt", "MPL_Pedom_Time"], unitless, 0, "u32r"),
  mpl("tap", [6, 0x02], ["TapDirAndTapCnt"], unitless, 0, "u8"),
  mpl("motion", [6, 0x01], ["MotionAndOrient"], unitless, 0, "u8"),
  mpl("gyroMpl", [7, 0x80], axes("Gyro_MPU_MPL"), "deg/s", 16),
  mpl("accelMpl", [7, 0x40], axes("Accel_MPU_MPL"), acceleration, 16),
  mpl("magMpl", [7, 0x20], axes("Mag_MPU_MPL"), field, 16),
  mpl("quatDmp", [7, 0x10], axes("Quat_DMP_6DOF", "WXYZ"), unitless, 30),
  {
    key: "heartRate",
    on: [4, 0x40],
    signals: ["ECGtoHR_FW"],
    unit: unitless,
    conversion: { kind: "none" },
    shimmer3: each("u8", 1),
  },
];
