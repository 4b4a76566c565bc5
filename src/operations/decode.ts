/** `uploader decode`: recordings of a disk into files beside each other. Touches no database and no store. */
import { basename, dirname, join, normalize, resolve } from "node:path";
import type {
  DecodedFormat,
  DecodeResult,
  DecodeSettings,
  OutputFolder,
  PlotFormat,
  RecordingDecoder,
  RecordingFiles,
} from "../core/decoding.ts";
import { asUploaderError, UploaderError } from "../core/errors.ts";
import { groupSessions } from "../shimmer/index.ts";

export interface DecodeContext {
  files: RecordingFiles;
  decoder: RecordingDecoder;
  /** Opened when there is something to write; `sources` are never replaced. */
  openOutputs(sources: readonly string[]): Promise<OutputFolder>;
  /** Recordings at one time. */
  atOnce: number;
  /** Aborts when no further recording is to be begun. */
  stopping: AbortSignal;
  /** Aborts when recordings in hand are to be dropped. */
  dropping: AbortSignal;
}

export interface DecodeInput {
  /** Recordings, and folders of recordings: of those the hourly parts of a session become one recording. */
  paths: readonly string[];
  formats: readonly (DecodedFormat | PlotFormat)[];
  settings: DecodeSettings;
  /** Replace files of other content. */
  force: boolean;
  screen: { width: number; sparklines: boolean } | null;
  /** In the order of the recordings. */
  onDecoded(decoded: DecodedRecording): void;
}

/** One recording to be decoded: its files in their order, and what its outputs are called. */
export interface WantedRecording {
  name: string;
  parts: readonly string[];
}

export interface WrittenFile {
  format: DecodedFormat | PlotFormat;
  /** Name in the output folder. */
  name: string;
  sizeBytes: number;
  outcome: "written" | "replaced" | "same";
}

export type DecodedRecording = { recording: WantedRecording } & (
  | { error: null; result: DecodeResult; files: readonly WrittenFile[] }
  | { error: UploaderError }
);

export interface DecodeTotals {
  recordings: number;
  /** Of those begun. */
  failed: number;
  /** Without regard to signals: 0, 3 when some of several failed, 2 when all did (1, 14: a bug, a full disk). */
  exitCode: number;
}

/** All failed alike: what the first one says of the whole. A recording's own faults are the fault of its naming: 2. */
const exitOfAll = (first: UploaderError): number => ([1, 14].includes(first.exitCode) ? first.exitCode : 2);

/** @throws UploaderError `source_missing` when a path is not there or holds no recording; `usage` when one is empty */
export async function decode(cx: DecodeContext, input: DecodeInput): Promise<DecodeTotals> {
  const wanted = await findWanted(cx, input.paths);
  const outputs = input.formats.length === 0 ? null : await cx.openOutputs(wanted.flatMap(({ parts }) => parts));
  let failed = 0;
  let firstError: UploaderError | null = null;
  const done = new Map<number, DecodedRecording>();
  let begun = 0;
  let told = 0;

  const tell = (): void => {
    for (let next = done.get(told); next; next = done.get(told)) {
      done.delete(told++);
      if (next.error) {
        failed++;
        firstError ??= next.error;
      }
      input.onDecoded(next);
    }
  };
  const lane = async (): Promise<void> => {
    while (begun < wanted.length && !cx.stopping.aborted) {
      const at = begun++;
      const decoded = await decodeOne(cx, input, outputs, wanted[at]!);
      if (decoded === null) return;
      done.set(at, decoded);
      tell();
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(cx.atOnce, wanted.length) }, lane));
  } finally {
    outputs?.close();
  }
  const exitCode = firstError === null ? 0 : failed < wanted.length ? 3 : exitOfAll(firstError);
  return { recordings: wanted.length, failed, exitCode };
}

/** `null`: dropped. */
async function decodeOne(
  cx: DecodeContext,
  { formats, settings, force, screen }: DecodeInput,
  outputs: OutputFolder | null,
  recording: WantedRecording,
): Promise<DecodedRecording | null> {
  const made = outputs === null ? [] : formats.map((format) => ({ format, path: outputs.temporary() }));
  try {
    const job = {
      parts: recording.parts.map((path) => ({ name: path, path })),
      settings,
      outputs: made,
      screen,
    };
    const result = await cx.decoder.decode(job, { signal: cx.dropping, timeMs: null });
    const files: WrittenFile[] = [];
    for (const [index, { format, path }] of made.entries()) {
      const name = `${recording.name}.${format}`;
      const outcome = await outputs!.publish(path, name, force);
      files.push({ format, name, sizeBytes: result.outputBytes[index]!, outcome });
    }
    return { recording, error: null, result, files };
  } catch (error) {
    return cx.dropping.aborted ? null : { recording, error: asUploaderError(error) };
  } finally {
    for (const { path } of made) await outputs!.discard(path);
  }
}

async function findWanted({ files, dropping }: DecodeContext, paths: readonly string[]): Promise<WantedRecording[]> {
  const found: { stem: string; parts: string[] }[] = [];
  // `normalize` makes the working directory of it: an unset variable would decode whatever lies there.
  if (paths.includes("")) {
    throw new UploaderError("usage", "a path is empty", { hint: "name a recording, or a folder of recordings" });
  }
  const seen = new Set<string>();
  for (const path of paths.map((given) => normalize(given))) {
    if (seen.has(resolve(path))) continue;
    seen.add(resolve(path));
    if (!files.isFolder(path)) {
      found.push({ stem: stemOf(path), parts: [path] });
      continue;
    }
    const sessions = groupSessions(await files.find(path, dropping));
    if (sessions.length === 0) {
      throw new UploaderError("source_missing", `there is no Shimmer recording in ${path}`, {
        hint: "recordings are known by their first 256 bytes, whatever they are called",
      });
    }
    found.push(...sessions.map(({ stem, paths: parts }) => ({ stem, parts: parts.map((part) => join(path, part)) })));
  }
  const names = distinctNames(found.map(({ stem, parts }) => ({ stem, folder: dirname(parts[0]!) })));
  return found.map(({ parts }, index) => ({ name: names[index]!, parts }));
}

const stemOf = (path: string): string => basename(path).replace(/(?!^)\.[^.]*$/, "") || "recording";

/** On macOS two names that differ in case, or in how an accent is written, are one file. */
const folded = (name: string): string => name.normalize("NFC").toLowerCase();

/**
 * Names that cannot collide: the stem; where several have the same, the names of the folders above it before it, as
 * many as it takes; at last a number.
 */
export function distinctNames(items: readonly { stem: string; folder: string }[]): string[] {
  const above = items.map(({ stem, folder }) => {
    const segments = folder.split("/").filter((segment) => !/^\.{0,2}$/.test(segment));
    // A session of a card has its folder's name already.
    return segments.at(-1) === stem ? segments.slice(0, -1) : segments;
  });
  const names = items.map(({ stem }) => stem);
  for (let level = 1; ; level++) {
    const counts = new Map<string, number>();
    for (const name of names) counts.set(folded(name), (counts.get(folded(name)) ?? 0) + 1);
    const colliding = names.flatMap((name, at) => (counts.get(folded(name))! > 1 ? [at] : []));
    const longer = colliding.filter((at) => above[at]!.length >= level);
    if (longer.length === 0) break;
    for (const at of longer) names[at] = [...above[at]!.slice(-level), items[at]!.stem].join("_");
  }
  const taken = new Set<string>();
  return names.map((name) => {
    let unique = name;
    for (let number = 2; taken.has(folded(unique)); number++) unique = `${name}_${number}`;
    taken.add(folded(unique));
    return unique;
  });
}
