/**
 * Byte words of the record format: a word says how many bytes a value takes and how a run of them is read.
 *
 * Each reader takes `count` values that lie `stride` bytes apart, the first at `at`, into `out` from `outAt` on.
 * The loops are written out one by one on purpose: a shared loop over a per-value callback cannot be inlined once it
 * has seen two words, and was measured five times slower.
 */
export type Reader = (
  bytes: Uint8Array,
  at: number,
  stride: number,
  count: number,
  out: Float64Array,
  outAt: number,
) => void;

/** `r` = reversed, i.e. big-endian; `l12` = twelve bits, left-justified in a big-endian word (ADXL371). */
export type Word = "u8" | "u16" | "i16" | "u16r" | "i16r" | "u24" | "u24r" | "i24" | "i24r" | "u32r" | "i32r" | "l12r";

export const words: Readonly<Record<Word, { size: number; read: Reader }>> = {
  u8: {
    size: 1,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride) out[outAt + i] = bytes[p]!;
    },
  },
  u16: {
    size: 2,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride) out[outAt + i] = bytes[p]! | (bytes[p + 1]! << 8);
    },
  },
  i16: {
    size: 2,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = ((bytes[p]! | (bytes[p + 1]! << 8)) << 16) >> 16;
    },
  },
  u16r: {
    size: 2,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride) out[outAt + i] = (bytes[p]! << 8) | bytes[p + 1]!;
    },
  },
  i16r: {
    size: 2,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = (((bytes[p]! << 8) | bytes[p + 1]!) << 16) >> 16;
    },
  },
  u24: {
    size: 3,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16);
    },
  },
  u24r: {
    size: 3,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = (bytes[p]! << 16) | (bytes[p + 1]! << 8) | bytes[p + 2]!;
    },
  },
  i24: {
    size: 3,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = ((bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16)) << 8) >> 8;
    },
  },
  i24r: {
    size: 3,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = (((bytes[p]! << 16) | (bytes[p + 1]! << 8) | bytes[p + 2]!) << 8) >> 8;
    },
  },
  u32r: {
    size: 4,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = ((bytes[p]! << 24) | (bytes[p + 1]! << 16) | (bytes[p + 2]! << 8) | bytes[p + 3]!) >>> 0;
    },
  },
  i32r: {
    size: 4,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = (bytes[p]! << 24) | (bytes[p + 1]! << 16) | (bytes[p + 2]! << 8) | bytes[p + 3]!;
    },
  },
  l12r: {
    size: 2,
    read(bytes, at, stride, count, out, outAt) {
      for (let i = 0, p = at; i < count; i++, p += stride)
        out[outAt + i] = (((bytes[p]! << 4) | (bytes[p + 1]! >> 4)) << 20) >> 20;
    },
  },
};

/** One value: `words[word]` read at `at`, a number. */
export function readWord(bytes: Uint8Array, word: Word, at: number): number {
  const one = new Float64Array(1);
  words[word].read(bytes, at, 0, 1, one, 0);
  return one[0]!;
}
