/** Names that are not UTF-8 lose their bytes on the way into a program; the directory they lie in still has them. */
import { existsSync, readdirSync } from "node:fs";
import { displayBytes } from "../core/key.ts";
import { childPath, type DiskPath } from "./source/listing.ts";

/** As Node reads such a name from the command line, and as a listing shows it (`displayBytes`). */
const mayBeOdd = /\ufffd|\\x[0-9a-f]{2}/;

/**
 * What opens the file that `path` means: the path, or bytes where exactly one name on disk reads like a segment of it.
 * The path itself where none does, or several do.
 */
export function onDisk(path: string): DiskPath {
  if (!mayBeOdd.test(path) || existsSync(path)) return path;
  let disk: DiskPath = path.startsWith("/") ? "" : ".";
  for (const segment of path.split("/").filter((each) => each !== "")) {
    const name = mayBeOdd.test(segment) ? nameLike(disk || "/", segment) : segment;
    if (name === null) return path;
    disk = childPath(disk, name);
  }
  return disk;
}

function nameLike(folder: DiskPath, segment: string): Buffer | null {
  const names = readable(folder).filter((name) => name.toString() === segment || displayBytes(name) === segment);
  return names.length === 1 ? names[0]! : null;
}

function readable(folder: DiskPath): Buffer[] {
  try {
    return readdirSync(folder, { encoding: "buffer" });
  } catch {
    return [];
  }
}
