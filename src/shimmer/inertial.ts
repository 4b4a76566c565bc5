import type { Board } from "./boards.ts";
import type { Note } from "./faults.ts";
import type { Header, Setup } from "./header.ts";

/** C = inv(R) · inv(K) · (U − B) (SF 8.1), kept as `offset` B and `matrix` M = inv(R)·inv(K), row by row. */
export interface Calibration {
  offset: readonly number[];
  matrix: readonly number[];
}

export type InertialPart = "accelLn" | "accelWr" | "accelAlt" | "gyro" | "mag" | "magAlt";

/** A calibration as written down: K per axis (one number: the same for all), R row by row. */
interface Parameters {
  offset: readonly number[];
  gain: readonly number[];
  alignment: readonly number[];
}

interface Defaults {
  offset: number;
  /** By range code of the header. */
  gains: Readonly<Record<number, number | readonly [number, number, number]>>;
  alignment: readonly number[];
}

interface Part {
  /** Byte offset of the 21-byte block in the header. */
  block: number;
  /** The gyro's K is stored a hundredfold. */
  gainScale: number;
  range: keyof Setup | null;
  /** Offset of the byte the range code stands in, for messages. */
  rangeAt: number;
  defaults: Partial<Record<Board, Defaults>>;
}

const crossed = [0, -1, 0, -1, 0, 0, 0, 0, -1];
const turned = [0, -1, 0, 1, 0, 0, 0, 0, -1];
const flipped = [-1, 0, 0, 0, 1, 0, 0, 0, -1];

/** Defaults for the range (LSB per unit) and board, for headers without a calibration of their own (SF 8.2). */
export const inertialParts: Readonly<Record<InertialPart, Part>> = {
  accelLn: {
    block: 139,
    gainScale: 1,
    range: "accelLnRange",
    rangeAt: 11,
    defaults: {
      old: { offset: 2047, gains: { 0: 83 }, alignment: crossed },
      new: { offset: 2253, gains: { 0: 92 }, alignment: crossed },
      shimmer3r: { offset: 0, gains: { 0: 1672, 1: 836, 2: 418, 3: 209 }, alignment: flipped },
    },
  },
  accelWr: {
    block: 76,
    gainScale: 1,
    range: "accelWrRange",
    rangeAt: 8,
    defaults: {
      old: { offset: 0, gains: { 0: 1631, 1: 815, 2: 408, 3: 135 }, alignment: flipped },
      // The LSM303AHTR's codes are not in order: 0 = 2 g, 2 = 4 g, 3 = 8 g, 1 = 16 g (SF 2.1).
      new: { offset: 0, gains: { 0: 1671, 2: 836, 3: 418, 1: 209 }, alignment: turned },
      shimmer3r: { offset: 0, gains: { 0: 1671, 1: 836, 2: 418, 3: 209 }, alignment: crossed },
    },
  },
  gyro: {
    block: 97,
    gainScale: 100,
    range: "gyroRange",
    rangeAt: 10,
    defaults: {
      old: { offset: 0, gains: { 0: 131, 1: 65.5, 2: 32.8, 3: 16.4 }, alignment: crossed },
      new: { offset: 0, gains: { 0: 131, 1: 65.5, 2: 32.8, 3: 16.4 }, alignment: crossed },
      shimmer3r: { offset: 0, gains: { 0: 229, 1: 114, 2: 57, 3: 29, 4: 14, 5: 7 }, alignment: flipped },
    },
  },
  mag: {
    block: 118,
    gainScale: 1,
    range: "magRange",
    rangeAt: 10,
    defaults: {
      old: {
        offset: 0,
        gains: {
          // Code 0 does not exist; the firmware's own table answers it with its last row.
          0: [230, 230, 205],
          1: [1100, 1100, 980],
          2: [855, 855, 760],
          3: [670, 670, 600],
          4: [450, 450, 400],
          5: [400, 400, 355],
          6: [330, 330, 295],
          7: [230, 230, 205],
        },
        alignment: flipped,
      },
      // One range, whatever the code says.
      new: { offset: 0, gains: sameForAll(8, 667), alignment: turned },
      shimmer3r: { offset: 0, gains: { 0: 667 }, alignment: [-1, 0, 0, 0, -1, 0, 0, 0, -1] },
    },
  },
  accelAlt: {
    block: 256,
    gainScale: 1,
    range: null,
    rangeAt: 12,
    defaults: { shimmer3r: { offset: 10, gains: { 0: 1 }, alignment: [0, 1, 0, 1, 0, 0, 0, 0, -1] } },
  },
  magAlt: {
    block: 285,
    gainScale: 1,
    range: "magAltRange",
    rangeAt: 10,
    defaults: {
      shimmer3r: { offset: 0, gains: { 0: 6842, 1: 3421, 2: 2281, 3: 1711 }, alignment: [1, 0, 0, 0, -1, 0, 0, 0, -1] },
    },
  },
};

function sameForAll(codes: number, gain: number): Record<number, number> {
  return Object.fromEntries(Array.from({ length: codes }, (_, code) => [code, gain]));
}

/**
 * The calibration of one inertial part: the header's block, or the defaults of its range where the block is empty or
 * cannot be inverted; `null` where there is no default either (a range code that does not exist).
 */
export function calibrationOf(header: Header, name: InertialPart): { calibration: Calibration | null; notes: Note[] } {
  const part = inertialParts[name];
  const block = header.bytes.subarray(part.block, part.block + 21);
  const isEmpty = block.every((byte) => byte === 0xff) || block.every((byte) => byte === 0);
  const own = isEmpty ? null : invert(readBlock(block, part.gainScale));
  if (own !== null) return { calibration: own, notes: [] };

  const code = part.range === null ? 0 : header.setup[part.range];
  const defaults = part.defaults[header.board];
  const gain = defaults?.gains[code];
  const why = isEmpty ? "the header holds no calibration of its own" : "the header's calibration cannot be inverted";
  if (defaults === undefined || gain === undefined) {
    const message = `${name}: ${why} (byte ${part.block}) and range code ${code} (byte ${part.rangeAt}) has no default: left uncalibrated`;
    return { calibration: null, notes: [{ code: "range_unknown", message }] };
  }
  const { offset, alignment } = defaults;
  const gains = typeof gain === "number" ? [gain, gain, gain] : gain;
  const message = `${name}: ${why} (byte ${part.block}); defaults of range code ${code} on the ${header.board} board used`;
  return {
    calibration: invert({ offset: [offset, offset, offset], gain: gains, alignment }),
    notes: [{ code: isEmpty ? "calibration_default" : "calibration_singular", message }],
  };
}

/** 21 bytes: B 3 × i16 BE, K 3 × i16 BE, R 9 × i8 in hundredths (SF 8.1). */
export function readBlock(block: Uint8Array, gainScale: number): Parameters {
  const view = new DataView(block.buffer, block.byteOffset, 21);
  const three = [0, 1, 2];
  return {
    offset: three.map((axis) => view.getInt16(2 * axis)),
    gain: three.map((axis) => view.getInt16(6 + 2 * axis) / gainScale),
    alignment: Array.from({ length: 9 }, (_, index) => view.getInt8(12 + index) / 100),
  };
}

/** `null` when R or K cannot be inverted. */
export function invert({ offset, gain, alignment }: Parameters): Calibration | null {
  const [a, b, c, d, e, f, g, h, i] = alignment as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const cofactors = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f];
  cofactors.push(d * h - e * g, b * g - a * h, a * e - b * d);
  const determinant = a * cofactors[0]! + b * cofactors[3]! + c * cofactors[6]!;
  // Entries are hundredths, so a determinant that is not zero is at least 1e-6.
  if (Math.abs(determinant) < 1e-7 || gain.some((k) => k === 0)) return null;
  return { offset, matrix: cofactors.map((value, index) => value / determinant / gain[index % 3]!) };
}

/** Calibrates three columns of raw values in place, rows `from` to `to`. */
export function calibrateInPlace(
  { offset, matrix }: Calibration,
  x: Float64Array,
  y: Float64Array,
  z: Float64Array,
  from: number,
  to: number,
): void {
  const [bx, by, bz] = offset as [number, number, number];
  const [a, b, c, d, e, f, g, h, i] = matrix as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  for (let row = from; row < to; row++) {
    const u = x[row]! - bx;
    const v = y[row]! - by;
    const w = z[row]! - bz;
    x[row] = a * u + b * v + c * w;
    y[row] = d * u + e * v + f * w;
    z[row] = g * u + h * v + i * w;
  }
}
