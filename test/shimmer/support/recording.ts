/** Spells Shimmer files byte by byte, from the format's description alone: nothing here knows the decoder. */

export interface Spelling {
  /** 3 (256-byte header) or 10 (384). */
  hardware?: number;
  /** Type (2 SDLog, 3 LogAndStream), major, minor, internal. */
  firmware?: readonly [number, number, number, number];
  divider?: number;
  /** Enabled-sensor bytes 3, 4, 5, 6, 7. */
  enabled?: readonly number[];
  /** Start ticks, 40 bits. */
  start?: number;
  /** Other header bytes: offset → bytes. */
  patch?: Readonly<Record<number, readonly number[]>>;
  /** What unwritten header bytes hold. */
  blank?: number;
}

/** Firmware, board and clock of the tests: LogAndStream 0.16.1, old board, clock set to 2025-10-30T00:00:00Z. */
export const clockSetTicks = 1_761_782_400 * 32768;

export function header(spelling: Spelling = {}): Uint8Array {
  const {
    hardware = 3,
    firmware = [3, 0, 16, 1],
    divider = 640,
    enabled = [],
    start = 0,
    patch = {},
    blank = 0,
  } = spelling;
  const bytes = new Uint8Array(hardware === 10 ? 384 : 256).fill(blank);
  const [kind, major, minor, internal] = firmware;
  const parts: [number, readonly number[]][] = [
    [0, u16(divider)],
    [3, [0, 0, 0, 0, 0].map((zero, index) => enabled[index] ?? zero)],
    [8, [0, 0, 0, 0]],
    [16, [0, 0]],
    [24, [0x00, 0x06, 0x66, 0x12, 0xab, 0xcd]],
    [30, u16r(hardware)],
    [34, [...u16r(kind), ...u16r(major), minor, internal]],
    [40, [0, 0, 0]],
    [44, hardware === 10 ? [0, 0, 0, 0, 0, 0, 0, 0] : i64r(BigInt(clockSetTicks))],
    [214, [0xff, 0xff, 0xff]],
    [
      251,
      [Math.floor(start / 2 ** 32), start & 0xff, (start >>> 8) & 0xff, (start >>> 16) & 0xff, (start >>> 24) & 0xff],
    ],
    ...(hardware === 10 ? ([[314, [0]]] as [number, number[]][]) : []),
    ...Object.entries(patch).map(([at, values]) => [Number(at), values] as [number, readonly number[]]),
  ];
  for (const [at, values] of parts) bytes.set(values, at);
  return bytes;
}

/** Header and records; each record is its bytes without the tick. Ticks step by the divider unless given. */
export function file(
  spelling: Spelling,
  records: readonly (readonly number[])[],
  ticks?: readonly number[],
): Uint8Array {
  const { divider = 640, start = 0 } = spelling;
  const body = records.flatMap((record, index) => [
    ...u24(ticks?.[index] ?? (start + index * divider) % 2 ** 24),
    ...record,
  ]);
  return join(header(spelling), body);
}

/** `count` records of battery only (two bytes, the record's number). */
export function batteryFile(count: number, spelling: Spelling = {}, ticks?: readonly number[]): Uint8Array {
  const records = Array.from({ length: count }, (_, index) => u16(index % 65536));
  return file({ enabled: [0, 0x20], ...spelling }, records, ticks);
}

export function join(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export const u16 = (value: number) => [value & 0xff, (value >> 8) & 0xff];
export const u16r = (value: number) => u16(value).reverse();
export const u24 = (value: number) => [...u16(value), (value >> 16) & 0xff];
export const u24r = (value: number) => u24(value).reverse();
export const u32r = (value: number) => [...u16(value), ...u16(value >>> 16)].reverse();
export const i64r = (value: bigint) =>
  Array.from({ length: 8 }, (_, index) => Number((BigInt.asUintN(64, value) >> BigInt(56 - 8 * index)) & 0xffn));
export const u64 = (value: bigint) => i64r(value).reverse();

/** A calibration block: B, K (as stored) and R in hundredths, row by row. */
export function block(offset: readonly number[], gain: readonly number[], alignment: readonly number[]): number[] {
  return [...offset, ...gain].flatMap(u16r).concat(alignment.map((entry) => entry & 0xff));
}

/** Bytes in portions that are wiped once the next one is asked for, as a reader that uses one buffer would. */
export function* poisoned(bytes: Uint8Array, portion: number): Generator<Uint8Array> {
  const buffer = new Uint8Array(portion);
  for (let at = 0; at < bytes.length; at += portion) {
    const part = bytes.subarray(at, at + portion);
    buffer.set(part);
    yield buffer.subarray(0, part.length);
    buffer.fill(0xa5);
  }
}

/** Small reproducible chance (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
