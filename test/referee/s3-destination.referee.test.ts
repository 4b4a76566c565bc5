import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { openS3Destination, usualDeadlines } from "../../src/adapters/s3.ts";
import { describeDestinationPromises } from "../support/destination-promises.ts";
import { missingForRadosgw, startRadosgw } from "../support/radosgw.ts";
import { refereeSuite } from "./packages.ts";

const bucket = "promises";
const MiB = 1024 * 1024;

/** The destination on a server that we did not write, looked at through the SDK. */
async function open() {
  const gateway = await startRadosgw();
  const { endpoint, region, credential } = gateway;
  const sdk = new S3Client({
    endpoint,
    region,
    credentials: credential,
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
  });
  await sdk.send(new CreateBucketCommand({ Bucket: bucket }));
  const destination = await openS3Destination({
    bucket,
    region,
    profile: null,
    endpoint,
    forcePathStyle: undefined,
    unsignedPayload: false,
    storageClass: null,
    serverSideEncryption: null,
    kmsKeyId: null,
    expectedBucketOwner: null,
    checksum: "auto",
    onNotice: () => undefined,
    connections: 8,
    bytesInFlight: 64 * MiB,
    now: Date.now,
    random: Math.random,
    deadlines: usualDeadlines,
    env: { AWS_ACCESS_KEY_ID: credential.accessKeyId, AWS_SECRET_ACCESS_KEY: credential.secretAccessKey },
  });
  return {
    destination,
    async read(Key: string) {
      try {
        const { Body } = await sdk.send(new GetObjectCommand({ Bucket: bucket, Key }));
        return await Body!.transformToByteArray();
      } catch (error) {
        if (error instanceof NoSuchKey) return null;
        throw error;
      }
    },
    async plant(Key: string, Body: Uint8Array) {
      await sdk.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
    },
    async keys() {
      const { Contents } = await sdk.send(new ListObjectsV2Command({ Bucket: bucket, EncodingType: "url" }));
      return (Contents ?? []).map(({ Key }) => decodeURIComponent(Key!.replaceAll("+", "%20")));
    },
    async close() {
      await destination.close();
      sdk.destroy();
      await gateway.close();
    },
  };
}

refereeSuite("S3 destination on Ceph's radosgw", await missingForRadosgw(), () =>
  describeDestinationPromises("S3, radosgw", open, { largeBytes: 20 * MiB, keepsChecksums: false }),
);
