/** Reading the bytes to be sent, read-only, and noticing when they are no longer the ones that were registered. */
import * as fs from "node:fs";
import { type ErrorCode, UploaderError } from "../../core/errors.ts";
import type { Body } from "../../core/ports.ts";
import { openFlags } from "./open-flags.ts";

type FileBody = Extract<Body, { kind: "file" }>;

/** Size and mtime that the file has now, when they are not those registered. */
export interface Moved {
  sizeBytes: number;
  mtimeNs: bigint;
}

export interface Source {
  readonly sizeBytes: number;
  /** The bytes from `offset`, in `room` or, for bytes of our own, where they lie. Null when the file has become shorter. */
  read(offset: number, sizeBytes: number, room: Buffer): Promise<Uint8Array | null>;
  /** Null while the file is as registered. */
  moved(): Promise<Moved | null>;
  close(): void;
}

export function bodySizeBytes(body: Body): number {
  return body.kind === "file" ? body.sizeBytes : body.bytes.length;
}

export async function openSource(body: Body): Promise<Source> {
  if (body.kind === "bytes") {
    const { bytes } = body;
    return {
      sizeBytes: bytes.length,
      read: async (offset, sizeBytes) => bytes.subarray(offset, offset + sizeBytes),
      moved: async () => null,
      close: () => undefined,
    };
  }
  const fd = await open(body.path);
  let closed = false;
  return {
    sizeBytes: body.sizeBytes,
    async read(offset, sizeBytes, room) {
      const got = await readFully(fd, room, offset, sizeBytes, body.path);
      return got === sizeBytes ? room.subarray(0, sizeBytes) : null;
    },
    async moved() {
      return movedSince(body, statOf(fd, body.path));
    },
    close() {
      if (closed) return;
      closed = true;
      fs.closeSync(fd);
    },
  };
}

/**
 * A whole small file into `room`. Opening and reading wait for the disk, so they run on the thread pool, where a
 * stalled disk or network mount holds up nothing else; fstat and close of an open descriptor are answered from
 * memory and stay here. Measured for 4-64 KB, warm: all in this thread 0.016-0.020 ms a file, this way 0.028,
 * every step on the pool 0.036-0.045. The way of a disk that lets its readers wait: see reading.ts.
 */
export async function readAside(
  body: FileBody,
  room: Buffer,
): Promise<{ bytes: Uint8Array; moved: null } | { bytes: null; moved: Moved }> {
  const fd = await open(body.path);
  try {
    const before = movedSince(body, statOf(fd, body.path));
    if (before !== null) return { bytes: null, moved: before };
    const got = await readFully(fd, room, 0, body.sizeBytes, body.path);
    const after = movedSince(body, statOf(fd, body.path));
    if (after !== null) return { bytes: null, moved: after };
    if (got !== body.sizeBytes) return { bytes: null, moved: { sizeBytes: got, mtimeNs: body.mtimeNs } };
    return { bytes: room.subarray(0, got), moved: null };
  } finally {
    fs.closeSync(fd);
  }
}

function open(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, openFlags, (error, fd) => (error ? reject(fileFailure(error, path)) : resolve(fd)));
  });
}

function statOf(fd: number, path: string): fs.BigIntStats {
  try {
    const stat = fs.fstatSync(fd, { bigint: true });
    if (stat.isFile()) return stat;
  } catch (error) {
    throw fileFailure(error as NodeJS.ErrnoException, path);
  }
  throw notRegular(path);
}

export const notRegular = (path: string): UploaderError =>
  new UploaderError("file_gone", `${path} is no longer a regular file`, { hint: "put the file back and retry" });

function movedSince(body: FileBody, stat: fs.BigIntStats): Moved | null {
  if (stat.size === BigInt(body.sizeBytes) && stat.mtimeNs === body.mtimeNs) return null;
  return { sizeBytes: Number(stat.size), mtimeNs: stat.mtimeNs };
}

function readFully(fd: number, room: Buffer, offset: number, sizeBytes: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let got = 0;
    const more = () => {
      if (got === sizeBytes) return resolve(got);
      fs.read(fd, room, got, sizeBytes - got, offset + got, (error, count) => {
        if (error) return reject(fileFailure(error, path));
        got += count;
        if (count === 0) resolve(got);
        else more();
      });
    };
    more();
  });
}

interface FileRow {
  code: ErrorCode;
  says: string;
  hint?: string;
}

const byErrno: Readonly<Record<string, FileRow>> = {
  ENOENT: { code: "file_gone", says: "is no longer there" },
  ENOTDIR: { code: "file_gone", says: "is no longer there" },
  ENXIO: { code: "file_gone", says: "is no longer a regular file" },
  ELOOP: {
    code: "file_gone",
    says: "is now a symbolic link",
    hint: "links are never followed: put the file itself there",
  },
  EACCES: { code: "file_forbidden", says: "may not be read by this user", hint: "give this user read permission" },
  EPERM: { code: "file_forbidden", says: "may not be read by this user", hint: "give this user read permission" },
};

export function fileFailure(error: { code?: string | undefined }, path: string): UploaderError {
  const row = byErrno[error.code ?? ""] ?? {
    code: "file_unreadable" as const,
    says: `cannot be read (${error.code ?? "unknown error"})`,
    hint: "check the disk or card it is on",
  };
  return new UploaderError(row.code, `${path} ${row.says}`, {
    ...(row.hint === undefined ? {} : { hint: row.hint }),
    cause: error,
  });
}
