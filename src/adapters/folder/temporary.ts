import { hostname } from "node:os";
import { crc32 } from "node:zlib";

const dayMs = 24 * 3600 * 1000;
const pattern = /^\.uploader-([0-9a-f]{8})-(\d+)-[0-9a-f]+\.partial$/;
const host = crc32(hostname()).toString(16).padStart(8, "0");

/** A name no recording has, and no scan sends (`*.partial`); it tells who is writing, for those who find it later. */
export function temporaryName(random: () => number): string {
  const mark = Math.floor(random() * 2 ** 48).toString(16);
  return `.uploader-${host}-${process.pid}-${mark}.partial`;
}

/** Was this file left by a process that was killed? By one of this host that is gone, or untouched for a day. */
export function isAbandoned(name: string, touchedMs: number, nowMs: number): boolean {
  const [, owner, pid] = pattern.exec(name) ?? [];
  return owner === host && !isAlive(Number(pid)) ? true : nowMs - touchedMs > dayMs;
}

export function isTemporary(name: string): boolean {
  return pattern.test(name);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, under another user.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
