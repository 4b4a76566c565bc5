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

export async function tellOfPass(cx: SyncContext, source: SourceInput, pass: Pass): Promise<void> {
  const { error, notReady, filesThisRun, bytesThisRun, fullScan, sessionId, intervalSeconds } = pass;
  const durationMs = Math.round(pass.durationMs);
  const { files: filesSeen } = cx.source;
  const errorCode = error?.code ?? null;
  // A single pass has said it in its summary, which comes last.
  if (intervalSeconds !== null) {
    const told = { sessionId, source: source.name, errorCode, filesSeen, durationMs, fullScan };
    cx.emit({ type: "pass", ...told, filesNotReady: notReady, filesThisRun, bytesThisRun });
  }
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
      errorCode,
      filesSeen,
      durationMs,
    });
  } catch (failure) {
    // The next pass tells.
    const { message } = asUploaderError(failure);
    cx.emit({ type: "notice", sessionId, level: "detail", message: `the pass could not be noted: ${message}` });
  }
}
