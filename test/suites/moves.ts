import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FileMove, type FileStatus, fileMoves, fileStates } from "../../src/core/states.ts";
import type { ClaimedFile, OpenedSession } from "../../src/core/store.ts";
import { createRunner, type Run } from "../../src/store/runner.ts";
import { loadStatements } from "../../src/store/statements.ts";
import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { fact, openWork, rowIn } from "../support/session.ts";

/** Every state × every move, and fencing, on the database that `url` names (the shared test database when absent). */
export function describeMoves(name: string, url?: () => string): void {
  describe(name, () => {
    let db: TestDatabase;
    let run: Run;
    beforeAll(async () => {
      db = await testDatabase(url ? { url: url() } : {});
      run = createRunner(db.database, loadStatements(db.schema));
    });
    afterAll(() => db.drop());

    interface Try {
      opened: OpenedSession;
      file: ClaimedFile;
    }

    const end = { requestId: "r", durationMs: 5 };

    /** How each move is asked for, through the store as the program does it. */
    const perform: Record<FileMove, (t: Try) => Promise<unknown>> = {
      claim: ({ opened }) => db.store.claim(opened.sessionId, opened.workerId, 0, 10, 3),
      settle: ({ opened, file }) =>
        db.store.settle(opened.workerId, [{ move: "settle", file, ...end, object: fact(file) }]),
      skip: ({ opened, file }) =>
        db.store.settle(opened.workerId, [{ move: "skip", file, reason: "conflict", object: null }]),
      postpone: ({ opened, file }) =>
        db.store.settle(opened.workerId, [
          { move: "postpone", file, ...end, code: "timed_out", message: "slow", delayMs: 1000 },
        ]),
      revise: ({ opened, file }) =>
        db.store.settle(opened.workerId, [
          { move: "revise", file, sizeBytes: 11, mtimeNs: 5n, reason: "settling", delayMs: 1000 },
        ]),
      release: ({ opened, file }) => db.store.settle(opened.workerId, [{ move: "release", file }]),
      rescue: async ({ opened }) => {
        await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s' where id = $1`, [
          opened.workerId,
        ]);
        await db.store.rescue(opened.sessionId, worker(99));
      },
      give_up: ({ opened, file }) =>
        db.store.settle(opened.workerId, [
          { move: "give_up", file, ...end, code: "file_gone", message: "gone", permanent: true },
        ]),
      requeue: ({ opened }) => db.store.requeue(opened.sessionId, true),
      renew: ({ opened, file }) =>
        db.store.renew(opened.sessionId, opened.destinationId, [{ ...file, sizeBytes: 12, mtimeNs: 7n }]),
      supersede: async ({ opened }) => {
        const [session] = await db.sql<{ project_id: number; source: string; prefix: string }>(
          `select project_id, source, prefix from :"schema".sync_sessions where id = $1`,
          [opened.sessionId],
        );
        await run("files_supersede", {
          projectId: session!.project_id,
          destinationId: opened.destinationId,
          source: session!.source,
          prefix: session!.prefix,
          sessionId: opened.sessionId + 1,
        });
      },
      displace: async ({ opened, file }) => {
        await db.store.endWorker(opened.workerId, "interrupted");
        const rival = await openWork(db, { source: `/cards/rival-of-${file.id}`, project: "rival" }, 7);
        await db.store.register(rival.sessionId, rival.destinationId, [file], "absent");
        await db.store.endWorker(rival.workerId, "done");
      },
      leave: async ({ opened, file }) => {
        await db.sql(`update :"schema".file_uploads set not_ready = true where id = $1 and status = 'pending'`, [
          file.id,
        ]);
        await db.store.leave(opened.sessionId, opened.destinationId, [file.key], "gone");
      },
      abandon: ({ opened }) => run("files_abandon", { sessionId: opened.sessionId }),
      condemn: ({ opened }) => db.store.condemn(opened.sessionId),
    };

    const sourceOf = async (opened: OpenedSession): Promise<void> => {
      await db.sql(`update :"schema".sync_sessions set source = '/cards/' || id where id = $1`, [opened.sessionId]);
    };

    async function look(
      file: ClaimedFile,
    ): Promise<{ status: FileStatus; attempts: number; permanent: boolean; file_size: number }> {
      const [row] = await db.sql<{ status: FileStatus; attempts: number; permanent: boolean; file_size: number }>(
        `select status, attempts, permanent, file_size from :"schema".file_uploads where id = $1`,
        [file.id],
      );
      return row!;
    }

    /** Move `renew` also brings waiting rows up to date; that is the same state, so the table does not list it. */
    const staysPut = (move: FileMove, from: FileStatus): boolean => move === "renew" && from === "pending";

    async function expectTrueCounters(opened: OpenedSession): Promise<void> {
      const [counted] = await db.sql(
        `select s.files_pending, s.files_uploading, s.files_uploaded, s.files_failed, s.rows_skipped, s.bytes_uploaded,
         s.files_registered, s.bytes_registered from :"schema".sync_sessions s where id = $1`,
        [opened.sessionId],
      );
      const [real] = await db.sql(
        `select count(*) filter (where status = 'pending') as files_pending,
         count(*) filter (where status = 'uploading') as files_uploading,
         count(*) filter (where status = 'uploaded') as files_uploaded,
         count(*) filter (where status = 'failed') as files_failed,
         count(*) filter (where status = 'skipped') as rows_skipped,
         coalesce(sum(file_size) filter (where status = 'uploaded'), 0) as bytes_uploaded,
         count(*) as files_registered, coalesce(sum(file_size), 0) as bytes_registered
       from :"schema".file_uploads where session_id = $1`,
        [opened.sessionId],
      );
      expect(counted).toEqual(real);
    }

    const moves = Object.keys(fileMoves) as FileMove[];

    describe.each(moves)("move %s", (move) => {
      it.each(fileStates)("from %s", async (from) => {
        const opened = await openWork(db, { source: `/cards/${move}-${from}` });
        await sourceOf(opened);
        const file = await rowIn(db, opened, from);
        expect((await look(file)).status).toBe(from);
        await perform[move]({ opened, file });
        const legal = (fileMoves[move].from as readonly FileStatus[]).includes(from);
        expect((await look(file)).status, fileMoves[move].why).toBe(legal ? fileMoves[move].to : from);
        if (!legal && !staysPut(move, from)) expect((await look(file)).file_size).toBe(10);
        await expectTrueCounters(opened);
        await db.store.endWorker(opened.workerId, "done");
      });
    });

    describe("fencing", () => {
      it.each(["postpone", "revise", "release", "give_up", "skip"] as const)(
        "%s by a worker that lost the file is news, and moves nothing",
        async (move) => {
          const opened = await openWork(db, { source: `/cards/fence-${move}` });
          const file = await rowIn(db, opened, "uploading");
          const rival = await db.store.enterSession(opened.sessionId, worker(2), {
            joined: true,
            reopen: false,
            concurrency: 1,
          });
          await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s' where id = $1`, [
            opened.workerId,
          ]);
          await db.store.rescue(opened.sessionId, worker(2));
          const [again] = await db.store.claim(opened.sessionId, rival.workerId, 0, 10, 3);
          expect(again!.id).toBe(file.id);
          const endings = {
            postpone: { move, file, ...end, code: "timed_out", message: "slow", delayMs: 0 },
            revise: { move, file, sizeBytes: 1, mtimeNs: 1n, reason: "settling", delayMs: 0 },
            release: { move, file },
            give_up: { move, file, ...end, code: "file_gone", message: "gone", permanent: true },
            skip: { move, file, reason: "conflict", object: null },
          } as const;
          expect(await db.store.settle(opened.workerId, [endings[move] as never])).toEqual([file]);
          expect((await look(file)).status).toBe("uploading");
        },
      );

      it("a proven upload is accepted although the row was taken back, and remembered in objects", async () => {
        const opened = await openWork(db, { source: "/cards/late" });
        const file = await rowIn(db, opened, "uploading");
        await perform.rescue({ opened, file });
        expect((await look(file)).status).toBe("pending");
        expect(await db.store.settle(opened.workerId, [{ move: "settle", file, ...end, object: fact(file) }])).toEqual(
          [],
        );
        expect((await look(file)).status).toBe("uploaded");
        expect((await db.store.known(opened.destinationId, [file.key])).get(file.key)?.proof).toBe("checksum_echoed");
      });

      it("an upload of other bytes than registered does not settle the row, but objects tells what the store holds", async () => {
        const opened = await openWork(db, { source: "/cards/other" });
        const file = await rowIn(db, opened, "uploading");
        const stayed = await db.store.settle(opened.workerId, [
          { move: "settle", file, ...end, object: fact({ sizeBytes: 99, mtimeNs: 1n }) },
        ]);
        expect(stayed).toEqual([file]);
        expect((await db.store.known(opened.destinationId, [file.key])).get(file.key)?.sizeBytes).toBe(99);
      });

      it("a worker whose lease lapsed claims nothing", async () => {
        const opened = await openWork(db, { source: "/cards/lapsed" });
        await rowIn(db, opened, "pending");
        await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s' where id = $1`, [
          opened.workerId,
        ]);
        expect(await db.store.claim(opened.sessionId, opened.workerId, 0, 10, 3)).toEqual([]);
      });

      it("interrupted work does not count as an attempt; three deaths with one file in hand do", async () => {
        const opened = await openWork(db, { source: "/cards/deaths" });
        const file = await rowIn(db, opened, "uploading");
        for (let death = 1; death <= 3; death++) {
          await perform.rescue({ opened, file });
          expect(await look(file)).toMatchObject({ status: "pending", attempts: death === 3 ? 1 : 0 });
          const next = await db.store.enterSession(opened.sessionId, worker(death + 1), {
            joined: true,
            reopen: false,
            concurrency: 1,
          });
          await db.store.claim(opened.sessionId, next.workerId, 0, 10, 3);
          opened.workerId = next.workerId;
        }
        const [row] = await db.sql(`select error_code from :"schema".file_uploads where id = $1`, [file.id]);
        expect(row).toEqual({ error_code: "worker_died" });
      });
    });
  });
}
