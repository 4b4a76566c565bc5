/** Results that the database could not take, in a local file flushed to disk; replayed by this run or by the next. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { asUploaderError, type UploaderError } from "../core/errors.ts";
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
  let file: FileHandle | null = null;
  let chain: Promise<unknown> = Promise.resolve();

  /** One after the other, so that no line is written into a file that is being removed. */
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const turn = chain.then(work);
    chain = turn.catch(() => undefined);
    return turn;
  };

  /** Complete with its head before it has its name: nobody meets a journal that does not say whose it is. */
  const begin = async (): Promise<FileHandle> => {
    // As root the embedded server's user must be able to pass through the state folder, if not through this one.
    mkdirSync(stateDirectory, { recursive: true, mode: 0o711 });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const handle = await open(`${path}.new`, "a", 0o600);
    await handle.write(`${encode({ database, worker } satisfies Head)}\n`);
    await handle.sync();
    await rename(`${path}.new`, path);
    await flushFolder(folder);
    return handle;
  };

  return {
    path,
    append: (memo) =>
      inTurn(async () => {
        file ??= await begin();
        const { size } = await file.stat();
        try {
          await file.appendFile(`${encode(memo)}\n`);
          await file.datasync();
        } catch (error) {
          // A full disk takes half a line, and the next one would make nonsense of it.
          await file.truncate(size);
          throw error;
        }
      }),
    clear: () =>
      inTurn(async () => {
        const handle = file;
        if (!handle) return;
        file = null;
        await handle.close();
        rmSync(path, { force: true });
      }),
  };
}

async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync();
  await handle.close();
}

/** Whose owner cannot be asked (another container or host) counts as left behind after so long without a line. */
const forsakenMs = 10 * 60_000;

/**
 * Brings in what earlier processes could not tell this database. Journals of other databases and of processes that
 * still run are left alone; one that cannot be applied is put aside as `.bad` and named in `onBad`. Replaying twice
 * changes nothing: every memo is a guarded move or an upsert.
 */
export async function replayJournals(
  stateDirectory: string,
  database: string,
  isAlive: (worker: WorkerIdentity) => boolean | null,
  apply: (memo: Memo) => Promise<unknown>,
  onBad: (path: string, error: UploaderError) => void = () => undefined,
): Promise<number> {
  const folder = journalFolder(stateDirectory);
  let replayed = 0;
  for (const name of namesIn(folder).filter((each) => each.startsWith(`${database}-`) && each.endsWith(".jsonl"))) {
    const path = join(folder, name);
    try {
      // The last line may be torn: it was never acknowledged, and what it says will be found out again.
      const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
      const head = decode(lines[0] ?? "null") as Head | null;
      const alive = head === null ? false : isAlive(head.worker);
      const silentMs = Date.now() - statSync(path).mtimeMs;
      if (head?.database !== database || alive === true || (alive === null && silentMs < forsakenMs)) continue;
      for (const line of lines.slice(1)) {
        await apply(decode(line) as Memo);
        replayed++;
      }
      rmSync(path, { force: true });
    } catch (error) {
      const ours = asUploaderError(error);
      if (ours.code === "database_unreachable") throw ours;
      // Two processes may replay one journal: the slower one finds it gone.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      renameSync(path, `${path}.bad`);
      onBad(`${path}.bad`, ours);
    }
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

/** By this host's clock, which wrote the memo too. */
const age = (atMs: number): number => Math.max(0, Date.now() - atMs);

/** A memo as the statement it stands for. Resolves to the files whose row did not move. */
export async function applyMemo(store: Store, memo: Memo) {
  switch (memo.call) {
    case "settle":
      return store.settle(memo.workerId, memo.endings, age(memo.atMs));
    case "begin":
      await store.uploads.begin(memo.fileId, memo.upload, age(memo.atMs));
      return [];
    case "part":
      await store.uploads.part(memo.uploadId, memo.part);
      return [];
    case "end":
      await store.uploads.end(memo.uploadId, memo.state);
      return [];
  }
}
