/** The confirmation ladder (design A6): how an answer, or a later HEAD, proves what the store holds. */
import { UploaderError } from "../../core/errors.ts";
import {
  type Checksum,
  type ChecksumAlgorithm,
  checksumAlgorithms,
  type FoundObject,
  type Proof,
} from "../../core/ports.ts";
import type { Answer } from "./answer.ts";

/** Digests of our bytes, worked out only when asked for. */
export interface Fingerprint {
  sizeBytes: number;
  /** Of the whole object, base64. */
  full(algorithm: ChecksumAlgorithm): Promise<string>;
  /** Of the parts' checksums, `base64-parts`; null when our bytes would not go in that many parts. */
  composite(algorithm: ChecksumAlgorithm, parts: number): Promise<string | null>;
  /** Whether this is the ETag that our bytes get where ETags are MD5s: `md5`, or `md5-parts`; lower case. */
  hasEtag(etag: string): Promise<boolean>;
}

export function headerOf(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm}`;
}

/** ETag as an opaque mark, without its quotes. */
export function etagOf(answer: Answer): string | null {
  return answer.headers.etag?.replace(/^"|"$/g, "") ?? null;
}

/** The store's checksum of the object, the first that it names of those we can work out. */
export function checksumOfHeaders(headers: Answer["headers"]): Checksum | null {
  for (const algorithm of checksumAlgorithms) {
    const value = headers[headerOf(algorithm)];
    if (value !== undefined) return asChecksum(algorithm, value, headers["x-amz-checksum-type"] ?? null);
  }
  return null;
}

export function asChecksum(algorithm: ChecksumAlgorithm, value: string, type: string | null): Checksum {
  const composite = type?.toUpperCase() === "COMPOSITE" || /-[0-9]+$/.test(value);
  return { algorithm, type: composite ? "composite" : "full", value };
}

export function foundOf(answer: Answer): FoundObject {
  return {
    sizeBytes: Number(answer.headers["content-length"] ?? Number.NaN),
    etag: etagOf(answer),
    checksum: checksumOfHeaders(answer.headers),
    versionId: versionOf(answer),
  };
}

export function versionOf(answer: Answer): string | null {
  const version = answer.headers["x-amz-version-id"];
  return version === undefined || version === "null" ? null : version;
}

/**
 * Whether what was found is our bytes. An equal ETag proves it; another one proves nothing (KMS, other part sizes),
 * nor does a composite checksum of parts cut otherwise: "unknown".
 */
export async function judge(
  found: FoundObject,
  mine: Fingerprint,
): Promise<"checksum_head" | "etag_md5" | "different" | "unknown"> {
  if (found.sizeBytes !== mine.sizeBytes) return "different";
  const { checksum, etag } = found;
  if (checksum !== null) {
    const parts = Number(/-([0-9]+)$/.exec(checksum.value)?.[1] ?? 0);
    const { algorithm, type, value } = checksum;
    const own = type === "full" ? await mine.full(algorithm) : await mine.composite(algorithm, parts);
    if (own !== null) return own === value ? "checksum_head" : "different";
  }
  if (etag === null || !/^[0-9a-f]{32}(-[0-9]+)?$/i.test(etag)) return "unknown";
  return (await mine.hasEtag(etag.toLowerCase())) ? "etag_md5" : "unknown";
}

/** The proof, when what was found is proven to be our bytes. */
export async function proofByHead(found: FoundObject, mine: Fingerprint): Promise<Proof | null> {
  const verdict = await judge(found, mine);
  return verdict === "checksum_head" || verdict === "etag_md5" ? verdict : null;
}

export interface Sent {
  algorithm: ChecksumAlgorithm;
  /** base64, as worked out from our bytes. */
  checksum: string;
  payloadSigned: boolean;
  /** hex; the last resort. */
  md5(): string;
}

/** Of a 200 to a PUT of an object or a part; null when the answer proves nothing. */
export function proofByAnswer(answer: Answer, sent: Sent, subject: string): Proof | null {
  const echoed = answer.headers[headerOf(sent.algorithm)];
  if (echoed !== undefined) {
    if (echoed === sent.checksum) return "checksum_echoed";
    throw mismatch(subject, answer);
  }
  if (sent.payloadSigned) return "payload_signed";
  return etagOf(answer)?.toLowerCase() === sent.md5() ? "etag_md5" : null;
}

export function mismatch(subject: string, answer: Answer): UploaderError {
  const requestId = answer.headers["x-amz-request-id"];
  return new UploaderError("checksum_mismatch", `${subject}: the store reports another checksum than ours`, {
    hint: "the bytes were damaged on the way; they are sent again",
    ...(requestId === undefined ? {} : { requestId }),
  });
}

export function unconfirmed(subject: string, why: string): UploaderError {
  return new UploaderError("unconfirmed", `${subject}: ${why}`, {
    hint: "allow s3:GetObject on the prefix, so that the program can ask what the store holds",
  });
}
