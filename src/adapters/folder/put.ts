import { type FileHandle, lstat, open, rename, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { UploaderError } from "../../core/errors.ts";
import type {
  Bandwidth,
  Condition,
  FoundObject,
  PutHooks,
  PutJob,
  PutOutcome,
  StoredObject,
} from "../../core/ports.ts";
import { errnoOf } from "../errno.ts";
import type { Moved, Source } from "../s3/source.ts";
import { copySource, readObject } from "./content.ts";
import { type Directories, parentKey } from "./directories.ts";
import { blockedKey } from "./faults.ts";
import { type PublishTools, publishNew } from "./publish.ts";
import { temporaryName } from "./temporary.ts";

export interface PutTools extends PublishTools {
  directories: Directories;
  fsync: boolean;
  random: () => number;
  onNotice: (message: string) => void;
  bandwidth?: Bandwidth | undefined;
}

/** A finished copy waiting for its name, and what is needed to give it. */
interface Draft {
  temporary: string;
  final: string;
  directory: string;
  ours: FoundObject;
  room: Buffer;
  signal: AbortSignal;
}

export type PutSource = (source: Source, job: PutJob, room: Buffer, hooks: PutHooks) => Promise<PutOutcome>;

/** Stores a body under its key in three durable steps: its bytes, its name, its directory. Throws raw system errors. */
export function createPut({ directories, fsync, random, onNotice, bandwidth, ...publishTools }: PutTools): PutSource {
  let keepsTimes = true;

  const stored = (object: FoundObject): StoredObject => ({
    ...object,
    proof: fsync ? "fsync" : "size_trusted",
    requestId: null,
  });

  async function named(draft: Draft): Promise<PutOutcome> {
    await directories.sync(draft.directory);
    return { outcome: "stored", object: stored(draft.ours) };
  }

  /** The name is taken: by these very bytes, or by others? */
  async function compare({ final, directory, ours, room, signal }: Draft): Promise<PutOutcome> {
    const found = await readObject(final, room, signal);
    if (found === "odd" && (await lstat(final)).isDirectory()) throw blockedKey(final);
    if (found === "odd" || found === "absent") return { outcome: "conflict", found: null };
    if (found.etag !== ours.etag) return { outcome: "conflict", found };
    if (fsync) await syncFile(final);
    await directories.sync(directory);
    return { outcome: "present", object: stored(found) };
  }

  async function replace(draft: Draft): Promise<PutOutcome> {
    await rename(draft.temporary, draft.final);
    return named(draft);
  }

  async function publish(draft: Draft, condition: Condition): Promise<PutOutcome> {
    if (condition.if === "always") return replace(draft);
    if (condition.if === "absent") {
      const isNew = await publishNew(draft.temporary, draft.final, draft.room, publishTools);
      if (!isNew) return compare(draft);
      await unlink(draft.temporary);
      return named(draft);
    }
    const found = await readObject(draft.final, draft.room, draft.signal);
    const isExpected = typeof found === "object" && found.etag === condition.etag;
    return isExpected ? replace(draft) : compare(draft);
  }

  async function keepTimes(file: FileHandle, { body }: PutJob): Promise<void> {
    if (body.kind !== "file" || !keepsTimes) return;
    const mtimeSeconds = Number(body.mtimeNs) / 1e9;
    try {
      await file.utimes(mtimeSeconds, mtimeSeconds);
    } catch (error) {
      keepsTimes = false;
      onNotice(`the destination does not keep the files' own times (${errnoOf(error)})`);
    }
  }

  /** The bytes, durable under the temporary name, or what the source has become meanwhile. */
  async function write(
    path: string,
    source: Source,
    job: PutJob,
    room: Buffer,
    hooks: PutHooks,
  ): Promise<FoundObject | Moved> {
    const file = await open(path, "wx");
    try {
      const object = await copySource(source, file, room, hooks, bandwidth);
      const moved = await source.moved();
      if (moved !== null) return moved;
      if (object === null) throw new UploaderError("file_unreadable", `the source of "${job.key}" ended early`);
      await keepTimes(file, job);
      if (fsync) await file.sync();
      return object;
    } finally {
      await file.close();
    }
  }

  return async (source, job, room, hooks) => {
    const directory = await directories.ensure(parentKey(job.key));
    const temporary = join(directory, temporaryName(random));
    const final = join(directory, basename(job.key));
    let outcome: PutOutcome | null = null;
    try {
      const written = await write(temporary, source, job, room, hooks);
      if ("mtimeNs" in written) return { outcome: "changed", ...written };
      hooks.signal.throwIfAborted();
      const draft = { temporary, final, directory, ours: written, room, signal: hooks.signal };
      outcome = await publish(draft, job.condition);
      return outcome;
    } finally {
      if (outcome?.outcome !== "stored") await discard(temporary);
    }
  };
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** It may never have been made. */
async function discard(temporary: string): Promise<void> {
  try {
    await unlink(temporary);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
