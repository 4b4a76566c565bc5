/** Looks into files that have come to rest: are they whole, and does anybody still write to them? */
import { constants } from "node:fs";
import { open, readdir, readFile, readlink } from "node:fs/promises";
import { isComplete } from "../core/completeness.ts";
import type { Completeness } from "../core/sync.ts";
import { errnoOf } from "./errno.ts";

const atOnce = 16;
/** Never through a symlink, never waiting for a fifo's writer. */
const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export interface CompletenessOptions {
  /** Where the kernel shows who has what open; another folder in tests. Absent elsewhere than on Linux: nobody knows. */
  processes?: string;
}

export function openCompleteness({ processes = "/proc" }: CompletenessOptions = {}): Completeness {
  const inspect = async (path: string, sizeBytes: number): Promise<boolean> => {
    try {
      const file = await open(path, readOnly);
      try {
        return await isComplete(path, sizeBytes, async (offset, length) => {
          const bytes = new Uint8Array(length);
          return bytes.subarray(0, (await file.read(bytes, 0, length, offset)).bytesRead);
        });
      } finally {
        await file.close();
      }
    } catch (error) {
      // Gone, or not readable: whoever sends it finds out and says so.
      if (errnoOf(error) === null) throw error;
      return true;
    }
  };

  return {
    async missing(files) {
      const written = files.length === 0 ? new Set<string>() : await openForWriting(processes);
      const answers: Awaited<ReturnType<Completeness["missing"]>> = [];
      for (let at = 0; at < files.length; at += atOnce) {
        const some = files.slice(at, at + atOnce).map(async ({ path, sizeBytes }) => {
          if (written.has(path)) return "open_for_writing";
          return (await inspect(path, sizeBytes)) ? null : "incomplete";
        });
        answers.push(...(await Promise.all(some)));
      }
      return answers;
    },
  };
}

/** Paths that processes of this machine have open for writing, of those that this user may look at. */
async function openForWriting(processes: string): Promise<Set<string>> {
  const paths = new Set<string>();
  for (const pid of await listed(processes)) {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) continue;
    for (const fd of await listed(`${processes}/${pid}/fd`)) {
      const path = await readlink(`${processes}/${pid}/fd/${fd}`).catch(unlessOurs);
      if (!path?.startsWith("/") || path.startsWith("/dev/") || path.startsWith("/proc/")) continue;
      const info = await readFile(`${processes}/${pid}/fdinfo/${fd}`, "utf8").catch(unlessOurs);
      const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info ?? "")?.[1] ?? "0", 8);
      if ((flags & (constants.O_WRONLY | constants.O_RDWR)) !== 0) paths.add(path);
    }
  }
  return paths;
}

const listed = async (folder: string): Promise<string[]> => (await readdir(folder).catch(unlessOurs)) ?? [];

/** Processes end and belong to others: what the system does not tell is not known. */
function unlessOurs(error: unknown): null {
  if (errnoOf(error) === null) throw error;
  return null;
}
