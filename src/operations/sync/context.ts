import type { Layout } from "../../core/layout.ts";
import type { Store, Work } from "../../core/store.ts";
import type { Completeness, WatchedTree } from "../../core/sync.ts";
import type { Context } from "../context.ts";

/** What looking after one source needs beside what every verb has. */
export interface SyncContext extends Context {
  /** Answers soon when the database is away: looking goes on, and tries again. */
  looking: Store;
  source: WatchedTree;
  layout: Layout;
  completeness: Completeness;
  /** Wakes the loop when something moves; absent: the scan alone. */
  fileEvents?: SyncEvents;
  /** The loop is alive. */
  onBeat(): void;
}

/** File events, as a source's loop gets them. */
export interface SyncEvents {
  follow(folders: readonly string[], files: number): Promise<void>;
  /** True when something has moved since the last call; false when `signal` aborts before. */
  moved(signal: AbortSignal): Promise<boolean>;
}

export interface SourceInput {
  /** Of the source, for people and metrics. */
  name: string;
  work: Work;
  /** Effective, without secrets, for config_history. */
  config: unknown;
  intervalMs: number;
  expectEverySeconds: number | null;
  stopSignal(): "SIGINT" | "SIGTERM" | null;
}
