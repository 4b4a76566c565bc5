/** Runs that once hung, lost results or claimed too much. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UploaderError } from "../../src/core/errors.ts";
import type { Destination } from "../../src/core/ports.ts";
import type { Memo } from "../../src/core/store.ts";
import { idleMs } from "../../src/operations/drain.ts";
import { createRecorder } from "../../src/operations/recorder.ts";
import { openJournal, replayJournals } from "../../src/store/journal.ts";
import { runUpload, type TestContext, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

let db: TestDatabase;
let s3: S3Server;
let to: Destination;
let card: ReturnType<typeof temporaryFolder>;
beforeEach(async () => {
  db = await testDatabase();
  s3 = await startS3Server({ buckets: ["reef"] });
  card = temporaryFolder();
  makeTree(join(card.path, "card"), Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`${n}.wav`, 50])));
  to = await openOn(s3, "reef");
});
afterEach(async () => {
  await to.close();
  await s3.close();
  card.remove();
  await db.drop();
});

const context = (destination = to, policy = {}): TestContext =>
  testContext({ db, destination, root: join(card.path, "card"), policy });

const failing = (fault: (key: string) => UploaderError | null): Destination => ({
  ...to,
  put: async (job, hooks) => {
    const error = fault(job.key);
    if (error) throw error;
    return to.put(job, hooks);
  },
});
const away = () => new UploaderError("store_unreachable", "the store is away");

describe("stopping", () => {
  it("while the circuit is open ends the run at once: interrupted, nothing lost", async () => {
    const cx = context(failing(away));
    const emit = cx.emit;
    cx.emit = (event) => {
      emit(event);
      if (event.type === "pause") cx.stop();
    };
    expect(await runUpload(cx)).toMatchObject({ status: "interrupted", exitCode: 130 });
    expect(await db.sql(`select distinct status from :"schema".file_uploads`)).toEqual([{ status: "pending" }]);
  });

  it("leaves nothing in the hands of a worker that has ended", async () => {
    const cx = context();
    const emit = cx.emit;
    cx.emit = (event) => {
      emit(event);
      if (event.type === "file") cx.stop();
    };
    await runUpload(cx);
    expect(await db.sql(`select files_uploading from :"schema".sync_sessions`)).toEqual([{ files_uploading: 0 }]);
  });
});

it("a run whose last file lands while the database is asked what is due ends without a pause", async () => {
  let land = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    land = resolve;
  });
  const put: Destination["put"] = async (job, hooks) => {
    const answer = await to.put(job, hooks);
    if (job.key === "C1/39.wav") await asked;
    return answer;
  };
  const cx = context({ ...to, put });
  let hasLanded = false;
  const pausesMs: number[] = [];
  cx.onSleep = (delayMs) => {
    if (hasLanded) pausesMs.push(delayMs);
  };
  cx.store = {
    ...db.store,
    async nextDue(...args) {
      const due = await db.store.nextDue(...args);
      hasLanded = true;
      land();
      await new Promise((resolve) => setImmediate(resolve));
      return due;
    },
  };
  expect(await runUpload(cx)).toMatchObject({ exitCode: 0, filesUploaded: 40 });
  expect(pausesMs).not.toContain(idleMs);
});

describe("the journal", () => {
  it("loses nothing however often the database comes and goes", async () => {
    for (let round = 0; round < 20; round++) {
      let down = true;
      const applied: string[] = [];
      const cx = context();
      cx.apply = async (memo: Memo) => {
        await new Promise((resolve) => setImmediate(resolve));
        if (down) throw new UploaderError("database_unreachable", "away");
        if (memo.call === "end") applied.push(memo.uploadId);
        return [];
      };
      const recorder = createRecorder(cx, 1);
      const memos = Array.from({ length: 12 }, (_, n) => n);
      const writing = memos.map(async (n) => {
        for (let turn = 0; turn < n * 3; turn++) await new Promise((resolve) => setImmediate(resolve));
        if (n === 4) down = false;
        if (n === 7) down = true;
        if (n === 9) down = false;
        await recorder.record({ call: "end", uploadId: String(n), state: "completed" }, () => undefined);
      });
      await Promise.all(writing);
      down = false;
      await recorder.flush();
      expect([...applied].sort((a, b) => Number(a) - Number(b))).toEqual(memos.map(String));
    }
  });

  it("that cannot be applied is put aside and named, and does not stop the next run", async () => {
    const state = temporaryFolder();
    const journal = openJournal(state.path, "db", worker(5));
    await journal.append({ call: "end", uploadId: "u", state: "completed" });
    const bad: string[] = [];
    const replay = () =>
      replayJournals(
        state.path,
        "db",
        () => false,
        async () => {
          throw new Error("no such row");
        },
        (path) => bad.push(path),
      );
    expect(await replay()).toBe(0);
    expect(bad).toEqual([`${journal.path}.bad`]);
    expect(await replay()).toBe(0);
    expect(bad).toHaveLength(1);
    state.remove();
  });
});

describe("what is about one file, and what is about all", () => {
  it("a card that is pulled out is one cause, and the run goes on when it is back", async () => {
    const [here, gone] = [join(card.path, "card"), join(card.path, "gone")];
    let pulled = false;
    const cx = context({
      ...to,
      put: async (job, hooks) => {
        if (!pulled) {
          pulled = true;
          renameSync(here, gone);
        }
        return to.put(job, hooks);
      },
    });
    cx.onSleep = () => {
      if (cx.of("pause").length > 0 && pulled) {
        try {
          renameSync(gone, here);
        } catch {
          return; // It is back already.
        }
      }
    };
    const summary = await runUpload(cx);
    expect(summary).toMatchObject({ exitCode: 0, filesUploaded: 40, filesFailed: 0 });
    expect(cx.of("pause").map((event) => event.cause)).toEqual(["source_missing"]);
  });

  it.each(["store_unreachable", "store_busy", "timed_out"] as const)(
    "a store that does not list for a moment (%s) does not end the run: it is asked again",
    async (code) => {
      let lists = 0;
      const find: Destination["find"] = async (keys, signal) => {
        if (++lists <= 2) throw new UploaderError(code, "the store is away");
        return to.find(keys, signal);
      };
      expect(await runUpload(context({ ...to, find }))).toMatchObject({ filesUploaded: 40, exitCode: 0 });
      expect(lists).toBe(3);
    },
  );

  it("a key that is refused alone fails alone", async () => {
    const denied = new UploaderError("access_denied", "the store denied access");
    const cx = context(failing((key) => (key === "C1/39.wav" ? denied : null)));
    expect(await runUpload(cx)).toMatchObject({ exitCode: 3, filesUploaded: 39, filesFailed: 1 });
  });

  it.each([
    ["a symlink", (path: string) => symlinkSync("1.wav", path)],
    ["a folder", (path: string) => mkdirSync(path)],
  ])("a file in whose place %s was put is gone: no attempt can help", async (_, put) => {
    const path = join(card.path, "card", "7.wav");
    const replacing: Destination = {
      ...to,
      async put(job, hooks) {
        if (job.key.endsWith("/7.wav")) {
          rmSync(path);
          put(path);
        }
        return to.put(job, hooks);
      },
    };
    expect(await runUpload(context(replacing))).toMatchObject({ filesUploaded: 39, filesFailed: 1, exitCode: 3 });
    expect(
      await db.sql(`select error_code, permanent, attempts from :"schema".file_uploads where status = 'failed'`),
    ).toEqual([{ error_code: "file_gone", permanent: true, attempts: 1 }]);
  });

  it("a path of any length is refused by itself", async () => {
    let folder = join(card.path, "card");
    for (let n = 0; n < 14; n++) {
      folder = join(folder, `${n}-`.padEnd(240, String.fromCharCode(97 + n)));
      mkdirSync(folder);
    }
    writeFileSync(join(folder, "deep.wav"), "x");
    const cx = context();
    expect(await runUpload(cx)).toMatchObject({ exitCode: 3, filesUploaded: 40, filesFailed: 1 });
    expect(await db.sql(`select error_code from :"schema".file_uploads where status = 'failed'`)).toEqual([
      { error_code: "key_impossible" },
    ]);
  });
});

describe("sessions", () => {
  it("a file that was still changing is taken by the next run of the same session", async () => {
    let size = 100;
    const growing = join(card.path, "card", "0.wav");
    const cx = context({
      ...to,
      put: async (job, hooks) => {
        if (job.key === "C1/0.wav") writeFileSync(growing, Buffer.alloc(++size));
        return to.put(job, hooks);
      },
    });
    expect(await runUpload(cx)).toMatchObject({ exitCode: 4, status: "interrupted", filesNotReady: 1 });
    expect(await runUpload(context())).toMatchObject({ exitCode: 0, status: "completed", filesUploaded: 40 });
  });

  it("keys of an interrupted session on which nobody works make way for another one", async () => {
    const cx = context(failing(away), { maxOutageMs: 1 });
    expect(await runUpload(cx)).toMatchObject({ status: "failed" });
    renameSync(join(card.path, "card"), join(card.path, "card_1"));
    const other = testContext({ db, destination: to, root: join(card.path, "card_1") });
    expect(await runUpload(other)).toMatchObject({ exitCode: 0, filesUploaded: 40 });
  });

  it("one who joins while the holder still scans stays, and its exit 0 means complete", async () => {
    let letScan = (): void => undefined;
    const scanning = new Promise<void>((resolve) => {
      letScan = resolve;
    });
    const holder = context();
    const { source } = holder;
    const held = runUpload({
      ...holder,
      source: {
        ...source,
        async *scan(signal) {
          await scanning;
          yield* source.scan(signal);
        },
      },
    });
    await expect.poll(async () => (await db.sql(`select 1 from :"schema".workers`)).length).toBe(1);
    const joiner = testContext({ db, destination: to, root: join(card.path, "card"), me: worker(2) });
    joiner.onSleep = () => letScan();
    const joined = await runUpload(joiner, { join: 1 });
    expect(joined).toMatchObject({ exitCode: 0, totalFiles: 40, filesUploaded: 40 });
    expect(await held).toMatchObject({ exitCode: 0, filesUploaded: 40 });
    expect(await db.sql(`select status from :"schema".sync_sessions`)).toEqual([{ status: "completed" }]);
  });
});
