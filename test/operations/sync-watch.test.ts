/** A watch: the scan is the truth, events make it sooner, and nothing that goes away ends it. */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openWatcher } from "../../src/adapters/watcher.ts";
import type { Destination } from "../../src/core/ports.ts";
import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { fastClock, type SyncOptions, startWatch, syncContext, type TestSync, type Watching } from "../support/sync.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

let db: TestDatabase;
let s3: S3Server;
let scratch: ReturnType<typeof temporaryFolder>;
let to: Destination;
let watching: Watching | null = null;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  scratch = temporaryFolder();
  makeTree(scratch.path, { "dock/a/one.csv": "1", "dock/b/two.csv": "22" });
  s3 = await startS3Server({ buckets: ["reef"] });
  to = await openOn(s3, "reef");
});
afterEach(async () => {
  await watching?.stop();
  watching = null;
  await to.close();
  await s3.close();
  scratch.remove();
});

const dock = (path = ""): string => join(scratch.path, "dock", path);
const context = (over: Partial<SyncOptions> = {}): TestSync =>
  syncContext({ db, destination: to, root: dock(), clock: fastClock(300), ...over });
const keys = (): string[] => [...s3.keys("reef")].sort();
const writes = (name: string): number => s3.object("reef", `C1/${name}`)?.writes ?? 0;
const textOf = (name: string): string => Buffer.from(s3.object("reef", `C1/${name}`)?.bytes() ?? []).toString();
const sessions = () =>
  db.sql<{ id: number; status: string; files_failed: number; rows_skipped: number }>(
    `select id, status, files_failed, rows_skipped from :"schema".sync_sessions where source = $1 order by id`,
    [dock()],
  );
describe("a watch", () => {
  it("sends what is there and what comes, in one session of the day that closes whenever nothing is left", async () => {
    const cx = context();
    watching = startWatch(cx);
    await expect.poll(keys).toEqual(["C1/a/one.csv", "C1/b/two.csv"]);
    await expect.poll(async () => (await sessions()).map(({ status }) => status)).toEqual(["completed"]);
    makeTree(scratch.path, { "dock/c/d/three.csv": "333" });
    await expect.poll(keys).toContain("C1/c/d/three.csv");
    await expect.poll(async () => (await sessions()).map(({ status }) => status)).toEqual(["completed"]);
    expect(cx.beats).toBeGreaterThan(3);
    expect(cx.of("summary")).toEqual([]);
    expect(cx.of("pass").some(({ filesThisRun }) => filesThisRun === 2)).toBe(true);
  });

  it("sends a file that was written in place again, though its folder shows nothing", async () => {
    watching = startWatch(context());
    await expect.poll(keys).toHaveLength(2);
    writeFileSync(dock("a/one.csv"), "changed");
    await expect.poll(() => textOf("a/one.csv")).toBe("changed");
    expect([writes("a/one.csv"), writes("b/two.csv")]).toEqual([2, 1]);
  });

  it("goes on with what it left, sends nothing twice after a restart, and notices what changed meanwhile", async () => {
    watching = startWatch(context());
    await expect.poll(keys).toHaveLength(2);
    await watching.stop();
    writeFileSync(dock("b/two.csv"), "changed");
    makeTree(scratch.path, { "dock/c.csv": "new" });
    watching = startWatch(context());
    await expect.poll(() => [keys().length, textOf("b/two.csv")]).toEqual([3, "changed"]);
    expect([writes("a/one.csv"), writes("b/two.csv"), writes("c.csv")]).toEqual([1, 2, 1]);
    expect(await sessions()).toHaveLength(1);
  });

  it("opens a new session on another day, and leaves what was not ready to it", async () => {
    const clock = fastClock(300);
    const cx = context({ clock });
    watching = startWatch(cx);
    await expect.poll(keys).toHaveLength(2);
    await watching.stop();
    await db.sql(`update :"schema".sync_sessions set started_at = started_at - interval '2 days' where source = $1`, [
      dock(),
    ]);
    makeTree(scratch.path, { "dock/c.csv": "new" });
    watching = startWatch(context());
    await expect.poll(keys).toHaveLength(3);
    await expect.poll(async () => (await sessions()).map(({ status }) => status)).toEqual(["completed", "completed"]);
    expect(writes("a/one.csv")).toBe(1);
  });

  it("a growing file is a row that waits; it never stops the others, and goes when it rests", async () => {
    let size = 0;
    let isGrowing = true;
    const grow = (): void => {
      if (!isGrowing) return;
      appendFileSync(dock("a/grows.csv"), "x");
      size++;
    };
    grow();
    // Between any two looks there is a pause, so none sees it as the one before did, however long the machine takes.
    const cx = context({ onSleep: grow });
    watching = startWatch(cx);
    try {
      await expect.poll(keys).toEqual(["C1/a/one.csv", "C1/b/two.csv"]);
      const waiting = () =>
        db.sql(
          `select reason, not_ready from :"schema".file_uploads where local_path = 'a/grows.csv' and status = 'pending'
          and session_id in (select id from :"schema".sync_sessions where source = $1)`,
          [dock()],
        );
      await expect.poll(waiting).toEqual([{ reason: "settling", not_ready: true }]);
      expect(keys()).toHaveLength(2);
    } finally {
      isGrowing = false;
    }
    await expect.poll(keys).toContain("C1/a/grows.csv");
    expect(textOf("a/grows.csv")).toBe("x".repeat(size));
    expect(writes("a/grows.csv")).toBe(1);
  });

  it("tries files again that used up their attempts, by itself", async () => {
    let broken = true;
    const { UploaderError } = await import("../../src/core/errors.ts");
    const destination: Destination = {
      ...to,
      put: async (job, hooks) => {
        if (broken && job.key.endsWith("one.csv")) throw new UploaderError("checksum_mismatch", "not what was sent");
        return to.put(job, hooks);
      },
    };
    watching = startWatch(context({ destination, policy: { attempts: 1 }, clock: fastClock(3000) }));
    await expect.poll(async () => (await sessions()).map(({ files_failed }) => files_failed)).toEqual([1]);
    broken = false;
    await expect.poll(keys).toEqual(["C1/a/one.csv", "C1/b/two.csv"]);
    await expect.poll(async () => (await sessions()).map(({ status }) => status)).toEqual(["completed"]);
  });

  it("a source that goes away, or is suddenly empty, is waited for: nothing is gone, nothing deleted, one line", async () => {
    const cx = context();
    watching = startWatch(cx);
    await expect.poll(keys).toHaveLength(2);
    renameSync(dock(), join(scratch.path, "away"));
    const told = (pattern: RegExp) => cx.notices().filter((message) => pattern.test(message)).length;
    await expect.poll(() => told(/dock: .*does not exist/)).toBe(1);
    mkdirSync(dock());
    const passes = cx.of("pass").length;
    await expect.poll(() => cx.of("pass").length).toBeGreaterThan(passes + 5);
    expect(cx.of("pass").at(-1)?.errorCode).toBe("source_missing");
    rmSync(dock(), { recursive: true });
    renameSync(join(scratch.path, "away"), dock());
    makeTree(scratch.path, { "dock/c.csv": "new" });
    await expect.poll(keys).toHaveLength(3);
    expect(told(/dock: /)).toBe(2);
    expect([writes("a/one.csv"), writes("b/two.csv")]).toEqual([1, 1]);
    expect((await sessions()).map(({ rows_skipped }) => rows_skipped)).toEqual([0]);
  });

  it("files that wait when the card is pulled are there when it is back", async () => {
    writeFileSync(dock("a/half.json"), "[1, 2");
    // An hour of this clock is more than a minute: by then it would be sent as it is.
    watching = startWatch(context({ clock: fastClock(50) }));
    const waiting = () =>
      db.sql(
        `select status, reason from :"schema".file_uploads where local_path = 'a/half.json'
        and session_id in (select id from :"schema".sync_sessions where source = $1)`,
        [dock()],
      );
    await expect.poll(waiting).toEqual([{ status: "pending", reason: "incomplete" }]);
    renameSync(dock(), join(scratch.path, "away"));
    mkdirSync(dock());
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await waiting()).toEqual([{ status: "pending", reason: "incomplete" }]);
    rmSync(dock(), { recursive: true });
    renameSync(join(scratch.path, "away"), dock());
    writeFileSync(dock("a/half.json"), "[1, 2]");
    await expect.poll(() => textOf("a/half.json")).toBe("[1, 2]");
  });

  it("a store that is away for hours: one line, the queue grows, and what is urgent goes first when it is back", async () => {
    const { UploaderError } = await import("../../src/core/errors.ts");
    let away = true;
    const order: string[] = [];
    const destination: Destination = {
      ...to,
      find: async (found, signal) => {
        if (away) throw new UploaderError("store_unreachable", "nobody answers");
        return to.find(found, signal);
      },
      put: async (job, hooks) => {
        if (away) throw new UploaderError("store_unreachable", "nobody answers");
        order.push(job.key);
        return to.put(job, hooks);
      },
    };
    const cx = context({ destination, concurrency: 1, clock: fastClock(2000) });
    const { priorities } = await import("../../src/core/layout.ts");
    const plain = cx.layout;
    cx.layout = {
      takes: "batches",
      async plan(files, question) {
        const plan = await plain.plan(files, question);
        for (const each of plan.placements) if (each.path.startsWith("late/")) each.priority = priorities.package;
        return plan;
      },
    };
    watching = startWatch(cx);
    await expect.poll(() => cx.of("pause").length).toBe(1);
    for (let n = 0; n < 20; n++) makeTree(scratch.path, { [`dock/bulk/${n}.csv`]: `${n}` });
    makeTree(scratch.path, { "dock/late/package.csv": "urgent" });
    const queued = async () =>
      (
        await db.sql<{ n: number }>(
          `select count(*)::int as n from :"schema".file_uploads
      where status in ('pending', 'uploading') and session_id in (select id from :"schema".sync_sessions where source = $1)`,
          [dock()],
        )
      )[0]?.n;
    await expect.poll(queued).toBe(23);
    expect(cx.of("pause")).toHaveLength(1);
    expect(cx.of("error")).toEqual([]);
    away = false;
    await expect.poll(keys).toHaveLength(23);
    // One slot held a file while it probed, and a few more were claimed with it.
    expect(order.indexOf("C1/late/package.csv")).toBeLessThan(12);
  });

  it("of two, the second is refused and the first goes on; when its lease is taken, it ends", async () => {
    watching = startWatch(context());
    await expect.poll(keys).toHaveLength(2);
    await expect(startWatch(context({ me: worker(2) })).ended).rejects.toMatchObject({
      code: "lease_held",
      exitCode: 11,
    });
    await db.sql(`update :"schema".sync_leases set pid = 99, process_start = '99' where source = $1`, [dock()]);
    await expect(watching.ended).rejects.toMatchObject({ code: "lease_held" });
    watching = null;
    await db.sql(`delete from :"schema".sync_leases where source = $1`, [dock()]);
  });

  it("events bring a file on its way soon after it has settled; new nested folders too", async () => {
    const clock = fastClock(1);
    const touched: string[] = [];
    const events = openWatcher({ root: dock(), touch: (folder) => touched.push(folder), onLimit: () => undefined });
    const cx = context({ clock, fileEvents: events, policy: { settleSeconds: 0.2 } });
    const touch = cx.source.touch;
    touched.push = (folder: string) => {
      touch(folder);
      return 0;
    };
    watching = startWatch(cx, { intervalMs: 600_000 });
    await expect.poll(keys).toHaveLength(2);
    makeTree(scratch.path, { "dock/x/y/z/deep.csv": "deep" });
    await expect.poll(keys).toContain("C1/x/y/z/deep.csv");
    writeFileSync(dock("a/one.csv"), "in place");
    await expect.poll(() => textOf("a/one.csv")).toBe("in place");
    await events.close();
  });

  it("tells what it had sent when it is told to stop", async () => {
    let begun = false;
    const destination: Destination = {
      ...to,
      put: async (job, hooks) => {
        if (!job.key.endsWith("two.csv")) return to.put(job, hooks);
        begun = true;
        await new Promise<void>((resolve) => cx.stopping.addEventListener("abort", () => resolve()));
        return to.put(job, hooks);
      },
    };
    const cx: TestSync = context({ destination });
    watching = startWatch(cx);
    await expect.poll(() => begun && keys().length).toBe(1);
    await watching.stop();
    expect(cx.of("pass").reduce((sum, { filesThisRun }) => sum + filesThisRun, 0)).toBe(2);
  });

  it("counts what is safe once: beside files that wait, and when another card lies in the slot", async () => {
    watching = startWatch(context());
    await expect.poll(keys).toHaveLength(2);
    await watching.stop();
    await db.sql(`update :"schema".sync_sessions set started_at = started_at - interval '2 days' where source = $1`, [
      dock(),
    ]);
    // An hour of this clock is more than a minute: by then the half file would be sent as it is.
    const cx = context({ clock: fastClock(50) });
    watching = startWatch(cx);
    writeFileSync(dock("a/half.json"), "[1, 2");
    const counts = () =>
      db.sql(
        `select files_safe, files_uploaded, files_pending from :"schema".sync_sessions where source = $1 order by id desc limit 1`,
        [dock()],
      );
    for (const [at, name] of ["a/new.csv", "a/newer.csv", "b/newest.csv"].entries()) {
      makeTree(scratch.path, { [`dock/${name}`]: name });
      await expect.poll(counts).toEqual([{ files_safe: 2, files_uploaded: at + 1, files_pending: 1 }]);
      const passes = cx.of("pass").length;
      await expect.poll(() => cx.of("pass").length).toBeGreaterThan(passes + 1);
    }
    const another = join(scratch.path, "another");
    // To the nanosecond, as Node's own copying does not.
    execFileSync("cp", ["-a", dock(), another]);
    renameSync(dock(), join(scratch.path, "away"));
    renameSync(another, dock());
    makeTree(scratch.path, { "dock/b/last.csv": "last" });
    await expect.poll(counts).toEqual([{ files_safe: 2, files_uploaded: 4, files_pending: 1 }]);
    expect([writes("a/one.csv"), writes("b/two.csv")]).toEqual([1, 1]);
  });

  it("is not fooled by a clock that was moved, nor by old times", async () => {
    watching = startWatch(context());
    await expect.poll(keys).toHaveLength(2);
    await watching.stop();
    const clock = fastClock(300, Date.now() - 400 * 86_400_000);
    utimesSync(dock("b/two.csv"), 4_000_000_000, 4_000_000_000);
    const cx = context({ clock });
    watching = startWatch(cx);
    await expect.poll(() => cx.of("pass").length).toBeGreaterThan(3);
    expect([writes("a/one.csv"), writes("b/two.csv")]).toEqual([1, 1]);
  });
});
