/** The real program as a child process, in a folder of its own, with a strict store and a schema of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { removeFolder } from "../support/remove-folder.ts";
import { type S3Server, type S3ServerOptions, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, type TreeContents } from "../support/tree.ts";

const own = fileURLToPath(new URL("../../bin/uploader.js", import.meta.url));
const sources = fileURLToPath(new URL("../../src", import.meta.url));

/** UPLOADER_BIN tests an installed package instead. */
export const program = process.env.UPLOADER_BIN ?? own;

function assertBuilt(): void {
  if (program !== own) return;
  const built = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
  const newestMs = Math.max(
    ...readdirSync(sources, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  );
  if (!existsSync(built) || statSync(built).mtimeMs < newestMs) throw new Error("dist/ is stale: npm run build");
}

export interface Ended {
  /** null when a signal ended it. */
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** stdout as JSON lines. */
  events(): Record<string, unknown>[];
}

export interface Running {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves when what it wrote so far (both streams) matches; rejects when it ends before. */
  says(pattern: RegExp): Promise<void>;
  ended: Promise<Ended>;
}

export interface RunOptions {
  /** undefined removes a variable. */
  env?: Record<string, string | undefined>;
  cwd?: string;
  uid?: number;
  /** Runs this instead of the program; the program's path and arguments follow. */
  under?: readonly string[];
  /** On a terminal of so many columns; all it is sent comes back as stdout, and what is written to `child.stdin` is typed. */
  columns?: number;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export interface Workplace {
  readonly folder: string;
  readonly s3: S3Server;
  readonly db: TestDatabase;
  path(...parts: string[]): string;
  /** Files below a new folder; gives its path. */
  tree(name: string, contents: TreeContents): string;
  start(args: readonly string[], options?: RunOptions): Running;
  run(args: readonly string[], options?: RunOptions): Promise<Ended>;
  /** One row of a session, by any condition. */
  session(project: string): Promise<Record<string, unknown>>;
  /** `key status error_code` of a project's newest session, in order of keys. */
  rows(project: string): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

export async function openWorkplace(options: S3ServerOptions = {}): Promise<Workplace> {
  assertBuilt();
  const folder = mkdtempSync(join(tmpdir(), "uploader-cli-"));
  chmodSync(folder, 0o755);
  const s3 = await startS3Server({ buckets: ["reef"], ...options });
  const db = await testDatabase({ migrated: false });
  const env: Record<string, string | undefined> = {
    PATH: process.env.PATH,
    HOME: folder,
    TMPDIR: tmpdir(),
    UPLOADER_STATE_DIR: join(folder, "state"),
    UPLOADER_DATABASE_URL: db.url,
    UPLOADER_DATABASE_SCHEMA: db.schema,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.credential.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.credential.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: "true",
  };
  const running = new Set<ChildProcess>();

  const start: Workplace["start"] = (args, over = {}) => {
    const plain = [...(over.under ?? []), process.execPath, program, ...args];
    const line = `stty cols ${over.columns} rows 40; exec ${plain.map(quoted).join(" ")}`;
    const [command, ...rest] = over.columns === undefined ? plain : ["script", "-qec", line, "/dev/null"];
    const child = spawn(command!, rest, {
      cwd: over.cwd ?? folder,
      env: { ...env, ...over.env },
      stdio: [over.columns === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      ...(over.uid === undefined ? {} : { uid: over.uid, gid: over.uid }),
    });
    return follow(child, running);
  };

  return {
    folder,
    s3,
    db,
    path: (...parts) => join(folder, ...parts),
    tree(name, contents) {
      makeTree(join(folder, name), contents);
      return join(folder, name);
    },
    start,
    run: (args, over) => start(args, over).ended,
    async session(project) {
      const [row] = await db.sql(
        `select s.* from :"schema".sync_sessions s join :"schema".projects p on p.id = s.project_id
         where p.name = $1 order by s.id desc limit 1`,
        [project],
      );
      return row ?? {};
    },
    rows: (project) =>
      db.sql(
        `select s3_key as key, status, error_code as code, attempts, permanent, reason from :"schema".file_uploads
         where session_id = (select max(s.id) from :"schema".sync_sessions s
           join :"schema".projects p on p.id = s.project_id where p.name = $1)
         order by s3_key collate "C"`,
        [project],
      ),
    async close() {
      for (const child of running) child.kill("SIGKILL");
      for (const name of readdirSync(folder)) stopServer(join(folder, name));
      await s3.close();
      await db.drop();
      await removeFolder(folder);
    },
  };
}

function follow(child: ChildProcess, running: Set<ChildProcess>): Running {
  const texts = { stdout: "", stderr: "" };
  let waiting: { pattern: RegExp; resolve(): void; reject(error: Error): void }[] = [];
  let over = false;
  running.add(child);
  const look = (): void => {
    const all = `${texts.stdout}\n${texts.stderr}`;
    for (const each of waiting) {
      if (each.pattern.test(all)) each.resolve();
      else if (over) each.reject(new Error(`it ended without saying ${each.pattern}:\n${all}`));
    }
    waiting = waiting.filter((each) => !over && !each.pattern.test(all));
  };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
      look();
    });
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (exitCode, signal) => {
      running.delete(child);
      over = true;
      look();
      const events = () =>
        texts.stdout
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line) as Record<string, unknown>);
      resolve({ exitCode, signal, ...texts, events });
    });
  });
  return {
    child,
    stdout: () => texts.stdout,
    stderr: () => texts.stderr,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        waiting.push({ pattern, resolve, reject });
        look();
      }),
    ended,
  };
}

/** The embedded server that a run started there; else it would stay for a minute. */
export function stopServer(stateDirectory: string): void {
  const file = join(stateDirectory, "database", "postmaster.pid");
  if (existsSync(file)) process.kill(Number(readFileSync(file, "utf8").split("\n")[0]), "SIGINT");
}

/** Relative paths of all files below, sorted. */
export function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

export const textOf = (path: string): string => readFileSync(path, "utf8");
