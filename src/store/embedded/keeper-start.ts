import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync } from "node:fs";
import { addAbortSignal, type Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { programOf } from "../../installed.ts";
import { type KeeperReport, logTail } from "./report.ts";
import type { StatePaths } from "./state-directory.ts";

/** The keeper outlives us, so it gets none of our secrets: only what finds programs, libraries and temporary folders. */
const passedOn = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "XDG_RUNTIME_DIR"];

const program = fileURLToPath(programOf("keeper"));

export interface KeeperStart {
  paths: StatePaths;
  idleMs: number;
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
}

/**
 * Starts a keeper in a process session of its own, where no terminal's Ctrl-C and no hangup reaches it, and waits for
 * its report; `died` when it ended without one.
 */
export async function startKeeper({ paths, idleMs, env, signal }: KeeperStart): Promise<KeeperReport> {
  const log = openSync(paths.log, "a", 0o600);
  const logStart = fstatSync(log).size;
  const child = spawn(process.execPath, [program, paths.root, String(idleMs)], {
    detached: true,
    cwd: "/",
    env: Object.fromEntries(passedOn.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]))),
    stdio: ["ignore", log, log, "pipe"],
  });
  closeSync(log);
  child.unref();
  const failed = new Promise<never>((_, reject) => child.once("error", reject));
  const answer = await Promise.race([text(addAbortSignal(signal, child.stdio[3] as Readable)), failed]);
  return answer === "" ? { kind: "died", log: logTail(paths.log, logStart) } : (JSON.parse(answer) as KeeperReport);
}
