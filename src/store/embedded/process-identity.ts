import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** One process for ever: a pid alone is reused, and means nothing on another host or in another container. */
export interface ProcessIdentity {
  host: string;
  /** Changes with every boot of the kernel. */
  boot: string;
  /** The pid namespace (container) in which `pid` counts. */
  space: string;
  pid: number;
  /** When the process started, in the words of this system; only ever compared for equality. */
  start: string;
}

export type Fate = "alive" | "dead" | "other_host" | "other_container";

interface ProcessTable {
  boot(): string;
  space(): string;
  /** Null when there is no such process, or only its zombie. */
  start(pid: number): string | null;
  /** The command line, or null. Readable without rights over the process, unlike its working directory. */
  command(pid: number): string | null;
}

/** Linux, from proc(5): field 3 of `stat` is the state, field 22 the start in clock ticks since boot. */
const linux: ProcessTable = {
  boot: () => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim(),
  space: () => readlinkSync("/proc/self/ns/pid"),
  start(pid) {
    const stat = readProc(pid, "stat");
    // The name in brackets may hold blanks and brackets itself, so the fields are counted from the last one.
    const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields === undefined || fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? null);
  },
  command: (pid) => readProc(pid, "cmdline")?.replaceAll("\0", " ") ?? null,
};

/** macOS, from sysctl(8) and ps(1), which knows seconds only. */
const darwin: ProcessTable = {
  boot: () => execFileSync("sysctl", ["-n", "kern.bootsessionuuid"], { encoding: "utf8" }).trim(),
  space: () => "",
  start: (pid) => (ps(pid, "stat")?.startsWith("Z") ? null : ps(pid, "lstart")),
  command: (pid) => ps(pid, "command"),
};

const table = process.platform === "linux" ? linux : darwin;

export const processStart = (pid: number): string | null => table.start(pid);

export const processCommand = (pid: number): string | null => table.command(pid);

export const isRunning = (pid: number): boolean => table.start(pid) !== null;

export function ownIdentity(): ProcessIdentity {
  const { pid } = process;
  return { host: hostname(), boot: table.boot(), space: table.space(), pid, start: table.start(pid) ?? "" };
}

/**
 * What has become of a process that left its identity behind. Of another host nothing can be known; in another
 * container of this kernel a process lives while it gives signs of life, the last of which was `silentMs` ago.
 */
export function fateOf(left: ProcessIdentity, silentMs: number): Fate {
  const own = ownIdentity();
  if (left.host !== own.host) return "other_host";
  if (left.boot !== own.boot) return "dead";
  if (left.space !== own.space) return silentMs < 30_000 ? "other_container" : "dead";
  return table.start(left.pid) === left.start ? "alive" : "dead";
}

function readProc(pid: number, name: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return null;
    throw error;
  }
}

function ps(pid: number, field: string): string | null {
  try {
    const text = execFileSync("ps", ["-o", `${field}=`, "-p", String(pid)], {
      env: { ...process.env, LC_ALL: "C" },
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return text.trim() || null;
  } catch (error) {
    // ps ends with 1 when no process matches.
    if ((error as { status?: number }).status === 1) return null;
    throw error;
  }
}
