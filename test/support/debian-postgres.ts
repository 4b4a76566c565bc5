import { type ChildProcess, execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, chown, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface DebianPostgresOptions {
  /** `name=value` for the server, for instance `max_connections=20`. */
  settings?: readonly string[];
}

/** A real Postgres from the system's packages, with a fresh cluster on a loopback port. */
export interface DebianPostgres {
  /** `postgres://postgres@127.0.0.1:<port>/postgres`; trust authentication, superuser. */
  url: string;
  host: string;
  port: number;
  /** Version as `postgres --version` says it. */
  version: string;
  /** SIGKILL to the server, as a crash; `restart` brings it back on the same port. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** Stops the server and removes its data. */
  close(): Promise<void>;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** Full path of a program on PATH or in one of the further folders; null when there is none. */
export async function findProgram(name: string, folders: readonly string[] = []): Promise<string | null> {
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const folder of [...folders, ...path, "/usr/sbin", "/sbin"]) {
    const program = join(folder, name);
    if (await isExecutable(program)) return program;
  }
  return null;
}

/** Debian keeps each major version's programs in a folder of its own; newest first. */
async function postgresFolders(): Promise<string[]> {
  const root = "/usr/lib/postgresql";
  const versions = await readdir(root).catch(() => []);
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(root, version, "bin"));
}

export async function findPostgres(): Promise<{ postgres: string; initdb: string } | null> {
  const folders = await postgresFolders();
  const [postgres, initdb] = [await findProgram("postgres", folders), await findProgram("initdb", folders)];
  return postgres && initdb ? { postgres, initdb } : null;
}

/** Postgres and PgBouncer refuse root: an existing `postgres`, else `nobody`. Empty for anyone but root. */
export async function unprivilegedUser(): Promise<{ uid: number; gid: number } | Record<string, never>> {
  if (process.getuid?.() !== 0) return {};
  const users = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  return { uid: Number(user?.[2] ?? 65534), gid: Number(user?.[3] ?? 65534) };
}

/** A temporary folder that the unprivileged user owns. */
export async function ownedFolder(prefix: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  const user = await unprivilegedUser();
  if ("uid" in user && user.uid !== undefined) await chown(folder, user.uid, user.gid ?? user.uid);
  return folder;
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  return address.port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: "127.0.0.1" });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

export interface Daemon {
  child: ChildProcess;
  /** Ends the process and waits until it is gone. */
  stop(signal: NodeJS.Signals): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts a program in the foreground, tied to this process; its output is kept for the error message. */
export function startDaemon(program: string, args: readonly string[], options: { cwd: string }): Promise<Daemon> {
  return unprivilegedUser().then((user) => spawnDaemon(program, args, { ...options, ...user }));
}

export function spawnDaemon(
  program: string,
  args: readonly string[],
  options: { cwd: string; uid?: number; gid?: number; env?: NodeJS.ProcessEnv },
): Daemon {
  const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.once("exit", () => running.delete(child));
  // Both pipes must be read or the program would block; the tail is what a failing start is asked for.
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.on("data", (chunk: Buffer) => outputs.set(child, ((outputs.get(child) ?? "") + chunk).slice(-4000)));
  }
  return {
    child,
    async stop(signal) {
      child.kill(signal);
      await exited;
    },
  };
}

const outputs = new WeakMap<ChildProcess, string>();

/** Waits until the daemon accepts connections; throws with its last words when it ends before. */
export async function waitForPort(daemon: Daemon, port: number, what: string): Promise<void> {
  for (let look = 0; look < 600; look++) {
    if (await accepts(port)) return;
    if (daemon.child.exitCode !== null || daemon.child.signalCode !== null) break;
    await sleep(50);
  }
  await daemon.stop("SIGKILL");
  throw new Error(`${what} did not start on port ${port}: ${outputs.get(daemon.child) ?? "no output"}`);
}

export async function startDebianPostgres(options: DebianPostgresOptions = {}): Promise<DebianPostgres> {
  const programs = await findPostgres();
  if (!programs) throw new Error("no Postgres found: apt-get install postgresql");
  const user = await unprivilegedUser();
  const folder = await ownedFolder("uploader-postgres-");
  const data = join(folder, "data");
  const init = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
  await run(programs.initdb, init, { ...user, cwd: folder });
  const port = await freePort();
  const settings = [
    "listen_addresses=127.0.0.1",
    `port=${port}`,
    "unix_socket_directories=",
    ...(options.settings ?? []),
  ];
  const args = ["-D", data, ...settings.flatMap((setting) => ["-c", setting])];

  async function start(): Promise<Daemon> {
    const daemon = await startDaemon(programs!.postgres, args, { cwd: folder });
    await waitForPort(daemon, port, "postgres");
    return daemon;
  }

  let daemon = await start();
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    host: "127.0.0.1",
    port,
    version: (await run(programs.postgres, ["--version"])).stdout.trim(),
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
