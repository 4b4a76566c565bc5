import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { UploaderError } from "../core/errors.ts";
import type { Database, Query } from "./database.ts";
import { inSchema, sqlFolder } from "./statements.ts";

interface Migration {
  id: number;
  name: string;
  text: string;
  sha256: string;
}

/** Tables whose presence without our migrations table means that the schema is another program's. */
const ourNames = ["projects", "sync_sessions", "file_uploads", "config_history", "objects", "destinations"];

// Not information_schema: planning its view takes longer than all else that a short command asks.
const tablesPresent = `select relname as table_name from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where nspname = $1 and relname = any ($2::text[]) and relkind in ('r', 'p', 'v', 'm', 'f')`;

function loadMigrations(): Migration[] {
  const folder = new URL("migrations/", sqlFolder);
  return readdirSync(folder)
    .filter((name) => /^\d{4}_.*\.sql$/.test(name))
    .sort()
    .map((name) => {
      const text = readFileSync(new URL(name, folder), "utf8");
      return { id: Number(name.slice(0, 4)), name, text, sha256: createHash("sha256").update(text).digest("hex") };
    });
}

export type SchemaState = "absent" | "older" | "current";

/** Reads only. Errors: database_newer, database_foreign. */
export async function schemaState(database: Database, schema: string): Promise<SchemaState> {
  const { state } = await pendingMigrations(database.query, schema);
  return state;
}

async function pendingMigrations(query: Query, schema: string): Promise<{ state: SchemaState; pending: Migration[] }> {
  const migrations = loadMigrations();
  const present = await query<{ table_name: string }>(tablesPresent, [schema, ["uploader_migrations", ...ourNames]]);
  const names = present.map((row) => row.table_name);
  if (!names.includes("uploader_migrations")) {
    if (names.length > 0) {
      throw new UploaderError(
        "database_foreign",
        `schema "${schema}" holds another program's tables (${names.sort().join(", ")})`,
        { hint: 'choose a schema of its own: "database": { "schema": "uploader" }' },
      );
    }
    return { state: "absent", pending: migrations };
  }
  const applied = await query<{ id: number; sha256: string }>(
    inSchema('select id, sha256 from :"schema".uploader_migrations order by id', schema),
  );
  const newest = applied.at(-1)?.id ?? 0;
  if (newest > (migrations.at(-1)?.id ?? 0)) {
    throw new UploaderError(
      "database_newer",
      `the database (schema "${schema}", migration ${newest}) is newer than this program`,
      { hint: "install the newer uploader, or name another schema or database" },
    );
  }
  for (const row of applied) {
    const migration = migrations.find((each) => each.id === row.id);
    if (migration && migration.sha256 !== row.sha256) {
      throw new UploaderError(
        "database_foreign",
        `migration ${migration.name} was applied to schema "${schema}" with other text`,
        { hint: "this database was made by a development version; use another schema" },
      );
    }
  }
  const done = new Set(applied.map((row) => row.id));
  const pending = migrations.filter((migration) => !done.has(migration.id));
  return { state: pending.length === 0 ? "current" : newest === 0 ? "absent" : "older", pending };
}

/**
 * Brings the schema up to date: one transaction under a transaction-scoped advisory lock (safe behind PgBouncer), so
 * that of many processes starting at once one migrates and the others find it done.
 */
export async function migrate(database: Database, schema: string): Promise<void> {
  if ((await schemaState(database, schema)) === "current") return;
  await database.transaction(async (query) => {
    await query("select pg_advisory_xact_lock(hashtextextended('uploader/' || $1, 0))", [schema]);
    const exists = await query("select from pg_namespace where nspname = $1", [schema]);
    if (exists.length === 0) await query(inSchema('create schema :"schema"', schema));
    const { pending } = await pendingMigrations(query, schema);
    if (pending.length === 0) return;
    await query(
      inSchema(
        `create table if not exists :"schema".uploader_migrations
           (id integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`,
        schema,
      ),
    );
    for (const migration of pending) {
      await query(inSchema(migration.text, schema));
      await query(
        inSchema('insert into :"schema".uploader_migrations (id, name, sha256) values ($1, $2, $3)', schema),
        [migration.id, migration.name, migration.sha256],
      );
    }
  });
}
