/** Where `decode` puts what it made: under a temporary name first, under the final one when it is whole. */
import { rmSync } from "node:fs";
import { access, constants, link, lstat, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { OutputFolder } from "../../core/decoding.ts";
import { UploaderError } from "../../core/errors.ts";
import { errnoOf } from "../errno.ts";
import { publishNew } from "../folder/publish.ts";
import { temporaryName } from "../folder/temporary.ts";

const roomBytes = 2 ** 18;

export interface OutputFolderOptions {
  folder: string;
  /** Files that are never replaced. */
  sources: readonly string[];
  random(): number;
}

/**
 * Makes the folder when it is not there.
 *
 * @throws UploaderError `usage` when it cannot be made or written to
 */
export async function openOutputFolder({ folder, sources, random }: OutputFolderOptions): Promise<OutputFolder> {
  try {
    await makeFolder(folder);
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    throw new UploaderError("usage", `nothing can be written into ${folder} (${errno})`, {
      cause: error,
      hint: "name another folder with --out",
    });
  }
  const open = new Set<string>();
  // Also when a second Ctrl-C ends the process at once.
  const sweep = (): void => {
    for (const path of open) rmSync(path, { force: true });
  };
  process.on("exit", sweep);

  return {
    temporary() {
      const path = join(folder, temporaryName(random));
      open.add(path);
      return path;
    },
    async publish(temporary, name, replace) {
      const final = join(folder, name);
      const standing = await kindOf(final);
      if (standing !== "nothing" && standing !== "file") {
        throw new UploaderError("usage", `${final} is there already, and is no regular file`);
      }
      if (standing === "file" && (await isSame(temporary, final))) return "same";
      if (standing === "nothing" || !replace) {
        const isNew =
          standing === "nothing" &&
          (await publishNew(temporary, final, Buffer.alloc(roomBytes), { link, nowMs: Date.now }));
        if (isNew) return "written";
        throw new UploaderError("usage", `${final} is there already, with other content`, {
          hint: "--force replaces it; --out names another folder",
        });
      }
      if (await isOneOf(final, sources)) {
        throw new UploaderError("usage", `${final} is the recording itself`, {
          hint: "name another folder with --out",
        });
      }
      await rename(temporary, final);
      return "replaced";
    },
    async discard(temporary) {
      await rm(temporary, { force: true });
      open.delete(temporary);
    },
    close() {
      process.off("exit", sweep);
    },
  };
}

/** With the folders above it. Node's own way of doing so never ends where a folder takes no entries, as in /proc. */
async function makeFolder(path: string): Promise<void> {
  const make = () =>
    mkdir(path).catch(async (error: unknown) => {
      if (errnoOf(error) !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
    });
  await make().catch(async (error: unknown) => {
    if (errnoOf(error) !== "ENOENT" || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await make();
  });
}

async function kindOf(path: string): Promise<"nothing" | "file" | "other"> {
  try {
    return (await lstat(path)).isFile() ? "file" : "other";
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "nothing";
    throw error;
  }
}

async function isOneOf(path: string, others: readonly string[]): Promise<boolean> {
  const { dev, ino } = await stat(path);
  for (const other of others) {
    const known = await stat(other).catch(() => null);
    if (known?.dev === dev && known.ino === ino) return true;
  }
  return false;
}

async function isSame(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([open(one, "r"), open(other, "r")]);
  try {
    if ((await a.stat()).size !== (await b.stat()).size) return false;
    const [left, right] = [Buffer.alloc(roomBytes), Buffer.alloc(roomBytes)];
    for (;;) {
      const [{ bytesRead: got }, { bytesRead: too }] = await Promise.all([a.read(left), b.read(right)]);
      if (got !== too || left.compare(right, 0, too, 0, got) !== 0) return false;
      if (got === 0) return true;
    }
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}
