/** Where lines go that are no results: a file that is asked for, journald, or plain stderr. */
import { fstatSync } from "node:fs";
import { openLogFile } from "../adapters/log-file.ts";
import type { Config } from "../config.ts";
import type { Output } from "./render.ts";

export interface Log {
  output: Output;
  /** journald reads a line's level from its beginning. */
  priorities: boolean;
  stamped: boolean;
  /** Somebody may have moved the file away. */
  reopen(): void;
  close(): void;
}

/** JOURNAL_STREAM names the device and inode of journald's socket; a stream that was redirected since is another. */
export function isJournal(env: NodeJS.ProcessEnv, descriptor = 2): boolean {
  if (!env.JOURNAL_STREAM) return false;
  const { dev, ino } = fstatSync(descriptor);
  return env.JOURNAL_STREAM === `${dev}:${ino}`;
}

const nothing = (): void => undefined;

type LogConfig = Pick<Config, "logFile" | "logMaxSize" | "logKeep">;

/** Errors: config_invalid when the file cannot be written. */
export function openLog(config: LogConfig, stderr: Output, env: NodeJS.ProcessEnv): Log {
  if (config.logFile === null)
    return { output: stderr, priorities: isJournal(env), stamped: false, reopen: nothing, close: nothing };
  const file = openLogFile({
    path: config.logFile,
    maxSizeBytes: config.logMaxSize,
    keep: config.logKeep,
    onFailure: (text) => stderr.write(text),
  });
  return { output: file, priorities: false, stamped: true, reopen: file.reopen, close: file.close };
}
