import { createHash } from "node:crypto";
import { chownSync, existsSync, lstatSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UploaderError } from "../../core/errors.ts";
import { canEnter, type ServerUser } from "./server-user.ts";

/** Names the socket's file; there is no TCP port. */
export const port = 5432;

export const socketFile = (directory: string): string => join(directory, `.s.PGSQL.${port}`);

/** unix(7): sun_path has 108 bytes on Linux and 104 on macOS, the last one a NUL. */
const longestPath = process.platform === "linux" ? 107 : 103;

/**
 * Makes the folder (0700) of this state folder's socket: below XDG_RUNTIME_DIR, else the temporary folder, else /tmp.
 * Its name says uid and state folder, so one that a crash left is found again; somebody else's is never used.
 */
export function openSocketDirectory(stateRoot: string, user: ServerUser, env: NodeJS.ProcessEnv): string {
  const owner = user?.uid ?? process.getuid?.() ?? 0;
  const name = `uploader-${owner}-${createHash("sha256").update(stateRoot).digest("hex").slice(0, 12)}`;
  const places = [...(user === null && env.XDG_RUNTIME_DIR ? [env.XDG_RUNTIME_DIR] : []), tmpdir(), "/tmp"];
  let refused: unknown = null;
  for (const place of places) {
    const directory = join(place, name);
    if (Buffer.byteLength(socketFile(directory)) > longestPath) continue;
    try {
      if (!canEnter(user, place)) continue;
      makeOwn(directory, owner, user);
      return directory;
    } catch (error) {
      refused = error;
    }
  }
  throw new UploaderError(
    "database_refused",
    `no folder for the database's socket could be made in ${places.join(", ")}`,
    {
      hint: "set TMPDIR to a folder with a short path that only you can write to",
      cause: refused,
    },
  );
}

/** Removes what a server leaves there, also after a crash, and nothing else: root must not follow a forged path. */
export function closeSocketDirectory(directory: string): void {
  const socket = socketFile(directory);
  for (const file of [socket, `${socket}.lock`]) rmSync(file, { force: true });
  if (existsSync(directory)) rmdirSync(directory);
}

function makeOwn(directory: string, owner: number, user: ServerUser): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
    if (user !== null) chownSync(directory, user.uid, user.gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const found = lstatSync(directory);
    if (!found.isDirectory() || found.uid !== owner || (found.mode & 0o777) !== 0o700) {
      throw new UploaderError("database_refused", `${directory} exists and is not ours alone`, {
        hint: "remove it, or set TMPDIR to a folder of your own",
      });
    }
  }
}
