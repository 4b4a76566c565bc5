/** The defects A to M of the program that this one replaces: each would be caught here. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { duration } from "../../src/cli/format.ts";
import { createPace } from "../../src/cli/pace.ts";
import type { Destination } from "../../src/core/ports.ts";
import { retry } from "../../src/operations/retry.ts";
import { dryRun } from "../../src/operations/upload.ts";
import { runUpload, type TestContext, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

let db: TestDatabase;
let s3: S3Server;
let to: Destination;
let card: ReturnType<typeof temporaryFolder>;

beforeEach(async () => {
  s3 = await startS3Server({ buckets: ["reef"] });
  db = await testDatabase();
  card = temporaryFolder();
  makeTree(card.path, { "a/1.wav": 100, "a/2.wav": 200, "b/3.wav": 300 });
  to = await openOn(s3, "reef");
});
afterEach(async () => {
  await to.close();
  await s3.close();
  card.remove();
  await db.drop();
});

const context = (policy = {}): TestContext => testContext({ db, destination: to, root: card.path, policy });
const rows = (columns: string) => db.sql(`select ${columns} from :"schema".file_uploads order by s3_key`);
const again = Number.POSITIVE_INFINITY;

async function retryLatest(cx: TestContext, rounds = 1) {
  const session = (await db.store.session((await db.store.latestSession("reef"))!))!;
  return retry(cx, {
    session,
    config: {},
    rounds: { rounds, delayMs: 5_000, includePermanent: false },
    stopSignal: () => null,
  });
}

describe("defects of the program replaced", () => {
  it("A: rows advance: each uploaded file's row says so, with the moment", async () => {
    await runUpload(context());
    expect(await rows("s3_key, status, uploaded_at is not null as dated")).toEqual(
      ["C1/a/1.wav", "C1/a/2.wav", "C1/b/3.wav"].map((s3_key) => ({ s3_key, status: "uploaded", dated: true })),
    );
  });

  it("B: retry takes a file that used up every attempt of the run", async () => {
    s3.faults.push({
      match: { operation: "PutObject", key: "C1/a/1.wav" },
      action: { kind: "error", code: "InternalError" },
      times: again,
    });
    const first = await runUpload(context({ attempts: 3 }));
    expect(first).toMatchObject({ exitCode: 3, filesFailed: 1, filesUploaded: 2 });
    expect(await rows("status, attempts, permanent")).toContainEqual({
      status: "failed",
      attempts: 3,
      permanent: false,
    });
    s3.faults.clear();
    expect(await retryLatest(context())).toMatchObject({
      exitCode: 0,
      filesFailed: 0,
      filesUploaded: 3,
      filesThisRun: 1,
    });
  });

  it("C: lists are complete whatever their number", async () => {
    makeTree(card.path, Object.fromEntries(Array.from({ length: 2_500 }, (_, n) => [`many/${n}.wav`, 1])));
    const { sessionId } = await runUpload(context());
    const listed = new Set<string>();
    for (let after = 0; ; ) {
      const page = await db.store.files(sessionId!, "uploaded", after, 1000);
      for (const file of page) listed.add(file.s3Key);
      if (page.length === 0) break;
      after = page.at(-1)!.id;
    }
    expect(listed.size).toBe(2_503);
    expect(s3.keys("reef")).toHaveLength(2_503);
  });

  it.each(["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"])(
    "D: a service error (%s) is tried again",
    async (code) => {
      s3.faults.push({
        match: { operation: "PutObject", key: "C1/b/3.wav" },
        action: { kind: "error", code },
        times: 1,
      });
      expect(await runUpload(context())).toMatchObject({ exitCode: 0, filesUploaded: 3 });
      expect(s3.object("reef", "C1/b/3.wav")).toMatchObject({ writes: 1 });
    },
  );

  it("E: a fatal error, and an interruption, close the session and end the worker", async () => {
    s3.credentials.get("AKIDEXAMPLE")!.allow = ["s3:ListBucket"];
    const denied = await runUpload(context());
    s3.credentials.get("AKIDEXAMPLE")!.allow = undefined as never;
    expect(denied).toMatchObject({ status: "failed", exitCode: 12 });
    const [session] = await db.sql(`select status, error_code from :"schema".sync_sessions`);
    expect(session).toEqual({ status: "failed", error_code: "access_denied" });
    expect(await db.sql(`select end_reason from :"schema".workers`)).toEqual([{ end_reason: "interrupted" }]);
    expect(await rows("distinct status, s3_key")).toHaveLength(3);
    expect((await rows("status")).every((row) => row.status === "pending")).toBe(true);

    const cx = context();
    cx.stop();
    expect(await runUpload(cx)).toMatchObject({ status: "interrupted", exitCode: 130 });
  });

  it("E: one cause is one message, not one per file", async () => {
    s3.credentials.get("AKIDEXAMPLE")!.allow = ["s3:ListBucket"];
    const cx = context();
    await runUpload(cx);
    s3.credentials.get("AKIDEXAMPLE")!.allow = undefined as never;
    expect(cx.of("error")).toHaveLength(1);
    expect(cx.of("file")).toEqual([]);
  });

  it("F: after all migrations a new project can still be inserted", async () => {
    await runUpload(context(), { project: "one" });
    await runUpload(context(), { project: "two", prefix: "C2" });
    expect(await db.sql(`select name from :"schema".projects order by name`)).toEqual([
      { name: "one" },
      { name: "two" },
    ]);
  });

  it("G: claims do not read the rows that are done: the plan of a late claim touches few", async () => {
    makeTree(card.path, Object.fromEntries(Array.from({ length: 3_000 }, (_, n) => [`many/${n}.wav`, 1])));
    const { sessionId } = await runUpload(context());
    await db.sql(
      `update :"schema".file_uploads set status = 'pending', uploaded_at = null where s3_key = 'C1/a/1.wav'`,
    );
    await db.sql(`analyze :"schema".file_uploads`);
    const plan = await db.sql<{ "QUERY PLAN": string }>(
      `explain select id from :"schema".file_uploads where session_id = ${sessionId} and outcome is null and status = 'pending' and id > 2000 order by id limit 500`,
    );
    expect(plan.map((line) => line["QUERY PLAN"]).join("\n")).toContain("file_uploads_waiting");
  });

  it("H: time left counts days, and the slower of files and bytes decides", () => {
    expect(duration(26 * 3_600_000)).toBe("1 d 2 h");
    const pace = createPace();
    pace.add(0, 0, 0);
    pace.add(1_000, 1, 1_000_000);
    expect(pace.leftMs(10, 100_000_000)).toBe(100_000);
    expect(pace.leftMs(1_000, 1_000_000)).toBe(1_000_000);
  });

  it("I: totals count everything selected, whether sent now or safe before", async () => {
    await runUpload(context());
    makeTree(card.path, { "b/4.wav": 400 });
    expect(await runUpload(context())).toMatchObject({
      totalFiles: 4,
      totalBytes: 1_000,
      filesUploaded: 1,
      filesSkipped: 3,
      bytesUploaded: 400,
    });
  });

  it("J: C1 is not C10: neighbours of the prefix are not taken for ours", async () => {
    s3.plant("reef", "C10/a/1.wav", Buffer.alloc(100));
    s3.plant("reef", "C1", Buffer.alloc(100));
    expect(await runUpload(context())).toMatchObject({ exitCode: 0, filesUploaded: 3, filesSkipped: 0 });
  });

  it("K: a listing that fails ends the run; nothing is taken for absent because of it", async () => {
    s3.plant("reef", "C1/a/1.wav", Buffer.alloc(100, 7));
    s3.faults.push({
      match: { operation: "ListObjectsV2" },
      action: { kind: "error", code: "InternalError" },
      times: again,
    });
    const cx = context();
    expect(await runUpload(cx)).toMatchObject({ status: "failed" });
    expect(s3.object("reef", "C1/a/1.wav")).toMatchObject({ writes: 0 });
  });

  it("L: retry brings the session's numbers and status up to date; a dry run leaves nothing", async () => {
    s3.faults.push({
      match: { operation: "PutObject", key: "C1/a/1.wav" },
      action: { kind: "error", code: "InternalError" },
      times: again,
    });
    await runUpload(context({ attempts: 1 }));
    s3.faults.clear();
    await retryLatest(context());
    const [session] = await db.sql(
      `select status, files_uploaded, files_failed, completed_at is not null as dated from :"schema".sync_sessions`,
    );
    expect(session).toEqual({ status: "completed", files_uploaded: 3, files_failed: 0, dated: true });

    makeTree(card.path, { "b/5.wav": 10 });
    const cx = context();
    const result = await dryRun(
      { ...cx, store: db.store },
      { destinationId: await db.store.destinationId(to.identity), prefix: "C1" },
    );
    expect(result).toMatchObject({ files: 4, safeFiles: 3, toSend: 1, bytesToSend: 10 });
    expect(await db.sql(`select count(*)::int as n from :"schema".sync_sessions`)).toEqual([{ n: 1 }]);
    expect(await rows("id")).toHaveLength(3);
  });

  it("M: the database's connections may all be cut in the middle; the run goes on and finishes", async () => {
    makeTree(card.path, Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`many/${n}.wav`, 50])));
    const cx = context();
    db.database.setPatience(60_000);
    let cut = 0;
    const admin = await testDatabase({ migrated: false });
    const emit = cx.emit;
    cx.emit = (event) => {
      emit(event);
      if (event.type === "file" && cut++ % 100 === 0) {
        void admin.database.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
          [db.schema],
        );
      }
    };
    expect(await runUpload(cx)).toMatchObject({ exitCode: 0, filesUploaded: 303, filesFailed: 0 });
    expect(s3.keys("reef")).toHaveLength(303);
    expect(s3.keys("reef").every((key) => s3.object("reef", key)!.writes === 1)).toBe(true);
    await admin.drop();
  });
});

describe("files that change under the run", () => {
  it("one that vanished after the scan fails for good, the others go", async () => {
    const cx = context();
    const find = to.find.bind(to);
    const vanishing: Destination = {
      ...to,
      find: async (keys, signal) => {
        rmSync(join(card.path, "a/2.wav"));
        return find(keys, signal);
      },
    };
    expect(await runUpload({ ...cx, destination: vanishing })).toMatchObject({
      exitCode: 3,
      filesFailed: 1,
      filesUploaded: 2,
    });
    expect(await rows("status, error_code, permanent")).toContainEqual({
      status: "failed",
      error_code: "file_gone",
      permanent: true,
    });
  });

  it("one that grew after the scan is sent as it is then, never in part", async () => {
    const cx = context();
    const find = to.find.bind(to);
    const growing: Destination = {
      ...to,
      find: async (keys, signal) => {
        writeFileSync(join(card.path, "a/2.wav"), Buffer.alloc(999, 1));
        return find(keys, signal);
      },
    };
    expect(await runUpload({ ...cx, destination: growing })).toMatchObject({
      exitCode: 0,
      filesUploaded: 3,
      totalBytes: 100 + 999 + 300,
    });
    expect(s3.object("reef", "C1/a/2.wav")).toMatchObject({ sizeBytes: 999, writes: 1 });
  });
});
