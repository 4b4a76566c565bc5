/** A schema of its own, in a real Postgres, for every test file. */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import type { Store, WorkerIdentity } from "../../src/core/store.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { inSchema } from "../../src/store/statements.ts";
import { openStore } from "../../src/store/store.ts";

declare module "vitest" {
  interface ProvidedContext {
    databaseUrl: string;
  }
}

export interface TestDatabase {
  schema: string;
  url: string;
  database: Database;
  store: Store;
  /** Free-hand SQL with :"schema", for arranging and for looking. */
  sql<R = Record<string, unknown>>(text: string, values?: unknown[]): Promise<R[]>;
  drop(): Promise<void>;
}

export const worker = (pid: number): WorkerIdentity => ({
  host: "test-host",
  boot: "boot-1",
  pid,
  processStart: String(pid),
});

export interface TestDatabaseOptions {
  url?: string;
  isAlive?: (worker: WorkerIdentity) => boolean | null;
  migrated?: boolean;
}

export async function testDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const url = options.url ?? inject("databaseUrl");
  const schema = `t_${randomBytes(6).toString("hex")}`;
  const database = openDatabase({
    // Named after the schema, so that a test can cut its own connections and nobody else's.
    address: async () => ({ connectionString: url, application_name: schema }),
    description: "the tests' database",
    maxConnections: 4,
    now: Date.now,
    random: Math.random,
  });
  if (options.migrated !== false) await migrate(database, schema);
  const store = openStore(database, schema, options.isAlive ?? (() => null));
  return {
    schema,
    url,
    database,
    store,
    sql: <R>(text: string, values?: unknown[]) => database.query<R>(inSchema(text, schema), values),
    async drop() {
      await database.query(`drop schema if exists "${schema}" cascade`);
      await database.close();
    },
  };
}

/** A database of its own, for what is about the whole database. */
export async function freshDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const base = inject("databaseUrl");
  const name = `d_${randomBytes(6).toString("hex")}`;
  const admin = async (statement: string): Promise<void> => {
    const client = new pg.Client({ connectionString: base });
    await client.connect();
    await client.query(statement);
    await client.end();
  };
  await admin(`create database ${name}`);
  const url = new URL(base);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => admin(`drop database ${name} with (force)`) };
}
