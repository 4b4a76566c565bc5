import { UploaderError } from "../core/errors.ts";
import type { Work, WorkerIdentity } from "../core/store.ts";
import type { SyncDue, SyncMemory, WaitingRow } from "../core/sync.ts";
import { int4Array, int8Array, textArray } from "./arrays.ts";
import type { Database, Query } from "./database.ts";
import { columns } from "./files.ts";
import type { Run } from "./runner.ts";
import { scopeMoves } from "./scopes.ts";
import { leaseSeconds, workerMoves } from "./workers.ts";

interface Newest {
  id: number;
  status: string;
  started_at: Date;
  due: boolean;
  open: boolean;
}

export function syncMethods(
  database: Database,
  run: Run,
  isAlive: (worker: WorkerIdentity) => boolean | null,
): SyncMemory {
  const workers = workerMoves(run, isAlive);
  const { scopeOf, supersede } = scopeMoves(run);
  const place = async (work: Work, query: Query) => {
    const scope = await scopeOf(work, query);
    const [newest] = await run<Newest>("sync_newest", scope, query);
    return { scope, newest: newest ?? null };
  };
  const isFinished = ({ status, open }: Newest): boolean => status.startsWith("completed") && !open;
  const leased = (destinationId: number, work: Work) => ({
    destinationId,
    prefix: work.destination.prefix,
    source: work.source,
  });

  return {
    syncPlace: (work) =>
      database.transaction(async (query) => {
        const { scope, newest } = await place(work, query);
        return {
          destinationId: scope.destinationId,
          sessionId: newest?.id ?? 0,
          isFinished: newest === null || isFinished(newest),
        };
      }),

    takeSource: (destinationId, work, me) =>
      database.transaction(async (query) => {
        const key = leased(destinationId, work);
        const take = (dead: WorkerIdentity | null) =>
          run(
            "sync_lease_take",
            { ...key, ...me, leaseSeconds, deadPid: dead?.pid ?? null, deadStart: dead?.processStart ?? null },
            query,
          );
        if ((await take(null)).length > 0) return;
        const [row] = await run<{ host: string; boot: string; pid: number; process_start: string; since: Date }>(
          "sync_lease_holder",
          key,
          query,
        );
        const holder = row && { host: row.host, boot: row.boot, pid: row.pid, processStart: row.process_start };
        if (!holder || (isAlive(holder) === false && (await take(holder)).length > 0)) return;
        throw new UploaderError(
          "lease_held",
          `${work.source} is being looked after by process ${holder.pid} on ${holder.host}, since ${row.since.toISOString()}`,
          { hint: "one process per source is enough; its lease lapses a minute after it is gone" },
        );
      }),
    keepSource: async (destinationId, work, me) =>
      (await run("sync_lease_renew", { ...leased(destinationId, work), ...me, leaseSeconds })).length === 1,
    leaveSource: async (destinationId, work, me) => {
      await run("sync_lease_end", { ...leased(destinationId, work), ...me });
    },

    openSync: (work, me, { dayStart, now, concurrency }) =>
      database.transaction(async (query) => {
        const { scope, newest } = await place(work, query);
        const isOfToday = newest !== null && dayStart !== null && newest.started_at >= dayStart;
        const goesOn = newest !== null && (isOfToday || (dayStart === null ? !isFinished(newest) : newest.due));
        let sessionId = newest?.id ?? 0;
        let rescued = 0;
        if (newest !== null && !isFinished(newest)) {
          rescued = await workers.rescue(sessionId, me, query);
          await workers.refuseIfHeld(sessionId, me, query);
        }
        // The whole transaction may be repeated after a lost COMMIT: then this process has a worker there already.
        const resumed = goesOn || (newest !== null && (await workers.isOn(sessionId, me, query)));
        if (resumed) await run("sync_resume", { sessionId }, query);
        else {
          if (newest !== null) await run("sync_supersede", { sessionId }, query);
          const inserted = { ...scope, destination: work.destination.text, startedAt: now };
          sessionId = (await run<{ id: number }>("sync_insert", inserted, query))[0]!.id;
        }
        const superseded = await supersede(scope, sessionId, [], query);
        if (!resumed && newest !== null) await run("sync_retire", { sessionId: newest.id }, query);
        const workerId = await workers.begin(sessionId, me, false, concurrency, query);
        const { destinationId } = scope;
        return { sessionId, workerId, destinationId, resumed, rescued, superseded, isNew: !resumed };
      }),

    syncDue: async (sessionId) => (await run<SyncDue & Record<string, unknown>>("sync_due", { sessionId }))[0]!,

    async waiting(sessionId) {
      const rows = await run<{
        local_path: string;
        s3_key: string;
        file_size: number;
        mtime_ns: string | null;
        inode: string | null;
        reason: string | null;
        looks: number;
        due_in_ms: number;
      }>("sync_waiting", { sessionId });
      return rows.map(
        (row): WaitingRow => ({
          path: row.local_path,
          key: row.s3_key,
          sizeBytes: row.file_size,
          mtimeNs: BigInt(row.mtime_ns ?? 0),
          inode: BigInt(row.inode ?? 0),
          reason: row.reason,
          looks: row.looks,
          dueInMs: row.due_in_ms,
        }),
      );
    },

    async rekey(sessionId, files) {
      if (files.length === 0) return;
      await run("sync_rekey", {
        sessionId,
        paths: textArray(files.map((file) => file.path)),
        keys: textArray(files.map((file) => file.key)),
      });
    },

    async wait(sessionId, destinationId, files) {
      if (files.length === 0) return;
      await run("sync_wait", {
        sessionId,
        destinationId,
        ...columns(files),
        inodes: textArray(files.map((file) => String(file.inode))),
        reasons: textArray(files.map((file) => file.reason)),
        looks: int4Array(files.map((file) => file.looks)),
        delaysMs: int8Array(files.map((file) => Math.max(0, Math.round(file.delayMs)))),
      });
    },

    leave: async (sessionId, destinationId, keys, reason) =>
      keys.length === 0
        ? 0
        : (await run("sync_leave", { sessionId, destinationId, keys: textArray(keys), reason })).length,

    async leftOut(sessionId, destinationId, files) {
      if (files.length === 0) return;
      await run("sync_left_out", {
        sessionId,
        destinationId,
        ...columns(files),
        reasons: textArray(files.map((file) => file.reason)),
      });
    },
  };
}
