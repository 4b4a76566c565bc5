/**
 * How many files are on their way at once. "auto" climbs while throughput climbs and halves when the store asks for it;
 * each decision is a notice at -v.
 */

export interface Concurrency {
  readonly limit: number;
  /** The highest value `limit` may take: for connections and descriptors. */
  readonly ceiling: number;
  /** The store asked to slow down, or timed out. */
  throttled(cause: "store_busy" | "timed_out"): void;
  /** A file was settled. */
  progressed(files: number, bytes: number): void;
  /** Called when the limit rises; slots above a lowered limit leave by themselves. */
  onRise(listener: () => void): void;
}

export interface AutoOptions {
  ceiling: number;
  now(): number;
  say(message: string): void;
}

export const fixedConcurrency = (limit: number): Concurrency => ({
  limit,
  ceiling: limit,
  throttled: () => undefined,
  progressed: () => undefined,
  onRise: () => undefined,
});

/** S3 answers a small PUT in 20-100 ms: 64 at once keep one core busy at 20 ms (measured 1,389 files/s; 15 gave 629). */
const startAt = 64;
const lowest = 4;
/** A level is judged over at least this long and this many files, so that one slow answer decides nothing. */
const windowMs = 1_500;
const windowFiles = 200;
/** A step up must gain at least this share, else it was for nothing. */
const worthwhile = 1.08;
/** After a cut, and at the summit, wait before climbing again. */
const restMs = 15_000;

export function autoConcurrency(options: AutoOptions): Concurrency {
  const { ceiling, now, say } = options;
  let limit = Math.min(startAt, ceiling);
  let best = { limit, rate: 0 };
  let files = 0;
  let work = 0;
  let sinceMs = now();
  let restUntilMs = 0;
  let cutMs = Number.NEGATIVE_INFINITY;
  const listeners: (() => void)[] = [];

  const begin = (): void => {
    files = 0;
    work = 0;
    sinceMs = now();
  };
  const move = (to: number, why: string): void => {
    if (to === limit) return;
    const rises = to > limit;
    say(`concurrency ${limit} → ${to}: ${why}`);
    limit = to;
    begin();
    if (rises) for (const listener of listeners) listener();
  };

  return {
    get limit() {
      return limit;
    },
    ceiling,
    onRise: (listener) => listeners.push(listener),
    throttled(cause) {
      // Many requests of one moment answer alike: one cut for all of them.
      if (now() - cutMs < 1_000) return;
      cutMs = now();
      restUntilMs = now() + restMs;
      best = { limit: Math.max(lowest, limit >> 1), rate: 0 };
      move(best.limit, cause === "store_busy" ? "the store asks to slow down" : "requests time out");
    },
    progressed(count, bytes) {
      files += count;
      // A request costs about as much as 128 KB of a fast link: throughput of small and large files in one figure.
      work += count * 131_072 + bytes;
      const elapsedMs = now() - sinceMs;
      if (elapsedMs < windowMs || (files < windowFiles && elapsedMs < 10 * windowMs)) return;
      const rate = work / elapsedMs;
      if (limit === best.limit || rate > best.rate * worthwhile) {
        best = { limit, rate };
        if (now() < restUntilMs || limit >= ceiling) return begin();
        move(Math.min(ceiling, Math.ceil(limit * 1.5)), `${Math.round((files * 1000) / elapsedMs)} files/s so far`);
        return;
      }
      restUntilMs = now() + restMs;
      move(best.limit, "more brought nothing");
    },
  };
}
