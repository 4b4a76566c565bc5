import { UploaderError } from "../core/errors.ts";
import type { FileStatus, SessionStatus } from "../core/states.ts";
import type {
  CauseRow,
  EnterOptions,
  FileRow,
  OpenedSession,
  OpenOptions,
  SessionRow,
  Store,
  Work,
  WorkerIdentity,
} from "../core/store.ts";
import { camel } from "./camel.ts";
import type { Database } from "./database.ts";
import type { Run } from "./runner.ts";
import { scopeMoves } from "./scopes.ts";
import { leaseSeconds, workerMoves } from "./workers.ts";

export { camel } from "./camel.ts";

type SessionMethods = Pick<
  Store,
  | "installation"
  | "openSession"
  | "enterSession"
  | "destinationId"
  | "rememberConfig"
  | "scanned"
  | "closeSession"
  | "failSession"
  | "session"
  | "latestSession"
  | "sessions"
  | "causes"
  | "files"
  | "conflicts"
  | "retryable"
  | "workers"
  | "renewLease"
  | "endWorker"
  | "rescue"
>;

export function sessionMethods(
  database: Database,
  run: Run,
  isAlive: (worker: WorkerIdentity) => boolean | null,
): SessionMethods {
  const { unended, isOn, rescue, refuseIfHeld, begin: beginWorker } = workerMoves(run, isAlive);
  const { scopeOf, supersede } = scopeMoves(run);

  return {
    installation: async () => (await run<{ id: string }>("installation_get", {}))[0]!.id,
    openSession: (work: Work, me: WorkerIdentity, options: OpenOptions): Promise<OpenedSession> =>
      database.transaction(async (query) => {
        const scope = await scopeOf(work, query);
        const [newest] = await run<{ id: number; unfinished: boolean }>("sessions_newest", scope, query);
        let rescued = 0;
        let sessionId = newest?.unfinished ? newest.id : null;
        const left: { id: number }[] = [];
        if (sessionId !== null) {
          rescued = await rescue(sessionId, me, query);
          await refuseIfHeld(sessionId, me, query);
        }
        // The whole transaction may be repeated after a lost COMMIT: then the newest session is the one it made.
        const made = sessionId !== null && (await isOn(sessionId, me, query));
        const resumed = sessionId !== null && (made || !options.newSession);
        if (resumed) {
          await run("sessions_resume", { sessionId }, query);
          await run("files_unwait", { sessionId }, query);
          await run("files_rested", { sessionId }, query);
          await run("files_requeue", { sessionId, includePermanent: false }, query);
        } else {
          if (sessionId !== null) left.push(...(await run<{ id: number }>("files_abandon", { sessionId }, query)));
          const inserted = { ...scope, destination: work.destination.text, command: work.command };
          sessionId = (await run<{ id: number }>("sessions_insert", inserted, query))[0]!.id;
        }
        const superseded = await supersede(scope, sessionId!, left, query);
        const workerId = await beginWorker(sessionId!, me, false, options.concurrency, query);
        return { sessionId: sessionId!, workerId, destinationId: scope.destinationId, resumed, rescued, superseded };
      }),

    enterSession: (sessionId: number, me: WorkerIdentity, options: EnterOptions): Promise<OpenedSession> =>
      database.transaction(async (query) => {
        const [locked] = await run<{ id: number }>("sessions_lock", { sessionId }, query);
        if (!locked) throw unknownSession(sessionId);
        const rescued = await rescue(sessionId, me, query);
        if (!options.joined) {
          await refuseIfHeld(sessionId, me, query);
          await run("sessions_resume_work", { sessionId, reopen: options.reopen }, query);
          await run("files_rested", { sessionId }, query);
        }
        const [session] = await run<{ destination_id: number }>("sessions_get", { sessionId }, query);
        const workerId = await beginWorker(sessionId, me, options.joined, options.concurrency, query);
        return { sessionId, workerId, destinationId: session!.destination_id, resumed: true, rescued, superseded: 0 };
      }),

    destinationId: async (identity) => (await run<{ id: number }>("destinations_find", { identity }))[0]?.id ?? null,
    rememberConfig: async (sessionId, config) => {
      await run("config_remember", { sessionId, config: JSON.stringify(config) });
    },
    scanned: async (sessionId, filesSafe, bytesSafe, finished) => {
      await run("sessions_scanned", { sessionId, filesSafe, bytesSafe, finished });
    },
    closeSession: async (sessionId) =>
      (await run<{ status: SessionStatus }>("sessions_close", { sessionId }))[0]?.status ?? null,
    failSession: async (sessionId, error) => {
      await run("sessions_fail", {
        sessionId,
        errorCode: error?.code ?? null,
        errorMessage: error?.message ?? null,
      });
    },
    session: async (sessionId) => {
      const [row] = await run("sessions_get", { sessionId });
      return row ? camel<SessionRow>(row) : null;
    },
    latestSession: async (project) => (await run<{ id: number | null }>("sessions_latest", { project }))[0]?.id ?? null,
    sessions: async (project, max) => (await run("sessions_list", { project, max })).map(camel<SessionRow>),
    causes: async (sessionId) => (await run("sessions_causes", { sessionId })).map(camel<CauseRow>),
    files: async (sessionId, status: FileStatus | null, afterId, max) =>
      (await run("files_list", { sessionId, status, afterId, max })).map(camel<FileRow>),
    conflicts: async (sessionId) => (await run<{ files: number }>("files_conflicts", { sessionId }))[0]!.files,
    retryable: async (sessionId) => (await run<{ files: number }>("files_retryable", { sessionId }))[0]!.files,
    workers: (sessionId) => unended(sessionId),
    renewLease: async (workerId, concurrency) =>
      (await run("workers_renew", { workerId, concurrency, leaseSeconds })).length === 1,
    endWorker: async (workerId, reason) => {
      await run("workers_end", { workerId, reason });
    },
    rescue: (sessionId, me) => database.transaction((query) => rescue(sessionId, me, query)),
  };
}

export const unknownSession = (sessionId: number): UploaderError =>
  new UploaderError("session_unknown", `there is no session ${sessionId} in this database`, {
    hint: "see `uploader sessions`",
  });
