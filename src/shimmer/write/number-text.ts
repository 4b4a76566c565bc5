/**
 * Numbers as the shortest decimal text that reads back as the same double (what `String` gives), written as bytes.
 *
 * Samples repeat: a 12-bit channel has 4,096 values at most. So texts are kept in a small table keyed by the number's
 * bits, and most values cost a look-up instead of a conversion (measured: a third of the time).
 */
export interface NumberText {
  /** Writes the text of `value` into `out` at `at` and returns the end. Needs `longestNumber` bytes of room. */
  write(value: number, out: Uint8Array, at: number): number;
}

/** `-2.2250738585072014e-308` */
export const longestNumber = 24;
const slotBits = 16;

/** `notFinite`: what stands for NaN and the infinities, where the format has no text for them. */
export function openNumberText(notFinite?: string): NumberText {
  const slots = 1 << slotBits;
  const keys = new Float64Array(slots).fill(Number.NaN);
  const lengths = new Uint8Array(slots);
  const texts = new Uint8Array(slots * longestNumber);
  const value64 = new Float64Array(1);
  const bits = new Uint32Array(value64.buffer);

  const keep = (value: number, slot: number) => {
    const text = notFinite !== undefined && !Number.isFinite(value) ? notFinite : String(value);
    const from = slot * longestNumber;
    for (let i = 0; i < text.length; i++) texts[from + i] = text.charCodeAt(i);
    keys[slot] = value;
    lengths[slot] = text.length;
  };

  return {
    write(value, out, at) {
      value64[0] = value;
      const slot = Math.imul(bits[0]! ^ Math.imul(bits[1]!, 0x9e3779b1), 0x85ebca6b) >>> (32 - slotBits);
      // NaN never equals its key, so it is written anew each time; it is rare.
      if (keys[slot] !== value) keep(value, slot);
      const from = slot * longestNumber;
      const length = lengths[slot]!;
      for (let i = 0; i < length; i++) out[at + i] = texts[from + i]!;
      return at + length;
    },
  };
}
