/** What `sync` watches, as the database knows it: for `status`, metrics and silence alarms on any machine. */
import type { ErrorCode } from "./errors.ts";

/** A pass that has ended. What arrived in it is not said here: the database has counted it. */
export interface PassRecord {
  /** A source is known by its project and its name. */
  project: string;
  name: string;
  source: string;
  /** As written. */
  destination: string;
  host: string;
  pid: number;
  /** Between two passes of a daemon; null: single passes. */
  intervalSeconds: number | null;
  /** By configuration; null: learned from what has arrived so far. */
  expectEverySeconds: number | null;
  /** What ended the pass; null: it came through. */
  errorCode: ErrorCode | null;
  filesSeen: number;
  durationMs: number;
}

/** A row of the view source_states; ages by the database's clock. */
export interface SourceState {
  id: number;
  project: string;
  name: string;
  source: string;
  destination: string;
  sessionId: number | null;
  intervalSeconds: number | null;
  passes: number;
  passesFailed: number;
  filesSeen: number;
  lastPassAt: Date;
  lastPassMs: number;
  /** Of the last pass after which everything finished was confirmed. */
  lastSuccessAt: Date | null;
  lastUploadAt: Date | null;
  errorCode: string | null;
  failingSince: Date | null;
  createdAt: Date;
  expectEverySeconds: number | null;
  /** Median of the gaps between arrivals; null: none seen yet. */
  usualSeconds: number | null;
  /** A longer silence is an alarm; null: nothing is expected, and too little is known to tell. */
  allowedSeconds: number | null;
  /** Since the last file arrived, else since the source is known. */
  silentSeconds: number;
  /** Since the last success, else since the source is known. */
  successAgeSeconds: number;
  passAgeSeconds: number;
  silent: boolean;
  /** A daemon should pass here, and none does. */
  unattended: boolean;
  failing: boolean;
  /** Who looks after the source, by its lease. */
  holderHost: string | null;
  holderPid: number | null;
  /** Live workers on its sessions. */
  leases: number;
  /** Finished files that are not in the store yet. */
  filesWaiting: number;
  filesNotReady: number;
  filesFailed: number;
  /** Of the last pass. */
  host: string;
  pid: number;
}

export interface SourceMemory {
  recordPass(pass: PassRecord): Promise<void>;
  /** Of a project, or of all (null). */
  sources(project: string | null): Promise<SourceState[]>;
  /** Bytes waiting or on their way, by source id; reads every such row. */
  waitingBytes(project: string | null): Promise<Map<number, number>>;
}
