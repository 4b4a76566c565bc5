/** Results go to the database in batches: one-row updates reach 3,000 a second, batches of 500 over 100,000. */
import type { ErrorCode, UploaderError } from "../core/errors.ts";
import { asUploaderError } from "../core/errors.ts";
import type { FileStatus } from "../core/states.ts";
import { fileMoves } from "../core/states.ts";
import type { ClaimedFile, Ending } from "../core/store.ts";
import type { Context } from "./context.ts";
import type { Lease } from "./lease.ts";
import type { Recorder } from "./recorder.ts";

const batchSize = 500;
const lingerMs = 200;

export interface Settler {
  add(ending: Ending): void;
  /** Waits while more results wait than the database takes away. */
  room(): Promise<void>;
  /** Everything added so far is in the database. Throws what the database answered. */
  flush(): Promise<void>;
  readonly settledFiles: number;
  readonly settledBytes: number;
}

/** `onApplied`: the database knows of more. */
export function createSettler(
  cx: Context,
  sessionId: number,
  lease: Lease,
  recorder: Recorder,
  onApplied: () => void,
): Settler {
  let waiting: Ending[] = [];
  let writing: Promise<void> | null = null;
  let failure: UploaderError | null = null;
  let timer: NodeJS.Timeout | null = null;
  let settledFiles = 0;
  let settledBytes = 0;

  const report = (ending: Ending, attempt: number): void => {
    const errorCode = "code" in ending ? (ending.code as ErrorCode) : null;
    cx.emit({
      type: "file",
      sessionId,
      path: ending.file.path,
      key: ending.file.key,
      size: ending.file.sizeBytes,
      status: fileMoves[ending.move].to as FileStatus,
      errorCode,
      errorMessage: "message" in ending ? ending.message : null,
      attempt,
      durationMs: "durationMs" in ending ? ending.durationMs : null,
    });
  };

  const applied = (batch: Ending[], stayed: ClaimedFile[]): void => {
    const notMoved = new Set(stayed.map((file) => file.id));
    for (const ending of batch) {
      lease.inHand.delete(ending.file.id);
      if (notMoved.has(ending.file.id)) continue;
      if (ending.move === "settle") {
        settledFiles++;
        settledBytes += ending.file.sizeBytes;
      }
      if (ending.move !== "release") report(ending, ending.file.attempts + 1);
    }
    if (stayed.length > 0) {
      const message = `${stayed.length === 1 ? "a result" : `${stayed.length} results`} came late: another worker had taken over`;
      cx.emit({ type: "notice", sessionId, level: "detail", message });
    }
    onApplied();
  };

  const write = (batch: Ending[]): Promise<void> =>
    recorder.record({ call: "settle", workerId: lease.workerId, endings: batch, atMs: cx.wallClock() }, (stayed) =>
      applied(batch, stayed),
    );

  const writeAll = async (): Promise<void> => {
    try {
      while (waiting.length > 0 && !failure) {
        const batch = waiting.slice(0, batchSize);
        waiting = waiting.slice(batch.length);
        await write(batch);
      }
    } catch (error) {
      failure = asUploaderError(error);
    }
  };

  // Cleared by the promise, never by its function: one that finds nothing to do ends before it is assigned.
  const pump = (): Promise<void> => {
    writing ??= writeAll().finally(() => {
      writing = null;
    });
    return writing;
  };

  return {
    get settledFiles() {
      return settledFiles;
    },
    get settledBytes() {
      return settledBytes;
    },
    add(ending) {
      waiting.push(ending);
      if (waiting.length >= batchSize) void pump();
      else
        timer ??= setTimeout(() => {
          timer = null;
          void pump();
        }, lingerMs);
    },
    async room() {
      while (waiting.length >= 4 * batchSize && !failure) await pump();
      if (failure) throw failure;
    },
    async flush() {
      if (timer) clearTimeout(timer);
      timer = null;
      while ((waiting.length > 0 || writing) && !failure) await pump();
      if (failure) throw failure;
      await recorder.flush();
    },
  };
}
