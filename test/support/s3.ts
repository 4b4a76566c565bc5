/** An S3 destination on a strict server, with short deadlines. */

import { openS3Destination } from "../../src/adapters/s3/destination.ts";
import { type S3Options, usualDeadlines } from "../../src/adapters/s3/options.ts";
import type { S3Server } from "./s3-server/server.ts";

export const openOn = (server: S3Server, bucket: string, over: Partial<S3Options> = {}) =>
  openS3Destination({
    bucket,
    region: server.region,
    profile: null,
    endpoint: server.endpoint,
    forcePathStyle: true,
    unsignedPayload: false,
    storageClass: null,
    serverSideEncryption: null,
    kmsKeyId: null,
    expectedBucketOwner: null,
    checksum: "auto",
    onNotice: () => undefined,
    connections: 16,
    bytesInFlight: 64 * 1024 * 1024,
    now: Date.now,
    random: () => 0,
    deadlines: { ...usualDeadlines, idleMs: 2_000 },
    env: {
      AWS_ACCESS_KEY_ID: server.credential.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.credential.secretAccessKey,
    },
    ...over,
  });
