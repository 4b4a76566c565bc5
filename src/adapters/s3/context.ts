/** What the lanes of one destination share. */
import type { ChecksumAlgorithm, Condition, PutJob } from "../../core/ports.ts";
import type { BufferPool } from "./buffers.ts";
import type { Client } from "./client.ts";
import type { S3Options } from "./options.ts";
import type { SmallReader } from "./reading.ts";

/** What this endpoint turned out to take; learned once, each change told once. */
export interface Traits {
  /** Whether checksum headers are sent: unknown until one was taken or refused. */
  checksums: "unknown" | "taken" | "refused";
  /** Whether If-None-Match and If-Match are sent. */
  conditions: "unknown" | "taken" | "refused";
  /** False where If-Match is compared with the bare ETag (radosgw), against RFC 9110. */
  quotedEtags: boolean;
  /** How a multipart object's checksum is made: the best form not yet refused. */
  multipart: "full" | "composite" | "none";
  /** False after a 403 to HEAD. */
  mayHead: boolean;
}

export interface Context {
  client: Client;
  buffers: BufferPool;
  reader: SmallReader;
  options: S3Options;
  algorithm: ChecksumAlgorithm;
  traits: Traits;
  noticeOnce(message: string): void;
}

/** Headers that describe the object, the same for a PUT and for beginning a multipart upload. */
export function objectHeaders(job: PutJob, options: S3Options): Record<string, string> {
  const headers: Record<string, string> = {};
  if (job.contentType !== null) headers["content-type"] = job.contentType;
  for (const [name, value] of Object.entries(job.metadata)) headers[`x-amz-meta-${name.toLowerCase()}`] = value;
  if (options.storageClass !== null) headers["x-amz-storage-class"] = options.storageClass;
  if (options.serverSideEncryption !== null) headers["x-amz-server-side-encryption"] = options.serverSideEncryption;
  if (options.kmsKeyId !== null) headers["x-amz-server-side-encryption-aws-kms-key-id"] = options.kmsKeyId;
  return headers;
}

export function conditionHeaders(condition: Condition, traits: Traits): Record<string, string> {
  if (condition.if === "always" || traits.conditions === "refused") return {};
  if (condition.if === "absent") return { "if-none-match": "*" };
  return { "if-match": traits.quotedEtags ? `"${condition.etag}"` : condition.etag };
}
