import { execFile } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import {
  type Daemon,
  findProgram,
  freePort,
  startDaemon,
  temporaryFolder,
  unprivilegedUser,
  waitUntilReady,
} from "./daemons.ts";

const run = promisify(execFile);

export interface DebianPostgresOptions {
  /** `name=value` for the server, for instance `max_connections=20`. */
  settings?: readonly string[];
}

/** A real Postgres from the system's packages, with a fresh cluster on a loopback port. */
export interface DebianPostgres {
  /** `postgres://postgres@127.0.0.1:<port>/postgres`; a superuser without password. */
  readonly url: string;
  readonly port: number;
  /** As `postgres --version` says it. */
  readonly version: string;
  /** SIGKILL to the server, as in a crash; `restart` brings it back on the same port. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** Stops the server and removes its data. */
  close(): Promise<void>;
}

/** Debian keeps each major version's programs in a folder of its own. The newest that is complete; null: none. */
export async function findPostgres(): Promise<{ postgres: string; initdb: string } | null> {
  const root = "/usr/lib/postgresql";
  const majors = await readdir(root).catch(() => []);
  const newestFirst = majors.map(Number).sort((a, b) => b - a);
  const folders = newestFirst.map((major) => join(root, String(major), "bin"));
  const [postgres, initdb] = [await findProgram("postgres", folders), await findProgram("initdb", folders)];
  return postgres && initdb ? { postgres, initdb } : null;
}

/** Can one log in? A port that accepts is not enough: the server may still be recovering. */
export async function answersQueries(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("select 1");
    return true;
  } catch {
    return false;
  } finally {
    await client.end();
  }
}

export async function startDebianPostgres(options: DebianPostgresOptions = {}): Promise<DebianPostgres> {
  const programs = await findPostgres();
  if (!programs) throw new Error("no Postgres found; on Debian: apt-get install postgresql");
  const { postgres, initdb } = programs;
  const user = await unprivilegedUser();
  const folder = await temporaryFolder("uploader-postgres-", user);
  const data = join(folder, "data");
  const init = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
  await run(initdb, init, { ...user, cwd: folder });
  const port = await freePort();
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const listen = ["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories="];
  const args = ["-D", data, ...[...listen, ...(options.settings ?? [])].flatMap((setting) => ["-c", setting])];

  async function start(): Promise<Daemon> {
    const daemon = startDaemon(postgres, args, { ...user, cwd: folder });
    await waitUntilReady(daemon, "postgres", () => answersQueries(url));
    return daemon;
  }

  let daemon = await start();
  return {
    url,
    port,
    version: (await run(postgres, ["--version"])).stdout.trim(),
    kill: () => daemon.stop("SIGKILL"),
    async restart() {
      daemon = await start();
    },
    async close() {
      await daemon.stop("SIGINT");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
