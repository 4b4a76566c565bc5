/** The circuit breaker: one cause, one message, a pause, probes, and on again by itself (design A1.6, A6). */
import { backoffMs, probeBackoff } from "../core/backoff.ts";
import type { ErrorCode, UploaderError } from "../core/errors.ts";
import type { Context } from "./context.ts";

/** Causes that nobody mends by waiting when nothing has ever worked in this run. */
const hopelessAtFirst: ReadonlySet<ErrorCode> = new Set([
  "credentials_missing",
  "credentials_expired",
  "credentials_invalid",
  "access_denied",
  "settings_refused",
  "bucket_missing",
  "bucket_region",
  "clock_skewed",
  "disk_full",
]);

export interface Gate {
  /** Waits while the circuit is open. */
  pass(): Promise<void>;
  /** Something worked. */
  succeeded(): void;
  /**
   * A cause that stops everything. Whoever meets it first becomes the prober: after a pause it gets true and tries the
   * file in its hands again, and so on while `probing`. Everybody else gets false at once, and `pass` makes them wait.
   * Throws the cause when waiting is pointless or has lasted longer than allowed.
   */
  tripped(cause: UploaderError, probing: boolean): Promise<boolean>;
  /** The cause that ended the run. */
  readonly fatal: UploaderError | null;
  readonly paused: boolean;
  /**
   * A refusal that may be about one key only: others went through, and not many in a row were refused. Such a file
   * fails by itself; the next ones open the circuit.
   */
  isOnesOwn(cause: UploaderError): boolean;
}

export function createGate(cx: Context, sessionId: number, stopping: AbortSignal): Gate {
  const stopped = new Promise<void>((resolve) => {
    if (stopping.aborted) resolve();
    else stopping.addEventListener("abort", () => resolve(), { once: true });
  });
  let worked = false;
  let denials = 0;
  let fatal: UploaderError | null = null;
  let open: { cause: UploaderError; sinceMs: number; probes: number; promise: Promise<void>; end(): void } | null =
    null;

  const close = (): void => {
    if (!open) return;
    const { cause, sinceMs, end } = open;
    open = null;
    end();
    if (!fatal) cx.emit({ type: "resume", sessionId, cause: cause.code, pausedMs: Math.round(cx.now() - sinceMs) });
  };

  const giveUp = (cause: UploaderError): never => {
    fatal ??= cause;
    close();
    throw cause;
  };

  return {
    get fatal() {
      return fatal;
    },
    get paused() {
      return open !== null;
    },
    isOnesOwn: (cause) => worked && !open && cause.code === "access_denied" && ++denials <= 3,
    async pass() {
      while (open && !fatal && !stopping.aborted) await Promise.race([open.promise, stopped]);
    },
    succeeded() {
      worked = true;
      denials = 0;
      close();
    },
    async tripped(cause, probing) {
      if (fatal) throw fatal;
      if (open && !probing) return false;
      const isPatient = cx.policy.maxOutageMs === Number.POSITIVE_INFINITY;
      if (!worked && !isPatient && hopelessAtFirst.has(cause.code)) return giveUp(cause);
      if (!open) {
        let end = (): void => undefined;
        const promise = new Promise<void>((resolve) => {
          end = resolve;
        });
        open = { cause, sinceMs: cx.now(), probes: 0, promise, end };
      } else if (open.cause.code !== cause.code) {
        open.cause = cause;
      }
      open.probes++;
      const delayMs = backoffMs(probeBackoff, open.probes, cx.random(), cause.retryAfterMs);
      if (cx.now() - open.sinceMs + delayMs > cx.policy.maxOutageMs) return giveUp(cause);
      if (open.probes === 1) {
        const { code, message, hint } = cause;
        cx.emit({ type: "pause", sessionId, cause: code, message, hint: hint ?? null, probeAfterMs: delayMs });
      }
      await cx.sleep(delayMs, stopping);
      return true;
    },
  };
}
