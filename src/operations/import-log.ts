/** Takes over what the older ECG program sent, by its `upload_log.json` (design A8, docs/ecg.md). */
import type { EcgMemory, ImportedLog } from "../core/ecg.ts";
import { type LogProblem, readUploadLog, type UploadLog } from "../core/ecg-log.ts";
import type { Zone } from "../core/ecg-stamp.ts";
import { UploaderError } from "../core/errors.ts";
import { compareKeys, joinKey } from "../core/key.ts";
import type { Destination } from "../core/ports.ts";

export interface ImportLogContext {
  /** null: a dry run. */
  memory: Pick<EcgMemory, "importLog"> | null;
  /** Asked whether it holds the keys; null: the log is believed. */
  listing: Pick<Destination, "find"> | null;
  wallClock(): number;
  stopping: AbortSignal;
}

export interface ImportLogInput {
  text: string;
  /** For messages. */
  file: string;
  zone: Zone;
  destination: { kind: "s3" | "folder"; identity: string; prefix: string };
  /** null: a folder. */
  bucket: string | null;
}

export interface ImportLogResult extends ImportedLog {
  entries: number;
  /** Of files that the log names again later: the newest entry counts. */
  repeated: number;
  problems: LogProblem[];
  /** Keys of the log that the store does not hold; null: it was not asked, or does not say. */
  missing: string[] | null;
}

/** All or nothing. Throws config_invalid when no entry of a log can be used. */
export async function importLog(cx: ImportLogContext, input: ImportLogInput): Promise<ImportLogResult> {
  const { zone, bucket, destination } = input;
  const { prefix } = destination;
  const log = readUploadLog(input.text, { zone, bucket, prefix, nowMs: cx.wallClock() });
  const missing = cx.listing ? await missingIn(cx.listing, log, prefix, cx.stopping) : null;
  const gone = new Set(missing);
  const keys = log.keys.filter(({ key }) => !gone.has(key));
  if (keys.length === 0 && log.users.length === 0 && log.problems.length > 0) throw unusable(input.file, log);
  cx.stopping.throwIfAborted();
  const known = { keys: keys.length, keysKnown: 0, users: log.users.length, usersKnown: 0 };
  const written = cx.memory ? await cx.memory.importLog(destination, { keys, users: log.users }) : known;
  const { entries, repeated, problems } = log;
  return { ...written, entries, repeated, problems, missing };
}

async function missingIn(
  listing: Pick<Destination, "find">,
  log: UploadLog,
  prefix: string,
  signal: AbortSignal,
): Promise<string[] | null> {
  const keys = log.keys.map(({ key }) => joinKey(prefix, key)).sort(compareKeys);
  const found = await listing.find(keys, signal);
  return found && log.keys.map(({ key }) => key).filter((key) => !found.has(joinKey(prefix, key)));
}

function unusable(file: string, { entries, problems }: UploadLog): UploaderError {
  const { line, problem } = problems[0]!;
  return new UploaderError(
    "config_invalid",
    `${file}: ${entries === 1 ? "its entry cannot" : `none of its ${entries} entries can`} be used; line ${line}: ${problem}`,
    { hint: "is it the upload_log.json of the older program, and the destination the bucket that it wrote to?" },
  );
}
