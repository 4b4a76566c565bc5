/** One process looks after a source: its lease is renewed beside the work, and a second one is told who it is. */
import { asUploaderError, UploaderError } from "../../core/errors.ts";
import type { Work } from "../../core/store.ts";
import { renewEveryMs } from "../lease.ts";
import type { SyncContext } from "./context.ts";

export interface SourceLease {
  /** Aborts when another process has taken over. */
  readonly lost: AbortSignal;
  end(): Promise<void>;
}

export function keepSource(cx: SyncContext, destinationId: number, work: Work): SourceLease {
  const ended = new AbortController();
  const lost = new AbortController();
  const renewing = (async () => {
    while (!ended.signal.aborted) {
      await cx.sleep(renewEveryMs, ended.signal);
      if (ended.signal.aborted) return;
      try {
        if (await cx.looking.keepSource(destinationId, work, cx.me)) continue;
        // It lapsed while this process was silent: whoever has it now goes on; else it is ours again.
        await cx.looking.takeSource(destinationId, work, cx.me);
      } catch (error) {
        const { code, message } = asUploaderError(error);
        if (code === "lease_held") lost.abort(new UploaderError("lease_held", message));
        else cx.emit({ type: "notice", sessionId: null, level: "detail", message: `lease of the source: ${message}` });
      }
    }
  })();
  return {
    lost: lost.signal,
    async end() {
      ended.abort();
      await renewing;
      await cx.looking.leaveSource(destinationId, work, cx.me).catch((error: unknown) => {
        const { message } = asUploaderError(error);
        cx.emit({ type: "notice", sessionId: null, level: "detail", message: `lease of the source: ${message}` });
      });
    },
  };
}
