/** How connections to Postgres are lost, and that a statement outlives each loss. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Database } from "../../src/store/database.ts";
import type { Door, PostgresFault } from "../support/postgres-proxy.ts";
import { databaseOf, openScene, type Scene } from "./scene.ts";

let scene: Scene;
let database: Database;
let outages: boolean[];
/** Short where a test waits for them, and longer than a busy machine needs. */
const deadlines = { connectMs: 1_000, queryMs: 1_000 };

beforeAll(async () => {
  scene = await openScene({ tree: {}, migrated: false });
  await scene.sql(`create schema :"schema"`);
  await scene.sql(`create table :"schema".marks (n integer)`);
});
afterAll(() => scene.close());
beforeEach(() => {
  outages = [];
  database = databaseOf(scene, { deadlines, onOutage: (lost) => outages.push(lost) }).database;
});
afterEach(async () => {
  await database.close();
  await scene.postgres.clear();
  await scene.sql(`truncate :"schema".marks`);
});

const one = () => database.query<{ n: number }>("select 1 as n");
const mark = (n: number) => `insert into "${scene.schema}".marks values (${n})`;
const marks = async () => (await scene.sql<{ n: number }>(`select n from :"schema".marks`)).map((row) => row.n);

const passing: PostgresFault[] = [
  { kind: "cut" },
  { kind: "loseAnswer" },
  { kind: "silence" },
  { kind: "delay", delayMs: 20 },
  ...["57P01", "57P02", "57P03", "53300", "40001", "40P01", "25006", "08006"].map(
    (sqlstate): PostgresFault => ({ kind: "error", sqlstate }),
  ),
];

describe.each(passing)("a statement meets %o", (fault) => {
  it("and is answered in the end", async () => {
    const before = scene.postgres.played;
    scene.postgres.script({ match: /select 1/, fault });
    expect(await one()).toEqual([{ n: 1 }]);
    expect(scene.postgres.played).toBe(before + 1);
  });

  it.each(["begin", /insert/, "commit"])("in a transaction, at %s: all of it happens", async (match) => {
    scene.postgres.script({ match, fault });
    await database.transaction(async (query) => {
      await query(mark(1));
      await query(mark(2));
    });
    const twice = fault.kind === "loseAnswer" && match === "commit";
    expect((await marks()).sort()).toEqual(twice ? [1, 1, 2, 2] : [1, 2]);
  });
});

const doors: Door[] = [
  "closed",
  "silent",
  "hangs up",
  { sqlstate: "57P03" },
  { sqlstate: "53300" },
  { sqlstate: "57P01" },
];

describe.each(doors)("new connections meet a door that is %o", (door) => {
  it("statements wait until it opens", async () => {
    await one();
    await scene.postgres.setDoor(door);
    scene.postgres.cutAll();
    const answers = Promise.all(Array.from({ length: 12 }, one));
    while (outages.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await scene.postgres.setDoor("open");
    expect(await answers).toHaveLength(12);
    expect(outages).toEqual([true, false]);
  });

  it("without patience they fail, as unreachable", async () => {
    await one();
    await scene.postgres.setDoor(door);
    scene.postgres.cutAll();
    const hasty = database.withPatience(0);
    // The first may still find a connection that was cut, the second needs a new one.
    for (let n = 0; n < 2; n++) {
      await expect(hasty.query("select 1")).rejects.toMatchObject({ code: "database_unreachable" });
    }
  });
});

it("many statements at once survive a cut, none waits for a time-out", async () => {
  await database.close();
  database = databaseOf(scene, { deadlines: { connectMs: 60_000, queryMs: 60_000 } }).database;
  scene.postgres.script({
    match: (asked) => /pg_sleep/.test(asked.sql),
    fault: { kind: "cut" },
    times: 4,
  });
  const answers = Array.from({ length: 40 }, (_, n) => database.query("select pg_sleep(0), $1::int as n", [n]));
  expect(await Promise.all(answers)).toHaveLength(40);
});

describe("before anybody said how long to wait", () => {
  const atFirst = async (door: Door) => {
    let nowMs = 0;
    const seen: boolean[] = [];
    const { database: fresh } = databaseOf(scene, {
      deadlines,
      now: () => (nowMs += 1_000),
      patient: false,
      onOutage: (lost) => seen.push(lost),
    });
    await scene.postgres.setDoor(door);
    await expect(fresh.query("select 1")).rejects.toMatchObject({ code: "database_unreachable" });
    await fresh.close();
    return seen;
  };

  it.each(["57P03", "57P01", "53300"])(
    "a server that says it will be there soon is given a moment (%s)",
    async (sqlstate) => {
      expect(await atFirst({ sqlstate })).toEqual([true]);
    },
  );

  it("one that is not there is not", async () => {
    expect(await atFirst("closed")).toEqual([]);
  });
});

it("a wrong password is a refusal, not an outage", async () => {
  await scene.postgres.setDoor({ sqlstate: "28P01" });
  await expect(one()).rejects.toMatchObject({ code: "database_refused" });
  expect(outages).toEqual([]);
});
