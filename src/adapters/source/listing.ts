import { isUtf8 } from "node:buffer";
import { type Dirent, readdirSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { compareKeys, displayBytes, type SegmentKey, siblingKeys } from "../../core/key.ts";
import type { OddKind } from "../../core/ports.ts";
import type { Pace } from "../pace.ts";

/** An absolute path for the file system; bytes when a segment of it is not UTF-8. */
export type DiskPath = string | Buffer;

export function childPath(parent: DiskPath, name: string | Buffer): DiskPath {
  if (typeof parent === "string" && typeof name === "string") return `${parent}/${name}`;
  return Buffer.concat([Buffer.from(parent), Buffer.from("/"), Buffer.from(name)]);
}

/** One name in a directory. */
export interface Entry {
  /** As on disk; odd bytes shown as `\xNN` when the name is not UTF-8. */
  name: string;
  disk: string | Buffer;
  /** `null` when the name is not UTF-8. */
  key: string | null;
  note: SegmentKey["note"] | null;
  kind: "file" | "directory" | OddKind;
  /** Its place among its siblings: a directory sorts as the keys below it do. */
  order: string;
}

const kinds: readonly [Entry["kind"], (entry: Dirent | Dirent<Buffer>) => boolean][] = [
  ["file", (entry) => entry.isFile()],
  ["directory", (entry) => entry.isDirectory()],
  ["symlink", (entry) => entry.isSymbolicLink()],
  ["fifo", (entry) => entry.isFIFO()],
  ["socket", (entry) => entry.isSocket()],
];

function kindOf(entry: Dirent | Dirent<Buffer>): Entry["kind"] {
  return kinds.find(([, is]) => is(entry))?.[0] ?? "device";
}

type Names = (Dirent | Dirent<Buffer>)[];

const isOdd = ({ name }: Dirent): boolean => name.includes("\ufffd");

/** Node reads a byte that is not UTF-8 as U+FFFD, which no longer opens the file: such a directory is read again as bytes. */
async function namesAside(disk: DiskPath): Promise<Names> {
  const entries = await readdir(disk, { withFileTypes: true });
  return entries.some(isOdd) ? readdir(disk, { withFileTypes: true, encoding: "buffer" }) : entries;
}

function namesNow(disk: DiskPath): Names {
  const entries = readdirSync(disk, { withFileTypes: true });
  return entries.some(isOdd) ? readdirSync(disk, { withFileTypes: true, encoding: "buffer" }) : entries;
}

function nameOf(disk: string | Buffer): Pick<Entry, "name" | "disk" | "key"> {
  if (typeof disk === "string") return { name: disk, disk, key: disk };
  if (!isUtf8(disk)) return { name: displayBytes(disk), disk, key: null };
  const name = disk.toString();
  return { name, disk: name, key: name };
}

/**
 * The entries of one directory in the byte order of the keys below them. With a pace they are read at once while the
 * disk is quick: a directory costs 40 us so, and 200 by way of the thread pool (6,000 directories, both processors busy).
 */
export async function listDirectory(disk: DiskPath, pace: Pace | null = null): Promise<Entry[]> {
  const dirents = pace === null ? await namesAside(disk) : (await pace.each([disk], namesNow, namesAside))[0]!;
  const names = dirents.map((dirent) => nameOf(dirent.name));
  const keys = siblingKeys(names.map(({ key }) => key).filter((key) => key !== null));
  const entries = dirents.map((dirent, at): Entry => {
    const name = names[at]!;
    const own = name.key === null ? undefined : keys.get(name.key);
    const kind = kindOf(dirent);
    const key = own?.key ?? name.key;
    const order = kind === "directory" ? `${key ?? name.name}/` : (key ?? name.name);
    return { name: name.name, disk: name.disk, key, note: own?.note ?? null, kind, order };
  });
  return entries.sort((a, b) => compareKeys(a.order, b.order));
}
