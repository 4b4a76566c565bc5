/** One place for faults: a strict store and a real Postgres, each behind a wire that can be cut, and a tree of files. */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { inject } from "vitest";
import type { Destination } from "../../src/core/ports.ts";
import { openDatabase } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { inSchema, loadStatements } from "../../src/store/statements.ts";
import { openStore } from "../../src/store/store.ts";
import type { TestDatabase, TestDatabaseOptions } from "../support/database.ts";
import { type Child, startUploader } from "../support/kill-driver.ts";
import { type Asked, type PostgresProxy, startPostgresProxy } from "../support/postgres-proxy.ts";
import { openOn } from "../support/s3.ts";
import { type S3ServerOptions, startS3Server } from "../support/s3-server/server.ts";
import { type StoreProxy, startStoreProxy } from "../support/store-proxy.ts";
import { makeTree, type TreeContents, temporaryFolder } from "../support/tree.ts";
import type { Place, Sql } from "./soundness.ts";

export const bucket = "reef";
export const prefix = "C1";
export const MiB = 1024 * 1024;

export interface Scene extends Place {
  schema: string;
  postgres: PostgresProxy;
  store: StoreProxy;
  /** Past the wire: sees the truth while the wire is cut. */
  sql: Sql;
  /** The program's own store, past the wire. Closed with the scene. */
  direct(): TestDatabase;
  root: string;
  paths: string[];
  /** The program's state directory: journals. */
  state: string;
  /** An empty bucket, an empty database, the tree as it was, nothing scripted. */
  reset(): Promise<void>;
  /** The program in a process of its own, behind both wires: `upload` of the tree, with more flags. */
  start(flags?: string[], command?: string[], under?: string[]): Child;
  close(): Promise<void>;
}

export interface SceneOptions {
  tree: TreeContents;
  /** Where Postgres is; default the tests' own. */
  url?: string;
  migrated?: boolean;
  s3?: S3ServerOptions;
}

/** What a statement is called: its name in sql/queries (of a part, with its number), `begin` …, or `?` and its first words. */
export function statementNamer(schema: string): (sql: string, values: Asked["values"]) => string {
  const names = new Map([...loadStatements(schema).values()].map(({ name, text }) => [text, name]));
  return (sql, values) => {
    const name = names.get(sql);
    if (name === "uploads_part") return `${name} ${values[1]}`;
    return (
      name ??
      (/^(begin|commit|rollback)$/.test(sql)
        ? sql
        : `? ${firstWords(sql.replaceAll(new RegExp(`"${schema}"\\.?`, "g"), ""))}`)
    );
  };
}

const firstWords = (sql: string): string => sql.replace(/--.*$/gm, "").replace(/\s+/g, " ").trim().slice(0, 40);

/** Commits are not flushed to disk: here the server never dies, only its clients do. */
function hurried(url: string): string {
  const hurry = new URL(url);
  hurry.searchParams.set("options", "-c synchronous_commit=off");
  return hurry.href;
}

export async function openScene(options: SceneOptions): Promise<Scene> {
  const url = options.url ?? hurried(inject("databaseUrl"));
  const schema = `t_${randomBytes(6).toString("hex")}`;
  const direct = openDatabase({
    address: async () => ({ connectionString: url, application_name: "the test" }),
    description: "the tests' database",
    maxConnections: 2,
    now: Date.now,
    random: Math.random,
  });
  direct.setPatience(30_000);
  if (options.migrated !== false) await migrate(direct, schema);
  const s3 = await startS3Server({ buckets: [bucket], ...options.s3 });
  const store = await startStoreProxy(s3.endpoint, bucket);
  const postgres = await startPostgresProxy({ url, nameOf: statementNamer(schema) });
  const folder = temporaryFolder();
  const state = temporaryFolder();
  makeTree(folder.path, options.tree);
  const sql: Sql = (text, values) => direct.query(inSchema(text, schema), values);
  const drop = async (): Promise<void> => undefined;
  return {
    direct: () => ({ schema, url, database: direct, store: openStore(direct, schema, () => null), sql, drop }),
    schema,
    s3,
    bucket,
    prefix,
    store,
    postgres,
    sql,
    root: folder.path,
    state: state.path,
    paths: Object.keys(options.tree).sort(),
    async reset() {
      await postgres.clear();
      store.onRequest = async () => true;
      s3.faults.clear();
      s3.empty(bucket);
      s3.forget();
      rmSync(folder.path, { recursive: true });
      makeTree(folder.path, options.tree);
      const [tables] = await sql(`select to_regclass(':"schema".sync_sessions') is not null as there`);
      if (!tables?.there) return;
      // Deleting few rows is ten times faster than truncating tables. Projects and destinations stay, by their own rule.
      for (const table of ["upload_attempts", "sync_sessions", "objects"]) await sql(`delete from :"schema".${table}`);
    },
    start(flags = [], command = ["upload", folder.path, `s3://${bucket}/${prefix}`], under = []) {
      const { accessKeyId, secretAccessKey } = s3.credential;
      const where = ["--endpoint-url", store.endpoint, "--database-url", postgres.url, "--database-schema", schema];
      const env = {
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        UPLOADER_STATE_DIR: state.path,
      };
      return startUploader([...command, ...where, "--region", s3.region, ...flags], env, under);
    },
    async close() {
      await postgres.close();
      await store.close();
      await s3.close();
      await direct.query(`drop schema if exists "${schema}" cascade`);
      await direct.close();
      folder.remove();
      state.remove();
    },
  };
}

export interface ClientOptions extends Pick<TestDatabaseOptions, "isAlive"> {
  deadlines?: { connectMs: number; queryMs: number };
  onOutage?(lost: boolean): void;
  now?(): number;
  /** false: nobody says how long to wait for a lost database. */
  patient?: boolean;
}

/** The program's own store, in this process, that sees Postgres through the wire. */
export function databaseOf(scene: Scene, options: ClientOptions = {}): TestDatabase {
  const { schema, postgres } = scene;
  const database = openDatabase({
    address: async () => ({ connectionString: postgres.url }),
    description: "the database behind the wire",
    maxConnections: 4,
    now: options.now ?? Date.now,
    random: () => 0,
    ...(options.deadlines ? { deadlines: options.deadlines } : {}),
    ...(options.onOutage ? { onOutage: options.onOutage } : {}),
  });
  if (options.patient !== false) database.setPatience(60_000);
  return {
    schema,
    url: postgres.url,
    database,
    store: openStore(database, schema, options.isAlive ?? (() => null)),
    sql: scene.sql,
    drop: () => database.close(),
  };
}

export const destinationOf = (scene: Scene): Promise<Destination> => openOn(scene.s3, bucket);
