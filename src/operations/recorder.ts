/**
 * Everything a run must remember goes through here: into the database, or while that is away into the journal, from
 * where it follows when the database is back. What is claimed is sent all the same.
 */
import { backoffMs } from "../core/backoff.ts";
import { asUploaderError, type UploaderError } from "../core/errors.ts";
import type { UploadMemory } from "../core/ports.ts";
import type { ClaimedFile, Memo } from "../core/store.ts";
import type { Context } from "./context.ts";

type Applied = (stayed: ClaimedFile[]) => void;

export interface Recorder {
  /** Resolves when the memo is safe: in the database, or on this disk. `applied` follows when the database has it. */
  record(memo: Memo, applied: Applied): Promise<void>;
  readonly uploads: UploadMemory;
  /** Everything is in the database. Throws when it stays away longer than allowed; the journal keeps what it has. */
  flush(): Promise<void>;
  /** Memos that only the journal has. */
  readonly kept: number;
}

const probeEvery = { baseMs: 500, capMs: 5_000 };

export function createRecorder(cx: Context, sessionId: number): Recorder {
  const kept: { memo: Memo; applied: Applied }[] = [];
  let recovering: Promise<void> | null = null;
  let failure: UploaderError | null = null;

  const say = (message: string): void => cx.emit({ type: "notice", sessionId, level: "info", message });

  const recover = async (cause: UploaderError): Promise<void> => {
    const sinceMs = cx.now();
    say(`${cause.message}; what is on its way goes on, results are kept in ${cx.journal.path}`);
    for (let probe = 1; kept.length > 0; probe++) {
      await cx.sleep(backoffMs(probeEvery, probe, cx.random()), cx.dropping);
      try {
        while (kept.length > 0) {
          const { memo, applied } = kept[0]!;
          applied(await cx.apply(memo));
          kept.shift();
        }
      } catch (error) {
        const ours = asUploaderError(error);
        if (ours.code === "database_unreachable") {
          if (!cx.dropping.aborted && cx.now() - sinceMs < cx.policy.maxOutageMs) continue;
        }
        failure = ours;
        return;
      }
    }
    await cx.journal.clear();
    say("the database is back and has been told everything");
  };

  const keep = async (memo: Memo, applied: Applied, cause: UploaderError | null): Promise<void> => {
    await cx.journal.append(memo);
    kept.push({ memo, applied });
    recovering ??= recover(cause!).finally(() => {
      recovering = null;
    });
  };

  const record = async (memo: Memo, applied: Applied): Promise<void> => {
    if (failure) throw failure;
    if (recovering) return keep(memo, applied, null);
    try {
      applied(await cx.apply(memo));
    } catch (error) {
      const ours = asUploaderError(error);
      if (ours.code !== "database_unreachable") throw ours;
      await keep(memo, applied, ours);
    }
  };
  const nothing = (): void => undefined;

  return {
    record,
    get kept() {
      return kept.length;
    },
    uploads: {
      find: (fileId) => cx.store.uploads.find(fileId),
      begin: (fileId, upload) => record({ call: "begin", fileId, upload }, nothing),
      part: (uploadId, part) => record({ call: "part", uploadId, part }, nothing),
      end: (uploadId, state) => record({ call: "end", uploadId, state }, nothing),
    },
    async flush() {
      while (recovering) await recovering;
      if (failure) throw failure;
    },
  };
}
