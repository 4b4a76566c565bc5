/** The tree below a root, looked at again and again: what is not news costs one look at its folder. */
import { type BigIntStats, lstatSync } from "node:fs";
import { relative } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { isNeverSent } from "../core/file-kinds.ts";
import { type FolderChanges, printOf, type SeenFile, type WatchedTree } from "../core/sync.ts";
import { errnoOf } from "./errno.ts";
import { createPace, type Pace } from "./pace.ts";
import { lookAt } from "./source/file-look.ts";
import { childPath, type DiskPath, type Entry, listDirectory } from "./source/listing.ts";
import { compileSelection } from "./source/selection.ts";
import {
  type Frame,
  fileState,
  globPath,
  lostRoot,
  noteBelow,
  openSourceTree,
  resolveLinks,
  rootStats,
  runLength,
  type SourceTreeOptions,
  scannedFile,
} from "./source-tree.ts";

export interface WatchedTreeOptions extends SourceTreeOptions {
  /** Wall clock, ms. */
  now(): number;
}

/** A folder that was visited. */
type Place = Pick<Frame, "disk" | "path" | "key" | "note">;

interface Node {
  /** Of the folder, when it was listed; null: it may have changed within its clock's grain since. */
  changedNs: bigint | null;
  /** Every file in it is dealt with. */
  isDone: boolean;
  /** Prints of files that are dealt with. */
  done: Set<number>;
  below: Place[];
  files: number;
}

/** Folders that changed so recently may change again without showing it: FAT counts in steps of 2 s. */
const grainMs = 3_000;

/** Folders looked at in one turn of the event loop: 4 µs each. */
const foldersAtOnce = 500;

export function openWatchedTree(options: WatchedTreeOptions): WatchedTree {
  const { pace = createPace(), now } = options;
  const plain = openSourceTree(options);
  const { root } = plain;
  const excludePaths = (options.excludePaths ?? []).map((path) => relative(root, resolveLinks(path)).normalize("NFC"));
  const selection = compileSelection({ ...options, excludePaths });
  let nodes = new Map<string, Node>();
  const touched = new Set<string>();
  const undone = new Set<string>();
  let hadEntries = false;
  let identity = identityOf(rootStats(root));
  let files = 0;
  let folders: string[] = [];

  const isGone = async (): Promise<boolean> =>
    identityOf(rootStats(root)) !== identity || (hadEntries && (await listDirectory(root)).length === 0);

  /** One folder's files that are not dealt with. */
  async function news(
    place: Place,
    entries: readonly Entry[],
    node: Node,
    isKnown: (print: number, path: string) => boolean,
  ): Promise<FolderChanges> {
    const frame: Frame = { ...place, entries, next: 0 };
    const found: FolderChanges = {
      folder: place.path,
      files: [],
      oddities: [],
      excludedFiles: 0,
      isAnew: false,
      done(these) {
        for (const { print } of these) node.done.add(print);
        node.isDone = node.done.size >= node.files;
      },
    };
    const chosen: { entry: Entry; path: DiskPath; isByHeader: boolean }[] = [];
    for (const entry of entries) {
      const at = globPath(frame, entry);
      const isExcluded = (entry.kind !== "directory" && isNeverSent(entry.name)) || selection.isExcluded(at);
      if (entry.kind === "directory") {
        if (!isExcluded) node.below.push(placeOf(frame, entry));
      } else if (entry.kind !== "file") {
        if (!isExcluded) found.oddities.push({ path: frame.path + entry.name, kind: entry.kind });
      } else {
        const takes = isExcluded ? "no" : selection.takes(at);
        if (takes === "no") found.excludedFiles++;
        else chosen.push({ entry, path: childPath(frame.disk, entry.disk), isByHeader: takes === "by_header" });
      }
    }
    for (let at = 0; at < chosen.length; at += runLength) {
      const some = chosen.slice(at, at + runLength);
      const looks = await lookAt(some, pace);
      for (const [n, look] of looks.entries()) {
        const { entry } = some[n]!;
        if (look.kind === "other") found.excludedFiles++;
        else if (look.kind !== "file") found.oddities.push({ path: frame.path + entry.name, kind: look.kind });
        else {
          node.files++;
          const print = printOf(frame.path + entry.name, look);
          if (isKnown(print, frame.path + entry.name)) node.done.add(print);
          else found.files.push(seenFile(frame, entry, look, print));
        }
      }
    }
    node.isDone = found.files.length === 0;
    return found;
  }

  async function* changes(full: boolean, signal: AbortSignal): AsyncGenerator<FolderChanges> {
    const first = rootStats(root);
    // Another card in the slot: what is remembered is about the last one.
    const known = identityOf(first) === identity ? nodes : new Map<string, Node>();
    const isAnew = known.size === 0;
    const dirty = new Set(touched);
    touched.clear();
    const again = new Set(undone);
    undone.clear();
    const visited = new Map<string, Node>();
    const stack: Place[] = [{ disk: root, path: "", key: "", note: null }];
    let seen = 0;
    let isWhole = false;
    try {
      for (let place = stack.pop(), count = 1; place !== undefined; place = stack.pop(), count++) {
        signal.throwIfAborted();
        if (count % foldersAtOnce === 0) await new Promise(setImmediate);
        const before = known.get(place.path);
        const stats = statsOf(place.disk);
        const changedNs = stats && now() - Number(stats.mtimeNs / 1_000_000n) > grainMs ? stats.mtimeNs : null;
        const stands = before?.isDone && before.changedNs !== null && before.changedNs === stats?.mtimeNs;
        if (stands && !full && !dirty.has(place.path)) {
          visited.set(place.path, before);
          seen += before.files;
          stack.push(...before.below);
          continue;
        }
        const entries = await entriesOf(place, pace);
        if (!Array.isArray(entries)) {
          if (place.path === "" || identityOf(rootStats(root)) !== identityOf(first)) throw lostRoot(root);
          yield {
            folder: place.path,
            files: [],
            oddities: [entries],
            excludedFiles: 0,
            isAnew: false,
            done: () => undefined,
          };
          // What was in it is not gone.
          if (before && entries.kind === "unreadable_folder") visited.set(place.path, before);
          continue;
        }
        if (place.path === "") {
          if (entries.length === 0 && hadEntries) throw emptied(root);
          hadEntries = entries.length > 0;
        }
        const node: Node = { changedNs, isDone: false, done: new Set(), below: [], files: 0 };
        const isKnown = (print: number, path: string): boolean => before?.done.has(print) === true && !again.has(path);
        const found = await news(place, entries, node, isKnown);
        found.isAnew = isAnew && place.path === "";
        visited.set(place.path, node);
        known.set(place.path, node);
        seen += node.files;
        stack.push(...node.below);
        if (found.oddities.length > 0 && identityOf(rootStats(root)) !== identityOf(first)) throw lostRoot(root);
        if (found.isAnew || found.files.length + found.oddities.length > 0) yield found;
      }
      isWhole = true;
    } finally {
      // What was to be listed still is.
      if (!isWhole) {
        for (const folder of dirty) touched.add(folder);
        for (const path of again) undone.add(path);
      }
    }
    identity = identityOf(first);
    nodes = visited;
    files = seen;
    folders = [...visited.keys()];
  }

  const forget = (): void => {
    nodes = new Map();
  };

  return {
    root,
    scan: plain.scan,
    changes,
    async look(path) {
      const found = await stateOf(childPath(root, path));
      if (found !== null) return found;
      if (await isGone()) throw lostRoot(root);
      // The root is there: was it so when the file was looked for?
      return stateOf(childPath(root, path));
    },
    touch: (folder) => void touched.add(folder),
    undo(paths) {
      for (const path of paths) {
        undone.add(path);
        touched.add(path.slice(0, path.lastIndexOf("/") + 1));
      }
    },
    forget,
    expectFiles() {
      hadEntries = true;
    },
    get files() {
      return files;
    },
    get folders() {
      return folders;
    },
  };
}

const identityOf = ({ dev, ino }: { dev: number | bigint; ino: number | bigint }): string => `${dev}:${ino}`;

function placeOf(frame: Frame, entry: Entry): Place {
  const key = frame.key === null || entry.key === null ? null : `${frame.key}${entry.key}/`;
  return {
    disk: childPath(frame.disk, entry.disk),
    path: `${frame.path}${entry.name}/`,
    key,
    note: noteBelow(frame, entry),
  };
}

const seenFile = (
  frame: Frame,
  entry: Entry,
  look: { sizeBytes: number; mtimeNs: bigint; inode: bigint },
  print: number,
): SeenFile => ({ ...scannedFile(frame, entry, look.sizeBytes, look.mtimeNs), inode: look.inode, print });

function statsOf(path: DiskPath): BigIntStats | null {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
}

const stateOf = async (path: DiskPath) => fileState(statsOf(path));

/** The entries of a folder, or what is odd about it. */
async function entriesOf(
  place: Place,
  pace: Pace,
): Promise<Entry[] | { path: string; kind: "vanished" | "unreadable_folder" }> {
  try {
    return await listDirectory(place.disk, pace);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    const kind = errno === "ENOENT" || errno === "ENOTDIR" ? "vanished" : "unreadable_folder";
    return { path: place.path.slice(0, -1), kind };
  }
}

const emptied = (root: string): UploaderError =>
  new UploaderError("source_missing", `the source "${root}" is empty, and was not before`, {
    hint: "if its card or share is away, put it back; what is in the store stays there in any case",
  });
