/** The port to the state machine: what operations may ask of the database, one method per statement. */
import type { DecodingMemory } from "./decoding.ts";
import type { Outbox } from "./deliveries.ts";
import type { RecordingTelling } from "./devices.ts";
import type { EcgMemory } from "./ecg.ts";
import type { Inquiries, KnownObject } from "./inquiries.ts";
import type { ObjectType } from "./object-metadata.ts";
import type { Checksum, ChecksumAlgorithm, OpenUpload, Proof, ScannedFile, StoredPart, UploadMemory } from "./ports.ts";
import type { SourceMemory } from "./sources.ts";
import type { FileStatus, SessionStatus } from "./states.ts";
import type { SyncMemory } from "./sync.ts";

/** What registration saw under the key: nothing · a row in `objects` · an object in the store's listing. */
export type Expectation = "absent" | "known" | "found";

export interface Work {
  project: string;
  /** Real path of the source. */
  source: string;
  destination: { kind: "s3" | "folder"; identity: string; text: string; prefix: string };
  command: string;
}

export interface WorkerIdentity {
  host: string;
  /** Boot id and pid namespace: a pid means nothing outside them. */
  boot: string;
  pid: number;
  processStart: string;
}

export interface WorkerRow extends WorkerIdentity {
  id: number;
  joined: boolean;
  concurrency: number | null;
  live: boolean;
  startedAt: Date;
  leaseUntil: Date;
  filesInHand: number;
}

export interface OpenedSession {
  sessionId: number;
  workerId: number;
  destinationId: number;
  resumed: boolean;
  /** Files taken back from workers that died. */
  rescued: number;
  /** Failed files of earlier sessions of this work, taken afresh. */
  superseded: number;
}

export interface SessionRow {
  id: number;
  project: string;
  command: string;
  source: string;
  destination: string;
  destinationId: number;
  destinationIdentity: string;
  destinationKind: "s3" | "folder";
  prefix: string;
  status: SessionStatus;
  errorCode: string | null;
  errorMessage: string | null;
  totalFiles: number;
  totalSizeBytes: number;
  filesSafe: number;
  bytesSafe: number;
  filesPending: number;
  filesUploading: number;
  filesUploaded: number;
  filesFailed: number;
  filesSkipped: number;
  bytesUploaded: number;
  scanFinishedAt: Date | null;
  bandwidthLimit: number | null;
  startedAt: Date;
  completedAt: Date | null;
}

export interface FileRow {
  id: number;
  localPath: string;
  s3Key: string;
  fileSize: number;
  status: FileStatus;
  reason: string | null;
  attempts: number;
  errorCode: string | null;
  errorMessage: string | null;
  permanent: boolean;
  nextAttemptAt: Date | null;
  lastAttemptAt: Date | null;
  uploadedAt: Date | null;
  derivedFrom: number | null;
}

export interface CauseRow {
  status: FileStatus;
  errorCode: string | null;
  reason: string | null;
  permanent: boolean;
  files: number;
  bytes: number;
  errorMessage: string | null;
  exampleKey: string;
  nextAttemptAt: Date;
}

/** A scanned file with its full key (prefix included). */
export interface Candidate {
  path: string;
  key: string;
  sizeBytes: number;
  mtimeNs: bigint;
  /** What a layout says beside the key; a recording, of bulk, read from `path` when absent. */
  type?: ObjectType;
  priority?: number;
  body?: Uint8Array | null;
}

export interface Refusal extends Candidate {
  code: string;
  message: string;
  permanent: boolean;
}

export interface Verdicts {
  safeFiles: number;
  safeBytes: number;
  fresh: Candidate[];
  known: Candidate[];
  renewed: Candidate[];
}

export interface ClaimedFile {
  id: number;
  path: string;
  key: string;
  sizeBytes: number;
  mtimeNs: bigint;
  attempts: number;
  expect: Expectation;
  looks: number;
  derivedFrom: number | null;
  /** Of files that a layout placed; absent: a recording, read from `path`. */
  type?: ObjectType;
  priority?: number;
  body?: Uint8Array | null;
}

/** The end of one attempt, as a move of the file's row (core/states.ts). */
export type Ending =
  | { move: "settle"; file: ClaimedFile; object: ObjectFact; requestId: string | null; durationMs: number }
  | { move: "skip"; file: ClaimedFile; reason: string; object: ObjectFact | null }
  | {
      move: "postpone";
      file: ClaimedFile;
      code: string;
      message: string;
      delayMs: number;
      requestId: string | null;
      durationMs: number;
    }
  | { move: "revise"; file: ClaimedFile; sizeBytes: number; mtimeNs: bigint; reason: string; delayMs: number }
  | { move: "release"; file: ClaimedFile }
  | {
      move: "give_up";
      file: ClaimedFile;
      code: string;
      message: string;
      permanent: boolean;
      requestId: string | null;
      durationMs: number;
    };

export interface ObjectFact {
  sizeBytes: number;
  mtimeNs: bigint;
  checksum: Checksum | null;
  etag: string | null;
  versionId: string | null;
  proof: Proof;
  ours: boolean;
}

export interface NextDue {
  /** Until the earliest waiting file may be taken; null when none is waited for. */
  delayMs: number | null;
  /** Still changing after `maxLooks` looks. */
  notReady: number;
  /** In the hands of other workers. */
  elsewhere: number;
}

/** What a run must remember, as data: it goes to the database, or while that is away into the journal. */
export type Memo =
  | { call: "settle"; workerId: number; endings: Ending[]; atMs: number }
  | { call: "begin"; fileId: number; upload: Omit<OpenUpload, "parts">; atMs: number }
  | { call: "part"; uploadId: string; part: StoredPart }
  | { call: "end"; uploadId: string; state: "completed" | "aborted" };

/** A local file that outlives the process. It names its database and is replayed nowhere else. */
export interface Journal {
  /** Durable when it resolves. */
  append(memo: Memo): Promise<void>;
  /** Everything appended has reached the database. */
  clear(): Promise<void>;
  /** For messages. */
  readonly path: string;
}

export interface Store extends Inquiries, DecodingMemory, SourceMemory, SyncMemory, RecordingTelling {
  /** Who this database is. */
  installation(): Promise<string>;
  /**
   * Opens or resumes the session of this work and begins a worker on it, in one transaction.
   * Errors: lease_held when a live worker holds it.
   */
  openSession(work: Work, me: WorkerIdentity, options: OpenOptions): Promise<OpenedSession>;
  /** Begins a worker on an existing session, for `--join` and `retry`. Errors: session_unknown, lease_held. */
  enterSession(sessionId: number, me: WorkerIdentity, options: EnterOptions): Promise<OpenedSession>;
  /** null: nothing was ever sent there. */
  destinationId(identity: string): Promise<number | null>;
  rememberConfig(sessionId: number, config: unknown): Promise<void>;
  scanned(sessionId: number, filesSafe: number, bytesSafe: number, finished: boolean): Promise<void>;
  /** null: somebody else still works on the session. */
  closeSession(sessionId: number): Promise<SessionStatus | null>;
  failSession(sessionId: number, error: { code: string; message: string } | null): Promise<void>;
  session(sessionId: number): Promise<SessionRow | null>;
  latestSession(project: string): Promise<number | null>;
  sessions(project: string | null, max: number): Promise<SessionRow[]>;
  causes(sessionId: number): Promise<CauseRow[]>;
  files(sessionId: number, status: FileStatus | null, afterId: number, max: number): Promise<FileRow[]>;
  conflicts(sessionId: number): Promise<number>;
  /** Failed files that an attempt may still help. */
  retryable(sessionId: number): Promise<number>;
  workers(sessionId: number): Promise<WorkerRow[]>;

  /** False: this worker was declared lost and its files are someone else's. */
  renewLease(workerId: number, concurrency: number): Promise<boolean>;
  endWorker(workerId: number, reason: "done" | "interrupted"): Promise<void>;
  rescue(sessionId: number, me: WorkerIdentity): Promise<number>;

  /** Whether nothing is known of this session's files, nor of any object whose key begins so. */
  untouched(sessionId: number, destinationId: number, keyStart: string): Promise<boolean>;
  judge(sessionId: number, destinationId: number, files: readonly Candidate[]): Promise<Verdicts>;
  /** Returns the candidates that made no row because their key is open in another session. */
  register(
    sessionId: number,
    destinationId: number,
    files: readonly Candidate[],
    expect: Expectation,
  ): Promise<{ registered: number; busy: { file: Candidate; sessionId: number }[] }>;
  refuse(sessionId: number, destinationId: number, files: readonly Refusal[]): Promise<void>;
  renew(sessionId: number, destinationId: number, files: readonly Candidate[]): Promise<number>;
  claim(sessionId: number, workerId: number, afterId: number, max: number, maxLooks: number): Promise<ClaimedFile[]>;
  /** Moves many rows, as what happened `ageMs` ago: newer facts stand. Returns the files whose row did not move, which is news. */
  settle(workerId: number, endings: readonly Ending[], ageMs?: number): Promise<ClaimedFile[]>;
  /** All of the worker's files that are not in `keep`. */
  releaseOthers(workerId: number, keep: ReadonlySet<number>): Promise<number>;
  requeue(sessionId: number, includePermanent: boolean): Promise<number>;
  condemn(sessionId: number): Promise<number>;
  nextDue(sessionId: number, workerId: number, maxLooks: number): Promise<NextDue>;
  known(destinationId: number, keys: readonly string[]): Promise<Map<string, KnownObject>>;
  readonly uploads: UploadMemory & { findAll(fileIds: readonly number[]): Promise<Map<number, OpenUpload>> };
  readonly deliveries: Outbox;
  readonly ecg: EcgMemory;
  close(): Promise<void>;
}

export interface OpenOptions {
  newSession: boolean;
  concurrency: number;
}

export interface EnterOptions {
  joined: boolean;
  reopen: boolean;
  concurrency: number;
}

export type { Checksum, ChecksumAlgorithm, KnownObject, ScannedFile };
