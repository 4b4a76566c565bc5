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
  /** Of the parts' checksums, `base64-parts`; null when the bytes did not go in parts, or not with this algorithm. */
  composite(algorithm: ChecksumAlgorithm): string | null;
  /** The ETags this object may have where ETags are MD5s, hex, lower case. */
  etags(): Promise<string[]>;
}

export function headerOf(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm}`;
}

/** ETag as an opaque mark, without its quotes. */
export function etagOf(answer: Answer): string | null {
  return answer.headers["etag"]?.replace(/^"|"$/g, "") ?? null;
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

/** Whether what was found is our bytes: equality proves, and an ETag's inequality proves nothing but is all there is. */
export async function proofByHead(found: FoundObject, mine: Fingerprint): Promise<Proof | null> {
  if (found.sizeBytes !== mine.sizeBytes) return null;
  const { checksum, etag } = found;
  if (checksum?.type === "full") {
    return (await mine.full(checksum.algorithm)) === checksum.value ? "checksum_head" : null;
  }
  if (checksum?.type === "composite" && mine.composite(checksum.algorithm) === checksum.value) return "checksum_head";
  if (etag !== null && /^[0-9a-f]{32}(-[0-9]+)?$/i.test(etag)) {
    return (await mine.etags()).includes(etag.toLowerCase()) ? "etag_md5" : null;
  }
  return null;
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
