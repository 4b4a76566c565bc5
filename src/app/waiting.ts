/** What a watch waits for, instead of ending. */
import { asUploaderError, type ErrorCode } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import { exitCodeOfSignal, type StopSignal } from "../core/exit-codes.ts";

/** Causes that a watch waits for when it begins; the others are mistakes, which nobody would see for days. */
export const mayComeBack: ReadonlySet<ErrorCode> = new Set([
  "database_unreachable",
  "source_missing",
  "store_unreachable",
  "network_lost",
  "timed_out",
]);
const tryEveryMs = 5_000;

export interface Waiting {
  emit: Emit;
  stopping: AbortSignal;
  onBeat(name: string | null): void;
  name: string | null;
  onAway?(): void;
}

/** null: told to stop before it was there. */
export async function openWhenThere<T>(watch: boolean, waiting: Waiting, open: () => Promise<T>): Promise<T | null> {
  const { emit, stopping, name } = waiting;
  const { setTimeout: sleep } = await import("node:timers/promises");
  let told: string | null = null;
  while (!stopping.aborted) {
    try {
      return await open();
    } catch (error) {
      const { code, message } = asUploaderError(error);
      if (!watch || !mayComeBack.has(code)) throw error;
      if (stopping.aborted) return null;
      const text = `${name === null ? "" : `${name}: `}${message}; waiting for it`;
      if (code !== told) emit({ type: "notice", sessionId: null, level: "info", message: text });
      told = code;
      waiting.onAway?.();
      waiting.onBeat(name);
      await sleep(tryEveryMs, undefined, { signal: stopping }).catch(() => undefined);
    }
  }
  return null;
}

/** The exit code of a watch that was told to end. */
export const stoppedBy = (signal: StopSignal | null): number => (signal === null ? 0 : exitCodeOfSignal(signal));
