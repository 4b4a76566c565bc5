import { closeSync, mkdirSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Bytes of one body, wherever they lie. `read` yields the half-open range, piece by piece. */
export interface Blob {
  readonly sizeBytes: number;
  read(start: number, end: number): Generator<Buffer>;
}

export interface BlobWriter {
  write(chunk: Buffer): void;
  finish(): Blob;
}

export interface Storage {
  create(): BlobWriter;
  close(): void;
}

interface Piece {
  readonly sizeBytes: number;
  read(start: number, end: number): Generator<Buffer>;
}

const emptyBlob: Blob = { sizeBytes: 0, *read() {} };

/** Several blobs seen as one, without copying: the parts of a multipart object. */
export function joinBlobs(pieces: readonly Piece[]): Blob {
  const [only] = pieces;
  if (only === undefined) return emptyBlob;
  if (pieces.length === 1) return only;
  return {
    sizeBytes: pieces.reduce((sum, piece) => sum + piece.sizeBytes, 0),
    *read(start, end) {
      let offset = 0;
      for (const piece of pieces) {
        const from = Math.max(0, start - offset);
        const to = Math.min(piece.sizeBytes, end - offset);
        if (from < to) yield* piece.read(from, to);
        offset += piece.sizeBytes;
      }
    },
  };
}

function memoryPiece(bytes: Buffer): Piece {
  return {
    sizeBytes: bytes.length,
    *read(start, end) {
      yield bytes.subarray(start, end);
    },
  };
}

/** Everything in memory. Chunks are copied: a socket's chunk is a slice of a much larger buffer. */
export function memoryStorage(): Storage {
  return {
    create() {
      const pieces: Piece[] = [];
      return {
        write: (chunk) => void pieces.push(memoryPiece(Buffer.from(chunk))),
        finish: () => joinBlobs(pieces),
      };
    },
    close() {},
  };
}

const readSizeBytes = 256 * 1024;

/**
 * Everything appended to one file, never rewritten: one `pwrite` into the page cache per network chunk, which costs
 * a fraction of opening and closing a file per object. Space of deleted objects comes back when the server closes.
 */
export function fileStorage(directory: string): Storage {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, "objects.log");
  const file = openSync(path, "w+");
  let tail = 0;

  function filePiece(position: number, sizeBytes: number): Piece {
    return {
      sizeBytes,
      *read(start, end) {
        for (let offset = start; offset < end; offset += readSizeBytes) {
          const buffer = Buffer.allocUnsafe(Math.min(readSizeBytes, end - offset));
          const count = readSync(file, buffer, 0, buffer.length, position + offset);
          if (count !== buffer.length) throw new Error(`objects.log is shorter than expected at ${position + offset}`);
          yield buffer;
        }
      },
    };
  }

  return {
    create() {
      const extents: { position: number; sizeBytes: number }[] = [];
      return {
        write(chunk) {
          for (let done = 0; done < chunk.length; ) {
            done += writeSync(file, chunk, done, chunk.length - done, tail + done);
          }
          const last = extents.at(-1);
          if (last && last.position + last.sizeBytes === tail) last.sizeBytes += chunk.length;
          else extents.push({ position: tail, sizeBytes: chunk.length });
          tail += chunk.length;
        },
        finish: () => joinBlobs(extents.map((extent) => filePiece(extent.position, extent.sizeBytes))),
      };
    },
    close() {
      closeSync(file);
      rmSync(path, { force: true });
    },
  };
}

/** All bytes of a blob, for assertions. */
export function blobBytes(blob: Blob): Buffer {
  return Buffer.concat([...blob.read(0, blob.sizeBytes)]);
}
