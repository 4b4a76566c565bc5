/** Everything a run can report. Faces turn events into text or JSON; nothing below a face prints. */
import type { ErrorCode } from "./errors.ts";
import type { FileStatus, SessionStatus } from "./states.ts";

export interface Counts {
  totalFiles: number;
  totalBytes: number;
  /** Already safe before this run, without a row. */
  filesSafe: number;
  bytesSafe: number;
  filesUploaded: number;
  filesSkipped: number;
  filesFailed: number;
  filesPending: number;
  bytesUploaded: number;
}

export interface StartEvent {
  type: "start";
  sessionId: number;
  command: string;
  project: string;
  source: string;
  destination: string;
  resumed: boolean;
}

export interface ProgressEvent extends Counts {
  type: "progress";
  sessionId: number;
  phase: "scanning" | "uploading" | "paused" | "waiting";
  /** False while the scan runs: totals still grow. */
  totalsFinal: boolean;
  /** Files and bytes sent by this process since it started. */
  filesThisRun: number;
  bytesThisRun: number;
  elapsedMs: number;
}

export interface FileEvent {
  type: "file";
  sessionId: number;
  path: string;
  key: string;
  size: number;
  status: FileStatus;
  errorCode: ErrorCode | null;
  errorMessage: string | null;
  attempt: number;
  /** Of the attempt; null when nothing was sent. */
  durationMs: number | null;
}

/** Why files have failed; `permanent`: no attempt can help until that is mended. */
export interface Failures {
  errorCode: string | null;
  permanent: boolean;
  files: number;
}

export interface SummaryEvent {
  type: "summary";
  sessionId: number | null;
  status: SessionStatus | "dry_run";
  totalFiles: number;
  totalBytes: number;
  /** Safe before the session, without a row; counted in `filesSkipped` too. */
  filesSafe: number;
  filesUploaded: number;
  filesSkipped: number;
  filesFailed: number;
  failures: Failures[];
  filesNotReady: number;
  filesUndecoded: number;
  bytesUploaded: number;
  /** By this run alone. */
  filesThisRun: number;
  bytesThisRun: number;
  durationMs: number;
  exitCode: number;
}

/** The last line of a run that had no session: all that is not said is 0. */
export const summaryWithoutSession = ({
  status,
  ...said
}: Pick<SummaryEvent, "status" | "exitCode"> & Partial<SummaryEvent>): SummaryEvent => ({
  type: "summary",
  sessionId: null,
  status,
  totalFiles: 0,
  totalBytes: 0,
  filesSafe: 0,
  filesUploaded: 0,
  filesSkipped: 0,
  filesFailed: 0,
  failures: [],
  filesNotReady: 0,
  filesUndecoded: 0,
  bytesUploaded: 0,
  filesThisRun: 0,
  bytesThisRun: 0,
  durationMs: 0,
  ...said,
});

/** One source has been looked at by `sync`, and what was ready has been sent. */
export interface PassEvent {
  type: "pass";
  /** null: there was nothing to do. */
  sessionId: number | null;
  /** Name of the source. */
  source: string;
  /** What ended the pass; null: it came through. */
  errorCode: ErrorCode | null;
  filesSeen: number;
  filesNotReady: number;
  filesThisRun: number;
  bytesThisRun: number;
  durationMs: number;
  /** Every folder was listed, whatever its time of change. */
  fullScan: boolean;
}

export type Event =
  | StartEvent
  | ProgressEvent
  | FileEvent
  | { type: "pause"; sessionId: number; cause: ErrorCode; message: string; hint: string | null; probeAfterMs: number }
  | { type: "resume"; sessionId: number; cause: ErrorCode; pausedMs: number }
  | PassEvent
  /** `sync --watch`: the database is migrated and the first scan of every source is queued. */
  | { type: "ready"; sources: number }
  | { type: "notice"; sessionId: number | null; level: "info" | "warn" | "detail"; message: string }
  | { type: "error"; sessionId: number | null; code: ErrorCode; exitCode: number; message: string; hint: string | null }
  | SummaryEvent;

export type Emit = (event: Event) => void;
