/** What `sync` decides and remembers: when a file is finished, and what the database keeps of those that are not. */
import type { Oddity, ScannedFile, SourceTree } from "./ports.ts";
import type { Candidate, OpenedSession, Work, WorkerIdentity } from "./store.ts";

/** Why a file is not taken yet. */
export type WaitReason = "settling" | "incomplete" | "open_for_writing" | (string & {});

export interface FileState {
  sizeBytes: number;
  mtimeNs: bigint;
  /** 0n: not known. */
  inode: bigint;
}

/**
 * One number for a file in one state: another size, mtime or inode is another number (53 bits; FNV-1a, twice 32). A tree
 * of 300,000 files is remembered by these, for whole records of them would take half of the memory that is allowed.
 */
export function printOf(path: string, { sizeBytes, mtimeNs, inode }: FileState): number {
  words.setFloat64(0, sizeBytes);
  words.setBigInt64(8, mtimeNs);
  words.setBigUint64(16, inode);
  let high = 0x811c9dc5;
  let low = 0x01000193;
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ code, 0x85ebca6b);
    low ^= low >>> 15;
  }
  for (let at = 0; at < 24; at += 4) {
    const word = words.getInt32(at);
    high = Math.imul(high ^ word, 0x01000193);
    high ^= high >>> 13;
    low = Math.imul(low ^ word, 0x85ebca6b);
    low ^= low >>> 15;
  }
  return (high >>> 0) * 0x20_0000 + (low >>> 11);
}

/** Where numbers are taken apart: arithmetic on a bigint would cost more than all the rest. */
const words = new DataView(new ArrayBuffer(24));

/**
 * Since when files are seen in the state that they are in. A look observes every file that is waited for, so what one does
 * not observe is forgotten: it is finished, gone, or in another state.
 */
export interface Sightings {
  /** `settled`: unchanged over two looks and for long enough. */
  observe(print: number, nowMs: number): "settling" | "settled";
  /** As an earlier run has seen it. */
  remember(print: number, sinceMs: number): void;
  /** A look is over. Of a whole one, those observed in it are the ones that count; a broken one changes nothing. */
  turn(isWhole: boolean): void;
  /** Wall clock, ms: when the first of those that were settling in the last look may have settled; null: none was. */
  readonly dueMs: number | null;
  readonly size: number;
}

export function createSightings(settleMs: number): Sightings {
  let before = new Map<number, number>();
  let seen = new Map<number, number>();
  let dueMs: number | null = null;
  let nextDueMs = Number.POSITIVE_INFINITY;
  return {
    observe(print, nowMs) {
      // One that lies ahead was seen before the clock was set back.
      const first = before.get(print) ?? Number.POSITIVE_INFINITY;
      const sinceMs = first <= nowMs ? first : nowMs;
      seen.set(print, sinceMs);
      if (settleMs === 0 || (first <= nowMs && nowMs - sinceMs >= settleMs)) return "settled";
      nextDueMs = Math.min(nextDueMs, sinceMs + settleMs);
      return "settling";
    },
    remember: (print, sinceMs) => void before.set(print, sinceMs),
    turn(isWhole) {
      if (isWhole) before = seen;
      dueMs = isWhole && nextDueMs < Number.POSITIVE_INFINITY ? nextDueMs : null;
      nextDueMs = Number.POSITIVE_INFINITY;
      seen = new Map();
    },
    get dueMs() {
      return dueMs;
    },
    get size() {
      return before.size;
    },
  };
}

/**
 * A file that has rested for so long is sent although its end is missing or a process keeps it open: recorders whose
 * battery fails leave such files, and what was recorded must be safe.
 */
export const takenAnywayMs = 60 * 60_000;

/** A scanned file with the number of its state. */
export interface SeenFile extends ScannedFile {
  inode: bigint;
  print: number;
}

/** What is new in one folder, or a part of it when it is large. */
export interface FolderChanges {
  /** Relative to the source, ending in `/`; empty at the root. */
  folder: string;
  /** Files in a state that nobody has dealt with yet. */
  files: SeenFile[];
  oddities: Oddity[];
  excludedFiles: number;
  /** The first of a look that remembers nothing: whatever was counted before is met again. */
  isAnew: boolean;
  /** These states are dealt with: such a file is not news again until it changes. */
  done(files: readonly SeenFile[]): void;
}

/** A source that is looked at again and again, and remembers what is dealt with. */
export interface WatchedTree extends SourceTree {
  /**
   * What is news. Folders whose time of change stands and whose files are all dealt with are not listed again, unless `full`:
   * a file that is written in place changes no folder. Throws source_missing when the root is gone, or is empty where files
   * were: a share that lost its connection is no folder whose files were deleted.
   */
  changes(full: boolean, signal: AbortSignal): AsyncIterable<FolderChanges>;
  /** Something moved there (relative, as in FolderChanges): it is listed at the next look. */
  touch(folder: string): void;
  /** These are news again. */
  undo(paths: readonly string[]): void;
  /** All is news again. */
  forget(): void;
  /** Files were sent from here: when nothing at all is there now, it is not the source that it was. */
  expectFiles(): void;
  /** As of the last whole look. */
  readonly files: number;
  readonly folders: readonly string[];
}

/** Whether a file's content is whole, as far as its kind can tell: null when it is, or cannot be known. */
export interface Completeness {
  /** In the order of `files`; `path` is absolute. */
  missing(files: readonly { path: string; sizeBytes: number }[]): Promise<("incomplete" | "open_for_writing" | null)[]>;
}

/** A `pending` row that no worker may take yet. */
export interface WaitingRow extends FileState {
  path: string;
  /** Full key. */
  key: string;
  reason: WaitReason | null;
  looks: number;
  /** Until it may be settled; below 0: it may be. By the database's clock. */
  dueInMs: number;
}

export interface WaitingFile extends Candidate {
  inode: bigint;
  reason: WaitReason;
  looks: number;
  /** Until it is worth another look. */
  delayMs: number;
}

export interface SyncSession extends OpenedSession {
  /** A new day, or a new pass: what was settled by earlier sessions is safe, and has no row in this one. */
  isNew: boolean;
}

export interface SyncDue {
  /** Files that a worker may take, or has. */
  due: number;
  waiting: number;
  /** Failed, and not for good. */
  failed: number;
}

export interface SyncMemory {
  /** Makes the rows of the project and of the destination; and the newest session of this work (0: there is none). */
  syncPlace(work: Work): Promise<{ destinationId: number; sessionId: number; isFinished: boolean }>;
  /** Becomes the one that looks after this source, or stays it. Throws lease_held, naming the holder. */
  takeSource(destinationId: number, work: Work, me: WorkerIdentity): Promise<void>;
  /** False: another process looks after it now. */
  keepSource(destinationId: number, work: Work, me: WorkerIdentity): Promise<boolean>;
  leaveSource(destinationId: number, work: Work, me: WorkerIdentity): Promise<void>;
  /**
   * Begins a worker on the session of this work: the unfinished one; with `dayStart` also a finished one that was begun
   * since then, while one of an earlier day is continued only if files of it are on their way.
   */
  openSync(
    work: Work,
    me: WorkerIdentity,
    options: { dayStart: Date | null; now: Date; concurrency: number },
  ): Promise<SyncSession>;
  syncDue(sessionId: number): Promise<SyncDue>;
  waiting(sessionId: number): Promise<WaitingRow[]>;
  wait(sessionId: number, destinationId: number, files: readonly WaitingFile[]): Promise<void>;
  /** Move leave. */
  leave(sessionId: number, destinationId: number, keys: readonly string[], reason: string): Promise<number>;
  leftOut(sessionId: number, destinationId: number, files: readonly (Candidate & { reason: string })[]): Promise<void>;
  /** A not-ready file may still get another key; called before `renew`. */
  rekey(sessionId: number, files: readonly Candidate[]): Promise<void>;
}
