import { randomBytes } from "node:crypto";
import { existsSync, linkSync, readFileSync, rmSync, statSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { UploaderError } from "../../core/errors.ts";
import { fateOf, ownIdentity, type ProcessIdentity } from "./process-identity.ts";

/** What a lock file holds. `token` names this one lock for ever: no later lock has it. */
export interface LockRecord extends ProcessIdentity {
  token: string;
}

export interface Lock {
  readonly record: LockRecord;
  /** A sign of life for processes in other containers, which cannot see our pid; false when the file is gone. */
  touch(): boolean;
  release(): void;
}

/** The living holder of a lock, or null. Throws `database_unreachable` when it cannot be judged from here. */
export function lockHolder(path: string): LockRecord | null {
  const record = readLock(path);
  return record !== null && isAlive(record, path) ? record : null;
}

/**
 * Takes the lock, or returns null when a living process holds it. The lock of a dead process of this host is removed
 * first. The right to remove one particular dead lock is a lock itself, whose name holds the dead one's token, so two
 * healers never both remove: the second would remove the lock that the first has taken since.
 */
export function acquireLock(path: string): Lock | null {
  for (;;) {
    const lock = publish(path);
    if (lock !== null) return lock;
    const record = readLock(path);
    if (record !== null && (isAlive(record, path) || !bury(path, record))) return null;
  }
}

/** False when another living process is burying this lock. */
function bury(path: string, dead: LockRecord): boolean {
  const right = acquireLock(`${path}.${dead.token}`);
  if (right === null) return false;
  try {
    // Nobody but the holder of this right removes that lock, so it cannot change between these two steps.
    if (readLock(path)?.token === dead.token) unlinkSync(path);
    return true;
  } finally {
    right.release();
  }
}

/** Creates the lock file, complete and on disk at once (an empty one after a power cut would name no holder). */
function publish(path: string): Lock | null {
  const record: LockRecord = { ...ownIdentity(), token: randomBytes(8).toString("hex") };
  const draft = `${path}.${record.token}.new`;
  try {
    writeFileSync(draft, `${JSON.stringify(record)}\n`, { flag: "wx", mode: 0o600, flush: true });
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return null;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  return {
    record,
    touch() {
      if (!existsSync(path)) return false;
      utimesSync(path, new Date(), new Date());
      return true;
    },
    release() {
      if (readLock(path)?.token === record.token) unlinkSync(path);
    },
  };
}

function readLock(path: string): LockRecord | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  const record = parse(text);
  if (record === null) {
    throw new UploaderError("database_unreachable", `the lock file ${path} is damaged`, {
      hint: "when no other uploader uses this state folder, delete that file and start again",
    });
  }
  return record;
}

const texts = ["host", "boot", "space", "start", "token"] as const;

function parse(text: string): LockRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  if (typeof value !== "object" || value === null) return null;
  const record = value as Record<string, unknown>;
  const sound =
    texts.every((name) => typeof record[name] === "string") &&
    Number.isInteger(record.pid) &&
    /^[0-9a-f]{16}$/.test(record.token as string);
  return sound ? (value as LockRecord) : null;
}

function isAlive(record: LockRecord, path: string): boolean {
  const fate = fateOf(record, silenceMs(path));
  if (fate === "alive" || fate === "dead") return fate === "alive";
  const holder = fate === "other_host" ? `host ${record.host}` : "another container of this host";
  throw new UploaderError("database_unreachable", `the bundled database is held by ${holder} (${path})`, {
    hint: `let it finish there. Is it gone for good, delete ${path}; for several hosts on one database set DATABASE_URL`,
  });
}

/** Since the holder's last sign of life; a lock released meanwhile was alive just now. */
function silenceMs(path: string): number {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats === undefined ? 0 : Date.now() - stats.mtimeMs;
}
