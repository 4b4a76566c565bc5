import { mkdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { UploaderError } from "../../core/errors.ts";
import { errnoOf } from "../errno.ts";
import { syncDirectory } from "./directories.ts";
import { folderFault } from "./faults.ts";

/** The destination's own folder: where it is, and whether it is still the one we began with. */
export interface FolderRoot {
  readonly path: string;
  /** Is it there? Throws `store_unreachable` when it was and is not, or when what was mounted there is not. */
  locate(): Promise<boolean>;
  /** Makes it on first use when that is allowed, never again after it was seen: an unmounted disk must not be refilled. */
  ensure(): Promise<void>;
}

export async function openFolderRoot(folder: string, createRoot: boolean): Promise<FolderRoot> {
  const path = await realPathOf(folder).catch((error) => refuse(folder, error));
  let wasThere = false;
  let wasMount = false;

  async function locate(): Promise<boolean> {
    const found = await statsOf(path);
    if (found === null) {
      if (wasThere) throw lost(path);
      if (!createRoot) throw missing(path);
      return false;
    }
    if (!found.isDirectory()) throw notAFolder(path);
    const isMount = found.dev !== (await stat(dirname(path))).dev;
    if (wasMount && !isMount) throw lost(path);
    wasThere = true;
    wasMount = isMount;
    return true;
  }

  async function ensure(): Promise<void> {
    if (await locate()) return;
    const first = await mkdir(path, { recursive: true });
    for (let made = path; first !== undefined && made.length >= first.length; made = dirname(made)) {
      await syncDirectory(dirname(made));
    }
    await locate();
  }

  if ((await statsOf(path)) !== null) await locate();
  return { path, locate, ensure };
}

async function statsOf(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    return errnoOf(error) === "ENOENT" ? null : refuse(path, error);
  }
}

/** About the root itself a file in the way is no matter of keys. */
function refuse(path: string, error: unknown): never {
  throw errnoOf(error) === "ENOTDIR" ? notAFolder(path) : folderFault(path, error);
}

/** The nearest folder at or above `path` that exists. */
export async function nearestFolder(path: string): Promise<string> {
  return (await statsOf(path)) !== null || dirname(path) === path ? path : nearestFolder(dirname(path));
}

/** The real path; of a folder that does not exist yet, the one it will have. */
export async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" || dirname(path) === path) throw error;
    return join(await realPathOf(dirname(path)), basename(path));
  }
}

/** Refuses a destination inside its source, the reverse, and both the same; symlinks on the way do not hide it. */
export async function assertDisjoint(source: string, destination: string): Promise<void> {
  const [from, to] = [withSlash(await realPathOf(source)), withSlash(await realPathOf(destination))];
  if (!to.startsWith(from) && !from.startsWith(to)) return;
  const relation = from === to ? "the same as" : to.startsWith(from) ? "inside" : "around";
  throw new UploaderError("config_invalid", `the destination "${destination}" is ${relation} the source "${source}"`, {
    hint: "choose a destination outside the source",
  });
}

const withSlash = (path: string) => (path.endsWith(sep) ? path : path + sep);

const missing = (path: string) =>
  new UploaderError("bucket_missing", `the destination folder "${path}" does not exist`, {
    hint: "make it, or check that its disk is mounted",
  });

const notAFolder = (path: string) =>
  new UploaderError("bucket_missing", `the destination "${path}" is a file, or below one, not a folder`, {
    hint: "give the path of a folder",
  });

const lost = (path: string) =>
  new UploaderError("store_unreachable", `the destination folder "${path}" went away`, {
    hint: "check that its disk or share is mounted",
  });
