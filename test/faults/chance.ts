/** Chance that is the same for the same seed (mulberry32). */
export interface Chance {
  /** In [0, 1). */
  next(): number;
  /** A whole number from 0 on, below `end`. */
  below(end: number): number;
  flip(share?: number): boolean;
  oneOf<T>(list: readonly T[]): T | undefined;
  /** Each of the list with this probability. */
  some<T>(list: readonly T[], share: number): T[];
}

export function chance(seed: number): Chance {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    below: (end) => Math.floor(next() * end),
    flip: (share = 0.5) => next() < share,
    oneOf: (list) => list[Math.floor(next() * list.length)],
    some: (list, share) => list.filter(() => next() < share),
  };
}
