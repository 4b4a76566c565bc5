/** The library: `import { upload } from "uploader"`. The same run as the command's, told in typed events. */
import type { input } from "zod";
import { runUpload } from "./app/upload.ts";
import type { configSchema } from "./config/schema.ts";
import { loadConfig } from "./config.ts";
import type { Event, SummaryEvent } from "./core/events.ts";

export { type ErrorCode, errorCodes, UploaderError } from "./core/errors.ts";
export type { Event, FileEvent, ProgressEvent, StartEvent, SummaryEvent } from "./core/events.ts";
export type { FileStatus, SessionStatus } from "./core/states.ts";

/** What a configuration file may say, beside what is only for `sync` and for the command line. */
export type UploadSettings = Omit<input<ReturnType<typeof configSchema>>, "$schema" | "sources" | "sync" | "logFormat">;

export interface UploadOptions {
  /** A configuration file; what the settings say goes before what it says. */
  configPath?: string;
  /** Relative places of the settings start here. Default: the working directory. */
  cwd?: string;
  onEvent?(event: Event): void;
  /** Stops cleanly: no more files are taken, those on their way have five seconds. The same call goes on later. */
  signal?: AbortSignal;
  /** Leave an unfinished session behind instead of resuming it. */
  newSession?: boolean;
  /** No retry rounds for files that used up their attempts. */
  skipRetry?: boolean;
  /** Tell nobody, although `trigger.url` is set. */
  skipTrigger?: boolean;
}

const graceMs = 5_000;

/**
 * Sends everything new of `settings.source` to `settings.destination` and confirms it. Variables (`UPLOADER_…`, `AWS_…`)
 * count as they do for the command. Resolves with the summary, whose `exitCode` is 0 when everything selected is
 * confirmed, 3 when files failed, and so on (README, "Exit status"). Rejects with an `UploaderError` when there was no
 * session to speak of: a bad setting, a missing source, no credentials, no database;
 * with the signal's reason when that stopped it before.
 */
export async function upload(settings: UploadSettings, options: UploadOptions = {}): Promise<SummaryEvent> {
  const onEvent = options.onEvent ?? (() => undefined);
  const { config, notices } = loadConfig({
    flags: Object.fromEntries(leaves(settings)),
    configPath: options.configPath ?? null,
    env: process.env,
    cwd: options.cwd ?? process.cwd(),
  });
  for (const message of notices) onEvent({ type: "notice", sessionId: null, level: "info", message });
  const stopping = options.signal ?? new AbortController().signal;
  const dropping = new AbortController();
  let grace: NodeJS.Timeout | null = null;
  const onStop = (): void => {
    grace = setTimeout(() => dropping.abort(), graceMs);
  };
  if (stopping.aborted) onStop();
  else stopping.addEventListener("abort", onStop, { once: true });
  try {
    return await runUpload(
      { config, emit: onEvent, stopping, dropping: dropping.signal },
      {
        newSession: options.newSession === true,
        skipRetry: options.skipRetry === true,
        skipTrigger: options.skipTrigger === true,
        stopSignal: () => (stopping.aborted ? "SIGINT" : null),
      },
    );
  } finally {
    stopping.removeEventListener("abort", onStop);
    if (grace) clearTimeout(grace);
  }
}

type Leaf = string | number | boolean | readonly string[];

/** Settings by their dotted path, as flags are; what is null or undefined was not said. */
function leaves(settings: object, prefix = ""): [string, Leaf][] {
  return Object.entries(settings).flatMap(([key, value]): [string, Leaf][] => {
    if (value === null || value === undefined) return [];
    if (typeof value === "object" && !Array.isArray(value)) return leaves(value, `${prefix}${key}.`);
    return [[prefix + key, value as Leaf]];
  });
}
