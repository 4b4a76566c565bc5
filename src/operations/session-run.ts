/** What upload and retry have in common: a worker on a session, rounds of draining, and an honest end. */
import { asUploaderError, type UploaderError } from "../core/errors.ts";
import type { Failures, SummaryEvent } from "../core/events.ts";
import { exitCodeOf } from "../core/exit-codes.ts";
import type { CauseRow, OpenedSession, SessionRow } from "../core/store.ts";
import type { Context } from "./context.ts";
import { tellStoreInPassing } from "./correction.ts";
import { sendDue, tellPass } from "./deliveries.ts";
import { drain } from "./drain.ts";
import { keepLease } from "./lease.ts";
import { type Progress, reportProgress } from "./progress.ts";

export interface Rounds {
  rounds: number;
  delayMs: number;
  includePermanent: boolean;
}

export interface SessionRunInput {
  opened: OpenedSession;
  maxLooks: number;
  /** Fills the session while the first round drains; its failure ends the run. */
  register: ((run: { signal: AbortSignal; wake(): void }) => Promise<void>) | null;
  rounds: Rounds | null;
  /** Files that the last round leaves failed become permanent. */
  condemn: boolean;
  /**
   * Who is told when the session has been closed. session (default): what was promised when it was opened, and whatever
   * else is due · pass: what was uploaded and not told yet · none: the caller sees to it.
   */
  tell?: "session" | "pass" | "none";
  stopSignal(): "SIGINT" | "SIGTERM" | null;
}

export async function runSession(cx: Context, input: SessionRunInput): Promise<SummaryEvent> {
  const { sessionId, destinationId } = input.opened;
  const startedMs = cx.now();
  const lease = keepLease(cx, sessionId, input.opened.workerId);
  const progress = reportProgress(cx, sessionId);
  const sent = { files: 0, bytes: 0 };
  let fault: UploaderError | null = null;
  let notReady = 0;

  const drainOnce = async (register: SessionRunInput["register"]): Promise<void> => {
    let registering = register !== null;
    let wakers: (() => void)[] = [];
    const wake = (): void => {
      const woken = wakers;
      wakers = [];
      for (const resolve of woken) resolve();
    };
    const failed = new AbortController();
    const before = { ...sent };
    const registered = register?.({ signal: AbortSignal.any([cx.stopping, failed.signal]), wake }).finally(() => {
      registering = false;
      progress.phase("uploading");
      wake();
    });
    // The scan's failure must stop the drain, and the drain's the scan: whoever fails first names the cause.
    const scanFault = new AbortController();
    registered?.catch(() => scanFault.abort());
    const drained = drain(
      { ...cx, stopping: AbortSignal.any([cx.stopping, scanFault.signal]) },
      {
        sessionId,
        destinationId,
        lease,
        maxLooks: input.maxLooks,
        registering: () => registering,
        registered: () => new Promise<void>((resolve) => wakers.push(resolve)),
        onBytes: (bytes) => progress.bytesSent(bytes),
        onSettled: (files, bytes) => {
          sent.files = before.files + files;
          sent.bytes = before.bytes + bytes;
          progress.settled(sent.files, sent.bytes);
        },
        onPaused: (paused) => progress.phase(paused ? "paused" : registering ? "scanning" : "uploading"),
      },
    );
    drained.catch(() => failed.abort());
    const [scan, work] = await Promise.allSettled([registered, drained]);
    if (work.status === "fulfilled") notReady = work.value.notReady;
    if (scan.status === "rejected") throw scan.reason;
    if (work.status === "rejected") throw work.reason;
  };

  try {
    await drainOnce(input.register);
    await repeat(cx, sessionId, input.rounds, progress, () => drainOnce(null));
    if (input.condemn && !cx.stopping.aborted) await cx.store.condemn(sessionId);
    await tellStoreInPassing({ ...cx, tags: cx.policy.patientTags === true }, destinationId);
  } catch (error) {
    fault = asUploaderError(error);
  }

  await progress.end();
  const tell = input.tell ?? "session";
  return finish(cx, { sessionId, lease, fault, notReady, sent, startedMs, tell, stopSignal: input.stopSignal });
}

/** Exponential pauses: delay, 2 x delay, 4 x delay (design A2). */
async function repeat(
  cx: Context,
  sessionId: number,
  rounds: Rounds | null,
  progress: Progress,
  round: () => Promise<void>,
): Promise<void> {
  for (let n = 0; rounds && n < rounds.rounds && !cx.stopping.aborted; n++) {
    const failed = (await cx.store.session(sessionId))?.filesFailed ?? 0;
    if (failed === 0) return;
    const retryable = await cx.store.retryable(sessionId);
    if (retryable === 0) return;
    progress.phase("waiting");
    const delayMs = rounds.delayMs * 2 ** n;
    cx.emit({
      type: "notice",
      sessionId,
      level: "info",
      message: `retry round ${n + 1} of ${rounds.rounds}: ${retryable} failed files again in ${Math.round(delayMs / 1000)} s`,
    });
    await cx.sleep(delayMs, cx.stopping);
    if (cx.stopping.aborted) return;
    await cx.store.requeue(sessionId, false);
    progress.phase("uploading");
    await round();
  }
}

const isIncomplete = (row: SessionRow): boolean =>
  row.scanFinishedAt === null || row.filesPending + row.filesUploading > 0;

interface End {
  sessionId: number;
  lease: { workerId: number; end(reason: "done" | "interrupted"): Promise<void> };
  fault: UploaderError | null;
  notReady: number;
  sent: { files: number; bytes: number };
  startedMs: number;
  tell: "session" | "pass" | "none";
  stopSignal(): "SIGINT" | "SIGTERM" | null;
}

async function finish(cx: Context, end: End): Promise<SummaryEvent> {
  const { sessionId, lease } = end;
  let { fault } = end;
  // A database that stayed away for as long as allowed is not waited for again, four times over.
  if (fault?.code === "database_unreachable") cx.giveUpOnDatabase();
  const attempt = async <T>(work: () => Promise<T>): Promise<T | null> => {
    try {
      return await work();
    } catch (error) {
      fault ??= asUploaderError(error);
      return null;
    }
  };
  await attempt(() => lease.end(fault || cx.stopping.aborted ? "interrupted" : "done"));
  await attempt(async () => {
    if (fault) await cx.store.failSession(sessionId, { code: fault.code, message: fault.message });
    else if (cx.stopping.aborted) await cx.store.failSession(sessionId, null);
    else await cx.store.closeSession(sessionId);
  });
  const row = await attempt(() => cx.store.session(sessionId));
  const undecoded = cx.decoding ? await attempt(() => cx.store.undecodable(sessionId)) : 0;
  const conflicts = await attempt(() => cx.store.conflicts(sessionId));
  const causes = row && row.filesFailed > 0 ? await attempt(() => cx.store.causes(sessionId)) : null;
  const triggerDue = row && !fault ? await attempt(() => tellOthers(cx, row, end.tell)) : false;
  if (fault) {
    cx.emit({
      type: "error",
      sessionId,
      code: fault.code,
      exitCode: fault.exitCode,
      message: fault.message,
      hint: fault.hint ?? null,
    });
  }
  const exitCode = exitCodeOf({
    fault: fault?.code ?? null,
    signal: end.stopSignal(),
    filesFailed: row?.filesFailed ?? 0,
    filesConflicting: conflicts ?? 0,
    // Files, or the scan itself, are left for others or for another run: that is not "all confirmed".
    filesNotReady: end.notReady + (row && isIncomplete(row) ? 1 : 0),
    triggerDue: triggerDue ?? false,
  });
  const summary: SummaryEvent = {
    type: "summary",
    sessionId,
    status: row?.status ?? "interrupted",
    totalFiles: row?.totalFiles ?? 0,
    totalBytes: row?.totalSizeBytes ?? 0,
    filesSafe: row?.filesSafe ?? 0,
    filesUploaded: row?.filesUploaded ?? 0,
    filesSkipped: row?.filesSkipped ?? 0,
    filesFailed: row?.filesFailed ?? 0,
    failures: failuresIn(causes ?? []),
    filesNotReady: end.notReady,
    filesUndecoded: undecoded ?? 0,
    bytesUploaded: row?.bytesUploaded ?? 0,
    filesThisRun: end.sent.files,
    bytesThisRun: end.sent.bytes,
    durationMs: Math.round(cx.now() - end.startedMs),
    exitCode,
  };
  cx.emit(summary);
  return summary;
}

const failuresIn = (causes: readonly CauseRow[]): Failures[] =>
  causes
    .filter(({ status }) => status === "failed")
    .map(({ errorCode, permanent, files }) => ({ errorCode, permanent, files }));

/** True: somebody should have been told, and was not. */
async function tellOthers(cx: Context, session: SessionRow, tell: End["tell"]): Promise<boolean> {
  if (!cx.trigger || tell === "none" || cx.stopping.aborted) return false;
  if (tell === "pass") await tellPass(cx, session.id);
  const { project, id: sessionId } = session;
  const { due, refused } = await sendDue(cx, { project, sessionId, waitMs: cx.trigger.waitMs });
  if (tell === "session" && session.filesFailed > 0 && (await cx.store.deliveries.held(sessionId)) !== null) {
    const message = `nobody is told of this session yet: of its files ${session.filesFailed} failed; a retry that brings them in tells it (at once: uploader trigger ${sessionId} --force)`;
    cx.emit({ type: "notice", sessionId, level: "info", message });
  }
  return due + refused > 0;
}
