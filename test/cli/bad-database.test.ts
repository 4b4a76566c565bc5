/** Databases that refuse, are away, or are not ours: exit 13, one sentence, no password, nothing in the store. */
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { statementNamer } from "../faults/scene.ts";
import { freePort } from "../support/daemons.ts";
import { freshDatabase } from "../support/database.ts";
import { type PostgresProxy, startPostgresProxy } from "../support/postgres-proxy.ts";
import { openWorkplace, type Workplace } from "./workplace.ts";

let place: Workplace;
let card: string;
let postgres: PostgresProxy;
beforeAll(async () => {
  place = await openWorkplace();
  card = place.tree("card", Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`${n}.wav`, 100])));
  postgres = await startPostgresProxy({ url: place.db.url, nameOf: statementNamer(place.db.schema) });
});
afterAll(async () => {
  await postgres.close();
  await place.close();
});
beforeEach(async () => {
  place.s3.faults.clear();
  await postgres.clear();
});

const under = (prefix: string): string[] => place.s3.keys("reef").filter((key) => key.startsWith(`${prefix}/`));

async function refused(name: string, url: string, message: RegExp, env: Record<string, string> = {}): Promise<void> {
  const options = { env: { UPLOADER_DATABASE_URL: url, ...env } };
  for (const args of [["upload", card, `s3://reef/${name}`], ["status"]]) {
    const { exitCode, stdout, stderr } = await place.run(args, options);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain("hush");
    expect([exitCode, stdout]).toEqual([13, ""]);
  }
  expect(under(name)).toEqual([]);
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(text);
  await client.end();
  return rows as Record<string, unknown>[];
}

describe("a database that is not to be had", () => {
  it("UPLOADER_DATABASE_URL=postgres://u:hush@127.0.0.1:(nobody)/d uploader …", async () =>
    refused(
      "closed",
      `postgres://u:hush@127.0.0.1:${await freePort()}/d`,
      /^error: no answer from the database \(postgres:\/\/u:\*\*\*@.*ECONNREFUSED.*\n {2}is it running/,
    ));

  it("… with a wrong password", async () => {
    await postgres.setDoor({ sqlstate: "28P01" });
    await refused("password", postgres.url, /^error: the database refuses .*\n {2}check the user and password/);
  });

  it("… of a name that does not exist", async () => {
    const url = new URL(place.db.url);
    url.pathname = "/absent";
    await refused(
      "absent",
      url.href,
      /^error: the database refuses .*"absent" does not exist\n {2}create it first: createdb/,
    );
  });

  it("… whose tables of our names are another program's", async () => {
    const other = await freshDatabase();
    await query(
      other.url,
      "create table sync_sessions (id int, anything text); insert into sync_sessions values (1, 'theirs')",
    );
    await refused("foreign", other.url, /^error: .*sync_sessions.*\n {2}.*schema/, {
      UPLOADER_DATABASE_SCHEMA: "public",
    });
    expect(await query(other.url, "select * from sync_sessions")).toEqual([{ id: 1, anything: "theirs" }]);
    expect(await query(other.url, "select count(*)::int as n from pg_tables where schemaname = 'public'")).toEqual([
      { n: 1 },
    ]);
    const beside = { UPLOADER_DATABASE_URL: other.url, UPLOADER_DATABASE_SCHEMA: "ours" };
    expect(await place.run(["upload", card, "beside"], { env: beside })).toMatchObject({ exitCode: 0 });
    await other.drop();
  });

  it("… that a newer program has migrated", async () => {
    const other = await freshDatabase();
    const env = { UPLOADER_DATABASE_SCHEMA: "public" };
    const options = { env: { UPLOADER_DATABASE_URL: other.url, ...env } };
    expect(await place.run(["sessions"], options)).toMatchObject({ exitCode: 0 });
    await query(
      other.url,
      `insert into uploader_migrations (id, name, sha256) values (9999, '9999_later', repeat('0', 64))`,
    );
    await refused("newer", other.url, /^error: .*newer.*\n {2}\S/, env);
    await other.drop();
  });
});

describe("a database that will be there in a moment", () => {
  it.each(["57P03", "53300"])(
    "uploader upload … (%s): one line, and it goes on when it is let in",
    async (sqlstate) => {
      await postgres.setDoor({ sqlstate });
      const running = place.start(["upload", card, `s3://reef/soon-${sqlstate}`], {
        env: { UPLOADER_DATABASE_URL: postgres.url },
      });
      await running.says(/^no answer from the database .*; waiting for it\n/m);
      await postgres.setDoor("open");
      const ended = await running.ended;
      expect(ended).toMatchObject({ exitCode: 0 });
      expect(ended.stderr.match(/no answer/g)).toHaveLength(1);
    },
  );
});

describe("a database that goes away in the middle", () => {
  const upload = (project: string, ...more: string[]) =>
    place.start(["upload", card, `s3://reef/${project}`, "--project", project, "-j", "2", ...more], {
      env: { UPLOADER_DATABASE_URL: postgres.url },
    });
  /** All files after the second hang in the store until the faults are cleared. */
  const hang = async (project: string): Promise<void> => {
    place.s3.faults.push(
      {
        match: { operation: "PutObject", key: new RegExp(`^${project}/`) },
        action: { kind: "delay", delayMs: 0 },
        times: 2,
      },
      { match: { operation: "PutObject", key: new RegExp(`^${project}/`) }, action: { kind: "stall" }, times: 100 },
    );
  };

  it("uploader upload …: it waits, and goes on when it is back", async () => {
    await hang("back");
    const running = upload("back");
    await place.s3.waitFor((request) => request.state === "stalled");
    await postgres.setDoor("closed");
    postgres.cutAll();
    place.s3.faults.clear();
    await running.says(/no answer from the database .*; (?:waiting for it|what is on its way goes on)/);
    await postgres.setDoor("open");
    const ended = await running.ended;
    expect(ended.exitCode).toBe(0);
    expect(ended.stderr).toMatch(/the database is back/);
    expect(await place.session("back")).toMatchObject({ status: "completed", files_uploaded: 20, files_failed: 0 });
    expect(under("back")).toHaveLength(20);
    for (const key of under("back")) expect(place.s3.object("reef", key)!.writes).toBe(1);
  });

  it("uploader upload … --max-outage-minutes 0.02: exit 13; the next run tells what it could not", async () => {
    await hang("gone");
    const running = upload("gone", "--max-outage-minutes", "0.02");
    await place.s3.waitFor((request) => request.state === "stalled" && request.key.startsWith("gone/"));
    await postgres.setDoor("closed");
    postgres.cutAll();
    place.s3.faults.clear();
    const ended = await running.ended;
    expect(ended.exitCode).toBe(13);
    expect(ended.stderr).toMatch(/error: no answer from the database .*\n {2}\S/);
    expect(ended.stdout).toMatch(/the same command goes on from here/);
    const sent = under("gone").length;
    expect(sent).toBeGreaterThan(0);
    await postgres.setDoor("open");
    const again = await upload("gone").ended;
    expect(again.exitCode).toBe(0);
    expect(await place.session("gone")).toMatchObject({ status: "completed", files_uploaded: 20, files_failed: 0 });
    expect(under("gone")).toHaveLength(20);
    for (const key of under("gone")) expect(place.s3.object("reef", key)!.writes).toBe(1);
  });
});
