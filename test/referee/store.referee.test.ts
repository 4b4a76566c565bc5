/** The state machine on Debian's Postgres, and behind PgBouncer in transaction mode. */
import { afterAll, beforeAll, describe } from "vitest";
import { describeMoves } from "../suites/moves.ts";
import { describeStore } from "../suites/store.ts";
import { type DebianPostgres, findPostgres, startDebianPostgres } from "../support/debian-postgres.ts";
import { findPgBouncer, type PgBouncer, startPgBouncer } from "../support/pgbouncer.ts";
import { refereeSuite } from "./packages.ts";

const missing = [...((await findPostgres()) ? [] : ["postgresql"]), ...((await findPgBouncer()) ? [] : ["pgbouncer"])];

refereeSuite("the state machine", missing, () => {
  let postgres: DebianPostgres;
  let bouncer: PgBouncer;
  beforeAll(async () => {
    postgres = await startDebianPostgres({ settings: ["max_connections=200"] });
    bouncer = await startPgBouncer(postgres.url, { poolSize: 5 });
  });
  afterAll(async () => {
    await bouncer.close();
    await postgres.close();
  });

  describe("Debian's Postgres", () => {
    describeMoves("moves", () => postgres.url);
    describeStore("store", () => postgres.url);
  });
  describe("PgBouncer in transaction mode", () => {
    describeMoves("moves", () => bouncer.url);
    describeStore("store", () => bouncer.url);
  });
});
