import { spawn } from "node:child_process";
import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
} from "node:fs";
import { userInfo } from "node:os";
import { basename, join } from "node:path";
import { UploaderError } from "../../core/errors.ts";
import type { Binaries } from "./binaries.ts";
import { serverEnv } from "./server.ts";
import { type Handover, handOver, type ServerUser } from "./server-user.ts";
import { addressAt } from "./session.ts";
import { databaseUrlHint, type StatePaths, stateError } from "./state-directory.ts";

const { user: databaseUser, database: databaseName } = addressAt("");

/** A new cluster has 46 MB and its first WAL segments 32 MB. */
const neededBytes = 100 * 1024 * 1024;

/** Data of this Postgres version in `paths.data`: those that are there, or new ones with an empty database. */
export async function ensureCluster(paths: StatePaths, binaries: Binaries, user: ServerUser): Promise<void> {
  if (existsSync(paths.data)) refuseOtherVersion(paths.data, binaries.major);
  else await createCluster(paths, binaries, user);
}

function refuseOtherVersion(data: string, major: number): void {
  const file = join(data, "PG_VERSION");
  const found = existsSync(file) ? Number.parseInt(readFileSync(file, "latin1"), 10) : Number.NaN;
  if (found === major) return;
  if (Number.isNaN(found)) {
    throw new UploaderError("database_foreign", `${data} holds no PostgreSQL data`, {
      hint: "move that folder away, or set UPLOADER_STATE_DIR to another one",
    });
  }
  const newer = found > major;
  const message = `${data} holds data of PostgreSQL ${found}; this uploader brings PostgreSQL ${major}`;
  const remedy = newer ? "Use the newer uploader that wrote them" : "Dump them with the uploader that wrote them";
  throw new UploaderError(newer ? "database_newer" : "database_refused", message, {
    hint: `${remedy} (pg_dump of what \`uploader db url\` prints), or move that folder away to begin afresh.`,
  });
}

/** Made under a temporary name and renamed when complete, so an interrupted attempt leaves nothing half done. */
async function createCluster(paths: StatePaths, binaries: Binaries, user: ServerUser): Promise<void> {
  const prefix = `${basename(paths.data)}.new-`;
  for (const name of readdirSync(paths.root).filter((name) => name.startsWith(prefix))) {
    rmSync(join(paths.root, name), { recursive: true, force: true, maxRetries: 10 });
  }
  refuseFullDisk(paths.root);
  const draft = mkdtempSync(join(paths.root, prefix));
  if (user !== null) chownSync(draft, user.uid, user.gid);
  const folder = handOver(user, draft);
  try {
    await run(binaries.initdb, ["-D", folder.name, ...initOptions], "", folder, user);
    const single = ["--single", "-D", folder.name, "-c", "log_checkpoints=off", "postgres"];
    await run(binaries.postgres, single, `CREATE DATABASE ${databaseName}\n`, folder, user);
    renameSync(draft, paths.data);
    const descriptor = openSync(paths.root, "r");
    fsyncSync(descriptor);
    closeSync(descriptor);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  } finally {
    if (folder.descriptor !== null) closeSync(folder.descriptor);
  }
}

const initOptions = [
  `--username=${databaseUser}`,
  // Whoever can enter the socket's folder is us.
  "--auth=trust",
  "--encoding=UTF8",
  "--locale=C",
  "--locale-provider=builtin",
  "--builtin-locale=C.UTF-8",
  "--data-checksums",
  "--no-instructions",
];

function refuseFullDisk(root: string): void {
  const { bavail, bsize } = statfsSync(root);
  if (bavail * bsize >= neededBytes) return;
  throw stateError(root, Object.assign(new Error("too little space for a new database"), { code: "ENOSPC" }));
}

/** Runs a program of Postgres to its end; its complaints go to our own stderr, the log. */
function run(program: string, options: string[], input: string, folder: Handover, user: ServerUser): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, options, {
      ...user,
      cwd: "/",
      env: serverEnv(),
      stdio: ["pipe", "ignore", "inherit", ...(folder.descriptor === null ? [] : [folder.descriptor])],
    });
    const fail = (cause?: unknown) => reject(initError(program, user, cause));
    child.on("error", fail);
    // A program that ends without reading breaks the pipe; its exit status says what matters.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
    child.on("close", (status) => (status === 0 ? resolve() : fail()));
  });
}

function initError(program: string, user: ServerUser, cause: unknown): UploaderError {
  const reason =
    user === null && !hasName()
      ? `: uid ${process.getuid?.()} has no entry in /etc/passwd, which PostgreSQL needs`
      : "";
  return new UploaderError(
    "database_unreachable",
    `the bundled PostgreSQL could not make its data (${basename(program)})${reason}`,
    {
      hint: `run as a user that the system knows, ${databaseUrlHint}`,
      cause,
    },
  );
}

/** Whether the system knows a name for our uid. */
function hasName(): boolean {
  try {
    return userInfo().username !== "";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_SYSTEM_ERROR") return false;
    throw error;
  }
}
