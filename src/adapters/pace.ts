import { setImmediate as nextTurn } from "node:timers/promises";

/** Runs one small disk look per item, blocking while the disk answers at once and waiting aside when it does not. */
export interface Pace {
  each<T, R>(
    items: readonly T[],
    blocking: (item: T) => Awaited<R>,
    waiting: (item: T) => Promise<R>,
  ): Promise<Awaited<R>[]>;
}

const smallestSlice = 16;
const largestSlice = 512;
/** The longest the event loop may be held: leases and sockets are served between slices. */
const sliceLimitMs = 20;
const waitingItems = 1024;
const waitingAtOnce = 16;

/**
 * Blocking calls cost 4 µs per file where promises cost 10-40 (300,000 files: 1.4 s against 3.3-16 s), but a slow
 * card or network disk must not stop the program. So slices grow while they are quick; after a slow one the next
 * thousand items wait aside, then a small slice tries again.
 */
export function createPace(nowMs: () => number = () => performance.now()): Pace {
  let slice = smallestSlice;
  let waitingLeft = 0;

  function takeSlice<T, R>(items: readonly T[], blocking: (item: T) => R): R[] {
    const started = nowMs();
    const results = items.map((item) => blocking(item));
    const isSlow = nowMs() - started > sliceLimitMs;
    slice = isSlow ? smallestSlice : Math.min(slice * 2, largestSlice);
    waitingLeft = isSlow ? waitingItems : 0;
    return results;
  }

  return {
    async each<T, R>(items: readonly T[], blocking: (item: T) => Awaited<R>, waiting: (item: T) => Promise<R>) {
      const results: Awaited<R>[] = [];
      while (results.length < items.length) {
        const at = results.length;
        if (waitingLeft > 0) {
          const some = items.slice(at, at + waitingAtOnce);
          waitingLeft -= some.length;
          results.push(...(await Promise.all(some.map((item) => waiting(item)))));
        } else {
          results.push(...takeSlice(items.slice(at, at + slice), blocking));
          if (results.length < items.length) await nextTurn();
        }
      }
      return results;
    },
  };
}
