import { constants, lstatSync, type Stats } from "node:fs";
import { access, link, lstat, statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { keyProblem } from "../core/key.ts";
import { startDigest } from "../core/object-digest.ts";
import type {
  Bandwidth,
  Body,
  Destination,
  DestinationReport,
  DigestForm,
  FoundObject,
  PutHooks,
  PutJob,
  PutOutcome,
} from "../core/ports.ts";
import { errnoOf } from "./errno.ts";
import { compareSource, copyBytes, digestObject, readObject } from "./folder/content.ts";
import { openDirectories } from "./folder/directories.ts";
import { folderFault } from "./folder/faults.ts";
import type { Link } from "./folder/publish.ts";
import { createPut } from "./folder/put.ts";
import { nearestFolder, openFolderRoot } from "./folder/root.ts";
import { createPace } from "./pace.ts";
import { createBufferPool } from "./s3/buffers.ts";
import { openSource } from "./s3/source.ts";

export { assertDisjoint, realPathOf } from "./folder/root.ts";

export interface FolderOptions {
  /** The folder below which keys are relative paths. */
  root: string;
  /** May it be made if it does not exist? The first `put` makes it, nothing else does. */
  createRoot: boolean;
  /** Without it nothing is proven but sizes: for measurements. */
  fsync?: boolean;
  /** Buffers in use at one time, in bytes. */
  bytesInFlight?: number;
  /** Absent: as fast as it goes. */
  bandwidth?: Bandwidth;
  nowMs?: () => number;
  /** From 0 up to 1. */
  random?: () => number;
  onNotice?: (message: string) => void;
  /** Makes a hard link, or fails as a file system without them does. */
  link?: Link;
}

/**
 * A folder that stores keys as files. Each is written under a temporary name, made durable, and given its name by a
 * hard link, which never overwrites. An object's ETag is its CRC-32 and size; `find` tells sizes only, `head` reads.
 */
export async function openFolderDestination(options: FolderOptions): Promise<Destination> {
  const { fsync = true, nowMs = Date.now, random = Math.random, onNotice = () => {}, link: makeLink = link } = options;
  const root = await openFolderRoot(resolve(options.root), options.createRoot);
  const directories = openDirectories({ root: root.path, fsync, nowMs, ensureRoot: root.ensure });
  const { bandwidth } = options;
  const putSource = createPut({ directories, fsync, random, onNotice, link: makeLink, nowMs, bandwidth });
  const buffers = createBufferPool(options.bytesInFlight ?? 64 * copyBytes);
  const pace = createPace();

  async function withRoom<T>(signal: AbortSignal, work: (room: Buffer) => Promise<T>): Promise<T> {
    const lease = await buffers.take(copyBytes, signal);
    try {
      return await work(lease.bytes);
    } finally {
      lease.release();
    }
  }

  /** Puts the system's errors in our words; when something is missing, looks whether it is the whole folder. */
  async function told<T>(place: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (errnoOf(error) === "ENOENT") {
        directories.forget();
        await root.locate();
      }
      throw folderFault(place, error);
    }
  }

  async function put(job: PutJob, hooks: PutHooks): Promise<PutOutcome> {
    const problem = keyProblem(job.key);
    if (problem !== null) throw new UploaderError("key_impossible", `${JSON.stringify(job.key)}: ${problem}`);
    hooks.signal.throwIfAborted();
    const source = await openSource(job.body);
    try {
      const moved = await source.moved();
      if (moved !== null) return { outcome: "changed", ...moved };
      return await withRoom(hooks.signal, (room) =>
        told(join(root.path, job.key), () => putSource(source, job, room, hooks)),
      );
    } finally {
      source.close();
    }
  }

  async function find(keys: readonly string[], signal: AbortSignal): Promise<Map<string, FoundObject>> {
    signal.throwIfAborted();
    const found = new Map<string, FoundObject>();
    if (!(await root.locate())) return found;
    const possible = keys.filter((key) => keyProblem(key) === null);
    const looks = await told(root.path, () =>
      pace.each(
        possible,
        (key) => lookNow(join(root.path, key)),
        (key) => lstat(join(root.path, key)).then(sizeOnly, absentIfMissing),
      ),
    );
    for (const [at, object] of looks.entries()) if (object !== null) found.set(possible[at]!, object);
    return found;
  }

  async function head(key: string, signal: AbortSignal): Promise<FoundObject | "absent" | "unknown"> {
    signal.throwIfAborted();
    if (keyProblem(key) !== null || !(await root.locate())) return "absent";
    const path = join(root.path, key);
    const found = await withRoom(signal, (room) => told(path, () => readObject(path, room, signal)));
    return found === "odd" ? "unknown" : found;
  }

  async function readBack(key: string, form: DigestForm, signal: AbortSignal): ReturnType<Destination["readBack"]> {
    signal.throwIfAborted();
    if (keyProblem(key) !== null || !(await root.locate())) return "absent";
    const path = join(root.path, key);
    const read = await withRoom(signal, (room) =>
      told(path, () => digestObject(path, startDigest(form), room, signal)),
    );
    return read === "odd" ? "unknown" : read;
  }

  /** What `find` tells has no checksum: equal sizes are then "unknown", and `head` of the key knows more. */
  async function compare(body: Body, found: FoundObject, signal: AbortSignal) {
    const source = await openSource(body);
    try {
      return await withRoom(signal, (room) => compareSource(source, found, room, signal));
    } finally {
      source.close();
    }
  }

  async function check(signal: AbortSignal): Promise<DestinationReport> {
    signal.throwIfAborted();
    const isThere = await root.locate();
    const folder = isThere ? root.path : await nearestFolder(root.path);
    const space = await told(folder, async () => {
      await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
      return statfs(folder);
    });
    const freeGb = ((space.bavail * space.bsize) / 1e9).toFixed(1);
    const notices = isThere ? [] : [`the folder "${root.path}" does not exist yet: the first file makes it`];
    return { description: `folder ${root.path}, ${freeGb} GB free`, canList: true, notices };
  }

  return {
    kind: "folder",
    identity: `file://${root.path}`,
    check,
    find,
    head,
    compare,
    put,
    readBack,
    close: async () => {},
  };
}

const absentErrors = ["ENOENT", "ENOTDIR", "ENAMETOOLONG", "EINVAL", "EILSEQ"];

/** No file can be under a name that the file system does not take. */
function absentIfMissing(error: unknown): null {
  if (absentErrors.includes(errnoOf(error) ?? "")) return null;
  throw error;
}

function sizeOnly(stats: Stats): FoundObject | null {
  return stats.isFile() ? { sizeBytes: stats.size, etag: null, checksum: null, versionId: null } : null;
}

function lookNow(path: string): FoundObject | null {
  try {
    return sizeOnly(lstatSync(path));
  } catch (error) {
    return absentIfMissing(error);
  }
}
