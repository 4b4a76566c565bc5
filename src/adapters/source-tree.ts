import { accessSync, type BigIntStats, constants, realpathSync, statSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { isNeverSent } from "../core/file-kinds.ts";
import type { ScanBatch, ScannedFile, SourceTree } from "../core/ports.ts";
import { errnoOf } from "./errno.ts";
import { createPace, type Pace } from "./pace.ts";
import { lookAt } from "./source/file-look.ts";
import { childPath, type DiskPath, type Entry, listDirectory } from "./source/listing.ts";
import { compileSelection, type Selection } from "./source/selection.ts";

export interface SourceTreeOptions {
  root: string;
  /** Globs as fast-glob reads them, relative to the root; empty means recordings of every known kind. */
  include: readonly string[];
  exclude: readonly string[];
  /** Absolute paths never sent nor entered: our own state, config and destination. */
  excludePaths?: readonly string[];
  /** Files in one batch, about. */
  batchSize?: number;
  pace?: Pace;
}

/** A directory being walked. */
export interface Frame {
  disk: DiskPath;
  /** Relative to the root, ending in `/`; empty at the root. */
  path: string;
  /** `null` below a name that is not UTF-8. */
  key: string | null;
  note: ScannedFile["note"];
  entries: readonly Entry[];
  next: number;
}

/** Entries taken in one go: bounds what is held of a directory, of whatever size, beside its names. */
export const runLength = 1024;

/**
 * The tree below `root`, never changed and never left: symlinks are reported, not followed.
 * Throws `source_missing` or `source_unreadable` when the root is not a readable folder, here or while scanning.
 */
export function openSourceTree(options: SourceTreeOptions): SourceTree {
  const { batchSize = 2000, pace = createPace() } = options;
  const root = openRoot(options.root);
  const excludePaths = (options.excludePaths ?? []).map((path) => relative(root, resolveLinks(path)).normalize("NFC"));
  const selection = compileSelection({ ...options, excludePaths });

  async function* scan(signal: AbortSignal): AsyncGenerator<ScanBatch> {
    const { dev } = rootStats(root);
    const entries = await listDirectory(root, pace).catch((cause) => refuseRoot(root, cause));
    const stack: Frame[] = [{ disk: root, path: "", key: "", note: null, entries, next: 0 }];
    let batch = emptyBatch();
    for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
      signal.throwIfAborted();
      const oddBefore = batch.oddities.length;
      await takeRun(frame, batch, selection, pace);
      const below = await enterNext(frame, batch, selection, pace);
      if (below !== null) stack.push(below);
      else if (frame.next === frame.entries.length) stack.pop();
      // A name may vanish, but when the root is gone with it a card was pulled out: that is no complete scan.
      if (batch.oddities.length > oddBefore && rootStats(root).dev !== dev) throw lostRoot(root);
      if (batch.files.length + batch.oddities.length >= batchSize) {
        yield batch;
        batch = emptyBatch();
      }
    }
    if (batch.files.length + batch.oddities.length + batch.excludedFiles > 0) yield batch;
  }

  const first = rootStats(root).dev;
  const statsOf = async (path: string) => lstat(join(root, path), { bigint: true }).catch(() => null);
  async function look(path: string): Promise<{ sizeBytes: number; mtimeNs: bigint } | null> {
    let stats = await statsOf(path);
    if (stats === null) {
      if (rootStats(root).dev !== first) throw lostRoot(root);
      // The root is there: was it so when the file was looked for?
      stats = await statsOf(path);
    }
    return fileState(stats);
  }

  return { root, scan, look };
}

/** Whatever else stands in a file's place, the file is gone. */
export const fileState = (stats: BigIntStats | null): { sizeBytes: number; mtimeNs: bigint } | null =>
  stats?.isFile() ? { sizeBytes: Number(stats.size), mtimeNs: stats.mtimeNs } : null;

const emptyBatch = (): ScanBatch => ({ files: [], oddities: [], excludedFiles: 0 });

/** The path as patterns see it: in NFC, as people type it. Without a note all of it is. */
export function globPath(frame: Frame, entry: Entry): string {
  const path = frame.path + entry.name;
  return frame.note === null && entry.note === null ? path : path.normalize("NFC");
}

/** Takes entries into the batch, up to the next directory or as many as one go allows. */
async function takeRun(frame: Frame, batch: ScanBatch, selection: Selection, pace: Pace): Promise<void> {
  const chosen: { entry: Entry; path: DiskPath; isByHeader: boolean }[] = [];
  const end = Math.min(frame.entries.length, frame.next + runLength);
  for (; frame.next < end; frame.next++) {
    const entry = frame.entries[frame.next]!;
    if (entry.kind === "directory") break;
    const place = globPath(frame, entry);
    const isExcluded = isNeverSent(entry.name) || selection.isExcluded(place);
    if (entry.kind !== "file") {
      if (!isExcluded) batch.oddities.push({ path: frame.path + entry.name, kind: entry.kind });
      continue;
    }
    const takes = isExcluded ? "no" : selection.takes(place);
    if (takes === "no") batch.excludedFiles += 1;
    else chosen.push({ entry, path: childPath(frame.disk, entry.disk), isByHeader: takes === "by_header" });
  }
  const looks = await lookAt(chosen, pace);
  for (const [at, { entry }] of chosen.entries()) {
    const look = looks[at]!;
    if (look.kind === "file") batch.files.push(scannedFile(frame, entry, look.sizeBytes, look.mtimeNs));
    else if (look.kind === "other") batch.excludedFiles += 1;
    else batch.oddities.push({ path: frame.path + entry.name, kind: look.kind });
  }
}

export function scannedFile(frame: Frame, entry: Entry, sizeBytes: number, mtimeNs: bigint): ScannedFile {
  const key = frame.key === null || entry.key === null ? null : frame.key + entry.key;
  const problem = key === null ? "the name is not UTF-8" : null;
  return { path: frame.path + entry.name, key, sizeBytes, mtimeNs, problem, note: noteBelow(frame, entry) };
}

/** Along a path the stronger news wins: a key that kept its own form has a twin. */
export const noteBelow = (frame: Frame, entry: Entry) =>
  frame.note === "kept_own_form" ? frame.note : (entry.note ?? frame.note);

/** Opens the next entry if it is a directory worth entering; `null` when it is not, or could not be read. */
async function enterNext(frame: Frame, batch: ScanBatch, selection: Selection, pace: Pace): Promise<Frame | null> {
  const entry = frame.entries[frame.next];
  if (entry?.kind !== "directory") return null;
  frame.next += 1;
  if (selection.isExcluded(globPath(frame, entry))) return null;
  const path = `${frame.path}${entry.name}/`;
  const disk = childPath(frame.disk, entry.disk);
  const key = frame.key === null || entry.key === null ? null : `${frame.key}${entry.key}/`;
  try {
    return { disk, path, key, note: noteBelow(frame, entry), entries: await listDirectory(disk, pace), next: 0 };
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    const kind = errno === "ENOENT" || errno === "ENOTDIR" ? "vanished" : "unreadable_folder";
    batch.oddities.push({ path: path.slice(0, -1), kind });
    return null;
  }
}

/** The real path, as far as it can be resolved: the rest does not exist yet. */
export function resolveLinks(path: string): string {
  try {
    return realpathSync.native(path);
  } catch (error) {
    if (errnoOf(error) === null || dirname(path) === path) throw error;
    return join(resolveLinks(dirname(path)), basename(path));
  }
}

function openRoot(path: string): string {
  let root: string;
  try {
    root = realpathSync.native(path);
  } catch (cause) {
    return refuseRoot(path, cause);
  }
  if (!rootStats(root).isDirectory()) {
    throw new UploaderError("source_missing", `the source "${path}" is a file, not a folder`, {
      hint: `give its folder, "${dirname(root)}", and name the file with --include`,
    });
  }
  try {
    accessSync(root, constants.R_OK | constants.X_OK);
  } catch (cause) {
    return refuseRoot(root, cause);
  }
  return root;
}

export function rootStats(root: string) {
  try {
    return statSync(root);
  } catch (cause) {
    return refuseRoot(root, cause);
  }
}

const missingErrors = ["ENOENT", "ENOTDIR", "ENODEV", "ENXIO"];

export function refuseRoot(root: string, cause: unknown): never {
  const errno = errnoOf(cause);
  if (errno === null) throw cause;
  if (missingErrors.includes(errno)) {
    throw new UploaderError("source_missing", `the source "${root}" does not exist`, {
      hint: "check the path, and that its card or disk is mounted",
      cause,
    });
  }
  throw new UploaderError("source_unreadable", `the source "${root}" cannot be read (${errno})`, {
    hint: "check that this user may read and enter the folder",
    cause,
  });
}

export function lostRoot(root: string): UploaderError {
  return new UploaderError("source_missing", `the source "${root}" went away while it was being read`, {
    hint: "put its card or disk back and run the same command again",
  });
}
