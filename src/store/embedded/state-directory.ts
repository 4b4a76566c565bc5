import { accessSync, constants, existsSync, mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { UploaderError } from "../../core/errors.ts";

/** What the state folder holds. */
export interface StatePaths {
  /** The state folder itself, all symlinks resolved. */
  root: string;
  /** Postgres' data directory: complete as soon as it exists. */
  data: string;
  lock: string;
  log: string;
}

/** Root's state folder: unlike /root, open to the unprivileged user that the server runs as. */
export const rootPlace = "/var/lib/uploader";

export const databaseUrlHint = "or set DATABASE_URL to a PostgreSQL server of your own";

/**
 * Where state lives for this user: `UPLOADER_STATE_DIR`, else `uploader` below `XDG_STATE_HOME`, below
 * `~/.local/state`, for root below `/var/lib` (the server cannot run as root, and its user may not enter a home);
 * without a usable home a folder of this uid in `/var/tmp`, which outlives a reboot.
 */
export function defaultStateDirectory(env: NodeJS.ProcessEnv, uid = process.getuid?.() ?? 0): string {
  if (env.UPLOADER_STATE_DIR) return resolve(env.UPLOADER_STATE_DIR);
  // The XDG base directory specification has relative paths ignored.
  if (env.XDG_STATE_HOME && isAbsolute(env.XDG_STATE_HOME)) return join(env.XDG_STATE_HOME, "uploader");
  if (uid === 0) return rootPlace;
  const home = env.HOME || homeOf(uid);
  const state = home && isAbsolute(home) && existsSync(home) ? join(home, ".local/state/uploader") : null;
  if (state !== null && isWritable(state)) return state;
  return join(existsSync("/var/tmp") ? "/var/tmp" : tmpdir(), `uploader-${uid}`);
}

/** Makes the state folder (0700; for root 0711) and refuses one that another user could have prepared for us. */
export function openStateDirectory(directory: string): StatePaths {
  const uid = process.getuid?.() ?? 0;
  try {
    makeFolder(directory, uid === 0 ? 0o711 : 0o700);
    const root = realpathSync(directory);
    // With its slash at the end a file is ENOTDIR.
    const { uid: owner } = statSync(`${root}/`);
    if (uid !== 0 && owner !== uid && owner !== 0) {
      throw new UploaderError(
        "database_refused",
        `the state folder ${directory} belongs to another user (uid ${owner})`,
        {
          hint: "run as that user, or set UPLOADER_STATE_DIR to a folder of your own",
        },
      );
    }
    accessSync(root, constants.W_OK | constants.X_OK);
    return {
      root,
      data: join(root, "database"),
      lock: join(root, "keeper.lock"),
      log: join(root, "keeper.log"),
    };
  } catch (error) {
    throw stateError(directory, error);
  }
}

const reasons: Record<string, string> = {
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is used up",
  ENOTDIR: "it, or a part of its path, is a file",
  EEXIST: "it is a file",
  ELOOP: "its symbolic links form a circle",
  ENAMETOOLONG: "the path is too long",
  EIO: "input/output error",
};

/** A system error met in the state folder, in our words; any other error stays what it is. */
export function stateError(directory: string, error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const reason = error instanceof UploaderError ? undefined : reasons[code];
  if (reason === undefined) return error;
  return new UploaderError("database_unreachable", `the state folder ${directory} cannot be used: ${reason}`, {
    hint: `set UPLOADER_STATE_DIR to a writable folder on a local disk with 200 MB free, ${databaseUrlHint}`,
    cause: error,
  });
}

/** File systems on which neither a lock nor an fsync is worth what Postgres takes it for. */
const networkFileSystem =
  /^(nfs\d?|cifs|smbfs|smb\d|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|orangefs|pvfs2|ncpfs|coda|davfs|fuse\.(sshfs|s3fs|rclone|gcsfuse|glusterfs|ceph|davfs2?|juicefs|goofys|mount-s3|curlftpfs|smbnetfs|mfs|moosefs|seaweedfs))$/;

export const isNetworkFileSystem = (type: string): boolean => networkFileSystem.test(type);

/** Refuses a state folder on a network file system (Linux only; elsewhere there is no table of mounts to read). */
export function refuseNetworkFileSystem(root: string): void {
  if (process.platform !== "linux") return;
  const type = fileSystemType(readFileSync("/proc/self/mountinfo", "utf8"), root);
  if (!isNetworkFileSystem(type)) return;
  throw new UploaderError("database_refused", `the state folder ${root} is on a network file system (${type})`, {
    hint: `set UPLOADER_STATE_DIR to a folder on a local disk, ${databaseUrlHint}`,
  });
}

/**
 * Type of the file system that holds `path` (absolute, resolved), from proc_pid_mountinfo(5): field 5 is the mount
 * point, with blanks as octal escapes, and the type follows a lone `-`. Of two mounts on one point the later covers.
 */
export function fileSystemType(mountinfo: string, path: string): string {
  let found = { point: "", type: "" };
  for (const line of mountinfo.split("\n")) {
    const [left, right] = line.split(" - ");
    const point = left?.split(" ")[4]?.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
    const type = right?.split(" ")[0];
    if (point === undefined || type === undefined || point.length < found.point.length) continue;
    if (path === point || path.startsWith(point.endsWith("/") ? point : `${point}/`)) found = { point, type };
  }
  return found.type;
}

function makeFolder(directory: string, mode: number): void {
  if (existsSync(directory)) return;
  mkdirSync(dirname(directory), { recursive: true, mode });
  try {
    mkdirSync(directory, { mode });
  } catch (error) {
    // Another process of ours was quicker.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function homeOf(uid: number): string | null {
  try {
    const user = userInfo();
    return user.uid === uid ? user.homedir : null;
  } catch (error) {
    // A uid without an entry in passwd has no home.
    if ((error as NodeJS.ErrnoException).code === "ERR_SYSTEM_ERROR") return null;
    throw error;
  }
}

/** Whether the folder is writable, or could be made. */
function isWritable(directory: string): boolean {
  let existing = directory;
  while (!existsSync(existing)) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (["EACCES", "EROFS", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}
