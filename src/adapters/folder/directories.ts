import { lstat, mkdir, open, readdir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../errno.ts";
import { blockedKey } from "./faults.ts";
import { shareRuns } from "./shared-runs.ts";
import { isAbandoned, isTemporary } from "./temporary.ts";

export interface Directories {
  /** The absolute path of a key's directory (`""` is the root): made, durable, swept of what killed processes left. */
  ensure(keyDirectory: string): Promise<string>;
  /** Returns when every name put into the directory before the call is durable. */
  sync(directory: string): Promise<void>;
  /** Something was not as remembered: look again. */
  forget(): void;
}

export interface DirectoriesOptions {
  root: string;
  fsync: boolean;
  nowMs: () => number;
  /** Makes the root if that is allowed; asked before anything is made below it. */
  ensureRoot(): Promise<void>;
}

/** A bound on what is remembered: an archive may have any number of directories. */
const rememberedDirectories = 10_000;

export function openDirectories({ root, fsync, nowMs, ensureRoot }: DirectoriesOptions): Directories {
  const ready = new Map<string, Promise<string>>();
  const sync = fsync ? shareRuns(syncDirectory) : async () => {};

  async function prepare(keyDirectory: string): Promise<string> {
    await ensureRoot();
    const path = join(root, keyDirectory);
    if (keyDirectory !== "") {
      const parent = await ensure(parentKey(keyDirectory));
      await makeDirectory(path);
      // Also when it was there: whoever made it may have been killed before its name was durable.
      await sync(parent);
    }
    await sweep(path, nowMs());
    return path;
  }

  function ensure(keyDirectory: string): Promise<string> {
    const known = ready.get(keyDirectory);
    if (known !== undefined) return known;
    if (ready.size >= rememberedDirectories) ready.clear();
    const preparing = prepare(keyDirectory);
    ready.set(keyDirectory, preparing);
    preparing.catch(() => ready.delete(keyDirectory));
    return preparing;
  }

  return { ensure, sync, forget: () => ready.clear() };
}

/** The directory part of a key; `""` at the root. */
export function parentKey(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf("/")));
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    if (!(await stat(path)).isDirectory()) throw blockedKey(path);
  }
}

/** Some file systems, network ones above all, have no fsync for directories and say so with one of these. */
const syncless = ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"];

/** Makes the names in a directory durable, for whoever makes one. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } catch (error) {
    if (!syncless.includes(errnoOf(error) ?? "")) throw error;
  } finally {
    await directory.close();
  }
}

/** Removes what killed processes left in a directory; a live one writes to its file, so its change time is fresh. */
async function sweep(directory: string, nowMs: number): Promise<void> {
  for (const name of (await readdir(directory)).filter(isTemporary)) {
    const path = join(directory, name);
    try {
      if (isAbandoned(name, (await lstat(path)).ctimeMs, nowMs)) await unlink(path);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}
