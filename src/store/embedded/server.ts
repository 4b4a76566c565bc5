import { spawn } from "node:child_process";
import { closeSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { UploaderError } from "../../core/errors.ts";
import type { Binaries } from "./binaries.ts";
import { isRunning, processCommand } from "./process-identity.ts";
import { handOver, type ServerUser } from "./server-user.ts";
import { port, socketFile } from "./socket-directory.ts";

/** A postmaster as its own `postmaster.pid` describes it. */
export interface Server {
  pid: number;
  socketDirectory: string;
  /** It takes connections (or did when it wrote this). */
  ready: boolean;
}

/** Given on the command line, so a newer uploader changes them without touching the data. */
const settings: Record<string, string> = {
  listen_addresses: "",
  unix_socket_permissions: "0700",
  max_connections: "200",
  // Nobody replicates or archives from here: less to write for every row.
  wal_level: "minimal",
  max_wal_senders: "0",
  max_logical_replication_workers: "0",
  fsync: "on",
  // Saves three processes; our tables are read from memory or in order.
  io_method: "sync",
  // The default of 4 is a turning disk's. With it, and tables too young for statistics, a batch of 500 rows is found by
  // reading all of file_uploads (20,000 files: 850,000 to 1,460,000 rows read in vain; with this none to speak of).
  random_page_cost: "1.1",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  log_min_messages: "warning",
  log_checkpoints: "off",
  // Statements hold file names.
  log_min_error_statement: "panic",
  log_line_prefix: "%m [%p] ",
};

/** The least a Postgres program needs: no secrets of ours, none of the user's PG* variables, a time zone that is not looked for. */
export const serverEnv = (): NodeJS.ProcessEnv => ({ PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" });

/** The postmaster of this data directory, if one runs. */
export function findServer(data: string): Server | null {
  const server = readServer(data);
  return server !== null && isAlive(server) ? server : null;
}

/** The pid may belong to anybody by now; only a postmaster started by a keeper names this socket folder (in ASCII). */
const isAlive = ({ pid, socketDirectory }: Server): boolean =>
  processCommand(pid)?.includes(basename(socketDirectory) || "postgres") ?? false;

/** `postmaster.pid`, one fact a line: pid, data directory, start, port, socket folder, address, memory key, status. */
export function readServer(data: string): Server | null {
  try {
    const [pid, , , , socketDirectory, , , status] = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
    if (!Number(pid)) return null;
    return { pid: Number(pid), socketDirectory: socketDirectory ?? "", ready: status?.trim() === "ready" };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

export interface StartOptions {
  binaries: Binaries;
  data: string;
  user: ServerUser;
  socketDirectory: string;
  signal: AbortSignal;
}

/** A running postmaster once it takes connections; null when there is none, or it ends instead. */
export async function adoptServer(data: string, signal: AbortSignal): Promise<Server | null> {
  for (let server = findServer(data); server !== null; server = findServer(data)) {
    if (server.ready) return server;
    await delay(10, undefined, { signal });
  }
  return null;
}

/** Starts a postmaster and waits until it takes connections, as long as crash recovery may take. */
export async function startServer(options: StartOptions): Promise<Server> {
  const { data, signal } = options;
  // After a crash, backends of the old postmaster may hold its shared memory until their query ends.
  const deadline = performance.now() + (readServer(data) === null ? 1_000 : 30_000);
  removeStale(options);
  while (performance.now() < deadline) {
    const pid = spawnServer(options);
    try {
      // Until it has written its lock file, or has ended because another one was quicker.
      while (pid !== null && isRunning(pid) && findServer(data) === null) await delay(5, undefined, { signal });
      const server = await adoptServer(data, signal);
      if (server !== null) return server;
    } catch (error) {
      if (pid !== null) await stopServer({ ...options, pid, ready: false });
      throw error;
    }
    await delay(200, undefined, { signal });
  }
  throw new UploaderError("database_unreachable", `the bundled PostgreSQL does not start on ${data}`);
}

/** Postgres does so itself, except when the pid in its lock files is a zombie or somebody else's by now. */
function removeStale({ data, socketDirectory }: StartOptions): void {
  if (readServer(data) === null || findServer(data) !== null) return;
  const socket = socketFile(socketDirectory);
  for (const file of [join(data, "postmaster.pid"), socket, `${socket}.lock`]) rmSync(file, { force: true });
}

/** Fast shutdown: transactions are rolled back, clients sent away, everything is on disk when this returns. */
export async function stopServer(server: Server): Promise<void> {
  if (isAlive(server)) process.kill(server.pid, "SIGINT");
  while (isAlive(server)) await delay(10);
}

/** Output goes to our own stderr, the log. Null when the program cannot be executed at all. */
function spawnServer({ binaries, data, user, socketDirectory }: StartOptions): number | null {
  const folder = handOver(user, data);
  // A list of names, where a comma parts them unless they are quoted.
  const sockets = `"${socketDirectory.replaceAll('"', '""')}"`;
  const values = Object.entries({ ...settings, port: String(port), unix_socket_directories: sockets });
  const child = spawn(
    binaries.postgres,
    ["-D", folder.name, ...values.flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    {
      ...user,
      cwd: "/",
      env: serverEnv(),
      stdio: ["ignore", "inherit", "inherit", ...(folder.descriptor === null ? [] : [folder.descriptor])],
    },
  );
  if (folder.descriptor !== null) closeSync(folder.descriptor);
  child.on("error", (error) => process.stderr.write(`${error.message}\n`));
  child.unref();
  return child.pid ?? null;
}
