/** Postgres goes away in the middle of a run: what is claimed is sent, results are kept, nothing is sent twice. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { md5Hex } from "../../src/core/checksum.ts";
import type { Destination } from "../../src/core/ports.ts";
import type { Store } from "../../src/core/store.ts";
import { fixedConcurrency } from "../../src/operations/concurrency.ts";
import type { Policy } from "../../src/operations/context.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { applyMemo, journalFolder, replayJournals } from "../../src/store/journal.ts";
import { openStore } from "../../src/store/store.ts";
import { runUpload, type TestContext, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type Forwarder, forwardTo } from "../support/forwarder.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

/** Fewer than one claim of four slots takes: all are in hand when the database goes. */
const files = 24;
let db: TestDatabase;
let s3: S3Server;
let to: Destination;
let card: ReturnType<typeof temporaryFolder>;
let state: ReturnType<typeof temporaryFolder>;
let breakable: Breakable;

interface Breakable {
  database: Database;
  store: Store;
  hasty: Store;
  door: Forwarder;
}

async function openBreakable(patienceMs: number): Promise<Breakable> {
  const door = await forwardTo(db.url);
  const database = openDatabase({
    address: async () => ({ connectionString: door.url }),
    description: "the tests' database",
    maxConnections: 4,
    now: Date.now,
    random: () => 0,
  });
  database.setPatience(patienceMs);
  const hasty = openStore(database.withPatience(0), db.schema, () => null);
  return { database, store: openStore(database, db.schema, () => null), hasty, door };
}

beforeEach(async () => {
  db = await testDatabase();
  s3 = await startS3Server({ buckets: ["reef"] });
  card = temporaryFolder();
  state = temporaryFolder();
  makeTree(card.path, Object.fromEntries(Array.from({ length: files }, (_, n) => [`${n}.wav`, 64 + n])));
  to = await openOn(s3, "reef");
});
afterEach(async () => {
  await breakable.database.close();
  await breakable.door.shut();
  await to.close();
  await s3.close();
  card.remove();
  state.remove();
  await db.drop();
});

const context = (maxOutageMs = 15 * 60_000, policy: Partial<Policy> = {}): TestContext => {
  const { store, hasty, database } = breakable;
  return {
    ...testContext({
      db: { ...db, store, database },
      destination: to,
      root: card.path,
      hasty,
      journalIn: state.path,
      policy: { maxOutageMs, ...policy },
      concurrency: 4,
    }),
  };
};

const journals = (): string[] => (existsSync(journalFolder(state.path)) ? readdirSync(journalFolder(state.path)) : []);
const written = (): number[] => s3.keys("reef").map((key) => s3.object("reef", key)!.writes);

/** Cuts the database when the n-th file has reached the store. */
function cutAt(n: number, then: () => Promise<void>): Destination {
  let puts = 0;
  let left = files;
  return {
    ...to,
    put: async (job, hooks) => {
      if (++puts === n) await breakable.door.shut();
      const outcome = await to.put(job, hooks);
      if (--left === 0) await then();
      return outcome;
    },
  };
}

describe("a database that goes away", () => {
  it("and comes back: all that was claimed is sent meanwhile, then everything is recorded", async () => {
    breakable = await openBreakable(60_000);
    const cx = context();
    const destination = cutAt(8, async () => {
      await expect.poll(journals).toHaveLength(1);
      await breakable.door.open();
    });
    expect(await runUpload({ ...cx, destination })).toMatchObject({
      status: "completed",
      exitCode: 0,
      filesUploaded: files,
    });
    expect(journals()).toEqual([]);
    expect(written()).toEqual(Array(files).fill(1));
  });

  it("while the journal cannot be written: said once, and what is in memory is recorded when it is back", async () => {
    breakable = await openBreakable(60_000);
    writeFileSync(join(state.path, "journal"), "in the way");
    const cx = context();
    const destination = cutAt(8, async () => {
      await expect.poll(() => cx.of("notice").filter(({ message }) => /cannot be kept/.test(message))).toHaveLength(1);
      await breakable.door.open();
    });
    expect(await runUpload({ ...cx, destination })).toMatchObject({
      status: "completed",
      exitCode: 0,
      filesUploaded: files,
    });
    expect(cx.of("notice").filter(({ message }) => /cannot be kept/.test(message))).toHaveLength(1);
    expect(written()).toEqual(Array(files).fill(1));
  });

  it("stops no claimed file that wanted to know something: large ones, begun before or not, and changed ones", async () => {
    const large = ["large-1.wav", "large-2.wav"];
    makeTree(card.path, { "known.wav": 10, "large-1.wav": 17 * 2 ** 20 });
    breakable = await openBreakable(60_000);
    s3.faults.push({ match: { operation: "CompleteMultipartUpload" }, action: { kind: "error", code: "NoSuchKey" } });
    expect(await runUpload(context(15 * 60_000, { attempts: 1 }))).toMatchObject({ filesFailed: 1 });
    makeTree(card.path, { "0.wav": 100, "known.wav": 11, "large-2.wav": 17 * 2 ** 20 });
    let left = 4;
    const destination: Destination = {
      ...to,
      put: async (job, hooks) => {
        if (left === 4) await breakable.door.shut();
        const outcome = await to.put(job, hooks);
        if (--left === 0) await breakable.door.open();
        return outcome;
      },
    };
    const cx = context(15 * 60_000, { onChange: "replace" });
    const again = await runUpload({ ...cx, destination, concurrency: fixedConcurrency(1) });
    expect(again).toMatchObject({ status: "completed", exitCode: 0, filesUploaded: 4 });
    expect(cx.of("notice").map(({ message }) => message)).toContain(
      "the database is back and has been told everything",
    );
    for (const path of ["0.wav", "known.wav", ...large]) {
      expect(s3.object("reef", `C1/${path}`)?.md5(), path).toBe(md5Hex(readFileSync(join(card.path, path))));
    }
    expect(s3.log.filter(({ operation }) => operation === "UploadPart")).toHaveLength(2 * 3);
    expect(await db.sql(`select status, count(*)::int as n from :"schema".multipart_uploads group by 1`)).toEqual([
      { status: "completed", n: 2 },
    ]);
  });

  it("and stays away: exit 13; the next run brings the results in and sends nothing again", async () => {
    breakable = await openBreakable(1_500);
    const cx = context(10_000);
    const summary = await runUpload({ ...cx, destination: cutAt(8, async () => undefined) });
    expect(cx.of("error").map((event) => event.code)).toEqual(["database_unreachable"]);
    expect(summary).toMatchObject({ exitCode: 13 });
    expect(journals()).toHaveLength(1);
    expect(written()).toEqual(Array(files).fill(1));
    expect(await db.sql(`select files_uploaded < ${files} as incomplete from :"schema".sync_sessions`)).toEqual([
      { incomplete: true },
    ]);

    await breakable.door.open();
    const other = await replayJournals(
      state.path,
      "another-database",
      () => false,
      (memo) => applyMemo(db.store, memo),
    );
    expect(other).toBe(0);
    expect(journals()).toHaveLength(1);
    const alive = await replayJournals(
      state.path,
      "test",
      () => true,
      (memo) => applyMemo(db.store, memo),
    );
    expect(alive).toBe(0);
    expect(
      await replayJournals(
        state.path,
        "test",
        () => false,
        (memo) => applyMemo(db.store, memo),
      ),
    ).toBeGreaterThan(0);
    expect(journals()).toEqual([]);
    await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s'`);
    const next = context();
    expect(await runUpload(next)).toMatchObject({ status: "completed", exitCode: 0, filesUploaded: files });
    expect(written()).toEqual(Array(files).fill(1));
  });
});
