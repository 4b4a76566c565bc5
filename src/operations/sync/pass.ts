/** A pass is over: the screen, the metrics and the database are told. */
import { asUploaderError, type UploaderError } from "../../core/errors.ts";
import type { SourceInput, SyncContext } from "./context.ts";

export interface Pass {
  /** null: there was nothing to do. */
  sessionId: number | null;
  error: UploaderError | null;
  notReady: number;
  filesThisRun: number;
  bytesThisRun: number;
  durationMs: number;
  fullScan: boolean;
  /** Of a watch; null: a single pass. */
  intervalSeconds: number | null;
}

/** To whoever listens to this process; of one that was broken off, too. */
export function sayPass(cx: SyncContext, { name }: SourceInput, pass: Pass): void {
  const { error, notReady, filesThisRun, bytesThisRun, fullScan, sessionId } = pass;
  const { files: filesSeen } = cx.source;
  const told = { sessionId, source: name, errorCode: error?.code ?? null, filesSeen, fullScan };
  const durationMs = Math.round(pass.durationMs);
  cx.emit({ type: "pass", ...told, durationMs, filesNotReady: notReady, filesThisRun, bytesThisRun });
}

export async function tellOfPass(cx: SyncContext, source: SourceInput, pass: Pass): Promise<void> {
  const { sessionId, intervalSeconds } = pass;
  // A single pass has said it in its summary, which comes last.
  if (intervalSeconds !== null) sayPass(cx, source, pass);
  const { work, name, expectEverySeconds } = source;
  try {
    await cx.looking.recordPass({
      project: work.project,
      name,
      source: work.source,
      destination: work.destination.text,
      host: cx.me.host,
      pid: cx.me.pid,
      intervalSeconds,
      expectEverySeconds,
      errorCode: pass.error?.code ?? null,
      filesSeen: cx.source.files,
      durationMs: Math.round(pass.durationMs),
    });
  } catch (failure) {
    // The next pass tells.
    const { message } = asUploaderError(failure);
    cx.emit({ type: "notice", sessionId, level: "detail", message: `the pass could not be noted: ${message}` });
  }
}
