import { readdir, rmdir, stat } from "node:fs/promises";
import { Agent } from "node:https";
import { join } from "node:path";
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { selfSignedCertificate } from "../support/certificate.ts";
import { temporaryFolder } from "../support/daemons.ts";
import { type RawRequest, type RawTarget, sendRaw } from "../support/raw-s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";

let server: S3Server;
let target: RawTarget;

beforeAll(async () => {
  server = await startS3Server();
  target = { endpoint: server.endpoint, region: server.region, credential: server.credential };
});
beforeEach(() => {
  server.forget();
  server.empty("bucket");
});
afterAll(() => server.close());

const put = (key = "key", more: Partial<RawRequest> = {}) =>
  sendRaw(target, { method: "PUT", path: `/bucket/${key}`, body: "content", ...more });

it("serves over TLS, and breaks connections there too", async () => {
  const tls = selfSignedCertificate(new Date());
  const secure = await startS3Server({ tls });
  const client = new S3Client({
    endpoint: secure.endpoint,
    region: secure.region,
    credentials: secure.credential,
    maxAttempts: 1,
    requestHandler: { httpsAgent: new Agent({ ca: tls.cert }) },
  });
  const send = () => client.send(new PutObjectCommand({ Bucket: "bucket", Key: "key", Body: "over TLS" }));
  await send();
  secure.faults.push({ action: { kind: "loseAnswer" } });
  await expect(send()).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(secure.endpoint).toMatch(/^https:/);
  expect(secure.object("bucket", "key")?.writes).toBe(2);
  client.destroy();
  await secure.close();
});

it("keeps bodies in one file and gives them back, also after overwriting", async () => {
  const directory = await temporaryFolder("uploader-s3-");
  const filed = await startS3Server({ directory });
  const client = new S3Client({ endpoint: filed.endpoint, region: "us-east-1", credentials: filed.credential });
  const body = Buffer.alloc(3_000_000, "0123456789");
  for (const content of ["first", body]) {
    await client.send(new PutObjectCommand({ Bucket: "bucket", Key: "key", Body: content }));
  }
  expect((await stat(join(directory, "objects.log"))).size).toBe(3_000_005);
  const got = await client.send(new GetObjectCommand({ Bucket: "bucket", Key: "key", Range: "bytes=1000000-1000009" }));
  expect(await got.Body?.transformToString()).toBe("0123456789");
  expect(filed.object("bucket", "key")?.bytes().equals(body)).toBe(true);
  client.destroy();
  await filed.close();
  expect(await readdir(directory)).toEqual([]);
  await rmdir(directory);
});

it("serves virtual-host style", async () => {
  const host = { headers: { host: `bucket.localhost:${server.port}` } };
  expect((await put("x", { ...host, path: "/virtual" })).status).toBe(200);
  expect(server.keys("bucket")).toEqual(["virtual"]);
});

it("counts and remembers requests", async () => {
  await put("a");
  await sendRaw(target, { method: "HEAD", path: "/bucket/none" });
  expect(server.counts).toEqual({ PutObject: 1, HeadObject: 1 });
  expect(server.log).toMatchObject([
    { operation: "PutObject", bucket: "bucket", key: "a", status: 200, bytesIn: 7, authMode: "header" },
    { operation: "HeadObject", status: 404, code: "NoSuchKey" },
  ]);
  expect(server.inFlight).toBe(0);
  expect(server.peakInFlight).toBe(1);
});

it("expires a key pair while it runs", async () => {
  server.credential.expired = true;
  expect((await put()).code).toBe("ExpiredToken");
  server.credential.expired = false;
  const client = new S3Client({ endpoint: server.endpoint, region: "us-east-1", credentials: server.credential });
  await expect(client.send(new HeadObjectCommand({ Bucket: "bucket", Key: "none" }))).rejects.toMatchObject({
    name: "NotFound",
  });
  client.destroy();
});
