/** Who works on a session: begun, refused and rescued, inside whatever transaction opens it. */
import { UploaderError } from "../core/errors.ts";
import type { WorkerIdentity, WorkerRow } from "../core/store.ts";
import { int8Array } from "./arrays.ts";
import { camel } from "./camel.ts";
import type { Query } from "./database.ts";
import type { Run } from "./runner.ts";

/** Design A4: a lease lasts 60 s and is renewed every 20 s (operations/lease.ts). */
export const leaseSeconds = 60;

export function workerMoves(run: Run, isAlive: (worker: WorkerIdentity) => boolean | null) {
  const unended = async (sessionId: number, query?: Query): Promise<WorkerRow[]> =>
    (await run("workers_unended", { sessionId }, query)).map(camel<WorkerRow>);

  const isMe = (worker: WorkerIdentity, me: WorkerIdentity): boolean =>
    worker.host === me.host &&
    worker.boot === me.boot &&
    worker.pid === me.pid &&
    worker.processStart === me.processStart;

  /** Workers whose process is certainly gone are lost at once; the rest when their lease lapses. */
  const rescue = async (sessionId: number, me: WorkerIdentity, query?: Query): Promise<number> => {
    const dead = (await unended(sessionId, query)).filter((worker) => !isMe(worker, me) && isAlive(worker) === false);
    return (await run("workers_rescue", { sessionId, deadIds: int8Array(dead.map((worker) => worker.id)) }, query))
      .length;
  };

  const refuseIfHeld = async (sessionId: number, me: WorkerIdentity, query: Query): Promise<void> => {
    const holder = (await unended(sessionId, query)).find((worker) => worker.live && !isMe(worker, me));
    if (!holder) return;
    throw new UploaderError(
      "lease_held",
      `session ${sessionId} is being worked on by process ${holder.pid} on ${holder.host}, since ${holder.startedAt.toISOString()}`,
      { hint: `wait for it, or help it: uploader upload --join ${sessionId}` },
    );
  };

  const begin = async (
    sessionId: number,
    me: WorkerIdentity,
    joined: boolean,
    concurrency: number,
    query: Query,
  ): Promise<number> => {
    // After a lost COMMIT this process has a worker already.
    const mine = (await unended(sessionId, query)).find((worker) => isMe(worker, me));
    if (mine) return mine.id;
    const [row] = await run<{ id: number }>(
      "workers_begin",
      { sessionId, ...me, joined, concurrency, leaseSeconds },
      query,
    );
    return row!.id;
  };

  const isOn = async (sessionId: number, me: WorkerIdentity, query: Query): Promise<boolean> =>
    (await unended(sessionId, query)).some((worker) => isMe(worker, me));

  return { unended, isMe, isOn, rescue, refuseIfHeld, begin };
}

export type WorkerMoves = ReturnType<typeof workerMoves>;
