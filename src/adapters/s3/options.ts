/** What an S3 destination is told when it is opened, and what it can do beside the port. */
import type { ObjectTags } from "../../core/devices.ts";
import type { Bandwidth, ChecksumAlgorithm, Destination, UnfinishedUploads } from "../../core/ports.ts";
import type { Env } from "./proxy.ts";

export interface Deadlines {
  /** DNS, TCP, proxy and TLS together. */
  connectMs: number;
  /** No byte moved either way. */
  idleMs: number;
  /** One request with a body of this size. */
  totalMs(bodyBytes: number): number;
}

/**
 * The idle deadline finds what is dead; the total one only ends what trickles. It must leave a part on a slow link
 * that many share its time, or it would be sent over and over: five minutes, and 10 KB/s for each connection.
 */
export const usualDeadlines: Deadlines = {
  connectMs: 10_000,
  idleMs: 30_000,
  totalMs: (bodyBytes) => 300_000 + bodyBytes / 10,
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
  /** What all connections together may send; absent: as fast as it goes. */
  bandwidth?: Bandwidth;
  /** Wall clock, ms since 1970: signatures, expiry. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  deadlines: Deadlines;
  env: Env;
}

export interface S3Destination extends Destination, UnfinishedUploads, ObjectTags {
  readonly kind: "s3";
}
