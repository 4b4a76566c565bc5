/** One pass over one source, for cron: sees, waits once for as long as a file must rest, looks again and sends. */
import { asUploaderError } from "../../core/errors.ts";
import { type SummaryEvent, summaryWithoutSession } from "../../core/events.ts";
import { exitCodeOfSignal } from "../../core/exit-codes.ts";
import { sendDue } from "../deliveries.ts";
import type { SourceInput, SyncContext } from "./context.ts";
import { keepSource } from "./lease.ts";
import { createLooker, type LookInput } from "./look.ts";
import { type Pass, tellOfPass } from "./pass.ts";
import { addSafe, nextWork, noFiles, runSyncSession, type SourceState } from "./session.ts";

/** Throws lease_held when another process looks after this source. */
export async function syncOnce(given: SyncContext, source: SourceInput): Promise<SummaryEvent> {
  const startedMs = given.now();
  const { work } = source;
  const { destinationId, sessionId, isFinished } = await given.store.syncPlace(work);
  await given.store.takeSource(destinationId, work, given.me);
  const lease = keepSource(given, destinationId, work);
  const cx = { ...given, stopping: AbortSignal.any([given.stopping, lease.lost]) };
  const tell = async (pass: Omit<Pass, "durationMs" | "fullScan" | "intervalSeconds">): Promise<void> => {
    // One that was told to stop has neither failed nor seen everything.
    if (cx.stopping.aborted) return;
    await tellOfPass(cx, source, { ...pass, durationMs: cx.now() - startedMs, fullScan: true, intervalSeconds: null });
  };
  try {
    // What a finished session has settled, or left failed, is a new one's business.
    const unfinished = isFinished ? 0 : sessionId;
    const state: SourceState = { destinationId, sessionId: unfinished, safe: { files: 0, bytes: 0 } };
    if (sessionId !== 0) cx.source.expectFiles();
    const looker = createLooker(cx, { destinationId, prefix: work.destination.prefix });
    if (!isFinished) looker.load(await cx.store.waiting(sessionId));
    const how = (over: Partial<LookInput> = {}): LookInput => ({
      sessionId: state.sessionId,
      full: true,
      onlySee: false,
      tellAll: true,
      ...over,
    });
    const settleMs = cx.policy.settleSeconds * 1000;
    if (settleMs > 0) {
      for await (const found of looker.look(how({ onlySee: true }), cx.stopping)) {
        addSafe(state, found);
        found.done(noFiles());
      }
      // What is safe need not settle, although a layout of whole folders observes all of it.
      if (looker.notReady > 0 && looker.dueMs() !== null) await cx.sleep(settleMs, cx.stopping);
    }
    const look = looker.look(how(), cx.stopping);
    const first = await nextWork(state, look);
    const isOpen = !isFinished && first === null && (await cx.store.syncDue(sessionId)).due > 0;
    const lookAfresh = () => looker.look(how({ sessionId: state.sessionId }), cx.stopping);
    const outcome =
      first === null && !isOpen
        ? null
        : await runSyncSession(cx, {
            source,
            state,
            looker,
            first,
            look,
            lookAfresh,
            retryFailed: true,
            dayStart: null,
          });
    const summary = outcome?.summary ?? (await nothingToDo(cx, source, state, cx.now() - startedMs));
    await tell({
      sessionId: outcome ? state.sessionId : null,
      error: outcome?.fault ?? null,
      notReady: looker.notReady,
      filesThisRun: summary.filesThisRun,
      bytesThisRun: summary.bytesThisRun,
    });
    return summary;
  } catch (error) {
    await tell({ sessionId: null, error: asUploaderError(error), notReady: 0, filesThisRun: 0, bytesThisRun: 0 });
    throw lease.lost.aborted ? lease.lost.reason : error;
  } finally {
    await lease.end();
  }
}

/** All is safe: no session is needed to say so. What earlier passes could not tell is told all the same. */
async function nothingToDo(
  cx: SyncContext,
  { work, stopSignal }: SourceInput,
  { safe }: SourceState,
  durationMs: number,
): Promise<SummaryEvent> {
  const { project } = work;
  const told = cx.trigger ? await sendDue(cx, { project, sessionId: null, waitMs: cx.trigger.waitMs }) : null;
  const signal = stopSignal();
  const summary = summaryWithoutSession({
    status: signal ? "interrupted" : "completed",
    totalFiles: safe.files,
    totalBytes: safe.bytes,
    filesSafe: safe.files,
    filesSkipped: safe.files,
    durationMs: Math.round(durationMs),
    exitCode: signal ? exitCodeOfSignal(signal) : told && told.due + told.refused > 0 ? 16 : 0,
  });
  cx.emit(summary);
  return summary;
}
