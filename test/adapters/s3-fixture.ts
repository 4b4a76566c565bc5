/** A strict S3 server, a folder of files, and a destination between them. */
import { lstatSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openS3Destination } from "../../src/adapters/s3/destination.ts";
import { type S3Destination, type S3Options, usualDeadlines } from "../../src/adapters/s3/options.ts";
import type { Body, OpenUpload, PutHooks, PutJob, PutOutcome, UploadMemory } from "../../src/core/ports.ts";
import { type S3Server, type S3ServerOptions, startS3Server } from "../support/s3-server/server.ts";

export const bucket = "recordings";
export const MiB = 1024 * 1024;

export interface Fixture {
  s3: S3Server;
  folder: string;
  notices: string[];
  throttles: string[];
  options: S3Options;
  destination: S3Destination;
  memory: MemoryOfUploads;
  /** A second destination on the same bucket, closed with the fixture. */
  open(changes?: Partial<S3Options>): Promise<S3Destination>;
  file(name: string, bytes: Uint8Array): Extract<Body, { kind: "file" }>;
  job(key: string, body: Body, changes?: Partial<PutJob>): PutJob;
  put(job: PutJob, hooks?: Partial<PutHooks>): Promise<PutOutcome>;
  close(): Promise<void>;
}

export interface MemoryOfUploads extends UploadMemory {
  uploads: Map<number, OpenUpload>;
  ended: { uploadId: string; state: string }[];
}

/** What the database remembers of multipart uploads, kept in a map. */
export function rememberUploads(): MemoryOfUploads {
  const uploads = new Map<number, OpenUpload>();
  const ended: MemoryOfUploads["ended"] = [];
  const byId = (uploadId: string) => [...uploads].find(([, upload]) => upload.uploadId === uploadId);
  return {
    uploads,
    ended,
    async find(fileId) {
      const upload = uploads.get(fileId);
      return upload === undefined ? null : structuredClone(upload);
    },
    async begin(fileId, upload) {
      uploads.set(fileId, { ...upload, parts: [] });
    },
    async part(uploadId, part) {
      const parts = byId(uploadId)![1].parts;
      const at = parts.findIndex((one) => one.partNumber === part.partNumber);
      if (at < 0) parts.push(part);
      else parts[at] = part;
    },
    async end(uploadId, state) {
      ended.push({ uploadId, state });
      const found = byId(uploadId);
      if (found !== undefined) uploads.delete(found[0]);
    },
  };
}

/** Bytes without a pattern, different for each seed. */
export function noise(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = seed;
  for (let at = 0; at < sizeBytes; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    for (let byte = 0; byte < 4 && at + byte < sizeBytes; byte++) bytes[at + byte] = state >>> (8 * byte);
  }
  return bytes;
}

export async function openFixture(server: S3ServerOptions = {}, changes: Partial<S3Options> = {}): Promise<Fixture> {
  const s3 = await startS3Server({ buckets: [bucket], ...server });
  const folder = mkdtempSync(join(tmpdir(), "uploader-s3-"));
  const notices: string[] = [];
  const throttles: string[] = [];
  const memory = rememberUploads();
  const opened: S3Destination[] = [];
  const options: S3Options = {
    bucket,
    region: s3.region,
    profile: null,
    endpoint: s3.endpoint,
    forcePathStyle: undefined,
    unsignedPayload: false,
    storageClass: null,
    serverSideEncryption: null,
    kmsKeyId: null,
    expectedBucketOwner: null,
    checksum: "auto",
    onNotice: (message) => notices.push(message),
    onThrottle: (cause) => throttles.push(cause),
    connections: 8,
    bytesInFlight: 64 * MiB,
    now: Date.now,
    random: () => 0,
    deadlines: usualDeadlines,
    env: { AWS_ACCESS_KEY_ID: s3.credential.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.credential.secretAccessKey },
    ...changes,
  };
  const open = async (more: Partial<S3Options> = {}) => {
    const destination = await openS3Destination({ ...options, ...more });
    opened.push(destination);
    return destination;
  };
  const destination = await open();
  let fileIds = 0;
  return {
    s3,
    folder,
    notices,
    throttles,
    options,
    destination,
    memory,
    open,
    file(name, bytes) {
      const path = join(folder, name);
      writeFileSync(path, bytes);
      return { kind: "file", path, sizeBytes: bytes.length, mtimeNs: lstatSync(path, { bigint: true }).mtimeNs };
    },
    job: (key, body, more = {}) => ({
      fileId: ++fileIds,
      key,
      body,
      condition: { if: "absent" },
      metadata: {},
      contentType: "audio/wav",
      ...more,
    }),
    put: (job, hooks = {}) =>
      destination.put(job, {
        signal: new AbortController().signal,
        uploads: memory,
        onBytes: () => undefined,
        ...hooks,
      }),
    async close() {
      for (const one of opened) await one.close();
      await s3.close();
      rmSync(folder, { recursive: true });
    },
  };
}
