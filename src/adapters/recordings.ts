/** Recordings on disk: found by their header, read in pieces, never through a symlink and never for writing. */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { type ErrorCode, UploaderError } from "../core/errors.ts";
import { looksLikeShimmer, mayBeShimmer, shimmerHeaderBytes } from "../core/file-kinds.ts";
import { groupSessions, type Part } from "../shimmer/index.ts";
import { onDisk } from "./disk-name.ts";
import { errnoOf } from "./errno.ts";
import { openSourceTree } from "./source-tree.ts";

/** O_NONBLOCK: a fifo in the file's place would block its opener for ever. */
const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Reading takes no longer in larger pieces, and a thread's memory stays small. */
const pieceBytes = 2 ** 20;

/** A part with what it was when it was opened. */
export interface FilePart extends Part {
  sizeBytes: number;
  mtimeNs: bigint;
}

/**
 * A file as the decoder reads it: again and again, each time from its first byte, in one borrowed buffer.
 *
 * @throws UploaderError `file_gone`, `file_forbidden`, `file_unreadable`; while reading also `not_ready`, when the file
 * is no longer the one that was opened first
 */
export function openPart(path: string, name: string): FilePart {
  const asOpened = withFile(path, name, (_, stats) => stats);
  const assertSame = (now: BigIntStats): void => {
    if (now.size === asOpened.size && now.mtimeNs === asOpened.mtimeNs) return;
    throw new UploaderError("not_ready", `${name} changed while it was read`, {
      hint: "decode it again when nobody writes it any more",
    });
  };
  return {
    name,
    sizeBytes: Number(asOpened.size),
    mtimeNs: asOpened.mtimeNs,
    *chunks() {
      const { file, stats } = openNow(path, name);
      try {
        assertSame(stats);
        const room = Buffer.allocUnsafeSlow(Math.max(1, Math.min(pieceBytes, Number(stats.size))));
        for (;;) {
          const got = readNow(file, room, name);
          if (got === 0) break;
          yield room.subarray(0, got);
        }
        assertSame(fstatSync(file, { bigint: true }));
      } finally {
        closeSync(file);
      }
    },
  };
}

/** Does the file begin with a Shimmer header? One that cannot be read does not. */
export async function isRecording(path: string): Promise<boolean> {
  const head = new Uint8Array(shimmerHeaderBytes);
  try {
    const file = await open(onDisk(path), readOnly);
    try {
      if (!(await file.stat()).isFile()) return false;
      return looksLikeShimmer(head.subarray(0, (await file.read(head, 0, head.length, 0)).bytesRead));
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return false;
  }
}

const unreadableName =
  "the name is not UTF-8, and no name or more than one reads like it: rename it, or name a folder above it";

/** @throws UploaderError `source_missing` when nothing is there */
export function isFolder(path: string): boolean {
  try {
    return statSync(onDisk(path)).isDirectory();
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    const hint = path.includes("\ufffd") ? unreadableName : "name a recording, or a folder of recordings";
    throw new UploaderError("source_missing", `${path} is not there`, { cause: error, hint });
  }
}

/**
 * Recordings below a folder, relative to it, in the order of their names: files that begin with a Shimmer header, and
 * those that are named like a part of a session, which must not go missing because their beginning is broken. Names that
 * are not UTF-8 as a listing shows them, which opens here.
 */
export async function findRecordings(folder: string, signal: AbortSignal): Promise<string[]> {
  if (typeof onDisk(folder) !== "string") {
    const hint = "name the folder above it, or rename it";
    throw new UploaderError("source_missing", `${folder}: the folder's name is not UTF-8`, { hint });
  }
  const tree = openSourceTree({ root: folder, include: ["**"], exclude: [] });
  const found: string[] = [];
  for await (const { files } of tree.scan(signal)) {
    for (const { path } of files) {
      if (!mayBeShimmer(path)) continue;
      const isNamedSo = groupSessions([path])[0]!.key !== path;
      if (isNamedSo || (await isRecording(`${tree.root}/${path}`))) found.push(path);
    }
  }
  return found;
}

function withFile<T>(path: string, name: string, work: (file: number, stats: BigIntStats) => T): T {
  const { file, stats } = openNow(path, name);
  try {
    return work(file, stats);
  } finally {
    closeSync(file);
  }
}

function openNow(path: string, name: string): { file: number; stats: BigIntStats } {
  const file = translated(name, () => openSync(onDisk(path), readOnly));
  const stats = fstatSync(file, { bigint: true });
  if (stats.isFile()) return { file, stats };
  closeSync(file);
  throw new UploaderError("file_gone", `${name} is not a regular file`);
}

function readNow(file: number, room: Buffer, name: string): number {
  return translated(name, () => readSync(file, room, 0, room.length, null));
}

const byErrno: Readonly<Record<string, { code: ErrorCode; says: string; hint?: string }>> = {
  ENOENT: { code: "file_gone", says: "is not there" },
  ENOTDIR: { code: "file_gone", says: "is not there" },
  ENXIO: { code: "file_gone", says: "is not a regular file" },
  ELOOP: { code: "file_gone", says: "is a symbolic link", hint: "links are not followed: name the file itself" },
  EACCES: { code: "file_forbidden", says: "may not be read by this user" },
  EPERM: { code: "file_forbidden", says: "may not be read by this user" },
};

function translated<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    const { code, says, hint } = byErrno[errno] ?? {
      code: "file_unreadable" as const,
      says: `cannot be read (${errno})`,
      hint: "check the disk or card it is on",
    };
    throw new UploaderError(code, `${name} ${says}`, { cause: error, ...(hint === undefined ? {} : { hint }) });
  }
}
