/** One pass: finished files only, and what is not finished is counted on by the next pass. */
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openFolderDestination } from "../../src/adapters/folder.ts";
import type { Destination } from "../../src/core/ports.ts";

import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { fastClock, runOnce, type SyncOptions, syncContext } from "../support/sync.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

let db: TestDatabase;
let scratch: ReturnType<typeof temporaryFolder>;
let to: Destination;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  scratch = temporaryFolder();
  makeTree(scratch.path, { "dock/a/one.csv": "1", "dock/a/two.csv": "22", "dock/b/three.csv": "333" });
  to = await openFolderDestination({ root: join(scratch.path, "archive"), createRoot: true });
});
afterEach(async () => {
  await to.close();
  scratch.remove();
});

const dock = (path = ""): string => join(scratch.path, "dock", path);
const sent = (path: string): string => readFileSync(join(scratch.path, "archive/C1", path), "utf8");
const context = (over: Partial<SyncOptions> = {}) =>
  syncContext({ db, destination: to, root: dock(), clock: fastClock(200), ...over });
const rows = () =>
  db.sql<{
    local_path: string;
    status: string;
    reason: string | null;
    looks: number;
    not_ready: boolean;
    due: boolean;
  }>(
    `select local_path, status, reason, looks, not_ready, next_attempt_at <= now() as due from :"schema".file_uploads
     where session_id = (select max(id) from :"schema".sync_sessions where source = $1) order by local_path`,
    [dock()],
  );
/** Runs something while the pass waits for files to settle. */
const whileSettling = (work: () => void): Pick<SyncOptions, "onSleep"> => {
  let done = false;
  return {
    onSleep(delayMs) {
      if (delayMs !== 5_000 || done) return;
      done = true;
      work();
    },
  };
};

describe("one pass", () => {
  it("sends what is finished, and the next one has nothing to do and needs no session", async () => {
    const first = await runOnce(context());
    expect(first).toMatchObject({ status: "completed", exitCode: 0, filesThisRun: 3, totalFiles: 3 });
    expect(sent("b/three.csv")).toBe("333");
    const second = await runOnce(context());
    expect(second).toMatchObject({ sessionId: null, exitCode: 0, filesThisRun: 0, filesSkipped: 3 });
  });

  it("leaves a growing file alone, says why in its row, exits 4; the next pass counts on", async () => {
    const grow = whileSettling(() => appendFileSync(dock("a/two.csv"), "more"));
    const first = await runOnce(context(grow));
    expect(first).toMatchObject({ exitCode: 4, filesThisRun: 2, filesNotReady: 1, status: "interrupted" });
    expect(await rows()).toMatchObject([
      { local_path: "a/one.csv", status: "uploaded" },
      { local_path: "a/two.csv", status: "pending", reason: "settling", looks: 1, not_ready: true, due: false },
      { local_path: "b/three.csv", status: "uploaded" },
    ]);
    // Long enough ago: the next pass finds the same state and waits for nothing.
    await db.sql(`update :"schema".file_uploads set next_attempt_at = now() - interval '1 s' where not_ready`);
    const pauses: number[] = [];
    const second = await runOnce(context({ onSleep: (delayMs) => void pauses.push(delayMs) }));
    expect(pauses).not.toContain(5_000);
    expect(second).toMatchObject({ sessionId: first.sessionId, status: "completed", exitCode: 0, filesThisRun: 1 });
    expect(sent("a/two.csv")).toBe("22more");
  });

  it("counts the looks of a file that grows and grows, in one row", async () => {
    for (let pass = 0; pass < 3; pass++) {
      appendFileSync(dock("a/two.csv"), "before");
      await runOnce(context(whileSettling(() => appendFileSync(dock("a/two.csv"), "more"))));
    }
    expect(await rows()).toContainEqual(
      expect.objectContaining({ local_path: "a/two.csv", status: "pending", looks: 3 }),
    );
  });

  it("forgets a file that was deleted before it was ready, and one that is gone when it is its turn", async () => {
    await runOnce(context(whileSettling(() => appendFileSync(dock("a/two.csv"), "more"))));
    rmSync(dock("a/two.csv"));
    expect(await runOnce(context())).toMatchObject({ status: "completed", exitCode: 0, filesFailed: 0 });
    expect(await rows()).toContainEqual(
      expect.objectContaining({ local_path: "a/two.csv", status: "skipped", reason: "gone" }),
    );

    makeTree(scratch.path, { "dock/c/four.csv": "4444" });
    const destination: Destination = {
      ...to,
      put: (job, hooks) => {
        rmSync(dock("c/four.csv"));
        return to.put(job, hooks);
      },
    };
    expect(await runOnce(context({ destination }))).toMatchObject({ exitCode: 0, filesFailed: 0, status: "completed" });
    expect(await rows()).toMatchObject([{ local_path: "c/four.csv", status: "skipped", reason: "gone" }]);
    // It comes back, as it was.
    makeTree(scratch.path, { "dock/c/four.csv": "4444" });
    expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 1 });
  });

  it("sends a modified file again as a new version of its key, and an unchanged one never", async () => {
    await runOnce(context());
    writeFileSync(dock("a/one.csv"), "changed");
    expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 1 });
    expect(sent("a/one.csv")).toBe("changed");
    // Only its time moved, as cards do in spring: nothing is sent.
    utimesSync(dock("a/one.csv"), 1_600_000_000, 1_600_000_000);
    expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 0 });
    const writes = await db.sql(
      `select count(*)::int as n from :"schema".file_uploads f
      join :"schema".sync_sessions s on s.id = f.session_id where s.source = $1 and f.status = 'uploaded'`,
      [dock()],
    );
    expect(writes).toEqual([{ n: 4 }]);
  });

  it("takes a file that was renamed into place, and not its partial", async () => {
    writeFileSync(dock("a/late.csv.partial"), "late");
    await runOnce(context());
    renameSync(dock("a/late.csv.partial"), dock("a/late.csv"));
    expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 1 });
    expect(sent("a/late.csv")).toBe("late");
  });

  it("waits for a recording that is only preallocated, for a report without its end and for JSON that does not parse", async () => {
    const now = new Date();
    makeTree(scratch.path, {
      "dock/zero.wav": new Uint8Array(4096),
      "dock/half.pdf": "%PDF-1.4 and then",
      "dock/half.json": '{"a": [1, 2',
      "dock/whole.pdf": "%PDF-1.4 … %%EOF\n",
    });
    for (const name of ["zero.wav", "half.pdf", "half.json"]) utimesSync(dock(name), now, now);
    expect(await runOnce(context())).toMatchObject({ exitCode: 4, filesThisRun: 4, filesNotReady: 3 });
    expect((await rows()).filter((row) => row.not_ready).map((row) => [row.local_path, row.reason])).toEqual([
      ["half.json", "incomplete"],
      ["half.pdf", "incomplete"],
      ["zero.wav", "incomplete"],
    ]);
    writeFileSync(dock("half.json"), '{"a": [1, 2]}');
    expect(await runOnce(context())).toMatchObject({ exitCode: 4, filesThisRun: 1 });
    // An hour at rest: what was recorded must be safe.
    const hour = (Date.now() - 3_700_000) / 1000;
    utimesSync(dock("zero.wav"), hour, hour);
    utimesSync(dock("half.pdf"), hour, hour);
    const cx = context();
    expect(await runOnce(cx)).toMatchObject({ exitCode: 0, filesThisRun: 2 });
    expect(cx.notices().filter((message) => message.includes("sent as it is"))).toHaveLength(2);
  });

  it.runIf(process.platform === "linux")("waits for a file that a process has open for writing", async () => {
    const { spawn } = await import("node:child_process");
    const holder = spawn("sh", ["-c", `exec 3>>"${dock("a/two.csv")}"; echo open; exec sleep 600`]);
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    try {
      expect(await runOnce(context())).toMatchObject({ exitCode: 4, filesThisRun: 2 });
      expect(await rows()).toContainEqual(
        expect.objectContaining({ local_path: "a/two.csv", status: "pending", reason: "open_for_writing" }),
      );
    } finally {
      holder.kill("SIGKILL");
      await new Promise((resolve) => holder.once("close", resolve));
    }
    // Open for reading is nobody's harm.
    const fd = openSync(dock("a/two.csv"), "r");
    expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 1 });
    closeSync(fd);
  });

  it("is refused while another process looks after the source, and told who it is", async () => {
    const { destinationId } = await db.store.syncPlace(
      (await import("../support/sync.ts")).sourceInput(context()).work,
    );
    const input = (await import("../support/sync.ts")).sourceInput(context());
    await db.store.takeSource(destinationId, input.work, worker(4711));
    await expect(runOnce(context())).rejects.toMatchObject({
      code: "lease_held",
      exitCode: 11,
      message: expect.stringContaining("process 4711 on test-host"),
    });
    await db.sql(`update :"schema".sync_leases set lease_until = now() - interval '1 s'`);
    expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 3 });
    expect(await db.sql(`select 1 from :"schema".sync_leases where source = $1`, [dock()])).toEqual([]);
  });

  it("has neither failed nor seen everything when it was told to stop", async () => {
    const cx = context(whileSettling(() => cx.stop()));
    await runOnce(cx).catch(() => undefined);
    expect((await db.store.sources(null)).filter(({ source }) => source === dock())).toEqual([]);
  });

  it("asks about many files at once without a warning of leaks", async () => {
    const names = Array.from({ length: 40 }, (_, n) => `many/${n}.csv`);
    makeTree(scratch.path, Object.fromEntries(names.map((name) => [`dock/${name}`, name])));
    const warnings: string[] = [];
    const onWarning = ({ name }: Error): void => void warnings.push(name);
    process.on("warning", onWarning);
    const destination: Destination = {
      ...to,
      find: async (keys) =>
        new Map(keys.map((key) => [key, { sizeBytes: 1, etag: null, checksum: null, versionId: null }])),
      head: async (key, signal) => {
        signal.addEventListener("abort", () => undefined);
        return to.head(key, signal);
      },
    };
    await runOnce(context({ destination, concurrency: 40 }));
    await new Promise(setImmediate);
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  it("takes files that failed before again, in the next pass", async () => {
    let broken = true;
    const destination: Destination = {
      ...to,
      put: async (job, hooks) => {
        if (broken && job.key.endsWith("one.csv"))
          throw new (await import("../../src/core/errors.ts")).UploaderError("store_refused", "no");
        return to.put(job, hooks);
      },
    };
    expect(await runOnce(context({ destination }))).toMatchObject({ exitCode: 3, filesFailed: 1, filesThisRun: 2 });
    broken = false;
    expect(await runOnce(context({ destination }))).toMatchObject({ exitCode: 0, filesThisRun: 1 });
  });

  it("looks anew when the clock was set back between the looks", async () => {
    const clock = fastClock(200);
    let shiftMs = 0;
    const cx = context({
      clock: { ...clock, wallClock: () => clock.wallClock() + shiftMs },
      ...whileSettling(() => {
        shiftMs = -3_600_000;
      }),
    });
    expect(await runOnce(cx)).toMatchObject({ exitCode: 4, filesThisRun: 0, filesNotReady: 3 });
  });
});
