/** Twenty-four hours on a fast clock: whatever happens to files, store, database and process, the store ends as the disk. */
import { appendFileSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as rest } from "node:timers/promises";
import { expect, it } from "vitest";
import { UploaderError } from "../../src/core/errors.ts";
import type { Destination, PutJob } from "../../src/core/ports.ts";
import { openDatabase } from "../../src/store/database.ts";
import { openStore } from "../../src/store/store.ts";
import { testDatabase } from "../support/database.ts";
import { forwardTo } from "../support/forwarder.ts";
import { openOn } from "../support/s3.ts";
import { startS3Server } from "../support/s3-server/server.ts";
import { fastClock, startWatch, syncContext } from "../support/sync.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

const speed = 3_000;
const dayMs = 24 * 60 * 60_000;

/** Numbers that look random and are the same every time (a linear congruential generator, Numerical Recipes). */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

it("a day of everything", { timeout: 180_000 }, async () => {
  const db = await testDatabase();
  const door = await forwardTo(db.url);
  const database = openDatabase({
    address: async () => ({ connectionString: door.url }),
    description: "the tests' database",
    maxConnections: 4,
    now: Date.now,
    random: () => 0,
  });
  database.setPatience(Number.POSITIVE_INFINITY);
  const store = openStore(database, db.schema, () => null);
  const hasty = openStore(database.withPatience(0), db.schema, () => null);
  const scratch = temporaryFolder();
  const dock = (path = ""): string => join(scratch.path, "dock", path);
  makeTree(scratch.path, { "dock/first.csv": "1" });
  const s3 = await startS3Server({ buckets: ["reef"] });
  const real = await openOn(s3, "reef");
  let storeAway = false;
  const stored: string[] = [];
  const away = (): void => {
    if (storeAway) throw new UploaderError("store_unreachable", "nobody answers");
  };
  const to: Destination = {
    ...real,
    async find(keys, signal) {
      away();
      return real.find(keys, signal);
    },
    async put(job: PutJob, hooks) {
      away();
      const result = await real.put(job, hooks);
      if (result.outcome === "stored" && job.body.kind === "file") {
        stored.push(`${job.key} ${job.body.sizeBytes} ${job.body.mtimeNs}`);
      }
      return result;
    },
  };
  const clock = fastClock(speed);
  const beginMs = clock.now();
  const open = () =>
    syncContext({
      db: { ...db, store, database },
      destination: to,
      root: dock(),
      clock,
      looking: hasty,
      hasty,
      journalIn: join(scratch.path, "state"),
      policy: { settleSeconds: 60 },
    });
  let cx = open();
  let watching = startWatch(cx, { intervalMs: 120_000 });
  const problems: unknown[] = [];
  const listen = (): void => void watching.ended.catch((error: unknown) => problems.push(error));
  listen();

  const roll = dice(7);
  let count = 0;
  const write = (path: string, text: string, how = writeFileSync as typeof appendFileSync): void => {
    how(path, text);
    const seconds = clock.wallClock() / 1000;
    utimesSync(path, seconds, seconds);
  };
  const present = (): string[] =>
    readdirSync(dock(), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith(".partial"))
      .map((entry) => join(entry.parentPath, entry.name));
  const fresh = (): string => {
    const folder = `room-${roll(4)}/bed-${roll(3)}`;
    makeTree(scratch.path, { [`dock/${folder}/.keep`]: "" });
    return dock(`${folder}/${count++}.csv`);
  };
  const acts: (() => Promise<void> | void)[] = [
    () => write(fresh(), `new ${count}`),
    async () => {
      const path = fresh();
      for (let n = 0; n < 4; n++) {
        write(path, `part ${n} of ${count} `, appendFileSync);
        await clock.sleep(90_000, new AbortController().signal);
      }
    },
    () => {
      const path = fresh();
      write(`${path}.partial`, `moved ${count}`);
      renameSync(`${path}.partial`, path);
    },
    async () => {
      const path = fresh().replace(".csv", ".wav");
      write(path, "\0".repeat(400));
      await clock.sleep(600_000, new AbortController().signal);
      const head = Buffer.from("RIFF\0\0\0\0WAVE");
      head.writeUInt32LE(392, 4);
      write(path, `${head.toString("latin1")}${"x".repeat(388)}`);
    },
    async () => {
      const path = fresh();
      write(path, `gone ${count}`);
      await clock.sleep(roll(300_000), new AbortController().signal);
      rmSync(path, { force: true });
    },
    () => {
      const path = present().filter((each) => !each.endsWith(".wav"))[roll(count + 1)];
      if (path) write(path, `changed ${count++}`);
    },
    async () => {
      storeAway = true;
      await clock.sleep(1_800_000 + roll(3_600_000), new AbortController().signal);
      storeAway = false;
    },
    async () => {
      await door.shut();
      await clock.sleep(900_000 + roll(1_800_000), new AbortController().signal);
      await door.open();
    },
    async () => {
      await watching.stop();
      cx = open();
      watching = startWatch(cx, { intervalMs: 120_000 });
      listen();
    },
  ];
  // The last three one at a time, and seldom.
  let disaster = Promise.resolve();
  const lesser: Promise<void>[] = [];
  while (clock.now() - beginMs < dayMs) {
    const act = acts[roll(acts.length)]!;
    if (acts.indexOf(act) < 6) lesser.push(Promise.resolve(act()));
    else if (roll(4) === 0) disaster = disaster.then(act);
    await clock.sleep(60_000 + roll(600_000), new AbortController().signal);
  }
  await Promise.all([...lesser, disaster]);

  /** Keys of files on the disk that the store does not hold as they are. */
  const different = (): string[] =>
    present()
      .filter((path) => !path.endsWith(".keep"))
      .filter((path) => {
        const bytes = s3.object("reef", `C1/${path.slice(dock().length + 1)}`)?.bytes();
        return bytes === undefined || !readFileSync(path).equals(bytes);
      });
  try {
    await expect.poll(different, { timeout: 60_000, interval: 100 }).toEqual([]);
    expect(problems).toEqual([]);
    expect(count).toBeGreaterThan(100);
    expect(stored.filter((each, at) => stored.indexOf(each) !== at)).toEqual([]);
    const failed = () => db.sql(`select s3_key, error_code from :"schema".file_uploads where status = 'failed'`);
    expect(await failed()).toEqual([]);
  } finally {
    await watching.stop().catch((error: unknown) => problems.push(error));
    await rest(0);
    await real.close();
    await s3.close();
    await database.close();
    await door.shut();
    scratch.remove();
    await db.drop();
  }
  expect(problems).toEqual([]);
});
