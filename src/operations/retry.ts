import { UploaderError } from "../core/errors.ts";
import type { SummaryEvent } from "../core/events.ts";
import type { SessionRow } from "../core/store.ts";
import type { Context } from "./context.ts";
import { promiseDelivery } from "./deliveries.ts";
import { assertDestinationOf } from "./session-destination.ts";
import { type Rounds, runSession } from "./session-run.ts";

export interface RetryInput {
  session: SessionRow;
  config: unknown;
  rounds: Rounds;
  stopSignal(): "SIGINT" | "SIGTERM" | null;
}

/** Puts failed files back, attempts reset, and uploads them in parallel, in rounds. */
export async function retry(cx: Context, input: RetryInput): Promise<SummaryEvent> {
  const { session, rounds } = input;
  assertDestinationOf(session, cx.destination);
  if (session.scanFinishedAt === null) {
    throw new UploaderError("usage", `session ${session.id} has not seen all files of ${session.source} yet`, {
      hint: "run its upload command again: it goes on with this session, and takes failed files again too",
    });
  }
  const opened = await cx.store.enterSession(session.id, cx.me, {
    joined: false,
    reopen: true,
    concurrency: cx.concurrency.limit,
  });
  await cx.store.rememberConfig(session.id, input.config);
  // What a sync has told in passes goes on in passes.
  const passes = session.command === "sync";
  if (!passes) await promiseDelivery(cx, session.id);
  cx.emit({
    type: "start",
    sessionId: session.id,
    command: "retry",
    project: session.project,
    source: session.source,
    destination: session.destination,
    resumed: true,
  });
  const requeued = await cx.store.requeue(session.id, rounds.includePermanent);
  const left = (await cx.store.session(session.id))?.filesFailed ?? 0;
  cx.emit({ type: "notice", sessionId: session.id, level: "info", message: remark(requeued, left) });
  return runSession(cx, {
    opened,
    maxLooks: 3,
    register: null,
    rounds: { ...rounds, rounds: rounds.rounds - 1 },
    condemn: true,
    tell: passes ? "pass" : "session",
    stopSignal: input.stopSignal,
  });
}

function remark(requeued: number, left: number): string {
  if (requeued === 0 && left === 0) return "no file of this session has failed";
  const files = (count: number): string => (count === 1 ? "1 failed file" : `${count} failed files`);
  const back = requeued === 0 ? "no failed file that another attempt could help" : `${files(requeued)} put back`;
  return left === 0
    ? back
    : `${back}; ${files(left)} ${left === 1 ? "stays" : "stay"} so for good (all the same: --include-permanent)`;
}
