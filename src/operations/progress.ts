import type { ProgressEvent } from "../core/events.ts";
import type { SessionRow } from "../core/store.ts";
import type { Context } from "./context.ts";

const everyMs = 1_000;

export interface Progress {
  bytesSent(bytes: number): void;
  settled(files: number, bytes: number): void;
  phase(phase: ProgressEvent["phase"]): void;
  end(): Promise<void>;
}

export function countsOf(row: SessionRow) {
  return {
    totalFiles: row.totalFiles,
    totalBytes: row.totalSizeBytes,
    filesSafe: row.filesSafe,
    bytesSafe: row.bytesSafe,
    filesUploaded: row.filesUploaded,
    filesSkipped: row.filesSkipped,
    filesFailed: row.filesFailed,
    filesPending: row.filesPending + row.filesUploading,
    bytesUploaded: row.bytesUploaded,
  };
}

/** Once a second what the database counts, with what this process has sent: a screen shows nothing SQL does not know. */
export function reportProgress(cx: Context, sessionId: number): Progress {
  const startedMs = cx.now();
  const ended = new AbortController();
  let phase: ProgressEvent["phase"] = "scanning";
  let sentBytes = 0;
  let files = 0;
  let bytes = 0;
  let row: SessionRow | null = null;
  let asking = false;

  const tick = async (): Promise<void> => {
    if (asking) return;
    asking = true;
    try {
      row = (await cx.store.session(sessionId)) ?? row;
    } finally {
      asking = false;
    }
    if (!row || ended.signal.aborted) return;
    cx.bandwidth?.override(row.bandwidthLimit);
    cx.emit({
      type: "progress",
      sessionId,
      phase,
      ...countsOf(row),
      totalsFinal: row.scanFinishedAt !== null,
      filesThisRun: files,
      bytesThisRun: Math.max(sentBytes, bytes),
      elapsedMs: Math.round(cx.now() - startedMs),
    });
  };

  const ticking = (async () => {
    while (!ended.signal.aborted) {
      await cx.sleep(everyMs, ended.signal);
      if (ended.signal.aborted) return;
      // A lost database is reported by those who need its answer.
      await tick().catch(() => undefined);
    }
  })();

  return {
    bytesSent(count) {
      sentBytes += count;
    },
    settled(settledFiles, settledBytes) {
      files = settledFiles;
      bytes = settledBytes;
    },
    phase(next) {
      phase = next;
    },
    async end() {
      ended.abort();
      await ticking;
    },
  };
}
