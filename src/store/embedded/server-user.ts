import { existsSync, openSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Whom the server runs as when we are root, which Postgres refuses; null: as ourselves. */
export type ServerUser = { uid: number; gid: number } | null;

/** The owner of the data there are; for new ones the user `postgres` of this system, else `nobody`. */
export function chooseServerUser(dataDirectory: string): ServerUser {
  if (process.getuid?.() !== 0) return null;
  if (existsSync(dataDirectory)) {
    const { uid, gid } = statSync(dataDirectory);
    if (uid !== 0) return { uid, gid };
  }
  return passwdEntry("postgres") ?? passwdEntry("nobody") ?? { uid: 65534, gid: 65534 };
}

/** passwd(5): name, password, uid, gid. macOS writes nobody's ids as -2. */
function passwdEntry(name: string): ServerUser {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(":") ?? [];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 };
}

/** Whether the server's user may walk every folder down to and including this one, by the permission bits. */
export function canEnter(user: ServerUser, directory: string): boolean {
  if (user === null) return true;
  const { uid, gid, mode } = statSync(directory);
  const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
  const parent = dirname(directory);
  return (mode & bit) !== 0 && (parent === directory || canEnter(user, parent));
}

/** A folder as a program of the server's user can name it. */
export interface Handover {
  name: string;
  /** To be the program's descriptor 3, and closed by us afterwards; null when the name is the plain path. */
  descriptor: number | null;
}

/**
 * Names the data directory for the server's user. Where that user may not walk the path (a state folder below /root or
 * a private temporary folder) the folder itself is handed over as an open descriptor: Postgres enters it once, then
 * works with relative names only. Linux, where /proc/self/fd leads to the folder and not along its path.
 */
export function handOver(user: ServerUser, directory: string): Handover {
  if (canEnter(user, directory) || process.platform !== "linux") return { name: directory, descriptor: null };
  return { name: "/proc/self/fd/3", descriptor: openSync(directory, "r") };
}
