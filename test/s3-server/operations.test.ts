import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";

let server: S3Server;
let client: S3Client;
const Bucket = "bucket";
const mebibyte = 1024 ** 2;

/** Bytes that repeat nowhere within a few megabytes. */
function pattern(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = seed;
  for (let i = 0; i < sizeBytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

const md5 = (bytes: Buffer) => createHash("md5").update(bytes).digest("hex");

beforeAll(async () => {
  server = await startS3Server({ buckets: [Bucket, { name: "kept", versioning: true }], minPartBytes: 1000 });
  client = new S3Client({ endpoint: server.endpoint, region: server.region, credentials: server.credential });
});
beforeEach(() => server.forget());
afterAll(async () => {
  client.destroy();
  await server.close();
});

describe("objects through the SDK", () => {
  it("stores and returns bytes, type, metadata and checksum", async () => {
    const body = pattern(100_000);
    const put = await client.send(
      new PutObjectCommand({
        Bucket,
        Key: "a/one.wav",
        Body: body,
        ContentType: "audio/wav",
        Metadata: { mtime: "1700000000", filename: "one.wav" },
        StorageClass: "STANDARD_IA",
      }),
    );
    expect(put.ETag).toBe(`"${md5(body)}"`);
    expect(put.ChecksumCRC32).toMatch(/^[\w+/]{6}==$/);
    expect(put.ChecksumType).toBe("FULL_OBJECT");
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: "a/one.wav", ChecksumMode: "ENABLED" }));
    expect(head).toMatchObject({
      ContentLength: 100_000,
      ContentType: "audio/wav",
      Metadata: { mtime: "1700000000", filename: "one.wav" },
      StorageClass: "STANDARD_IA",
      ChecksumCRC32: put.ChecksumCRC32,
      ServerSideEncryption: "AES256",
    });
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "a/one.wav" }));
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? [])).toEqual(body);
    expect(server.object(Bucket, "a/one.wav")).toMatchObject({ sizeBytes: 100_000, writes: 1 });
  });

  it("takes the SDK's default stream: aws-chunked with a trailing checksum", async () => {
    const body = pattern(200_000, 2);
    await client.send(
      new PutObjectCommand({ Bucket, Key: "stream", Body: Readable.from([body]), ContentLength: body.length }),
    );
    expect(server.log[0]).toMatchObject({ payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", bytesIn: 200_000 });
    expect(server.object(Bucket, "stream")?.md5()).toBe(md5(body));
    expect(server.object(Bucket, "stream")?.headers).not.toHaveProperty("content-encoding");
  });

  it.each(["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const)("verifies and echoes %s", async (algorithm) => {
    const put = await client.send(
      new PutObjectCommand({ Bucket, Key: "sum", Body: pattern(5000), ChecksumAlgorithm: algorithm }),
    );
    expect(put[`Checksum${algorithm}`]).toBeTruthy();
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: "sum", ChecksumMode: "ENABLED" }));
    expect(head[`Checksum${algorithm}`]).toBe(put[`Checksum${algorithm}`]);
    expect((await client.send(new HeadObjectCommand({ Bucket, Key: "sum" })))[`Checksum${algorithm}`]).toBeUndefined();
  });

  it.each([
    ["bytes=0-9", 0, 10],
    ["bytes=90-", 90, 100],
    ["bytes=-5", 95, 100],
    ["bytes=50-1000", 50, 100],
  ])("answers the range %s", async (range, start, end) => {
    const body = pattern(100);
    await client.send(new PutObjectCommand({ Bucket, Key: "range", Body: body }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "range", Range: range }));
    expect(got.ContentRange).toBe(`bytes ${start}-${end - 1}/100`);
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? [])).toEqual(body.subarray(start, end));
  });

  it.each([
    "with blank",
    "line\nbreak",
    `quotes "' and <&>`,
    "emoji-🎧",
    "100%+more",
    "a//b",
    "tail/",
    "ünïcode/é",
    "~(*)!'",
    "a?b#c=d&e",
  ])("keeps the key %j", async (Key) => {
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "x" }));
    expect(server.object(Bucket, Key)?.writes).toBe(1);
    const list = await client.send(new ListObjectsV2Command({ Bucket, Prefix: Key, EncodingType: "url" }));
    expect(list.Contents?.map((row) => decodeURIComponent(row.Key ?? ""))).toEqual([Key]);
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    expect(server.object(Bucket, Key)).toBeUndefined();
  });

  it("honours If-None-Match and If-Match", async () => {
    const put = (input: object) => client.send(new PutObjectCommand({ Bucket, Key: "once", ...input }));
    const first = await put({ Body: "1", IfNoneMatch: "*" });
    await expect(put({ Body: "2", IfNoneMatch: "*" })).rejects.toMatchObject({ name: "PreconditionFailed" });
    await expect(put({ Body: "2", IfMatch: '"beef"' })).rejects.toMatchObject({ name: "PreconditionFailed" });
    await put({ Body: "2", IfMatch: first.ETag });
    expect(server.object(Bucket, "once")).toMatchObject({ writes: 2 });
    await expect(put({ Key: "never", Body: "2", IfMatch: first.ETag })).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  it("copies, tags, deletes many, and describes", async () => {
    await client.send(new PutObjectCommand({ Bucket, Key: "from", Body: "abc", Tagging: "kind=ecg" }));
    await client.send(new CopyObjectCommand({ Bucket, Key: "to", CopySource: `${Bucket}/from` }));
    expect(server.object(Bucket, "to")?.bytes().toString()).toBe("abc");
    await client.send(
      new PutObjectTaggingCommand({ Bucket, Key: "to", Tagging: { TagSet: [{ Key: "k", Value: "<v>" }] } }),
    );
    const tags = await client.send(new GetObjectTaggingCommand({ Bucket, Key: "to" }));
    expect(tags.TagSet).toEqual([{ Key: "k", Value: "<v>" }]);
    const about = await client.send(
      new GetObjectAttributesCommand({ Bucket, Key: "from", ObjectAttributes: ["ETag", "Checksum", "ObjectSize"] }),
    );
    expect(about).toMatchObject({ ETag: md5(Buffer.from("abc")), ObjectSize: 3 });
    expect(about.Checksum?.ChecksumCRC32).toBeTruthy();
    await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: "from" }, { Key: "to" }] } }));
    expect(server.keys(Bucket)).not.toContain("from");
    await expect(client.send(new HeadObjectCommand({ Bucket, Key: "from" }))).rejects.toMatchObject({
      $metadata: { httpStatusCode: 404 },
    });
  });

  it("returns version ids where versioning is on", async () => {
    const first = await client.send(new PutObjectCommand({ Bucket: "kept", Key: "v", Body: "1" }));
    const second = await client.send(new PutObjectCommand({ Bucket: "kept", Key: "v", Body: "2" }));
    expect(first.VersionId).not.toBe(second.VersionId);
    const old = await client.send(new GetObjectCommand({ Bucket: "kept", Key: "v", VersionId: first.VersionId }));
    expect(await old.Body?.transformToString()).toBe("1");
  });
});

describe("buckets and listings through the SDK", () => {
  it("knows its buckets", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "brand-new" }));
    await client.send(new HeadBucketCommand({ Bucket: "brand-new" }));
    const names = (await client.send(new ListBucketsCommand({}))).Buckets?.map((row) => row.Name);
    expect(names).toContain("brand-new");
    const location = await client.send(new GetBucketLocationCommand({ Bucket: "brand-new" }));
    expect(location.LocationConstraint).toBeFalsy();
    await client.send(new DeleteBucketCommand({ Bucket: "brand-new" }));
    await expect(client.send(new HeadBucketCommand({ Bucket: "brand-new" }))).rejects.toMatchObject({
      $metadata: { httpStatusCode: 404 },
    });
  });

  it("pages in the order of UTF-8 bytes", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "order" }));
    const keys = ["B", "a", "a/b", "a b", "\uffee", "🎧", "é", "zz"];
    for (const key of keys) server.plant("order", key, "x");
    const listed: string[] = [];
    let token: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket: "order", MaxKeys: 3, ContinuationToken: token }),
      );
      listed.push(...(page.Contents ?? []).map((row) => row.Key ?? ""));
      token = page.NextContinuationToken;
    } while (token);
    expect(listed).toEqual([...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });

  it("groups by delimiter, page by page, and starts after a key", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "tree" }));
    for (const key of ["a", "d1/x", "d1/y", "d2/x", "e", "f/g/h"]) server.plant("tree", key, "x");
    const seen: string[] = [];
    let token: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket: "tree", Delimiter: "/", MaxKeys: 1, ContinuationToken: token }),
      );
      seen.push(...(page.Contents ?? []).map((row) => row.Key ?? ""));
      seen.push(...(page.CommonPrefixes ?? []).map((row) => row.Prefix ?? ""));
      token = page.NextContinuationToken;
    } while (token);
    expect(seen).toEqual(["a", "d1/", "d2/", "e", "f/"]);
    const after = await client.send(new ListObjectsV2Command({ Bucket: "tree", StartAfter: "d1/y" }));
    expect(after.Contents?.map((row) => row.Key)).toEqual(["d2/x", "e", "f/g/h"]);
    const below = await client.send(new ListObjectsV2Command({ Bucket: "tree", Prefix: "d1/" }));
    expect(below.Contents?.map((row) => row.Key)).toEqual(["d1/x", "d1/y"]);
  });
});

describe("multipart through the SDK", () => {
  it("takes lib-storage's upload of a stream", async () => {
    const body = pattern(12 * mebibyte, 3);
    const upload = new Upload({
      client,
      params: { Bucket, Key: "big", Body: Readable.from([body]), Metadata: { mtime: "5" } },
      partSize: 5 * mebibyte,
    });
    await upload.done();
    const stored = server.object(Bucket, "big");
    expect(stored).toMatchObject({ sizeBytes: body.length, parts: 3, writes: 1, metadata: { mtime: "5" } });
    expect(stored?.md5()).toBe(md5(body));
    expect(stored?.checksum).toMatchObject({ algorithm: "crc32", type: "COMPOSITE" });
    expect(stored?.checksum?.value).toMatch(/-3$/);
    const part = await client.send(new GetObjectCommand({ Bucket, Key: "big", PartNumber: 2 }));
    expect(part.PartsCount).toBe(3);
    const bytes = Buffer.from((await part.Body?.transformToByteArray()) ?? []);
    expect(bytes.equals(body.subarray(5 * mebibyte, 10 * mebibyte))).toBe(true);
  });

  it.each(["CRC32", "CRC32C", "CRC64NVME"] as const)("joins %s of the parts into that of the whole", async (name) => {
    const body = pattern(5000, 4);
    const whole = await client.send(
      new PutObjectCommand({ Bucket, Key: "whole", Body: body, ChecksumAlgorithm: name }),
    );
    const create = { Bucket, Key: "joined", ChecksumAlgorithm: name, ChecksumType: "FULL_OBJECT" } as const;
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(create));
    const Parts = [];
    for (const [index, part] of [body.subarray(0, 1777), body.subarray(1777)].entries()) {
      const sent = await client.send(
        new UploadPartCommand({
          Bucket,
          Key: "joined",
          UploadId,
          PartNumber: index + 1,
          Body: part,
          ChecksumAlgorithm: name,
        }),
      );
      Parts.push({ PartNumber: index + 1, ETag: sent.ETag });
    }
    const sum = { [`Checksum${name}`]: whole[`Checksum${name}`] };
    const done = await client.send(
      new CompleteMultipartUploadCommand({ Bucket, Key: "joined", UploadId, MultipartUpload: { Parts }, ...sum }),
    );
    expect(done).toMatchObject({ ...sum, ChecksumType: "FULL_OBJECT" });
  });

  it("lists parts and uploads in pages, and aborts", async () => {
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({ Bucket, Key: "open", ChecksumAlgorithm: "CRC32" }),
    );
    await client.send(new CreateMultipartUploadCommand({ Bucket, Key: "open2" }));
    for (const PartNumber of [3, 1, 2]) {
      await client.send(new UploadPartCommand({ Bucket, Key: "open", UploadId, PartNumber, Body: `${PartNumber}` }));
    }
    const first = await client.send(new ListPartsCommand({ Bucket, Key: "open", UploadId, MaxParts: 2 }));
    expect(first.Parts?.map((part) => part.PartNumber)).toEqual([1, 2]);
    expect(first.Parts?.[0]?.ChecksumCRC32).toBeTruthy();
    const second = await client.send(
      new ListPartsCommand({ Bucket, Key: "open", UploadId, PartNumberMarker: first.NextPartNumberMarker }),
    );
    expect(second.Parts?.map((part) => part.PartNumber)).toEqual([3]);
    const uploads = await client.send(new ListMultipartUploadsCommand({ Bucket, MaxUploads: 1 }));
    expect(uploads).toMatchObject({ IsTruncated: true, NextKeyMarker: "open" });
    const rest = await client.send(
      new ListMultipartUploadsCommand({
        Bucket,
        KeyMarker: uploads.NextKeyMarker,
        UploadIdMarker: uploads.NextUploadIdMarker,
      }),
    );
    expect(rest.Uploads?.map((row) => row.Key)).toEqual(["open2"]);
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key: "open", UploadId }));
    expect(server.uploads(Bucket).map((upload) => upload.key)).toEqual(["open2"]);
  });
});
