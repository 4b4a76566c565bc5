import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { errnoOf } from "../errno.ts";
import { writeFully } from "./content.ts";

export type Link = (existing: string, added: string) => Promise<void>;

/** How file systems without hard links (FAT, exFAT, some network shares) refuse one. */
const linkless = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

/**
 * Gives a finished temporary file its final name, if that name is free; `false` when it is taken. Never overwrites.
 * Without hard links the content is copied into an exclusively created file; if we are killed in the middle of that,
 * the next call finds a beginning of its own content and adds the rest, which the caller sees as taken by itself.
 */
export async function publishNew(temporary: string, final: string, link: Link, room: Buffer): Promise<boolean> {
  try {
    await link(temporary, final);
    return true;
  } catch (error) {
    const errno = errnoOf(error) ?? "";
    if (errno === "EEXIST") {
      if (await isCutShort(temporary, final, link, room)) await copyTail(temporary, final, "r+", room);
      return false;
    }
    if (!linkless.includes(errno)) throw error;
  }
  return createNew(temporary, final, room);
}

async function createNew(temporary: string, final: string, room: Buffer): Promise<boolean> {
  try {
    await copyTail(temporary, final, "wx", room);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    await unlink(final);
    throw error;
  }
}

/** Appends to `final` what `temporary` has more, and makes it durable with the temporary file's times. */
async function copyTail(temporary: string, final: string, flags: "wx" | "r+", room: Buffer): Promise<void> {
  await withFile(temporary, "r", (from) =>
    withFile(final, flags, async (to) => {
      let position = (await to.stat()).size;
      for (let got = -1; got !== 0; position += got) {
        got = (await from.read(room, 0, room.length, position)).bytesRead;
        await writeFully(to, room.subarray(0, got), position);
      }
      const { atime, mtime } = await from.stat();
      await to.utimes(atime, mtime);
      await to.sync();
    }),
  );
}

/** Is `final` what a killed process left of this very content, on a file system without hard links? */
async function isCutShort(temporary: string, final: string, link: Link, room: Buffer): Promise<boolean> {
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
        const other = await b.read(room, half, bytesRead, position);
        const mine = room.subarray(0, bytesRead);
        if (!mine.equals(room.subarray(half, half + other.bytesRead))) return false;
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
