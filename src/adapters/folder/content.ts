import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type RunningChecksum, startChecksum } from "../../core/checksum.ts";
import type { Bandwidth, FoundObject } from "../../core/ports.ts";
import { errnoOf } from "../errno.ts";
import type { Source } from "../s3/source.ts";

/** More gains nothing in copying; 64 files in flight hold 16 MiB. */
export const copyBytes = 256 * 1024;

/** An object of a folder, known by its content. `crc32` is base64, big-endian, as S3 writes it. */
export function objectOf(crc32: string, sizeBytes: number): FoundObject {
  const hex = Buffer.from(crc32, "base64").toString("hex");
  return {
    sizeBytes,
    etag: `crc32-${hex}-${sizeBytes}`,
    checksum: { algorithm: "crc32", type: "full", value: crc32 },
    versionId: null,
  };
}

/** Copies a body into an empty file, front to back; `null` when it ended early, because it is being changed. */
export async function copySource(
  source: Source,
  target: FileHandle,
  room: Buffer,
  hooks: { signal: AbortSignal; onBytes(sentBytes: number): void },
  bandwidth?: Bandwidth,
): Promise<FoundObject | null> {
  const crc32 = startChecksum("crc32");
  for (let offset = 0; offset < source.sizeBytes; ) {
    hooks.signal.throwIfAborted();
    const wanted = Math.min(copyBytes, bandwidth?.pieceBytes ?? copyBytes, source.sizeBytes - offset);
    const piece = await source.read(offset, wanted, room);
    if (piece === null) return null;
    if (bandwidth && bandwidth.limit !== null) await bandwidth.pass(piece.length, hooks.signal);
    crc32.update(piece);
    await writeFully(target, piece, offset);
    offset += piece.length;
    hooks.onBytes(piece.length);
  }
  return objectOf(crc32.value(), source.sizeBytes);
}

/** Are these the bytes of an object whose checksum is known? Its size alone can only say no. */
export async function compareSource(
  source: Source,
  found: FoundObject,
  room: Buffer,
  signal: AbortSignal,
): Promise<"equal" | "different" | "unknown"> {
  if (source.sizeBytes !== found.sizeBytes) return "different";
  if (found.checksum === null || found.checksum.type === "composite") return "unknown";
  const checksum = startChecksum(found.checksum.algorithm);
  for (let offset = 0; offset < source.sizeBytes; offset += copyBytes) {
    signal.throwIfAborted();
    const piece = await source.read(offset, Math.min(copyBytes, source.sizeBytes - offset), room);
    if (piece === null) return "unknown";
    checksum.update(piece);
  }
  if ((await source.moved()) !== null) return "unknown";
  return checksum.value() === found.checksum.value ? "equal" : "different";
}

export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await file.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  }
}

const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** What stands under a path, read from end to end; `odd` is a folder, symlink or device. */
export async function readObject(
  path: string,
  room: Buffer,
  signal: AbortSignal,
): Promise<FoundObject | "absent" | "odd"> {
  const read = await digestObject(path, startChecksum("crc32"), room, signal);
  return typeof read === "string" ? read : objectOf(read.digest, read.sizeBytes);
}

/** The same with a digest of the caller's choice. */
export async function digestObject(
  path: string,
  digest: RunningChecksum,
  room: Buffer,
  signal: AbortSignal,
): Promise<{ sizeBytes: number; digest: string } | "absent" | "odd"> {
  let file: FileHandle;
  try {
    file = await open(path, readOnly);
  } catch (error) {
    const errno = errnoOf(error) ?? "";
    if (errno === "ENOENT" || errno === "ENOTDIR") return "absent";
    if (errno === "ELOOP" || errno === "ENXIO") return "odd";
    throw error;
  }
  try {
    if (!(await file.stat()).isFile()) return "odd";
    let sizeBytes = 0;
    for (let got = -1; got !== 0; ) {
      signal.throwIfAborted();
      got = (await file.read(room, 0, room.length, sizeBytes)).bytesRead;
      digest.update(room.subarray(0, got));
      sizeBytes += got;
    }
    return { sizeBytes, digest: digest.value() };
  } finally {
    await file.close();
  }
}
