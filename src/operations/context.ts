import type { Decoding } from "../core/decoding.ts";
import type { Trigger } from "../core/deliveries.ts";
import type { ObjectTags } from "../core/devices.ts";
import type { Emit } from "../core/events.ts";
import type { Bandwidth, Destination, SourceTree } from "../core/ports.ts";
import type { ClaimedFile, Journal, Memo, Store, WorkerIdentity } from "../core/store.ts";
import type { Concurrency } from "./concurrency.ts";

/** What happens when a file turns out to exist, or to differ (design A5). */
export interface Policy {
  attempts: number;
  existing: "checksum" | "size";
  onConflict: "fail" | "skip" | "replace";
  onChange: "fail" | "replace";
  /** A file that is gone before it was sent: absent, it has failed. */
  onGone?: "fail" | "skip";
  settleSeconds: number;
  maxOutageMs: number;
  /** May objects carry the wearer in a tag? Absent: no. */
  patientTags?: boolean;
}

/** All a verb knows of the world. Time, chance and cancellation come from outside. */
export interface Context {
  store: Store;
  /** Runs a memo as a statement, without waiting for a database that is away. */
  apply(memo: Memo): Promise<ClaimedFile[]>;
  journal: Journal;
  /** From now on a database that does not answer is not waited for. */
  giveUpOnDatabase(): void;
  destination: Destination & Partial<ObjectTags>;
  source: SourceTree;
  /** Absent: no recording is decoded, and no file made of one can be met. */
  decoding?: Decoding;
  me: WorkerIdentity;
  policy: Policy;
  concurrency: Concurrency;
  /** Told of the session's limit while it runs; absent: nothing is ever limited. */
  bandwidth?: Pick<Bandwidth, "override">;
  /** Absent: nobody is told of anything, and what is due stays so. */
  trigger?: Trigger;
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
