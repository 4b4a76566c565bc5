/**
 * The older service's reading of the same bytes, for those who must reproduce its JSON (SF 11, originals 1.5-1.7):
 * Shimmer3 only, no sync framing, always the old magnetometer, transposed alignment, signed pressure, no defaults.
 * Known to be wrong in these places; the `vendor` profile is the truth. One thing is not reproduced: it read 16-bit
 * ExG of chip 1 with the wrong width and then failed on every such file.
 */
import { type Word, words } from "./bytes.ts";
import type { Convert, Signal } from "./conversions.ts";
import { badRecording } from "./faults.ts";
import type { Header } from "./header.ts";
import { type Calibration, calibrateInPlace, readBlock } from "./inertial.ts";
import type { Layout, Source, Step } from "./plan.ts";
import type { Flag } from "./sensors.ts";

interface Row {
  on: Flag;
  unless?: Flag;
  channels: readonly (readonly [key: string, word: Word])[];
}

const bridge: Flag = [4, 0x80];
const gsr: Flag = [3, 0x04];

function three(stem: string, word: Word, order = "XYZ"): [string, Word][] {
  return [...order].map((axis) => [`${stem}_${axis}`, word]);
}

function exgRow(chip: 1 | 2, bits: 16 | 24, on: Flag, unless?: Flag): Row {
  const word: Word = bits === 24 ? "i24r" : "i16r";
  const stem = `EXG${chip}`;
  return {
    on,
    ...(unless === undefined ? {} : { unless }),
    channels: [
      [`${stem}_Status`, "u8"],
      [`${stem}_CH1_${bits}bit`, word],
      [`${stem}_CH2_${bits}bit`, word],
    ],
  };
}

/** Its keys in record order. */
const rows: readonly Row[] = [
  { on: [3, 0x80], channels: three("Accel_LN", "i16") },
  { on: [4, 0x20], channels: [["VSenseBatt", "u16"]] },
  { on: [3, 0x02], channels: [["EXT_A7", "u16"]] },
  { on: [3, 0x01], channels: [["EXT_A6", "u16"]] },
  { on: [4, 0x08], channels: [["EXT_A15", "u16"]] },
  { on: [4, 0x02], channels: [["INT_A12", "u16"]] },
  {
    on: bridge,
    channels: [
      ["Strain_High", "u16"],
      ["Strain_Low", "u16"],
    ],
  },
  { on: [4, 0x01], unless: bridge, channels: [["INT_A13", "u16"]] },
  { on: [5, 0x80], unless: bridge, channels: [["INT_A14", "u16"]] },
  { on: gsr, channels: [["GSR_Raw", "u16"]] },
  { on: [4, 0x04], unless: gsr, channels: [["INT_A1", "u16"]] },
  { on: [3, 0x40], channels: three("Gyro", "i16r") },
  { on: [4, 0x10], channels: three("Accel_WR", "i16") },
  { on: [3, 0x20], channels: three("Mag", "i16r", "XZY") },
  { on: [5, 0x40], channels: three("Accel_MPU", "i16r") },
  { on: [5, 0x20], channels: three("Mag_MPU", "i16") },
  {
    on: [5, 0x04],
    channels: [
      ["BMP_Temperature", "i16r"],
      ["BMP_Pressure", "i24r"],
    ],
  },
  exgRow(1, 24, [3, 0x10]),
  exgRow(1, 16, [5, 0x10], [3, 0x10]),
  exgRow(2, 24, [3, 0x08]),
  exgRow(2, 16, [5, 0x08], [3, 0x08]),
];

/** Calibrated groups: stem, block in the header, factor after calibration. */
const groups: readonly { stem: string; block: number; times: number }[] = [
  { stem: "Accel_LN", block: 139, times: 1 },
  { stem: "Accel_WR", block: 76, times: 1 },
  { stem: "Gyro", block: 97, times: 100 },
  { stem: "Mag", block: 118, times: 1 },
];

/** dtype and byte order by word, as its `channelInfo` names them. */
const dtypes: Partial<Record<Word, readonly [dtype: string, endian: string]>> = {
  u8: ["uint8", "little"],
  u16: ["uint16", "little"],
  i16: ["int16", "little"],
  i16r: ["int16", "big"],
  i24r: ["int24", "big"],
};

export interface CloudChannel {
  name: string;
  dtype: string;
  nbytes: number;
  endian: string;
}

interface Place {
  key: string;
  word: Word;
  offset: number;
}

/** Tick width is always taken as 3. */
const tickBytes = 3;

function places(header: Header): Place[] {
  const isSet = ([byte, mask]: Flag) => (header.bytes[byte]! & mask) !== 0;
  let offset = tickBytes;
  return rows
    .filter(({ on, unless }) => isSet(on) && (unless === undefined || !isSet(unless)))
    .flatMap(({ channels }) => channels)
    .map(([key, word]) => {
      const place = { key, word, offset };
      offset += words[word].size;
      return place;
    });
}

/** Its `channelInfo`. */
export function cloudChannels(header: Header): CloudChannel[] {
  return places(header).map(({ key, word }) => {
    const [dtype, endian] = dtypes[word]!;
    return { name: key, dtype, nbytes: words[word].size, endian };
  });
}

/** @throws UploaderError `recording_bad` for a Shimmer3R, which the older service could not read */
export function assertCloudReadable(header: Header, name: string): void {
  if (header.generation !== "shimmer3") {
    const hint = "The older service could not read it either; use the vendor profile.";
    throw badRecording(name, {
      offset: 30,
      field: "hardware version",
      expected: "3 (Shimmer3) for the cloud-sync profile",
      found: "10",
      hint,
    });
  }
}

/** Its arrays as columns, in the order of its keys; the scalars between them are the JSON writer's. */
export function cloudSyncLayout(header: Header): Layout {
  const channels = places(header);
  const at = new Map(channels.map((place) => [place.key, place]));
  const steps: Step[] = [];
  const columns: (Signal & { source: Source })[] = [];
  const add = (
    keys: readonly string[],
    from: readonly Place[],
    isCalibrated: boolean,
    unit: string,
    convert: Convert | null,
  ) => {
    const signals = keys.map((key) => ({ name: key, unit, isCalibrated }));
    const step =
      steps.push({ signals, reads: from.map(({ word, offset }, column) => ({ word, offset, column })), convert }) - 1;
    for (const [column, signal] of signals.entries()) columns.push({ ...signal, source: { step, column } });
  };
  const copy = (key: string, of: string, unit: string) => {
    const place = at.get(of);
    if (place !== undefined) add([key], [place], true, unit, null);
  };

  add(["timestamps"], [{ key: "timestamps", word: "u24", offset: 0 }], false, "ticks", null);
  for (const place of channels) add([place.key], [place], false, "no_units", null);
  copy("uwbDis", "INT_A13", "cm");
  copy("tagId", "INT_A14", "no_units");
  const battery = at.get("VSenseBatt");
  if (battery !== undefined) add(["VSenseBatt_cal"], [battery], true, "mV", batteryMillivolts);
  columns.push({ name: "timestampCal", unit: "s", isCalibrated: true, source: "time" });
  for (const { stem, block, times } of groups) {
    const axes = ["X", "Y", "Z"].map((axis) => at.get(`${stem}_${axis}`));
    if (axes.some((place) => place === undefined)) continue;
    const calibration = transposed(header.bytes.subarray(block, block + 21), times);
    const isWideRange = stem === "Accel_WR";
    const keys = ["X", "Y", "Z"].map((axis) => `${stem}_${axis}_cal`);
    const unit = { Gyro: "deg/s", Mag: "local_flux" }[stem] ?? "m/(s^2)";
    add(
      isWideRange ? [...keys, "Accel_WR_Absolute"] : keys,
      axes as Place[],
      true,
      unit,
      ([x, y, z, length], from, to) => {
        calibrateInPlace(calibration, x!, y!, z!, from, to);
        if (length !== undefined) lengthOf(x!, y!, z!, length, from, to);
      },
    );
  }
  return {
    recordBytes: tickBytes + channels.reduce((sum, { word }) => sum + words[word].size, 0),
    steps,
    columns: columns.map((signal) => ({ ...signal, signal: signal.name })),
    timeUnit: "s",
    notes: [],
  };
}

const batteryMillivolts: Convert = ([column], from, to) => {
  for (let row = from; row < to; row++) column![row] = 1.4652 * column![row]! - 0.004;
};

export function lengthOf(
  x: Float64Array,
  y: Float64Array,
  z: Float64Array,
  out: Float64Array,
  from: number,
  to: number,
): void {
  for (let row = from; row < to; row++) out[row] = Math.sqrt(x[row]! ** 2 + y[row]! ** 2 + z[row]! ** 2);
}

/** Rᵀ · ((U − B) / K) · times, K unsigned, 0 taken as 1. */
function transposed(block: Uint8Array, times: number): Calibration {
  const { offset, gain, alignment } = readBlock(block, 1);
  const unsigned = gain.map((k) => (k < 0 ? k + 65536 : k) || 1);
  const matrix = [0, 3, 6, 1, 4, 7, 2, 5, 8].map((from, index) => (alignment[from]! / unsigned[index % 3]!) * times);
  return { offset, matrix };
}

/**
 * Its time "smoothing": a step of more than ten mean steps is replaced by the mean step, and times are summed up anew.
 * It erases every gap, and is used by this profile only. Times in seconds, in place.
 */
export function openSmoothing(meanStepSeconds: number): (times: Float64Array, count: number) => void {
  let previous: number | null = null;
  let steps = 0;
  let first = 0;
  return (times, count) => {
    for (let row = 0; row < count; row++) {
      const time = times[row]!;
      if (previous === null) first = time;
      else {
        const step = time - previous;
        steps += Math.abs(step) > 10 * Math.abs(meanStepSeconds) ? meanStepSeconds : step;
      }
      previous = time;
      times[row] = first + steps;
    }
  };
}
