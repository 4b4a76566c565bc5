import { type ChildProcess, spawn } from "node:child_process";
import { constants, existsSync } from "node:fs";
import { access, chown, mkdtemp, readFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Real servers from the system's packages, run in the foreground below the test process and ended with it. */
export interface Daemon {
  readonly child: ChildProcess;
  /** The end of what it wrote, for the message when something is wrong. */
  lastWords(): string;
  /** Sends the signal and waits until it, and every process that shares its output, is gone. */
  stop(signal: NodeJS.Signals): Promise<void>;
}

export interface UnixUser {
  uid?: number;
  gid?: number;
}

/** Full path of a program in the given folders, on PATH, or where Debian puts daemons; null when there is none. */
export async function findProgram(name: string, folders: readonly string[] = []): Promise<string | null> {
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const folder of [...folders, ...path, "/usr/sbin", "/sbin"]) {
    const program = join(folder, name);
    const usable = await access(program, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return program;
  }
  return null;
}

/** Postgres and PgBouncer refuse root: an existing `postgres`, else `nobody`. Anyone but root stays who they are. */
export async function unprivilegedUser(): Promise<UnixUser> {
  if (process.getuid?.() !== 0) return {};
  const users = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  return { uid: Number(user?.[2] ?? 65534), gid: Number(user?.[3] ?? 65534) };
}

/** A temporary folder of that user. */
export async function temporaryFolder(prefix: string, user: UnixUser = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  if (user.uid !== undefined && user.gid !== undefined) await chown(folder, user.uid, user.gid);
  return folder;
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  return address.port;
}

/** Does anything listen there? */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: "127.0.0.1" });
    function settle(open: boolean): void {
      socket.destroy();
      resolve(open);
    }
    socket.once("connect", () => settle(true)).once("error", () => settle(false));
  });
}

/** On Linux the kernel ends a daemon when its parent dies, however it dies; elsewhere the exit handler must do. */
const leash = existsSync("/usr/bin/setpriv") ? ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] : [];
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export function startDaemon(
  program: string,
  args: readonly string[],
  options: UnixUser & { cwd: string; env?: NodeJS.ProcessEnv },
): Daemon {
  const [command = program, ...rest] = [...leash, program, ...args];
  const child = spawn(command, rest, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  running.add(child);
  child.once("error", (error) => {
    output += error.message;
  });
  // "close" comes after the last process that holds the pipes: a server's own children are gone by then.
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  void closed.then(() => running.delete(child));
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.on("data", (chunk: Buffer) => {
      output = (output + chunk).slice(-4000);
    });
  }
  return {
    child,
    lastWords: () => output,
    async stop(signal) {
      child.kill(signal);
      await closed;
    },
  };
}

/** Looks until the daemon is ready; throws with its last words when it ends first, or after 60 s. */
export async function waitUntilReady(daemon: Daemon, what: string, ready: () => Promise<boolean>): Promise<void> {
  const ended = () => daemon.child.exitCode !== null || daemon.child.signalCode !== null;
  for (let look = 0; look < 1200 && !ended(); look++) {
    if (await ready()) return;
    await sleep(50);
  }
  await daemon.stop("SIGKILL");
  throw new Error(`${what} did not start: ${daemon.lastWords()}`);
}
