import type { Bandwidth } from "../core/ports.ts";
import { createTokenBucket } from "../core/token-bucket.ts";

export interface BandwidthOptions {
  /** bytes/s; null: no limit. */
  configured: number | null;
  /** Monotonic, ms. */
  now(): number;
  /** The limit in force is another one. */
  onChange?(bytesPerSecond: number | null): void;
}

/**
 * A piece is what the rate sends in 16 ms: 64 senders have each moved a piece after a second, 384 after six. S3 gives up
 * on a request whose body stands still for about twenty.
 */
const piecesPerSecond = 64;
const leastPieceBytes = 512;

/** One queue for everybody who sends; nothing is held, and nobody waits, while there is no limit. */
export function openBandwidth(options: BandwidthOptions): Bandwidth {
  let configured = options.configured;
  let ofSession: number | null = null;
  const bucket = createTokenBucket(configured, options.now);
  let queue: { sizeBytes: number; send: () => boolean }[] = [];
  let timer: NodeJS.Timeout | null = null;

  const advance = (): void => {
    if (timer) clearTimeout(timer);
    timer = null;
    let sent = 0;
    for (; sent < queue.length; sent++) {
      const delayMs = bucket.delayMs();
      if (delayMs > 0) {
        timer = setTimeout(advance, delayMs);
        break;
      }
      const { sizeBytes, send } = queue[sent]!;
      if (send()) bucket.spend(sizeBytes);
    }
    queue = queue.slice(sent);
  };

  const apply = (): void => {
    const limit = ofSession ?? configured;
    if (limit === bucket.rate) return;
    bucket.setRate(limit);
    options.onChange?.(limit);
    advance();
  };

  const bandwidth: Bandwidth = {
    get limit() {
      return bucket.rate;
    },
    get pieceBytes() {
      return bucket.rate === null
        ? Number.POSITIVE_INFINITY
        : Math.max(leastPieceBytes, Math.floor(bucket.rate / piecesPerSecond));
    },
    queue(sizeBytes, send) {
      queue.push({ sizeBytes, send });
      if (queue.length === 1) advance();
    },
    pass(sizeBytes, signal) {
      return new Promise((resolve, reject) => {
        const onAbort = (): void => reject(signal.reason);
        signal.addEventListener("abort", onAbort, { once: true });
        if (signal.aborted) onAbort();
        bandwidth.queue(sizeBytes, () => {
          if (signal.aborted) return false;
          signal.removeEventListener("abort", onAbort);
          resolve();
          return true;
        });
      });
    },
    configure(bytesPerSecond) {
      configured = bytesPerSecond;
      apply();
    },
    override(bytesPerSecond) {
      ofSession = bytesPerSecond;
      apply();
    },
    close() {
      if (timer) clearTimeout(timer);
      timer = null;
      queue = [];
    },
  };
  return bandwidth;
}
