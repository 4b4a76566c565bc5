/** One multipart upload under way, and the digests of its file. */
import {
  checksumOf,
  combineChecksums,
  compositeChecksum,
  isLinear,
  md5Hex,
  multipartEtag,
  startChecksum,
} from "../../core/checksum.ts";
import { partCount, partRange, partSizeFor } from "../../core/part-size.ts";
import {
  type Checksum,
  type ChecksumAlgorithm,
  type Proof,
  type PutHooks,
  type PutJob,
  proofs,
  type StoredPart,
} from "../../core/ports.ts";
import type { Context } from "./context.ts";
import type { Fingerprint } from "./proof.ts";
import type { Moved, Source } from "./source.ts";

export interface Upload {
  readonly job: PutJob;
  readonly hooks: PutHooks;
  readonly source: Source;
  readonly uploadId: string;
  readonly partSizeBytes: number;
  /** Of the parts' checksums; fixed when the upload began. */
  readonly algorithm: ChecksumAlgorithm;
  /** How the store makes the object's checksum, the likeliest first; null: not at all. One entry once it is known. */
  checksumTypes: (Checksum["type"] | null)[];
  /** Parts that the store is proven to hold. */
  readonly parts: Map<number, StoredPart>;
  /** The weakest of what proved the parts. */
  partProof: Proof;
}

/** `proofs` is in order of strength. */
export function weaker(a: Proof, b: Proof): Proof {
  return proofs.indexOf(a) > proofs.indexOf(b) ? a : b;
}

/** A step that did not finish the file: the file moved; the store forgot the upload; the store wants it begun again. */
export type Setback =
  | { setback: "moved"; moved: Moved }
  | { setback: "gone"; doubtful: boolean }
  | { setback: "restart" };

export function countOf(upload: Upload): number {
  return partCount(upload.source.sizeBytes, upload.partSizeBytes);
}

/** In order; null while one is missing. */
export function allParts(upload: Upload): StoredPart[] | null {
  if (upload.parts.size !== countOf(upload)) return null;
  return [...upload.parts.values()].sort((a, b) => a.partNumber - b.partNumber);
}

/** The object's checksum from those of its parts: full where parts combine, else composite; null while one is unknown. */
export function objectChecksum(upload: Upload, type: Checksum["type"]): Checksum | null {
  const { algorithm } = upload;
  const parts = allParts(upload);
  const known = parts?.flatMap(({ checksum, sizeBytes }) =>
    checksum === null ? [] : [{ value: checksum, sizeBytes }],
  );
  if (parts === null || known?.length !== parts.length) return null;
  if (type === "composite") {
    return {
      algorithm,
      type,
      value: compositeChecksum(
        algorithm,
        known.map(({ value }) => value),
      ),
    };
  }
  return isLinear(algorithm) ? { algorithm, type, value: combineChecksums(algorithm, known) } : null;
}

/** Taken from the parts where they tell, else by reading the file once more. */
export function fingerprintOfFile(
  context: Context,
  source: Source,
  upload: Upload | null,
  signal: AbortSignal,
): Fingerprint {
  const partSizeBytes = upload?.partSizeBytes ?? partSizeFor(source.sizeBytes);
  const count = partCount(source.sizeBytes, partSizeBytes);

  /** A file that became shorter has other digests than the one registered: none is right, and none will match. */
  async function eachPart(take: (bytes: Uint8Array) => void): Promise<void> {
    const lease = await context.buffers.take(Math.min(partSizeBytes, source.sizeBytes), signal);
    try {
      for (let part = 1; part <= count; part++) {
        signal.throwIfAborted();
        const range = partRange(part, source.sizeBytes, partSizeBytes);
        const bytes = await source.read(range.offset, range.sizeBytes, lease.bytes);
        if (bytes !== null) take(bytes);
      }
    } finally {
      lease.release();
    }
  }

  async function wholeDigest(algorithm: ChecksumAlgorithm | "md5"): Promise<string> {
    const running = startChecksum(algorithm);
    await eachPart((bytes) => running.update(bytes));
    return running.value();
  }

  async function perPart(digest: (bytes: Uint8Array) => string): Promise<string[]> {
    const digests: string[] = [];
    await eachPart((bytes) => digests.push(digest(bytes)));
    return digests;
  }

  return {
    sizeBytes: source.sizeBytes,
    async full(algorithm) {
      const known = upload?.algorithm === algorithm ? objectChecksum(upload, "full") : null;
      return known?.value ?? (await wholeDigest(algorithm));
    },
    async composite(algorithm, parts) {
      if (parts !== count) return null;
      const known = upload?.algorithm === algorithm ? objectChecksum(upload, "composite") : null;
      return known?.value ?? compositeChecksum(algorithm, await perPart((bytes) => checksumOf(algorithm, bytes)));
    },
    async hasEtag(etag) {
      if (!etag.includes("-")) return Buffer.from(await wholeDigest("md5"), "base64").toString("hex") === etag;
      if (!etag.endsWith(`-${count}`)) return false;
      const known = upload === null ? null : allParts(upload);
      const ofRows = known === null ? null : multipartEtag(known.map((part) => part.etag));
      return (ofRows ?? multipartEtag(await perPart(md5Hex))) === etag;
    },
  };
}
