import { UploaderError } from "../core/errors.ts";
import type { SummaryEvent } from "../core/events.ts";
import type { SessionRow } from "../core/store.ts";
import type { Context } from "./context.ts";
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
  if (session.destinationIdentity !== cx.destination.identity) {
    throw new UploaderError(
      "config_invalid",
      `session ${session.id} goes to ${session.destination}, the configuration names another destination`,
      { hint: "use the configuration that the session was made with" },
    );
  }
  const opened = await cx.store.enterSession(session.id, cx.me, {
    joined: false,
    reopen: true,
    concurrency: cx.concurrency.limit,
  });
  await cx.store.rememberConfig(session.id, input.config);
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
  const kept =
    left === 0
      ? ""
      : `; ${left} stay failed for good (see \`uploader files ${session.id} --status failed\`${rounds.includePermanent ? "" : ", or --include-permanent"})`;
  cx.emit({
    type: "notice",
    sessionId: session.id,
    level: "info",
    message: `${requeued} failed ${requeued === 1 ? "file" : "files"} put back${kept}`,
  });
  return runSession(cx, {
    opened,
    maxLooks: 3,
    register: null,
    rounds: { ...rounds, rounds: rounds.rounds - 1 },
    condemn: true,
    stopSignal: input.stopSignal,
  });
}
