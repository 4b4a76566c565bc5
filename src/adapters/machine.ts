/** Facts about this machine that decide whether a long run will last. */
import { readFileSync, statfsSync } from "node:fs";
import { UploaderError } from "../core/errors.ts";

/** Descriptors this process may open; null where the system does not say (macOS). */
export function openFilesLimit(): number | null {
  const line = readText("/proc/self/limits")
    ?.split("\n")
    .find((each) => each.startsWith("Max open files"));
  const soft = line?.split(/\s{2,}/)[1];
  return soft === undefined ? null : soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

/** Folders that can be watched for events; null where there is no inotify. */
export function watchLimit(): number | null {
  const text = readText("/proc/sys/fs/inotify/max_user_watches");
  return text === null ? null : Number(text);
}

/** Free bytes for an ordinary user on the file system of `path`. */
export function freeBytes(path: string): number {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch (error) {
    throw new UploaderError("source_missing", `${path} cannot be looked at: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null; // Another system: the fact is unknown, which is an answer.
  }
}
