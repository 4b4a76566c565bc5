import type { Emit } from "../core/events.ts";
import type { Destination, SourceTree } from "../core/ports.ts";
import type { Store, WorkerIdentity } from "../core/store.ts";

/** What happens when a file turns out to exist, or to differ (design A5). */
export interface Policy {
  attempts: number;
  existing: "checksum" | "size";
  onConflict: "fail" | "skip" | "replace";
  onChange: "fail" | "replace";
  settleSeconds: number;
  maxOutageMs: number;
}

/** All a verb knows of the world. Time, chance and cancellation come from outside. */
export interface Context {
  store: Store;
  destination: Destination;
  source: SourceTree;
  me: WorkerIdentity;
  policy: Policy;
  /** Monotonic, ms: for durations. */
  now(): number;
  /** Wall clock, ms since 1970: for what people and other machines read. */
  wallClock(): number;
  random(): number;
  /** Resolves early, without error, when `signal` aborts. */
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
  emit: Emit;
  /** Aborts when no new work is to be taken. */
  stopping: AbortSignal;
  /** Aborts when work in hand is to be dropped, a grace after `stopping`. */
  dropping: AbortSignal;
}
