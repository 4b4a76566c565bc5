/** A rate as a budget that fills with time. Pure: the clock is a parameter. */

export interface TokenBucket {
  /** Bytes per second; null: no limit. */
  readonly rate: number | null;
  /** From now on; what was spent beforehand is paid off at the new rate. */
  setRate(bytesPerSecond: number | null): void;
  /** ms until something may go; 0: now. */
  delayMs(): number;
  /** May go below nothing: whoever comes next waits until that is paid off, so no piece is too large for a budget. */
  spend(sizeBytes: number): void;
}

/** Saved up while nobody sends: makes up for timers that fire late, and is too little to be seen as a burst. */
const savedMs = 50;

/** `now`: monotonic, ms. */
export function createTokenBucket(bytesPerSecond: number | null, now: () => number): TokenBucket {
  let rate = bytesPerSecond;
  let balanceBytes = 0;
  let atMs = now();

  const settle = (): void => {
    const nowMs = now();
    if (rate !== null) {
      balanceBytes = Math.min(balanceBytes + (rate * (nowMs - atMs)) / 1000, (rate * savedMs) / 1000);
    }
    atMs = nowMs;
  };

  return {
    get rate() {
      return rate;
    },
    setRate(next) {
      settle();
      if (rate === null || next === null) balanceBytes = 0;
      rate = next;
    },
    delayMs() {
      settle();
      // What floating point leaves a hair below nothing is nothing.
      return rate === null || balanceBytes > -1e-6 ? 0 : (-balanceBytes * 1000) / rate;
    },
    spend(sizeBytes) {
      settle();
      if (rate !== null) balanceBytes -= sizeBytes;
    },
  };
}
