/**
 * Everything a run must remember goes through here: into the database, or while that is away into the journal, from
 * where it follows when the database is back. What is claimed is sent all the same.
 */
import { backoffMs } from "../core/backoff.ts";
import { asUploaderError, type UploaderError } from "../core/errors.ts";
import type { ClaimedFile, Memo } from "../core/store.ts";
import type { Context } from "./context.ts";

type Applied = (stayed: ClaimedFile[]) => void;

export interface Recorder {
  /** Resolves when the memo is safe: in the database, or on this disk if that takes it. `applied` follows when the database has it. */
  record(memo: Memo, applied: Applied): Promise<void>;
  /** Everything is in the database. Throws when it stays away longer than allowed; the journal keeps what it has. */
  flush(): Promise<void>;
}

const probeEvery = { baseMs: 500, capMs: 5_000 };

export function createRecorder(cx: Context, sessionId: number): Recorder {
  const kept: { memo: Memo; applied: Applied }[] = [];
  /** Memos on their way to the disk: acknowledged soon, and not in `kept` yet. */
  let appending = 0;
  let away = false;
  let recovering: Promise<void> = Promise.resolve();
  let failure: UploaderError | null = null;
  let complained = false;

  const say = (message: string): void => cx.emit({ type: "notice", sessionId, level: "info", message });
  /** No more is claimed meanwhile, so memory holds it; and what the store has confirmed is found there if this dies. */
  const complain = ({ message }: UploaderError): void => {
    if (complained) return;
    complained = true;
    say(`results cannot be kept on this disk (${message}): they wait in memory until the database is back`);
  };
  const nothingLeft = (): boolean => kept.length === 0 && appending === 0;

  const recover = async (cause: UploaderError): Promise<void> => {
    const sinceMs = cx.now();
    say(`${cause.message}; what is on its way goes on, results are kept in ${cx.journal.path}`);
    for (let probe = 1; ; probe++) {
      try {
        if (nothingLeft()) {
          await cx.journal.clear();
          // Results may have been kept meanwhile. From the check to `away` nothing is awaited, so none slips between.
          if (nothingLeft()) {
            away = false;
            say("the database is back and has been told everything");
            return;
          }
        }
        await cx.sleep(backoffMs(probeEvery, probe, cx.random()), cx.dropping);
        while (kept.length > 0) {
          const { memo, applied } = kept[0]!;
          applied(await cx.apply(memo));
          kept.shift();
        }
      } catch (error) {
        const ours = asUploaderError(error);
        const patient = !cx.dropping.aborted && cx.now() - sinceMs < cx.policy.maxOutageMs;
        if (ours.code === "database_unreachable" && patient) continue;
        failure = ours;
        return;
      }
    }
  };

  const keep = async (memo: Memo, applied: Applied): Promise<void> => {
    appending++;
    try {
      await cx.journal.append(memo);
    } catch (error) {
      complain(asUploaderError(error));
    }
    appending--;
    kept.push({ memo, applied });
  };

  const record = async (memo: Memo, applied: Applied): Promise<void> => {
    if (failure) throw failure;
    if (away) return keep(memo, applied);
    try {
      applied(await cx.apply(memo));
    } catch (error) {
      const ours = asUploaderError(error);
      if (ours.code !== "database_unreachable") throw ours;
      const safe = keep(memo, applied);
      if (!away) {
        away = true;
        recovering = recover(ours);
      }
      await safe;
    }
  };

  return {
    record,
    async flush() {
      while (away && !failure) await recovering;
      if (failure) throw failure;
    },
  };
}
