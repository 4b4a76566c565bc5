/** What the store promises beside its moves, on the database that `url` names. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { migrate, schemaState } from "../../src/store/migrate.ts";
import { inSchema } from "../../src/store/statements.ts";
import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { candidate, fact, openWork, rowIn, work } from "../support/session.ts";

export function describeStore(name: string, url?: () => string): void {
  describe(name, () => {
    const options = () => (url ? { url: url() } : {});
    let db: TestDatabase;
    beforeEach(async () => {
      db = await testDatabase({ ...options(), isAlive: ({ pid }) => (pid === 666 ? false : null) });
    });
    afterEach(() => db.drop());

    describe("migrations", () => {
      it("twenty processes at once migrate once", async () => {
        const fresh = await Promise.all(
          Array.from({ length: 20 }, () => testDatabase({ ...options(), migrated: false })),
        );
        const { schema } = fresh[0]!;
        await Promise.all(fresh.map((each) => migrate(each.database, schema)));
        const [row] = await fresh[0]!.database.query<{ n: number }>(
          inSchema('select count(*)::int as n from :"schema".installation', schema),
        );
        expect(row).toEqual({ n: 1 });
        await Promise.all(fresh.slice(1).map((each) => each.database.close()));
        await fresh[0]!.drop();
      });

      it("a newer database is refused", async () => {
        await db.sql(`insert into :"schema".uploader_migrations (id, name, sha256) values (9999, 'later', 'x')`);
        await expect(migrate(db.database, db.schema)).rejects.toMatchObject({ code: "database_newer" });
      });

      it("another program's tables of our names are refused, and left alone", async () => {
        const other = await testDatabase({ ...options(), migrated: false });
        await other.database.query(`create schema "${other.schema}"`);
        await other.sql(`create table :"schema".projects (id serial primary key, project_name text)`);
        await expect(migrate(other.database, other.schema)).rejects.toMatchObject({
          code: "database_foreign",
          message: expect.stringContaining("projects"),
        });
        expect(
          await other.sql(`select column_name from information_schema.columns where table_schema = $1`, [other.schema]),
        ).toHaveLength(2);
        await other.drop();
      });

      it("looking at the state writes nothing", async () => {
        const other = await testDatabase({ ...options(), migrated: false });
        expect(await schemaState(other.database, other.schema)).toBe("absent");
        expect(await other.database.query("select 1 from pg_namespace where nspname = $1", [other.schema])).toEqual([]);
        expect(await schemaState(db.database, db.schema)).toBe("current");
        await other.database.close();
      });
    });

    describe("sessions", () => {
      it("of ten runs of the same work at the same moment one holds it, nine are told by whom", async () => {
        const runs = await Promise.allSettled(
          Array.from({ length: 10 }, (_, n) =>
            db.store.openSession(work(), worker(n + 1), { newSession: false, concurrency: 1 }),
          ),
        );
        expect(runs.filter((run) => run.status === "fulfilled")).toHaveLength(1);
        for (const run of runs) {
          if (run.status === "rejected")
            expect(run.reason).toMatchObject({ code: "lease_held", message: expect.stringContaining("test-host") });
        }
        expect(await db.sql(`select id from :"schema".sync_sessions`)).toHaveLength(1);
      });

      it("an unfinished one is resumed, a finished one is not", async () => {
        const first = await openWork(db);
        await db.store.scanned(first.sessionId, 0, 0, true);
        await db.store.endWorker(first.workerId, "interrupted");
        await db.store.failSession(first.sessionId, null);
        const second = await openWork(db);
        expect(second).toMatchObject({ sessionId: first.sessionId, resumed: true });
        await db.store.scanned(second.sessionId, 0, 0, true);
        expect(await db.store.closeSession(second.sessionId)).toBeNull();
        await db.store.endWorker(second.workerId, "done");
        expect(await db.store.closeSession(second.sessionId)).toBe("completed");
        expect(await openWork(db)).toMatchObject({ resumed: false });
      });

      it("a dead process on this host is taken over at once, a silent one elsewhere when its lease lapses", async () => {
        const dead = await openWork(db, {}, 666);
        await rowIn(db, dead, "uploading");
        expect(await openWork(db, {}, 2)).toMatchObject({ sessionId: dead.sessionId, resumed: true, rescued: 1 });
        await expect(openWork(db, {}, 3)).rejects.toMatchObject({ code: "lease_held" });
        await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s'`);
        expect(await openWork(db, {}, 3)).toMatchObject({ resumed: true });
      });

      it("only the last worker to leave closes", async () => {
        const holder = await openWork(db);
        const file = await rowIn(db, holder, "pending");
        await db.store.scanned(holder.sessionId, 0, 0, true);
        const joiner = await db.store.enterSession(holder.sessionId, worker(2), {
          joined: true,
          reopen: false,
          concurrency: 1,
        });
        expect(await db.store.closeSession(holder.sessionId)).toBeNull();
        await db.store.claim(holder.sessionId, joiner.workerId, 0, 10, 3);
        await db.store.settle(joiner.workerId, [
          { move: "settle", file, requestId: null, durationMs: 1, object: fact(file) },
        ]);
        await db.store.endWorker(joiner.workerId, "done");
        expect(await db.store.closeSession(holder.sessionId)).toBeNull();
        await db.store.endWorker(holder.workerId, "done");
        expect(await db.store.closeSession(holder.sessionId)).toBe("completed");
      });

      it("a worker that was declared lost cannot renew", async () => {
        const opened = await openWork(db);
        expect(await db.store.renewLease(opened.workerId, 1)).toBe(true);
        await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s'`);
        await db.store.rescue(opened.sessionId, worker(2));
        expect(await db.store.renewLease(opened.workerId, 1)).toBe(false);
      });
    });

    describe("registration", () => {
      it("a key open in another session makes no second row, and says whose it is", async () => {
        const one = await openWork(db);
        const two = await openWork(db, { source: "/cards/two", project: "other" }, 2);
        await db.store.register(one.sessionId, one.destinationId, [candidate("a"), candidate("b")], "absent");
        const result = await db.store.register(
          two.sessionId,
          two.destinationId,
          [candidate("b"), candidate("c")],
          "absent",
        );
        expect(result).toMatchObject({ registered: 1, busy: [{ sessionId: one.sessionId, file: { path: "b" } }] });
        await db.store.endWorker(one.workerId, "interrupted");
        const later = await db.store.register(two.sessionId, two.destinationId, [candidate("b")], "absent");
        expect(later).toEqual({ registered: 1, busy: [] });
        expect(await db.store.session(one.sessionId)).toMatchObject({ filesPending: 1, filesSkipped: 1 });
      });

      it("a file belongs to a session that is there, goes where that sends to, and goes with it", async () => {
        const { sessionId, destinationId } = await openWork(db);
        const insert = (session: number, destination: number) =>
          db.sql(
            `insert into :"schema".file_uploads (session_id, destination_id, local_path, s3_key, file_size)
             values ($1, $2, 'a', 'a', 1)`,
            [session, destination],
          );
        const refused = { cause: expect.objectContaining({ code: "23503" }) };
        await expect(insert(sessionId + 1000, destinationId)).rejects.toMatchObject(refused);
        await expect(insert(sessionId, destinationId + 1000)).rejects.toMatchObject(refused);
        await insert(sessionId, destinationId);
        await expect(
          db.sql(`update :"schema".file_uploads set session_id = $1`, [sessionId + 1000]),
        ).rejects.toMatchObject(refused);
        await expect(db.sql(`delete from :"schema".destinations`)).rejects.toMatchObject(refused);
        await db.sql(`delete from :"schema".sync_sessions where id = $1`, [sessionId]);
        expect(await db.sql(`select 1 from :"schema".file_uploads`)).toEqual([]);
      });

      it("registering a batch again changes nothing", async () => {
        const opened = await openWork(db);
        for (let n = 0; n < 2; n++) {
          await db.store.register(opened.sessionId, opened.destinationId, [candidate("a"), candidate("b")], "absent");
          await db.store.scanned(opened.sessionId, 5, 50, false);
        }
        expect(await db.store.session(opened.sessionId)).toMatchObject({
          totalFiles: 7,
          totalSizeBytes: 70,
          filesPending: 2,
          filesSafe: 5,
        });
      });

      it("a session is untouched while it has no row, and its prefix no object", async () => {
        const opened = await openWork(db);
        const { sessionId, destinationId } = opened;
        const untouched = (keyStart: string) => db.store.untouched(sessionId, destinationId, keyStart);
        await db.sql(
          `insert into :"schema".objects (destination_id, key, size_bytes, mtime_ns, proof, ours)
          values ($1, 'C1/\u{10fffe}', 10, 7, 'checksum_echoed', true)`,
          [destinationId],
        );
        expect([await untouched(""), await untouched("C1/"), await untouched("C/"), await untouched("C2/")]).toEqual([
          false,
          false,
          true,
          true,
        ]);
        await rowIn(db, opened, "uploaded");
        expect(await untouched("C2/")).toBe(false);
      });

      it("judges safe, known, renewed, open and fresh", async () => {
        const opened = await openWork(db);
        const done = await rowIn(db, opened, "uploaded");
        const open = await rowIn(db, opened, "pending");
        await db.sql(
          `insert into :"schema".objects (destination_id, key, size_bytes, mtime_ns, proof, ours)
          values ($1, 'C1/safe', 10, 7, 'checksum_echoed', true), ($1, 'C1/known', 99, 7, 'checksum_echoed', true)`,
          [opened.destinationId],
        );
        const verdicts = await db.store.judge(opened.sessionId, opened.destinationId, [
          candidate("safe", 10, 7n),
          candidate("known", 10, 7n),
          candidate("fresh"),
          { ...done },
          { ...done, key: done.key, sizeBytes: 77 },
          { ...open },
        ]);
        expect(verdicts).toMatchObject({ safeFiles: 1, safeBytes: 10 });
        expect(verdicts.known.map((file) => file.path)).toEqual(["known"]);
        expect(verdicts.fresh.map((file) => file.path)).toEqual(["fresh"]);
        expect(verdicts.renewed.map((file) => file.sizeBytes)).toEqual([77]);
      });

      it("any name Postgres can hold comes back as it was", async () => {
        const opened = await openWork(db);
        const names = ["a\nb", " lead", "trail ", `q"'\\`, "emoji 🦈", "100%+", "{},NULL", "é", "e\u0301", ""];
        const files = names.map((path, n) => candidate(path || "x", n, BigInt(n) * 10n ** 18n + 7n));
        await db.store.register(opened.sessionId, opened.destinationId, files, "absent");
        const claimed = await db.store.claim(opened.sessionId, opened.workerId, 0, 100, 3);
        expect(claimed.map(({ path, key, sizeBytes, mtimeNs }) => ({ path, key, sizeBytes, mtimeNs }))).toEqual(files);
      });
    });

    it("four workers drain a thousand rows and take none twice", async () => {
      const opened = await openWork(db);
      await db.store.register(
        opened.sessionId,
        opened.destinationId,
        Array.from({ length: 1_000 }, (_, n) => candidate(`f${n}`)),
        "absent",
      );
      const workers = [opened.workerId];
      for (let n = 2; n <= 4; n++) {
        workers.push(
          (await db.store.enterSession(opened.sessionId, worker(n), { joined: true, reopen: false, concurrency: 1 }))
            .workerId,
        );
      }
      const taken: number[] = [];
      await Promise.all(
        workers.map(async (workerId) => {
          for (let after = 0; ; ) {
            const files = await db.store.claim(opened.sessionId, workerId, after, 37, 3);
            if (files.length === 0 && after === 0) return;
            after = files.at(-1)?.id ?? 0;
            taken.push(...files.map((file) => file.id));
            await db.store.settle(
              workerId,
              files.map((file) => ({ move: "settle", file, requestId: null, durationMs: 1, object: fact(file) })),
            );
          }
        }),
      );
      expect(taken).toHaveLength(1_000);
      expect(new Set(taken).size).toBe(1_000);
      expect(await db.store.session(opened.sessionId)).toMatchObject({
        filesUploaded: 1_000,
        filesPending: 0,
        filesUploading: 0,
      });
    });

    it("facts that come in late from a journal do not overwrite newer ones", async () => {
      const opened = await openWork(db);
      const file = await rowIn(db, opened, "uploading");
      const settle = (sizeBytes: number, ageMs: number) =>
        db.store.settle(
          opened.workerId,
          [{ move: "settle", file, requestId: null, durationMs: 1, object: fact({ sizeBytes, mtimeNs: 1n }) }],
          ageMs,
        );
      await settle(20, 0);
      await settle(10, 60_000);
      expect((await db.store.known(opened.destinationId, [file.key])).get(file.key)?.sizeBytes).toBe(20);
      const upload = {
        key: file.key,
        partSizeBytes: 8,
        sizeBytes: 20,
        mtimeNs: 1n,
        checksumAlgorithm: "crc32",
      } as const;
      await db.store.uploads.begin(file.id, { ...upload, uploadId: "newer" });
      await db.store.uploads.begin(file.id, { ...upload, uploadId: "older" }, 60_000);
      expect(await db.store.uploads.find(file.id)).toMatchObject({ uploadId: "newer" });
    });

    it("remembers parts, and hands them to whoever takes the file next", async () => {
      const opened = await openWork(db);
      const file = await rowIn(db, opened, "uploading");
      const upload = {
        uploadId: "u1",
        key: file.key,
        partSizeBytes: 8,
        sizeBytes: 20,
        mtimeNs: file.mtimeNs,
        checksumAlgorithm: "crc32",
      } as const;
      await db.store.uploads.begin(file.id, upload);
      await db.store.uploads.part("u1", { partNumber: 2, sizeBytes: 8, etag: "e2", checksum: "c2" });
      await db.store.uploads.part("u1", { partNumber: 1, sizeBytes: 8, etag: "e1", checksum: null });
      expect(await db.store.uploads.find(file.id)).toEqual({
        ...upload,
        parts: [
          { partNumber: 1, sizeBytes: 8, etag: "e1", checksum: null },
          { partNumber: 2, sizeBytes: 8, etag: "e2", checksum: "c2" },
        ],
      });
      await db.store.uploads.begin(file.id, { ...upload, uploadId: "u2" });
      expect(await db.store.uploads.find(file.id)).toMatchObject({ uploadId: "u2", parts: [] });
      await db.store.uploads.end("u2", "completed");
      expect(await db.store.uploads.find(file.id)).toBeNull();
    });

    it("hands the parts of a row left behind to the row that takes the file afresh", async () => {
      const opened = await openWork(db);
      const file = await rowIn(db, opened, "uploading");
      const { key, mtimeNs } = file;
      const upload = { uploadId: "left", key, partSizeBytes: 8, sizeBytes: 20, mtimeNs, checksumAlgorithm: null };
      await db.store.uploads.begin(file.id, upload);
      await db.store.uploads.part("left", { partNumber: 1, sizeBytes: 8, etag: "e1", checksum: null });
      const ended = { requestId: null, durationMs: 1, code: "timed_out", message: "slow", permanent: false };
      await db.store.settle(opened.workerId, [{ move: "give_up", file, ...ended }]);
      const next = await openWork(db, { source: "/cards/two" });
      await db.store.register(next.sessionId, next.destinationId, [file], "absent");
      const [again] = await db.store.claim(next.sessionId, next.workerId, 0, 10, 3);
      expect(again?.key).toBe(key);
      expect(await db.store.uploads.findAll([again!.id])).toEqual(
        new Map([[again!.id, { ...upload, parts: [{ partNumber: 1, sizeBytes: 8, etag: "e1", checksum: null }] }]]),
      );
    });
  });
}
