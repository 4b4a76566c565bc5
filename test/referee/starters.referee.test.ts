import pg from "pg";
import { describe, expect, it } from "vitest";
import { findPostgres, startDebianPostgres } from "../support/debian-postgres.ts";
import { findPgBouncer, startPgBouncer } from "../support/pgbouncer.ts";
import { refereeSuite } from "./packages.ts";

const missing = [...((await findPostgres()) ? [] : ["postgresql"]), ...((await findPgBouncer()) ? [] : ["pgbouncer"])];

async function query(url: string, text: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows[0];
  } finally {
    await client.end();
  }
}

refereeSuite("Debian's Postgres behind PgBouncer", missing, () => {
  it("keeps what was committed through a SIGKILL", async () => {
    const postgres = await startDebianPostgres();
    try {
      await query(postgres.url, "create table kept as select 42 as answer");
      await postgres.kill();
      await expect(query(postgres.url, "select 1")).rejects.toMatchObject({ code: "ECONNREFUSED" });
      await postgres.restart();
      expect(await query(postgres.url, "select answer from kept")).toEqual({ answer: 42 });
    } finally {
      await postgres.close();
    }
  });

  describe("in transaction mode", () => {
    it("shares one server connection among clients and refuses startup options", async () => {
      const postgres = await startDebianPostgres();
      const bouncer = await startPgBouncer(postgres.url, { poolSize: 1 });
      try {
        const clients = [1, 2].map(() => new pg.Client({ connectionString: bouncer.url }));
        for (const client of clients) await client.connect();
        const pids = [];
        for (const client of clients) pids.push((await client.query("select pg_backend_pid() as pid")).rows[0].pid);
        expect(pids[0]).toBe(pids[1]);
        for (const client of clients) await client.end();
        const demanding = new pg.Client({ connectionString: bouncer.url, options: "-c search_path=x" });
        demanding.on("error", () => undefined);
        await expect(demanding.connect()).rejects.toThrow(/startup parameter/);
      } finally {
        await bouncer.close();
        await postgres.close();
      }
    });
  });
});
