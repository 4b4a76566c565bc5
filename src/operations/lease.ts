/** The heartbeat that keeps a worker's files its own (design A4: 60 s, renewed every 20 s). */
import { asUploaderError } from "../core/errors.ts";
import type { Context } from "./context.ts";

export const renewEveryMs = 20_000;

export interface Lease {
  /** Changes when this worker was declared lost and had to begin anew. */
  readonly workerId: number;
  /** Files this process knows that it holds. */
  readonly inHand: Set<number>;
  /** Called when the files in hand have become somebody else's. */
  onLost: () => void;
  end(reason: "done" | "interrupted"): Promise<void>;
}

export function keepLease(cx: Context, sessionId: number, firstWorkerId: number): Lease {
  const inHand = new Set<number>();
  let workerId = firstWorkerId;
  const ended = new AbortController();

  const beat = async (): Promise<void> => {
    const concurrency = cx.concurrency.limit;
    if (!(await cx.store.renewLease(workerId, concurrency))) {
      cx.emit({
        type: "notice",
        sessionId,
        level: "info",
        message:
          "this process was silent for longer than its lease; its files went back and it goes on as a new worker",
      });
      const again = await cx.store.enterSession(sessionId, cx.me, { joined: true, reopen: false, concurrency });
      workerId = again.workerId;
      inHand.clear();
      lease.onLost();
    }
    await cx.store.rescue(sessionId, cx.me);
  };

  const beating = (async () => {
    while (!ended.signal.aborted) {
      await cx.sleep(renewEveryMs, ended.signal);
      if (ended.signal.aborted) return;
      try {
        await beat();
      } catch (error) {
        // The database is away: whoever waits for an answer says so. The lease may lapse meanwhile, which is its purpose.
        cx.emit({
          type: "notice",
          sessionId,
          level: "detail",
          message: `heartbeat: ${asUploaderError(error).message}`,
        });
      }
    }
  })();

  const lease: Lease = {
    onLost: () => undefined,
    get workerId() {
      return workerId;
    },
    inHand,
    async end(reason) {
      ended.abort();
      await beating;
      await cx.store.endWorker(workerId, reason);
    },
  };
  return lease;
}
