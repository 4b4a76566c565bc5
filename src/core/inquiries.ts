/** What verify, explain and gc ask of the database, beside the state machine. */
import type { ChecksumAlgorithm, FoundObject, Proof } from "./ports.ts";
import type { FileStatus, SessionStatus } from "./states.ts";

/** What `objects` says of a key. */
/** `sizeBytes` below 0: not known, as a log named a state of the file that is no more. */
export interface KnownObject extends FoundObject {
  mtimeNs: bigint | null;
  proof: Proof;
  ours: boolean;
}

/** An object that should be in the store, and what we remember of it (null: nothing). */
export interface ExpectedObject {
  key: string;
  /** Below the session's source; null when another session sent it. */
  path: string | null;
  known: KnownObject | null;
  /** Of the multipart upload that made it, where that is remembered. */
  partSizeBytes: number | null;
}

/** Where sessions of a project take files from and put them: a path below the source has its key below the prefix. */
export interface Place {
  source: string;
  prefix: string;
  destinationId: number;
  destinationKind: "s3" | "folder";
  destinationIdentity: string;
}

/** A file's row with what is needed to tell its story. */
export interface FileHistory {
  id: number;
  sessionId: number;
  sessionStatus: SessionStatus;
  sessionCommand: string;
  project: string;
  source: string;
  prefix: string;
  destination: string;
  destinationId: number;
  localPath: string;
  s3Key: string;
  fileSize: number;
  mtimeNs: string | null;
  status: FileStatus;
  reason: string | null;
  expect: "absent" | "known" | "found";
  attempts: number;
  workerDeaths: number;
  nextAttemptAt: Date;
  errorCode: string | null;
  errorMessage: string | null;
  permanent: boolean;
  derivedFrom: number | null;
  createdAt: Date;
  uploadedAt: Date | null;
  workerId: number | null;
}

export interface AttemptRow {
  fileId: number;
  attempt: number;
  outcome: string;
  errorCode: string | null;
  errorMessage: string | null;
  requestId: string | null;
  durationMs: number | null;
  finishedAt: Date;
  workerId: number | null;
  workerHost: string | null;
  workerPid: number | null;
}

export interface MultipartRow {
  fileId: number;
  uploadId: string;
  status: "open" | "completed" | "aborted";
  partSizeBytes: number;
  sizeBytes: number;
  checksumAlgorithm: ChecksumAlgorithm | null;
  partsDone: number;
  bytesDone: number;
  createdAt: Date;
  endedAt: Date | null;
}

export interface ObjectHistory extends KnownObject {
  destinationId: number;
  key: string;
  confirmedAt: Date;
}

/** A multipart upload of ours, and what its file may still do with it. */
export interface OwnUpload {
  uploadId: string;
  fileId: number;
  sessionId: number;
  status: "open" | "completed" | "aborted";
  fileStatus: FileStatus;
  permanent: boolean;
  /** A worker with a live lease has the file in its hands. */
  inHand: boolean;
}

export interface Inquiries {
  /** What a session uploaded or found in the store, in the order of keys after `afterKey`. */
  sessionObjects(sessionId: number, afterKey: string, max: number): Promise<ExpectedObject[]>;
  /** What else is remembered between two keys: was safe before the session, which made no row of it. */
  otherObjects(
    sessionId: number,
    range: { destinationId: number; afterKey: string; belowKey: string | null },
    max: number,
  ): Promise<ExpectedObject[]>;
  /** No longer taken for safe: the next upload looks again. Returns how many were remembered. */
  forget(destinationId: number, keys: readonly string[]): Promise<number>;
  /** Of one session, or of all of a project's (null: of all projects). */
  places(project: string | null, sessionId: number | null): Promise<Place[]>;
  /** Newest first. */
  histories(
    project: string | null,
    sessionId: number | null,
    keys: readonly string[],
    max: number,
  ): Promise<FileHistory[]>;
  /** The same by path below the source, for layouts whose keys do not follow the path. Reads every row in question. */
  historiesByPath(
    project: string | null,
    sessionId: number | null,
    paths: readonly string[],
    max: number,
  ): Promise<FileHistory[]>;
  /** Oldest first. */
  attempts(fileIds: readonly number[]): Promise<AttemptRow[]>;
  multiparts(destinationId: number, keys: readonly string[]): Promise<MultipartRow[]>;
  objectHistories(destinationIds: readonly number[], keys: readonly string[]): Promise<ObjectHistory[]>;
  /** The effective configuration of the session's last run, secrets removed; null: none was kept. */
  sessionConfig(sessionId: number): Promise<unknown>;
  ownUploads(uploadIds: readonly string[]): Promise<OwnUpload[]>;
}
