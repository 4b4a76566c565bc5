import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findProgram, freePort, startDaemon, temporaryFolder, unprivilegedUser, waitUntilReady } from "./daemons.ts";
import { answersQueries } from "./debian-postgres.ts";

export interface PgBouncerOptions {
  /** Server connections per database and user. Fewer than the clients, so that they are really shared. Default 4. */
  poolSize?: number;
}

/** PgBouncer in transaction mode in front of a Postgres: no session outlives its transaction. */
export interface PgBouncer {
  /** The given address, with PgBouncer's port. */
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

export function findPgBouncer(): Promise<string | null> {
  return findProgram("pgbouncer");
}

/** `target`: address of a Postgres that lets its user in without a password, over TCP. */
export async function startPgBouncer(target: string, options: PgBouncerOptions = {}): Promise<PgBouncer> {
  const program = await findPgBouncer();
  if (!program) throw new Error("no PgBouncer found; on Debian: apt-get install pgbouncer");
  const server = new URL(target);
  const user = await unprivilegedUser();
  const folder = await temporaryFolder("uploader-pgbouncer-", user);
  const port = await freePort();
  const settings = {
    listen_addr: "127.0.0.1",
    listen_port: port,
    unix_socket_dir: "",
    auth_type: "any",
    pool_mode: "transaction",
    default_pool_size: options.poolSize ?? 4,
    max_client_conn: 200,
    // Nothing is ignored: a client that sends startup options or session settings must be refused here.
    ignore_startup_parameters: "",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  const servers = `* = host=${server.hostname} port=${server.port || 5432} user=${server.username}`;
  const file = join(folder, "pgbouncer.ini");
  await writeFile(file, ["[databases]", servers, "[pgbouncer]", ...lines, ""].join("\n"), { mode: 0o644 });

  const url = new URL(target);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  const daemon = startDaemon(program, [file], { ...user, cwd: folder });
  await waitUntilReady(daemon, "pgbouncer", () => answersQueries(url.href));
  return {
    url: url.href,
    port,
    async close() {
      await daemon.stop("SIGTERM");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
