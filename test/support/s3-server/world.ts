import { randomBytes } from "node:crypto";
import type { BodyRules } from "./body.ts";
import type { Checksum, ChecksumAlgorithm, ChecksumType } from "./checksums.ts";
import { Refusal } from "./refusals.ts";
import type { Credential } from "./signature.ts";
import type { Blob, Storage } from "./storage.ts";

export interface ObjectHead {
  /** Content-Type, Cache-Control and the like, and x-amz-meta-*, as they are sent back. */
  headers: Readonly<Record<string, string>>;
  storageClass: string;
  encryption: Readonly<Record<string, string>>;
  tags: readonly Tag[];
}

export interface Tag {
  key: string;
  value: string;
}

export interface StoredPart {
  partNumber: number;
  blob: Blob;
  /** MD5, hex, if it was computed. */
  md5: string | null;
  etag: string;
  checksum: { algorithm: ChecksumAlgorithm; value: string } | null;
  modifiedAt: Date;
}

export interface StoredObject extends ObjectHead {
  key: string;
  blob: Blob;
  /** Without quotes. */
  etag: string;
  checksum: Checksum | null;
  modifiedAt: Date;
  versionId: string | null;
  /** Sizes and checksums of its parts; empty for an object of one PUT. */
  parts: readonly { partNumber: number; sizeBytes: number; checksum: string | null }[];
}

export interface Upload extends ObjectHead {
  uploadId: string;
  key: string;
  /** Null when this server keeps no checksums. */
  checksumAlgorithm: ChecksumAlgorithm | null;
  checksumType: ChecksumType;
  /** False when the client named no algorithm and S3's default holds. */
  checksumAsked: boolean;
  parts: Map<number, StoredPart>;
  startedAt: Date;
}

export interface Bucket {
  name: string;
  region: string;
  versioning: boolean;
  objects: Map<string, StoredObject>;
  /** Every version by `<versionId>/<key>`, when versioning is on. */
  versions: Map<string, StoredObject>;
  uploads: Map<string, Upload>;
  /** How often each key was written, also when the bytes were the same. */
  writes: Map<string, number>;
  /** Keys in S3's order, or null when they must be sorted again. */
  sortedKeys: readonly string[] | null;
}

export interface Quirks extends BodyRules {
  /** `ignore-on-complete` as radosgw: If-None-Match and If-Match count on PUT only. */
  conditions: "honour" | "ignore-on-complete" | "ignore";
  /** A second Complete with the same parts: `same` answer again as S3 does, or the upload is gone. */
  repeatedComplete: "same" | "NoSuchUpload";
}

export interface World {
  region: string;
  ownerId: string;
  minPartBytes: number;
  quirks: Quirks;
  storage: Storage;
  credentials: Map<string, Credential>;
  buckets: Map<string, Bucket>;
  /** By upload id: what a second Complete with the same document is told. */
  completed: Map<string, { object: StoredObject; parts: string }>;
  now(): Date;
}

export function createBucket(name: string, region: string, versioning: boolean): Bucket {
  return {
    name,
    region,
    versioning,
    objects: new Map(),
    versions: new Map(),
    uploads: new Map(),
    writes: new Map(),
    sortedKeys: null,
  };
}

export function randomId(): string {
  return randomBytes(24).toString("base64url");
}

/** The MD5 where it is known and may be shown, else a mark that says nothing about the bytes. */
export function newEtag(md5: string | null, quirks: Quirks, kms: boolean): string {
  return md5 === null || quirks.etags === "opaque" || kms ? randomBytes(16).toString("hex") : md5;
}

/** Publishes an object under its key; the moment at which a write happens. */
export function publish(bucket: Bucket, object: StoredObject): void {
  if (!bucket.objects.has(object.key)) bucket.sortedKeys = null;
  bucket.objects.set(object.key, object);
  bucket.writes.set(object.key, (bucket.writes.get(object.key) ?? 0) + 1);
  if (object.versionId !== null) bucket.versions.set(`${object.versionId}/${object.key}`, object);
}

export function remove(bucket: Bucket, key: string): void {
  if (bucket.objects.delete(key)) bucket.sortedKeys = null;
}

const surrogate = /[\ud800-\udfff]/;

/** Order of the UTF-8 bytes, which is that of UTF-16 units unless a character beyond U+FFFF takes part. */
export function compareKeys(a: string, b: string): number {
  if (surrogate.test(a) || surrogate.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

function sortKeys(keys: Iterable<string>): string[] {
  const list = [...keys];
  return list.some((key) => surrogate.test(key)) ? list.sort(compareKeys) : list.sort();
}

export function keysInOrder(bucket: Bucket): readonly string[] {
  bucket.sortedKeys ??= sortKeys(bucket.objects.keys());
  return bucket.sortedKeys;
}

export function findBucket(world: World, name: string): Bucket {
  const bucket = world.buckets.get(name);
  if (!bucket) throw new Refusal("NoSuchBucket", { elements: { BucketName: name } });
  return bucket;
}
