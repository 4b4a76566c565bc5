/** What a look has found is put into a session and sent, while the source is looked at again and again. */
import { asUploaderError, UploaderError } from "../../core/errors.ts";
import type { Event, SummaryEvent } from "../../core/events.ts";
import { runSession } from "../session-run.ts";
import type { SourceInput, SyncContext } from "./context.ts";
import { type Findings, hasWork, type Looker } from "./look.ts";
import { registerFindings } from "./register.ts";

/** What is known of a source's session between two passes. */
export interface SourceState {
  destinationId: number;
  /** The newest one; 0: there is none yet. */
  sessionId: number;
  /** Found safe without a row of this session. */
  safe: { files: number; bytes: number };
}

export const noFiles = (): ReadonlySet<never> => new Set();

/** Goes on to the first finding that needs a session; what is before it is dealt with. */
export async function nextWork(state: SourceState, look: AsyncGenerator<Findings>): Promise<Findings | null> {
  for (;;) {
    const { done, value } = await look.next();
    if (done) return null;
    if (hasWork(value)) return value;
    addSafe(state, value);
    value.done(noFiles());
  }
}

export function addSafe({ safe }: SourceState, { safeFiles, safeBytes, isAnew }: Findings): void {
  safe.files = safeFiles + (isAnew ? 0 : safe.files);
  safe.bytes = safeBytes + (isAnew ? 0 : safe.bytes);
}

export interface SessionInput {
  source: SourceInput;
  state: SourceState;
  looker: Looker;
  first: Findings | null;
  look: AsyncGenerator<Findings>;
  /** A look at everything, for a session that has no rows yet. */
  lookAfresh(): AsyncGenerator<Findings>;
  /** Of a watch: the next look when it is time for one; null: not yet. Absent: one pass. */
  again?: {
    /** Comes back at the latest when somebody may have something to do. */
    rest(signal: AbortSignal): Promise<void>;
    next(): AsyncGenerator<Findings> | null;
    /** False: the error is not one that passes. */
    bears(error: UploaderError): boolean;
  };
  /** Puts failed files back. */
  retryFailed: boolean;
  dayStart: Date | null;
}

export interface SessionOutcome {
  summary: SummaryEvent;
  fault: UploaderError | null;
  filesThisRun: number;
  bytesThisRun: number;
}

export async function runSyncSession(cx: SyncContext, input: SessionInput): Promise<SessionOutcome> {
  const { source, state, looker, again } = input;
  let { first, look } = input;
  const opened = await cx.store.openSync(source.work, cx.me, {
    dayStart: input.dayStart,
    now: new Date(cx.wallClock()),
    concurrency: cx.concurrency.limit,
  });
  const { sessionId, destinationId } = opened;
  if (state.sessionId !== sessionId && state.sessionId !== 0) {
    // What was found is about the rows of another session.
    await look.return(undefined);
    looker.forget();
    state.safe = { files: 0, bytes: 0 };
    first = null;
    state.sessionId = sessionId;
    look = input.lookAfresh();
  }
  state.sessionId = sessionId;
  await cx.store.rememberConfig(sessionId, source.config);
  if (!again || opened.isNew) {
    const { project, destination } = source.work;
    const { resumed } = opened;
    const text = destination.text;
    cx.emit({ type: "start", sessionId, command: "sync", project, source: cx.source.root, destination: text, resumed });
  }
  if (opened.rescued > 0) {
    const message = `${opened.rescued === 1 ? "1 file" : `${opened.rescued} files`} taken back from a process that died`;
    cx.emit({ type: "notice", sessionId, level: "info", message });
  }
  if (input.retryFailed) await cx.store.requeue(sessionId, false);

  let fault: UploaderError | null = null;
  // A watch says what it did in passes, and of a cause that stops it once.
  const emit = (event: Event): void => {
    if (event.type === "error") fault = asFault(event);
    if (!again || (event.type !== "summary" && event.type !== "error")) cx.emit(event);
  };

  const register = async ({ signal, wake }: { signal: AbortSignal; wake(): void }): Promise<void> => {
    const take = async (found: Findings): Promise<void> => {
      await registerFindings(cx, { sessionId, destinationId }, found);
      addSafe(state, found);
      wake();
    };
    let coming: AsyncGenerator<Findings> | null = look;
    while (!signal.aborted) {
      try {
        if (first) await take(first);
        first = null;
        if (coming) {
          for await (const found of coming) await take(found);
          coming = null;
          if (signal.aborted) return;
          await cx.looking.scanned(sessionId, state.safe.files, state.safe.bytes, true);
        }
        if (!again || (await cx.looking.syncDue(sessionId)).due === 0) return;
      } catch (error) {
        coming = null;
        if (signal.aborted) return;
        if (!again?.bears(asUploaderError(error))) throw error;
      }
      cx.onBeat();
      await again.rest(signal);
      coming ??= again.next();
    }
  };

  const summary = await runSession(
    { ...cx, emit },
    {
      opened,
      // A file that changed while it was read is looked at here before it is taken again.
      maxLooks: 1,
      register,
      rounds: null,
      condemn: false,
      tell: again ? "none" : "pass",
      stopSignal: source.stopSignal,
    },
  );
  const { filesThisRun, bytesThisRun } = summary;
  return { summary, fault, filesThisRun, bytesThisRun };
}

const asFault = ({ code, message, hint }: Extract<Event, { type: "error" }>): UploaderError =>
  new UploaderError(code, message, hint === null ? {} : { hint });
