import { createHash } from "node:crypto";
import type { Checksum } from "./checksums.ts";
import { blobBytes } from "./storage.ts";
import { createBucket, findBucket, keysInOrder, publish, randomId, remove, type Tag, type World } from "./world.ts";

/** An object as a test wants to see it. */
export interface ObjectView {
  sizeBytes: number;
  /** Without quotes. */
  etag: string;
  checksum: Checksum | null;
  /** x-amz-meta-*, without that prefix. */
  metadata: Record<string, string>;
  /** Content-Type and the like. */
  headers: Record<string, string>;
  storageClass: string;
  encryption: Readonly<Record<string, string>>;
  tags: readonly Tag[];
  versionId: string | null;
  /** 0 for an object of one PUT. */
  parts: number;
  /** How often this key was written, whatever the bytes. */
  writes: number;
  bytes(): Buffer;
  /** hex, of the bytes as they are stored */
  md5(): string;
  sha256(): string;
}

export interface UploadView {
  uploadId: string;
  key: string;
  parts: { partNumber: number; sizeBytes: number; etag: string }[];
}

/** Looks at the store behind the protocol's back. */
export interface Inspector {
  object(bucket: string, key: string): ObjectView | undefined;
  /** In S3's order. */
  keys(bucket: string): readonly string[];
  /** Multipart uploads that are open. */
  uploads(bucket: string): UploadView[];
  /** Puts an object in place as another client might have done. Does not count as a write. */
  plant(bucket: string, key: string, bytes: Uint8Array | string, headers?: Record<string, string>): void;
  /** Takes an object away. */
  uproot(bucket: string, key: string): void;
  /** Takes away all objects and uploads and forgets how often keys were written. */
  empty(bucket: string): void;
}

const metaPrefix = "x-amz-meta-";

function split(headers: Readonly<Record<string, string>>) {
  const entries = Object.entries(headers);
  return {
    metadata: Object.fromEntries(
      entries.flatMap(([name, value]) =>
        name.startsWith(metaPrefix) ? [[name.slice(metaPrefix.length), value] as const] : [],
      ),
    ),
    headers: Object.fromEntries(entries.filter(([name]) => !name.startsWith(metaPrefix))),
  };
}

export function createInspector(world: World): Inspector {
  return {
    object(bucketName, key) {
      const bucket = findBucket(world, bucketName);
      const object = bucket.objects.get(key);
      if (!object) return undefined;
      const digest = (name: string) => {
        const hash = createHash(name);
        for (const chunk of object.blob.read(0, object.blob.sizeBytes)) hash.update(chunk);
        return hash.digest("hex");
      };
      return {
        ...split(object.headers),
        sizeBytes: object.blob.sizeBytes,
        etag: object.etag,
        checksum: object.checksum,
        storageClass: object.storageClass,
        encryption: object.encryption,
        tags: object.tags,
        versionId: object.versionId,
        parts: object.parts.length,
        writes: bucket.writes.get(key) ?? 0,
        bytes: () => blobBytes(object.blob),
        md5: () => digest("md5"),
        sha256: () => digest("sha256"),
      };
    },
    keys: (bucketName) => keysInOrder(findBucket(world, bucketName)),
    uploads(bucketName) {
      return [...findBucket(world, bucketName).uploads.values()].map(({ uploadId, key, parts }) => ({
        uploadId,
        key,
        parts: [...parts.values()]
          .sort((a, b) => a.partNumber - b.partNumber)
          .map(({ partNumber, blob, etag }) => ({ partNumber, sizeBytes: blob.sizeBytes, etag })),
      }));
    },
    plant(bucketName, key, bytes, headers = {}) {
      const bucket = findBucket(world, bucketName);
      const content = Buffer.from(bytes);
      const writer = world.storage.create();
      writer.write(content);
      const before = bucket.writes.get(key);
      publish(bucket, {
        key,
        blob: writer.finish(),
        headers: { "content-type": "binary/octet-stream", ...headers },
        storageClass: "STANDARD",
        encryption: { "x-amz-server-side-encryption": "AES256" },
        tags: [],
        etag: createHash("md5").update(content).digest("hex"),
        checksum: null,
        modifiedAt: world.now(),
        versionId: bucket.versioning ? randomId() : null,
        parts: [],
      });
      if (before === undefined) bucket.writes.delete(key);
      else bucket.writes.set(key, before);
    },
    uproot: (bucketName, key) => remove(findBucket(world, bucketName), key),
    empty(bucketName) {
      const { region, versioning } = findBucket(world, bucketName);
      world.buckets.set(bucketName, createBucket(bucketName, region, versioning));
    },
  };
}
