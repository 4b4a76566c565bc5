import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { UploaderError } from "../../core/errors.ts";
import { errnoOf } from "../errno.ts";
import { writeFully } from "./content.ts";

export type Link = (existing: string, added: string) => Promise<void>;

export interface PublishTools {
  link: Link;
  nowMs: () => number;
}

/** How file systems without hard links (FAT, exFAT, some network shares) refuse one. */
const linkless = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"];

/** A file being copied is written to all the time; one untouched for so long was left by a kill. */
const stillCopyingMs = 60_000;

/**
 * Gives a finished temporary file its final name, if that name is free; `false` when it is taken. Never overwrites.
 * Without hard links the content is copied into an exclusively created file; when a kill cuts that short, a later call
 * finds a beginning of its own content and adds the rest, which its caller then sees as taken by these very bytes.
 */
export async function publishNew(
  temporary: string,
  final: string,
  room: Buffer,
  { link, nowMs }: PublishTools,
): Promise<boolean> {
  try {
    await link(temporary, final);
    return true;
  } catch (error) {
    const errno = errnoOf(error) ?? "";
    if (errno !== "EEXIST" && !linkless.includes(errno)) throw error;
    if (errno !== "EEXIST" && (await createNew(temporary, final, room))) return true;
  }
  if (await isCutShort(temporary, final, room, link)) {
    if (nowMs() - (await stat(final)).mtimeMs < stillCopyingMs) {
      throw new UploaderError("key_busy", `${final} is being written by somebody, or was until a moment ago`);
    }
    await withFile(final, "r+", (file) => copyRest(temporary, file, room));
  }
  return false;
}

/** Copies into a file that nobody else made; `false` when somebody did. */
async function createNew(temporary: string, final: string, room: Buffer): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(final, "wx");
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
  try {
    await copyRest(temporary, file, room);
    return true;
  } catch (error) {
    await unlink(final);
    throw error;
  } finally {
    await file.close();
  }
}

/** Appends what `temporary` has more, with its times, and makes it durable. */
async function copyRest(temporary: string, target: FileHandle, room: Buffer): Promise<void> {
  await withFile(temporary, "r", async (source) => {
    let position = (await target.stat()).size;
    for (let got = -1; got !== 0; position += got) {
      got = (await source.read(room, 0, room.length, position)).bytesRead;
      await writeFully(target, room.subarray(0, got), position);
    }
    const { atime, mtime } = await source.stat();
    await target.utimes(atime, mtime);
    await target.sync();
  });
}

/** Is `final` a beginning of this very content, on a file system that lets a kill leave such? */
async function isCutShort(temporary: string, final: string, room: Buffer, link: Link): Promise<boolean> {
  const standing = await stat(final);
  if (!standing.isFile() || standing.size >= (await stat(temporary)).size) return false;
  return !(await canLink(temporary, link)) && (await isBeginning(final, temporary, room));
}

async function canLink(temporary: string, link: Link): Promise<boolean> {
  const second = temporary.replace(/\.partial$/, "0.partial");
  try {
    await link(temporary, second);
  } catch (error) {
    if (linkless.includes(errnoOf(error) ?? "")) return false;
    throw error;
  }
  await unlink(second);
  return true;
}

async function isBeginning(short: string, long: string, room: Buffer): Promise<boolean> {
  const half = Math.floor(room.length / 2);
  return withFile(short, "r", (a) =>
    withFile(long, "r", async (b) => {
      for (let position = 0; ; ) {
        const { bytesRead } = await a.read(room, 0, half, position);
        if (bytesRead === 0) return true;
        await b.read(room, half, bytesRead, position);
        if (!room.subarray(0, bytesRead).equals(room.subarray(half, half + bytesRead))) return false;
        position += bytesRead;
      }
    }),
  );
}

async function withFile<T>(path: string, flags: string, work: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, flags);
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}
