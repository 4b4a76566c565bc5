/**
 * Numbers as the shortest decimal text that reads back as the same double: exactly what `String` gives, written
 * straight into bytes at three to five times its speed (bench/shimmer).
 *
 * For 10⁻⁶ ≤ |v| < 10¹⁶ the power 10ᵏ that brings v to 17 integer digits is itself a double (k ≤ 22), so v · 10ᵏ is
 * had exactly as a sum of two doubles. The shortest text is the nearest multiple of 100, else of 10, else of 1 that
 * lies within half a unit in the last place of v. Where that is a close call, and outside the range, `String` decides.
 */

/** `-2.2250738585072014e-308`; no number is longer. */
export const longestNumber = 24;

const leastValue = 1e-6;
const mostValue = 1e16;
/** Far above the rounding error of the sum (2^-26), far below any distance that matters. */
const closeCall = 1e-6;

const powers = Float64Array.from({ length: 23 }, (_, k) => 10 ** k);
const splitter = 2 ** 27 + 1;
/** High halves of the powers: products of halves are exact (Dekker). */
const powersHigh = powers.map((power) => splitter * power - (splitter * power - power));
const powersLow = powers.map((power, k) => power - powersHigh[k]!);

/** Half a unit in the last place, by biased exponent. */
const halfUlps = Float64Array.from({ length: 2047 }, (_, biased) => 2 ** Math.max(biased - 1023 - 53, -1074));
/** floor(log10(2^e)), by biased exponent; the value itself may be one power further. */
const decimalExponents = Int16Array.from({ length: 2047 }, (_, biased) =>
  Math.floor((biased - 1023) * Math.LOG10E * Math.LN2),
);
/** Thresholds 10^e for e = -7 … 22, at index e + 7. */
const thresholds = Float64Array.from({ length: 30 }, (_, index) => Number(`1e${index - 7}`));

/** The four digits of every number below 10,000 as characters, the first in the lowest byte. */
const quads = Uint32Array.from({ length: 10_000 }, (_, number) =>
  [...String(number).padStart(4, "0")].reduce((word, digit, index) => word + digit.charCodeAt(0) * 2 ** (8 * index), 0),
);

const value64 = new Float64Array(1);
const bits = new Uint32Array(value64.buffer);
const highWord = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;

/** Writes the text of `value` into `out` at `at` and returns the end. Needs `longestNumber` bytes of room. */
export function writeNumber(value: number, out: Uint8Array, at: number): number {
  if (value === 0) {
    out[at] = 48;
    return at + 1;
  }
  const size = Math.abs(value);
  if (!(size >= leastValue && size < mostValue)) return writeText(String(value), out, at);

  value64[0] = size;
  const biased = bits[highWord]! >>> 20;
  let exponent = decimalExponents[biased]!;
  if (size >= thresholds[exponent + 8]!) exponent++;
  const k = 16 - exponent;
  const power = powers[k]!;

  // size · power = product + rest, exactly.
  const product = size * power;
  const grown = splitter * size;
  const high = grown - (grown - size);
  const low = size - high;
  const rest = high * powersHigh[k]! - product + high * powersLow[k]! + low * powersHigh[k]! + low * powersLow[k]!;

  // Upper nine and lower eight of the seventeen digits; `lower` carries the fraction.
  let upper = (product * 1e-8) | 0;
  const whole = product - upper * 1e8;
  const lower = whole + rest;
  const room = halfUlps[biased]! * power;

  // Rounding by truncation is five times faster than Math.round; half-way cases are seen to below.
  let chosen = ((lower * 0.01 + 0.5) | 0) * 100;
  let distance = Math.abs(chosen - lower);
  if (distance >= room - closeCall) {
    if (distance <= room + closeCall) return writeText(String(value), out, at);
    chosen = ((lower * 0.1 + 0.5) | 0) * 10;
    distance = Math.abs(chosen - lower);
    if (distance > 5 - closeCall) {
      // Times are multiples of 2^-15 s: exact ties are common there, and go to the even digit as everywhere.
      if (distance !== 5 || lower - whole !== rest) return writeText(String(value), out, at);
      if ((chosen / 10) & 1) chosen -= 10;
    }
    if (distance >= room - closeCall) {
      if (distance <= room + closeCall) return writeText(String(value), out, at);
      chosen = (lower + 0.5) | 0;
      distance = Math.abs(chosen - lower);
      if (distance > 0.5 - closeCall) {
        if (distance !== 0.5 || lower - whole !== rest) return writeText(String(value), out, at);
        if (chosen & 1) chosen--;
      }
    }
  }
  if (chosen < 0) {
    upper--;
    chosen += 1e8;
  } else if (chosen >= 1e8) {
    upper++;
    chosen -= 1e8;
  }
  // A power of two has a nearer neighbour below; a carry out of the top digit changes the exponent. Both are rare.
  if (upper >= 1e9 || upper < 1e8 || ((bits[highWord]! & 0xfffff) === 0 && bits[1 - highWord] === 0)) {
    return writeText(String(value), out, at);
  }
  let end = at;
  if (value < 0) out[end++] = 45;
  return writeDigits(upper, chosen, exponent, out, end);
}

/** Seventeen digits with the point after the first `exponent + 1`, without trailing zeros. */
function writeDigits(upper: number, lower: number, exponent: number, out: Uint8Array, start: number): number {
  // The digits are put where they stand behind a point; those before it move one place to the left.
  let from = start + 1;
  if (exponent < 0) {
    out[start] = 48;
    out[start + 1] = 46;
    from = start + 1 - exponent;
    for (let at = start + 2; at < from; at++) out[at] = 48;
  }
  // Multiplying is faster than dividing; the small addend keeps exact multiples on their side.
  const first = (upper * 1e-8 + 1e-9) | 0;
  out[from] = 48 + first;
  putEight(upper - first * 1e8, out, from + 1);
  let end = from + 9;
  if (lower !== 0) {
    putEight(lower, out, end);
    end += 8;
  }
  while (out[end - 1] === 48) end--;
  if (exponent < 0) return end;

  const point = start + 1 + exponent;
  for (let at = start; at < point; at++) out[at] = at + 1 < end ? out[at + 1]! : 48;
  if (end <= point + 1) return point;
  out[point] = 46;
  return end;
}

function putEight(eight: number, out: Uint8Array, at: number): void {
  const left = (eight * 1e-4 + 1e-5) | 0;
  const right = (eight - left * 1e4) | 0;
  const a = quads[left]!;
  const b = quads[right]!;
  out[at] = a & 0xff;
  out[at + 1] = (a >>> 8) & 0xff;
  out[at + 2] = (a >>> 16) & 0xff;
  out[at + 3] = a >>> 24;
  out[at + 4] = b & 0xff;
  out[at + 5] = (b >>> 8) & 0xff;
  out[at + 6] = (b >>> 16) & 0xff;
  out[at + 7] = b >>> 24;
}

function writeText(text: string, out: Uint8Array, at: number): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
  return at + text.length;
}
