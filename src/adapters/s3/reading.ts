/**
 * Whole small files with their digests, read and hashed by a thread of their own while the disk is quick, and by Node's
 * thread pool while it is not.
 *
 * Measured (20,000 files of 4-64 KB, two cores): opening and reading on the pool costs this thread 80 us a file, nearly
 * all of it for waking others, and the digests 45 us; a thread that is told of many files at once costs 10. A disk that
 * lets one reader wait is better served by several: then the pool's four threads read.
 */

import { Worker } from "node:worker_threads";
import { checksumOf } from "../../core/checksum.ts";
import type { Body, ChecksumAlgorithm } from "../../core/ports.ts";
import { programOf } from "../../installed.ts";
import { type Answered, slotBytes, type Told, type Wanted } from "./reading-slots.ts";
import { fileFailure, type Moved, notRegular, readAside } from "./source.ts";

type FileBody = Extract<Body, { kind: "file" }>;

/** `checksum` in base64, `sha256` in hex. */
export type SmallRead =
  | { bytes: Uint8Array; checksum: string; sha256: string | null; moved: null }
  | { bytes: null; moved: Moved };

export interface SmallReader {
  /** Into `room`. Throws file_gone, file_forbidden, file_unreadable. */
  read(body: FileBody, room: Buffer, algorithm: ChecksumAlgorithm, signed: boolean): Promise<SmallRead>;
  /** Ends the thread; what it was asked, and what is asked from now on, is read aside. */
  close(): void;
}

export interface ReaderOptions {
  start?: (slots: SharedArrayBuffer) => Worker;
  now?: () => number;
}

/** A run of fewer files is not worth a thread (30 ms and 10 MB). */
const worthAThread = 64;
const batchSize = 16;
/** The thread has its next batch while it works on one. */
const batchesAhead = 2; // slots are named by which of the two
/** A batch that takes longer waits for its disk, or for a processor: 1 MiB is read and hashed in 2 ms. */
const slowMs = { perBatch: 20, perMiB: 4, unanswered: 100 };
/** So many files are read aside before the thread is tried again. */
const asideFiles = 256;

const startThread = (slots: SharedArrayBuffer): Worker =>
  new Worker(programOf("reading-thread"), {
    workerData: slots,
    env: {},
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16 },
  });

interface Asked {
  body: FileBody;
  algorithm: ChecksumAlgorithm;
  signed: boolean;
  room: Buffer;
  resolve(read: SmallRead | Promise<SmallRead>): void;
  reject(error: unknown): void;
}

export function createReader({ start = startThread, now = () => performance.now() }: ReaderOptions = {}): SmallReader {
  const slots = new SharedArrayBuffer(batchSize * batchesAhead * slotBytes);
  let thread: Worker | null = null;
  let asideLeft = worthAThread;
  const waiting: Asked[] = [];
  let posted: { files: Asked[]; firstSlot: number; sentMs: number }[] = [];
  let scheduled = false;
  let watch: NodeJS.Timeout | null = null;

  async function aside({ body, room, algorithm }: Asked): Promise<SmallRead> {
    const read = await readAside(body, room);
    if (read.moved !== null) return read;
    return { ...read, checksum: checksumOf(algorithm, read.bytes), sha256: null };
  }

  function goAside(): void {
    asideLeft = asideFiles;
    for (const each of waiting.splice(0)) each.resolve(aside(each));
  }

  /** A thread that cannot be had, or died: everything it was asked is read aside, and no other is started. */
  function lose(): void {
    thread = null;
    asideLeft = Number.POSITIVE_INFINITY;
    const lost = posted.flatMap(({ files }) => files);
    posted = [];
    for (const each of [...lost, ...waiting.splice(0)]) each.resolve(aside(each));
  }

  function open(): Worker {
    const opened = start(slots);
    opened.on("message", answer);
    opened.on("error", lose);
    opened.on("exit", lose);
    return opened;
  }

  function answer({ told, tookMs }: Answered): void {
    const { files, firstSlot } = posted.shift()!;
    const sizeBytes = files.reduce((sum, { body }) => sum + body.sizeBytes, 0);
    for (const [at, each] of files.entries()) end(each, firstSlot + at, told[at]!);
    if (tookMs > slowMs.perBatch + (slowMs.perMiB * sizeBytes) / 2 ** 20) goAside();
    else schedule();
    if (posted.length === 0) thread?.unref();
  }

  function end({ body, room, resolve, reject }: Asked, slot: number, told: Told): void {
    if (told.end === "read") {
      const { checksum, sha256 } = told;
      const bytes = room.subarray(0, body.sizeBytes);
      bytes.set(new Uint8Array(slots, slot * slotBytes, body.sizeBytes));
      resolve({ bytes, checksum, sha256, moved: null });
    } else if (told.end === "moved") {
      resolve({ bytes: null, moved: { sizeBytes: told.sizeBytes, mtimeNs: told.mtimeNs } });
    } else reject(told.end === "odd" ? notRegular(body.path) : fileFailure({ code: told.errno }, body.path));
  }

  function post(): void {
    scheduled = false;
    if (waiting.length === 0) return;
    try {
      thread ??= open();
    } catch {
      // The system gives no more threads.
      lose();
      return;
    }
    // While it works on one batch the next is to be a full one: each costs both sides a wake-up.
    while (waiting.length >= (posted.length === 0 ? 1 : batchSize) && posted.length < batchesAhead) {
      const files = waiting.splice(0, batchSize);
      const firstSlot = posted[0]?.firstSlot === 0 ? batchSize : 0;
      posted.push({ files, firstSlot, sentMs: now() });
      thread.ref();
      thread.postMessage(
        files.map(({ body: { path, sizeBytes, mtimeNs }, algorithm, signed }, at): Wanted => {
          return { slot: firstSlot + at, path, sizeBytes, mtimeNs, algorithm, signed };
        }),
      );
    }
    if (waiting.length > 0) watch ??= setTimeout(look, slowMs.unanswered);
  }

  /** The disk keeps the thread waiting: whoever has not been handed to it goes another way. */
  function look(): void {
    watch = null;
    const oldest = posted[0];
    if (oldest !== undefined && now() - oldest.sentMs >= slowMs.unanswered) goAside();
    else if (waiting.length > 0) watch = setTimeout(look, slowMs.unanswered);
  }

  /** Once a turn of the loop, so that many are told at once. */
  function schedule(): void {
    if (scheduled || waiting.length === 0) return;
    scheduled = true;
    setImmediate(post);
  }

  return {
    read: (body, room, algorithm, signed) =>
      new Promise((resolve, reject) => {
        const each: Asked = { body, algorithm, signed, room, resolve, reject };
        if (asideLeft > 0 || body.sizeBytes > slotBytes) {
          asideLeft--;
          resolve(aside(each));
        } else {
          waiting.push(each);
          schedule();
        }
      }),
    close() {
      if (watch) clearTimeout(watch);
      // What it still says is about files that are read aside by then.
      thread?.off("message", answer).off("exit", lose);
      void thread?.terminate();
      lose();
    },
  };
}
