/** --bwlimit: one budget for all connections of a process, changed while it runs. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openBandwidth } from "../../src/adapters/bandwidth.ts";
import { openFolderDestination } from "../../src/adapters/folder.ts";
import { openFace } from "../../src/cli/face.ts";
import { addGlobalFlags } from "../../src/cli/flags.ts";
import type { Bandwidth, Destination, PutHooks, PutJob } from "../../src/core/ports.ts";
import { runUpload, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { plainUploadMemory } from "../support/destination-promises.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, noise, temporaryFolder } from "../support/tree.ts";

const KiB = 1024;
const now = (): number => performance.now();
const { signal } = new AbortController();

let bandwidth: Bandwidth;
let to: Destination;
afterEach(async () => {
  await to?.close();
  bandwidth.close();
});

const hooks: PutHooks = { signal, uploads: plainUploadMemory(), onBytes: () => undefined };
const put = (key: string, sizeBytes: number) => {
  const body: PutJob["body"] = { kind: "bytes", bytes: noise(sizeBytes, key) };
  return to.put({ fileId: 0, key, body, condition: { if: "absent" }, metadata: {}, contentType: null }, hooks);
};

describe("the queue", () => {
  it("sends in order, never faster than its rate, and at once without one", async () => {
    bandwidth = openBandwidth({ configured: 100 * KiB, now });
    const startedMs = now();
    const order: number[] = [];
    await Promise.all([0, 1, 2, 3, 4].map((n) => bandwidth.pass(5 * KiB, signal).then(() => order.push(n))));
    // Four had to wait for the five kilobytes before them.
    expect(now() - startedMs).toBeGreaterThanOrEqual(199);
    expect(order).toEqual([0, 1, 2, 3, 4]);
    bandwidth.configure(null);
    expect(bandwidth.limit).toBeNull();
    await bandwidth.pass(1e12, signal);
    await bandwidth.pass(1e12, signal);
  });

  it("lets everybody go when the limit is lifted, and tells of each change once", async () => {
    const told: (number | null)[] = [];
    bandwidth = openBandwidth({ configured: 1 * KiB, now, onChange: (limit) => told.push(limit) });
    await bandwidth.pass(1000 * KiB, signal);
    const waiting = [bandwidth.pass(1, signal), bandwidth.pass(1, signal)];
    bandwidth.override(512 * KiB * KiB);
    await Promise.all(waiting);
    bandwidth.override(512 * KiB * KiB);
    bandwidth.configure(2 * KiB);
    expect(bandwidth.limit).toBe(512 * KiB * KiB);
    bandwidth.override(null);
    expect(told).toEqual([512 * KiB * KiB, 2 * KiB]);
  });

  it("passes over who gave up, without spending for them", async () => {
    bandwidth = openBandwidth({ configured: 10 * KiB, now });
    await bandwidth.pass(1 * KiB, signal);
    const gone = new AbortController();
    const dropped = bandwidth.pass(1000 * KiB, gone.signal);
    const next = bandwidth.pass(1, signal);
    gone.abort(new Error("dropped"));
    await expect(dropped).rejects.toThrow("dropped");
    await next;
  });
});

describe("to S3", () => {
  let s3: S3Server;
  beforeEach(async () => {
    s3 = await startS3Server({ buckets: ["reef"] });
  });
  afterEach(() => s3.close());

  it("all connections together keep to the limit, and every byte arrives", async () => {
    bandwidth = openBandwidth({ configured: 512 * KiB, now });
    to = await openOn(s3, "reef", { bandwidth });
    const startedMs = now();
    await Promise.all(Array.from({ length: 8 }, (_, n) => put(`${n}.wav`, 40 * KiB)));
    expect(now() - startedMs).toBeGreaterThanOrEqual((1000 * (8 * 40 - 26 - 8)) / 512);
    for (let n = 0; n < 8; n++) {
      expect(
        s3
          .object("reef", `${n}.wav`)!
          .bytes()
          .equals(noise(40 * KiB, `${n}.wav`)),
      ).toBe(true);
    }
  });

  it("waiting for one's turn is no stall: no deadline runs", async () => {
    bandwidth = openBandwidth({ configured: 1 * KiB, now });
    const deadlines = { connectMs: 5_000, idleMs: 500, totalMs: () => 600 };
    to = await openOn(s3, "reef", { bandwidth, deadlines });
    // Long enough for a deadline that ran meanwhile to strike.
    s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "delay", delayMs: 150 } });
    await bandwidth.pass(1 * KiB, signal);
    const startedMs = now();
    expect(await put("late.wav", 100)).toMatchObject({ outcome: "stored" });
    expect(now() - startedMs).toBeGreaterThan(700);
    expect(s3.counts.PutObject).toBe(1);
  });

  it("without a limit nothing asks the budget", async () => {
    bandwidth = openBandwidth({ configured: null, now });
    const queue = bandwidth.queue;
    let asked = 0;
    bandwidth.queue = (size, send) => {
      asked++;
      queue(size, send);
    };
    to = await openOn(s3, "reef", { bandwidth });
    await put("1.wav", 200 * KiB);
    expect(asked).toBe(0);
    bandwidth.configure(100 * KiB * KiB);
    await put("2.wav", 200 * KiB);
    expect(asked).toBeGreaterThan(0);
  });

  describe("in a session", () => {
    let db: TestDatabase;
    let card: ReturnType<typeof temporaryFolder>;
    beforeEach(async () => {
      db = await testDatabase();
      card = temporaryFolder();
      makeTree(card.path, { "1.wav": 900 * KiB, "2.wav": 900 * KiB });
    });
    afterEach(async () => {
      card.remove();
      await db.drop();
    });

    it("follows the session's row while it runs", async () => {
      const told: (number | null)[] = [];
      bandwidth = openBandwidth({ configured: 4 * KiB, now, onChange: (limit) => told.push(limit) });
      to = await openOn(s3, "reef", { bandwidth });
      const cx = { ...testContext({ db, destination: to, root: card.path }), bandwidth };
      const startedMs = now();
      const emit = cx.emit;
      let seen = false;
      cx.emit = (event) => {
        emit(event);
        if (seen || event.type !== "progress" || event.filesUploaded > 0) return;
        seen = true;
        void db.sql(`update :"schema".sync_sessions set bandwidth_limit = 1000000000`);
      };
      expect(await runUpload(cx)).toMatchObject({ exitCode: 0, filesUploaded: 2 });
      // At the configured limit it would have taken seven minutes.
      expect(now() - startedMs).toBeLessThan(25_000);
      expect(told).toEqual([1_000_000_000]);
    });
  });
});

describe("to a folder", () => {
  it("keeps to the limit", async () => {
    const archive = temporaryFolder();
    bandwidth = openBandwidth({ configured: 1024 * KiB, now });
    to = await openFolderDestination({ root: archive.path, createRoot: false, bandwidth });
    const startedMs = now();
    await Promise.all([put("1.wav", 200 * KiB), put("2.wav", 200 * KiB)]);
    expect(now() - startedMs).toBeGreaterThanOrEqual((1000 * (400 - 52 - 16)) / 1024);
    archive.remove();
  });
});

describe("the configuration", () => {
  it("is read again on SIGHUP, and stays as it was when it cannot be understood", async () => {
    bandwidth = openBandwidth({ configured: null, now });
    const folder = temporaryFolder();
    const path = join(folder.path, "reef.json");
    const before = process.listenerCount("SIGHUP");
    writeFileSync(path, '{ "bwlimit": "1M" }');
    const command = addGlobalFlags(new Command()).parse(["--config", path, "--quiet"], { from: "user" });
    const face = await openFace(command);
    expect(face.loaded.config.bwlimit).toBe(KiB * KiB);
    face.onReload(({ config }) => bandwidth.configure(config.bwlimit));
    const limits = ["200M", "fast", "10MiB", null].map((bwlimit) => {
      writeFileSync(path, JSON.stringify({ bwlimit }));
      process.emit("SIGHUP");
      return bandwidth.limit;
    });
    expect(limits).toEqual([200 * KiB * KiB, 200 * KiB * KiB, 10 * KiB * KiB, null]);
    face.close();
    expect(process.listenerCount("SIGHUP")).toBe(before);
    folder.remove();
  });
});
