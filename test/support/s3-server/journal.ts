import type { AuthMode } from "./signature.ts";

/** One request. Entered when its head has been read, filled in as it goes on. */
export interface JournalEntry {
  readonly id: number;
  readonly requestId: string;
  readonly method: string;
  /** `Unknown` for what the server could not read or does not serve. */
  readonly operation: string;
  readonly bucket: string;
  readonly key: string;
  readonly partNumber: number | null;
  readonly uploadId: string | null;
  /** Lower-case names. Holds signatures of test keys only. */
  readonly headers: Readonly<Record<string, string>>;
  authMode: AuthMode | null;
  /** x-amz-content-sha256: a hash, or how the body is signed. */
  payload: string | null;
  /** Kind of the fault played on it. */
  fault: string | null;
  state: "open" | "stalled" | "answered" | "reset";
  /** HTTP status, once answered. */
  status: number | null;
  /** S3 error code of the answer. */
  code: string | null;
  /** Bytes of the object or part, without the framing. */
  bytesIn: number;
  bytesOut: number;
}

export interface Journal {
  /** The latest requests, oldest first. */
  readonly log: readonly JournalEntry[];
  /** Requests by operation. */
  readonly counts: Readonly<Record<string, number>>;
  readonly inFlight: number;
  readonly peakInFlight: number;
  /** Resolves with the first request, past or to come, that satisfies the predicate. */
  waitFor(predicate: (entry: JournalEntry) => boolean): Promise<JournalEntry>;
  /** Forgets log, counts and peak. */
  forget(): void;
}

export interface JournalWriter extends Journal {
  enter(entry: Omit<JournalEntry, "id">): JournalEntry;
  /** Tells those who wait that an entry has changed. */
  changed(entry: JournalEntry): void;
  leave(entry: JournalEntry): void;
}

export function createJournal(maxEntries: number): JournalWriter {
  let log: JournalEntry[] = [];
  let counts: Record<string, number> = {};
  let lastId = 0;
  let inFlight = 0;
  let peakInFlight = 0;
  let waiting: { predicate: (entry: JournalEntry) => boolean; resolve: (entry: JournalEntry) => void }[] = [];

  function tell(entry: JournalEntry): void {
    if (waiting.length === 0) return;
    waiting = waiting.filter(({ predicate, resolve }) => {
      if (!predicate(entry)) return true;
      resolve(entry);
      return false;
    });
  }

  return {
    get log() {
      return log;
    },
    get counts() {
      return counts;
    },
    get inFlight() {
      return inFlight;
    },
    get peakInFlight() {
      return peakInFlight;
    },
    waitFor(predicate) {
      const past = log.find(predicate);
      return past ? Promise.resolve(past) : new Promise((resolve) => waiting.push({ predicate, resolve }));
    },
    forget() {
      log = [];
      counts = {};
      peakInFlight = inFlight;
    },
    enter(fields) {
      const entry = { ...fields, id: ++lastId };
      log.push(entry);
      // Cut in halves: shifting one entry at a time would copy the whole log on every request.
      if (log.length > maxEntries * 2) log = log.slice(-maxEntries);
      counts[entry.operation] = (counts[entry.operation] ?? 0) + 1;
      inFlight++;
      peakInFlight = Math.max(peakInFlight, inFlight);
      tell(entry);
      return entry;
    },
    changed: tell,
    leave(entry) {
      inFlight--;
      tell(entry);
    },
  };
}
