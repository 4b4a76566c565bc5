/** The file that an ECG program keeps its users in: read, never sent. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { join, relative } from "node:path";
import { errnoOf } from "./errno.ts";

export interface UsersFileOptions {
  /** Real path of the source. */
  root: string;
  /** Absolute; null: users.json in the source, if there is one. */
  path: string | null;
}

const maxBytes = 16 * 1024 * 1024;

export function openUsersFile({ root, path: named }: UsersFileOptions) {
  const path = named ?? join(root, "users.json");
  const below = relative(root, path);
  // Within a source no symlink is followed, and no fifo's writer waited for.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (named === null ? constants.O_NOFOLLOW : 0);
  return {
    path: below.startsWith("..") ? path : below,
    async read(): Promise<{ text: string } | { problem: string } | null> {
      try {
        const file = await open(path, flags);
        try {
          const stats = await file.stat();
          if (!stats.isFile()) return { problem: `${path} is no file: no sign-up is sent` };
          if (stats.size > maxBytes) return { problem: `${path} is too large for a users file: no sign-up is sent` };
          return { text: await file.readFile("utf8") };
        } finally {
          await file.close();
        }
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === null) throw error;
        if (errno === "ENOENT" && named === null) return null;
        const why = errno === "ENOENT" ? "does not exist" : `cannot be read (${errno})`;
        return { problem: `the users file ${path} ${why}: no sign-up is sent` };
      }
    },
  };
}
