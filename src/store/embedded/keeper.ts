/** The keeper: a program of its own that starts the bundled server (or adopts a running one) and stops it when idle. */
import { closeSync, copyFileSync, fstatSync, truncateSync, writeSync } from "node:fs";
import { asUploaderError } from "../../core/errors.ts";
import { openBinaries } from "./binaries.ts";
import { ensureCluster } from "./cluster.ts";
import { watchUntilIdle } from "./idle-watch.ts";
import { acquireLock, type Lock } from "./lock.ts";
import { type KeeperReport, logTail } from "./report.ts";
import { adoptServer, findServer, type Server, startServer, stopServer } from "./server.ts";
import { chooseServerUser } from "./server-user.ts";
import { addressAt } from "./session.ts";
import { closeSocketDirectory, openSocketDirectory } from "./socket-directory.ts";
import { openStateDirectory, refuseNetworkFileSystem, stateError } from "./state-directory.ts";

process.title = "uploader-keeper";
process.umask(0o022);

const [stateDirectory = "", idleMs = ""] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stopping.abort());
process.on("SIGHUP", () => undefined);

const paths = openStateDirectory(stateDirectory);
const logStart = fstatSync(2).size;
let reported = false;
try {
  refuseNetworkFileSystem(paths.root);
  const lock = acquireLock(paths.lock);
  if (lock === null) report({ kind: "lost" });
  else await keep(lock);
} catch (error) {
  if (!stopping.signal.aborted) fail(error);
}

async function keep(lock: Lock): Promise<void> {
  let server: Server | null = null;
  try {
    server = (await adoptServer(paths.data, stopping.signal)) ?? (await start());
    report({ kind: "ready" });
    await watchUntilIdle({
      address: addressAt(server.socketDirectory),
      serverPid: server.pid,
      idleMs: Number(idleMs),
      signal: stopping.signal,
      goOn() {
        boundLog();
        // Without its lock file the state folder has been deleted, or taken from us.
        return lock.touch();
      },
    });
  } finally {
    server = findServer(paths.data) ?? server;
    if (server !== null) {
      await stopServer(server);
      closeSocketDirectory(server.socketDirectory);
    }
    // Last of all: whoever sees the lock free may start a server.
    lock.release();
  }
}

async function start(): Promise<Server> {
  const user = chooseServerUser(paths.data);
  const binaries = openBinaries(paths.root, user);
  await ensureCluster(paths, binaries, user);
  const socketDirectory = openSocketDirectory(paths.root, user, process.env);
  try {
    return await startServer({ binaries, data: paths.data, user, socketDirectory, signal: stopping.signal });
  } catch (error) {
    closeSocketDirectory(socketDirectory);
    throw error;
  }
}

function fail(error: unknown): void {
  const { code, message, hint, stack } = asUploaderError(stateError(paths.root, error));
  const log = logTail(paths.log, logStart);
  if (code === "internal") process.stderr.write(`${stack}\n`);
  report({ kind: "failed", code, message, hint: hint ?? null, log });
  process.exitCode = 1;
}

/** Only the first report counts. */
function report(text: KeeperReport): void {
  if (reported) return;
  reported = true;
  try {
    writeSync(3, JSON.stringify(text));
  } catch (error) {
    // Whoever started us is gone.
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
  closeSync(3);
}

/** Everybody appends, so the log can be emptied under their hands; the last megabyte before is kept beside it. */
function boundLog(): void {
  if (fstatSync(2).size < 1024 * 1024) return;
  try {
    copyFileSync(paths.log, `${paths.log}.1`);
  } catch (error) {
    // A full disk, most likely, which shortening the log helps.
    process.stderr.write(`keeper: the older log is lost: ${(error as Error).message}\n`);
  }
  truncateSync(paths.log);
}
