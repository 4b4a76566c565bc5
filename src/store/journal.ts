/** Results that the database could not take, in a local file flushed to disk; replayed by this run or by the next. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Journal, Memo, Store, WorkerIdentity } from "../core/store.ts";

interface Head {
  database: string;
  worker: WorkerIdentity;
}

/** BigInts as `{ "$ns": "…" }`: nanoseconds do not fit a JSON number. */
const encode = (value: unknown): string =>
  JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? { $ns: inner.toString() } : inner));

const decode = (text: string): unknown =>
  JSON.parse(text, (_, inner) =>
    inner !== null && typeof inner === "object" && typeof inner.$ns === "string" ? BigInt(inner.$ns) : inner,
  );

export const journalFolder = (stateDirectory: string): string => join(stateDirectory, "journal");

export function openJournal(stateDirectory: string, database: string, worker: WorkerIdentity): Journal {
  const folder = journalFolder(stateDirectory);
  const path = join(folder, `${database}-${worker.pid}-${randomBytes(4).toString("hex")}.jsonl`);
  let file: Promise<FileHandle> | null = null;
  let writing: Promise<void> = Promise.resolve();

  const begin = async (): Promise<FileHandle> => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const handle = await open(path, "ax", 0o600);
    await handle.write(`${encode({ database, worker } satisfies Head)}\n`);
    await flushFolder(folder);
    return handle;
  };

  return {
    path,
    append(memo) {
      writing = writing.then(async () => {
        file ??= begin();
        const handle = await file;
        await handle.write(`${encode(memo)}\n`);
        await handle.datasync();
      });
      return writing;
    },
    async clear() {
      await writing;
      const handle = await file;
      file = null;
      await handle?.close();
      rmSync(path, { force: true });
    },
  };
}

async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync();
  await handle.close();
}

/**
 * Brings in what earlier processes could not tell this database. Journals of other databases and of processes that
 * still run are left alone. Replaying twice changes nothing: every memo is a guarded move or an upsert.
 */
export async function replayJournals(
  stateDirectory: string,
  database: string,
  isAlive: (worker: WorkerIdentity) => boolean | null,
  apply: (memo: Memo) => Promise<unknown>,
): Promise<number> {
  const folder = journalFolder(stateDirectory);
  let replayed = 0;
  for (const name of namesIn(folder).filter((each) => each.startsWith(`${database}-`) && each.endsWith(".jsonl"))) {
    const path = join(folder, name);
    // The last line may be torn: it was never acknowledged, and what it says will be found out again.
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    const head = lines.length > 0 ? (decode(lines[0]!) as Head) : null;
    if (head && (head.database !== database || isAlive(head.worker) === true)) continue;
    for (const line of lines.slice(1)) {
      await apply(decode(line) as Memo);
      replayed++;
    }
    rmSync(path, { force: true });
  }
  return replayed;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** A memo as the statement it stands for. Resolves to the files whose row did not move. */
export async function applyMemo(store: Store, memo: Memo) {
  switch (memo.call) {
    case "settle":
      return store.settle(memo.workerId, memo.endings);
    case "begin":
      await store.uploads.begin(memo.fileId, memo.upload);
      return [];
    case "part":
      await store.uploads.part(memo.uploadId, memo.part);
      return [];
    case "end":
      await store.uploads.end(memo.uploadId, memo.state);
      return [];
  }
}
