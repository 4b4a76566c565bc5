/** What an S3 destination is told when it is opened, and what it can do beside the port. */
import type { ChecksumAlgorithm, Destination } from "../../core/ports.ts";
import type { Env } from "./proxy.ts";

export interface Deadlines {
  /** DNS, TCP, proxy and TLS together. */
  connectMs: number;
  /** No byte moved either way. */
  idleMs: number;
  /** One request with a body of this size. */
  totalMs(bodyBytes: number): number;
}

/** A minute, and a link of 50 KB/s, which a field station may have. */
export const usualDeadlines: Deadlines = {
  connectMs: 10_000,
  idleMs: 30_000,
  totalMs: (bodyBytes) => 60_000 + bodyBytes / 50,
};

export interface S3Options {
  bucket: string;
  /** null: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1, and the bucket's own when the store names it. */
  region: string | null;
  profile: string | null;
  endpoint: string | null;
  /** undefined: path style for custom endpoints only. */
  forcePathStyle: boolean | undefined;
  unsignedPayload: boolean;
  storageClass: string | null;
  serverSideEncryption: string | null;
  kmsKeyId: string | null;
  expectedBucketOwner: string | null;
  checksum: "auto" | ChecksumAlgorithm;
  /** Things worth telling once: a learned region, a checksum form the endpoint refuses. */
  onNotice(message: string): void;
  /** The store asked to slow down, or timed out: for whoever steers concurrency. */
  onThrottle?(cause: "store_busy" | "timed_out", retryAfterMs: number | null): void;
  /** Connections kept open at most. */
  connections: number;
  /** Bytes of files held in memory at most, all lanes together. */
  bytesInFlight: number;
  /** Wall clock, ms since 1970: signatures, expiry. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  deadlines: Deadlines;
  env: Env;
}

/** A multipart upload that the bucket still holds. */
export interface StaleUpload {
  key: string;
  uploadId: string;
  initiatedMs: number;
}

export interface S3Destination extends Destination {
  readonly kind: "s3";
  /** Unfinished multipart uploads under a prefix, for `gc`. Throws `access_denied` without ListBucketMultipartUploads. */
  staleUploads(prefix: string, signal: AbortSignal): AsyncIterable<StaleUpload>;
  /** False when the store no longer knew it. */
  abortUpload(key: string, uploadId: string, signal: AbortSignal): Promise<boolean>;
}
