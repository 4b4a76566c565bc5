/** Looks after one source for as long as the process lives: the scan is the truth, events only make it come sooner. */
import { asUploaderError, type ErrorCode, type UploaderError } from "../../core/errors.ts";
import { sendDue, tellPass } from "../deliveries.ts";
import { linkedSignal } from "../linked-signal.ts";
import type { SourceInput, SyncContext } from "./context.ts";
import { keepSource } from "./lease.ts";
import { createLooker, type Findings } from "./look.ts";
import { sayPass, tellOfPass } from "./pass.ts";
import { nextWork, runSyncSession, type SourceState } from "./session.ts";

/** Every folder is listed again, for what is written in place changes no folder and its event may be lost. */
const fullEveryMs = 5 * 60_000;
/** Files that used up their attempts are put back this often. */
const failedEveryMs = 5 * 60_000;
/** Events of one moment make one look; and those that events make never take more than a quarter of the time. */
const gatherMs = 250;
const lookShare = 3;
/** While files are on their way, whether they have arrived is asked this often. */
const busyEveryMs = 1_000;
/** Nothing waits for longer without showing that it is alive. */
const beatEveryMs = 15_000;

/** Causes that time, or a person, may mend while a watch waits. The database's own outage is told by its connection. */
const toldElsewhere: ReadonlySet<ErrorCode> = new Set(["database_unreachable"]);
const endsWatch: ReadonlySet<ErrorCode> = new Set(["internal", "database_newer", "database_foreign"]);

export interface WatchInput extends SourceInput {
  /** The first scan is about to begin; events are followed from its end on. */
  onReady(): void;
}

/** Ends when it is told to stop. Throws lease_held when another process looks after this source, now or later. */
export async function watchSource(given: SyncContext, source: WatchInput): Promise<void> {
  const { work } = source;
  const { destinationId, sessionId, isFinished } = await given.store.syncPlace(work);
  await given.store.takeSource(destinationId, work, given.me);
  const lease = keepSource(given, destinationId, work);
  try {
    const cx = { ...given, stopping: AbortSignal.any([given.stopping, lease.lost]) };
    const state: SourceState = { destinationId, sessionId, safe: { files: 0, bytes: 0 } };
    if (sessionId !== 0) cx.source.expectFiles();
    await createWatch(cx, source, state, isFinished).run();
    if (lease.lost.aborted) throw lease.lost.reason;
  } finally {
    await lease.end();
  }
}

function createWatch(cx: SyncContext, source: WatchInput, state: SourceState, isFinished: boolean) {
  const looker = createLooker(cx, { destinationId: state.destinationId, prefix: source.work.destination.prefix });
  let lastFullMs = Number.NEGATIVE_INFINITY;
  let lastRetryMs = Number.NEGATIVE_INFINITY;
  let nextLookMs = cx.now();
  /** When the events of this moment may make another look. */
  let mayLookMs = cx.now();
  let isFull = false;
  let moved = false;
  let hasFailed = false;
  let hasBacklog = !isFinished;
  let cause: string | null = null;
  let isFirst = true;

  /** One line when it begins, one when it is over. */
  const report = (error: UploaderError | null): void => {
    if ((error?.code ?? null) === cause) return;
    const said = (message: string): void => cx.emit({ type: "notice", sessionId: null, level: "info", message });
    if (error === null) said(`${source.name}: going on`);
    else if (!toldElsewhere.has(error.code)) {
      said(`${source.name}: ${error.message}${error.hint === undefined ? "" : ` (${error.hint})`}`);
    }
    cause = error?.code ?? null;
  };

  async function* look(): AsyncGenerator<Findings> {
    const startedMs = cx.now();
    isFull = startedMs - lastFullMs >= fullEveryMs;
    moved = false;
    nextLookMs = startedMs + source.intervalMs;
    const input = { sessionId: state.sessionId, full: isFull, onlySee: false, tellAll: false };
    const found = looker.look(input, cx.stopping);
    let spentMs = 0;
    try {
      for (;;) {
        const resumedMs = cx.now();
        const { done, value } = await found.next();
        spentMs += cx.now() - resumedMs;
        if (done) break;
        yield value;
      }
    } finally {
      await found.return(undefined);
    }
    if (isFull) lastFullMs = startedMs;
    mayLookMs = cx.now() + lookShare * spentMs;
    await cx.fileEvents?.follow(cx.source.folders, cx.source.files);
    report(null);
  }

  /** Until it is time for another look, something moves, or `atMostMs` have passed. */
  const rest = async (atMostMs: number, signal: AbortSignal): Promise<void> => {
    const { signal: ending, end } = linkedSignal(signal);
    const events = cx.fileEvents?.moved(ending).then((hasMoved) => {
      moved ||= hasMoved;
    });
    await Promise.race([cx.sleep(Math.max(0, Math.min(atMostMs, untilLookMs())), ending), ...(events ? [events] : [])]);
    end();
    const gatheringMs = Math.min(Math.max(gatherMs, mayLookMs - cx.now()), source.intervalMs);
    if (moved && !signal.aborted) await cx.sleep(gatheringMs, signal);
  };

  const untilLookMs = (): number => {
    const dueMs = looker.dueMs();
    const settled = dueMs === null ? Number.POSITIVE_INFINITY : dueMs - cx.wallClock();
    return Math.min(nextLookMs - cx.now(), settled);
  };
  const isTime = (): boolean => moved || untilLookMs() <= 0;

  const bears = (error: UploaderError): boolean => {
    if (endsWatch.has(error.code)) return false;
    report(error);
    return true;
  };

  /** What a look finds is sent; looks go on until all of it has arrived. */
  const pass = async () => {
    const finding = look();
    const first = await nextWork(state, finding);
    const retryFailed = hasFailed && cx.now() - lastRetryMs >= failedEveryMs;
    if (first === null && !hasBacklog && !retryFailed) return null;
    if (retryFailed) lastRetryMs = cx.now();
    const [stopping, dropping] = [linkedSignal(cx.stopping), linkedSignal(cx.dropping)];
    const outcome = await runSyncSession(
      { ...cx, stopping: stopping.signal, dropping: dropping.signal },
      {
        source,
        state,
        looker,
        first,
        look: finding,
        lookAfresh: look,
        retryFailed,
        dayStart: startOfDay(cx.wallClock()),
        again: {
          rest: (signal) => rest(busyEveryMs, signal),
          next: () => (isTime() ? look() : null),
          bears,
        },
      },
    ).finally(() => {
      stopping.end();
      dropping.end();
    });
    hasBacklog = true;
    const due = await cx.looking.syncDue(state.sessionId);
    hasFailed = due.failed > 0;
    if (due.waiting > 0) looker.load(await cx.looking.waiting(state.sessionId));
    hasBacklog = due.due > 0;
    return outcome;
  };

  const tellOthers = async (filesThisRun: number): Promise<void> => {
    if (!cx.trigger?.plan || state.sessionId === 0) return;
    const { project } = source.work;
    if (filesThisRun > 0 || isFirst) await tellPass(cx, state.sessionId);
    await sendDue(cx, { project, sessionId: state.sessionId, waitMs: 0, comesAgain: true });
  };

  const round = async (): Promise<void> => {
    const startedMs = cx.now();
    let error: UploaderError | null = null;
    let outcome: Awaited<ReturnType<typeof pass>> = null;
    try {
      outcome = await pass();
      error = outcome?.fault ?? null;
      if (error === null) await tellOthers(outcome?.filesThisRun ?? 0);
      isFirst = false;
    } catch (failure) {
      error = asUploaderError(failure);
    }
    const told = {
      sessionId: outcome === null ? null : state.sessionId,
      error,
      notReady: looker.notReady,
      filesThisRun: outcome?.filesThisRun ?? 0,
      bytesThisRun: outcome?.bytesThisRun ?? 0,
      durationMs: cx.now() - startedMs,
      fullScan: isFull,
      intervalSeconds: source.intervalMs / 1000,
    };
    if (cx.stopping.aborted) {
      // The database is not told that all was looked at.
      if (told.filesThisRun > 0) sayPass(cx, source, told);
      return;
    }
    if (error !== null && !bears(error)) throw error;
    await tellOfPass(cx, source, told);
  };

  return {
    async run(): Promise<void> {
      if (!isFinished) looker.load(await cx.store.waiting(state.sessionId));
      if (state.sessionId !== 0) hasFailed = (await cx.store.syncDue(state.sessionId)).failed > 0;
      source.onReady();
      while (!cx.stopping.aborted) {
        cx.onBeat();
        await round();
        while (!cx.stopping.aborted && !isTime()) {
          cx.onBeat();
          await rest(beatEveryMs, cx.stopping);
        }
      }
    },
  };
}

/** The machine's own midnight: what people call a day. */
function startOfDay(nowMs: number): Date {
  const day = new Date(nowMs);
  day.setHours(0, 0, 0, 0);
  return day;
}
