/** Memory for files under way: reused buffers, all lanes together never above one budget. */

export interface Lease {
  /** At least as long as asked for. */
  bytes: Buffer;
  release(): void;
}

export interface BufferPool {
  /** First come, first served. One larger than the whole budget is given out when nothing else is. */
  take(sizeBytes: number, signal: AbortSignal): Promise<Lease>;
  /** Most bytes given out at one time so far. */
  peakBytes(): number;
}

const KiB = 1024;
const MiB = 1024 * KiB;

/** Few sizes, so that buffers find new users: powers of two from 64 KiB to 1 MiB, then whole MiB. */
function roomFor(sizeBytes: number): number {
  if (sizeBytes > MiB) return Math.ceil(sizeBytes / MiB) * MiB;
  let room = 64 * KiB;
  while (room < sizeBytes) room *= 2;
  return room;
}

interface Waiter {
  room: number;
  resolve(lease: Lease): void;
}

export function createBufferPool(budgetBytes: number): BufferPool {
  const free = new Map<number, Buffer[]>();
  const waiting: Waiter[] = [];
  let outBytes = 0;
  let freeBytes = 0;
  let peakBytes = 0;

  const fits = (room: number) => outBytes + room <= budgetBytes || outBytes === 0;

  /** What lies idle is given back to the system before the sum passes the budget. */
  function trimFor(room: number): void {
    for (const [size, buffers] of free) {
      while (outBytes + freeBytes + room > budgetBytes && buffers.pop() !== undefined) freeBytes -= size;
      if (buffers.length === 0) free.delete(size);
    }
  }

  function lend(room: number): Lease {
    const kept = free.get(room)?.pop();
    if (kept === undefined) trimFor(room);
    else freeBytes -= room;
    outBytes += room;
    peakBytes = Math.max(peakBytes, outBytes);
    const bytes = kept ?? Buffer.allocUnsafeSlow(room);
    let released = false;
    return {
      bytes,
      release() {
        if (released) return;
        released = true;
        outBytes -= room;
        if (outBytes + freeBytes + room <= budgetBytes) {
          const same = free.get(room);
          if (same === undefined) free.set(room, [bytes]);
          else same.push(bytes);
          freeBytes += room;
        }
        while (waiting.length > 0 && fits(waiting[0]!.room)) {
          const next = waiting.shift()!;
          next.resolve(lend(next.room));
        }
      },
    };
  }

  return {
    async take(sizeBytes, signal) {
      signal.throwIfAborted();
      const room = roomFor(sizeBytes);
      if (waiting.length === 0 && fits(room)) return lend(room);
      return await new Promise<Lease>((resolve, reject) => {
        const waiter: Waiter = {
          room,
          resolve: (lease) => {
            signal.removeEventListener("abort", onAbort);
            resolve(lease);
          },
        };
        const onAbort = () => {
          waiting.splice(waiting.indexOf(waiter), 1);
          reject(signal.reason);
        };
        signal.addEventListener("abort", onAbort, { once: true });
        waiting.push(waiter);
      });
    },
    peakBytes: () => peakBytes,
  };
}
