import { createHash } from "node:crypto";
import { connect } from "node:net";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { plainChunks, type RawRequest, type RawTarget, sendRaw } from "../support/raw-s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";

let server: S3Server;
let target: RawTarget;

beforeAll(async () => {
  server = await startS3Server({ minPartBytes: 100 });
  target = { endpoint: server.endpoint, region: server.region, credential: server.credential };
});
beforeEach(() => {
  server.forget();
  server.empty("bucket");
});
afterAll(() => server.close());

const body = "the recording";
const md5 = createHash("md5").update(body).digest("base64");
const crc = Buffer.from(crc32(body).toString(16).padStart(8, "0"), "hex").toString("base64");
const put = (more: Partial<RawRequest> = {}): RawRequest => ({ method: "PUT", path: "/bucket/key", body, ...more });
const get = (path: string, query: Record<string, string> = {}): RawRequest => ({ method: "GET", path, query });
const longKey = (bytes: number) => `/bucket/${"k".repeat(bytes)}`;

describe("a PUT", () => {
  const chunked = (chunks: Buffer[], trailers: Record<string, string>, headers: Record<string, string> = {}) =>
    put({
      payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
      headers: {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": String(Buffer.concat(chunks).length),
        "x-amz-trailer": "x-amz-checksum-crc32",
        ...headers,
      },
      body: plainChunks(chunks, trailers),
    });
  const whole = [Buffer.from(body)];

  const cases: [name: string, request: RawRequest, status: number, code: string | null][] = [
    ["right CRC-32", put({ headers: { "x-amz-checksum-crc32": crc } }), 200, null],
    ["wrong CRC-32", put({ headers: { "x-amz-checksum-crc32": "AAAAAA==" } }), 400, "BadDigest"],
    ["CRC-32 of the wrong length", put({ headers: { "x-amz-checksum-crc32": "AAAA" } }), 400, "InvalidRequest"],
    [
      "two checksums",
      put({ headers: { "x-amz-checksum-crc32": crc, "x-amz-checksum-crc32c": crc } }),
      400,
      "InvalidRequest",
    ],
    ["unknown checksum", put({ headers: { "x-amz-checksum-xxhash64": "AAAAAAAAAAA=" } }), 501, "NotImplemented"],
    ["checksum named, not sent", put({ headers: { "x-amz-sdk-checksum-algorithm": "CRC32" } }), 400, "InvalidRequest"],
    ["right Content-MD5", put({ headers: { "content-md5": md5 } }), 200, null],
    ["wrong Content-MD5", put({ headers: { "content-md5": md5.replace(/^./, "_") } }), 400, "InvalidDigest"],
    [
      "Content-MD5 of other bytes",
      put({ headers: { "content-md5": createHash("md5").update("x").digest("base64") } }),
      400,
      "BadDigest",
    ],
    [
      "no length",
      put({ tamper: () => ({ "content-length": null, "transfer-encoding": "chunked" }) }),
      411,
      "MissingContentLength",
    ],
    ["trailer right", chunked(whole, { "x-amz-checksum-crc32": crc }), 200, null],
    ["trailer wrong", chunked(whole, { "x-amz-checksum-crc32": "AAAAAA==" }), 400, "BadDigest"],
    ["trailer missing", chunked(whole, {}), 400, "MalformedTrailerError"],
    ["trailer of another name", chunked(whole, { "x-amz-checksum-sha1": crc }), 400, "MalformedTrailerError"],
    [
      "chunked without decoded length",
      put({ payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers: { "x-amz-trailer": "x-amz-checksum-crc32" } }),
      411,
      "MissingContentLength",
    ],
    [
      "decoded length wrong",
      chunked(whole, { "x-amz-checksum-crc32": crc }, { "x-amz-decoded-content-length": "12" }),
      400,
      "IncompleteBody",
    ],
    [
      "small chunk before the last",
      chunked([Buffer.alloc(100), Buffer.alloc(100)], { "x-amz-checksum-crc32": "AAAAAA==" }),
      403,
      "InvalidChunkSizeError",
    ],
    ["framing broken", put({ ...chunked(whole, {}), body: "zz\r\n" }), 400, "IncompleteBody"],
    ["key of 1,024 bytes", put({ path: longKey(1024) }), 200, null],
    ["key of 1,025 bytes", put({ path: longKey(1025) }), 400, "KeyTooLongError"],
    ["metadata of 2 KiB", put({ headers: { "x-amz-meta-a": "v".repeat(2047) } }), 200, null],
    ["metadata beyond 2 KiB", put({ headers: { "x-amz-meta-a": "v".repeat(2048) } }), 400, "MetadataTooLarge"],
    ["unknown storage class", put({ headers: { "x-amz-storage-class": "SHELF" } }), 400, "InvalidStorageClass"],
    ["unknown encryption", put({ headers: { "x-amz-server-side-encryption": "rot13" } }), 400, "InvalidArgument"],
    ["header not served", put({ headers: { "x-amz-acl": "public-read" } }), 501, "NotImplemented"],
    ["sub-resource not served", put({ query: { acl: "" } }), 501, "NotImplemented"],
    ["our own account", put({ headers: { "x-amz-expected-bucket-owner": "123456789012" } }), 200, null],
    ["another account", put({ headers: { "x-amz-expected-bucket-owner": "210987654321" } }), 403, "AccessDenied"],
    ["no such bucket", put({ path: "/nowhere/key" }), 404, "NoSuchBucket"],
    ["condition not served", put({ headers: { "if-none-match": '"etag"' } }), 501, "NotImplemented"],
    [
      "more than 5 GiB",
      put({ headers: { "content-length": String(5 * 1024 ** 3 + 1) }, body: "" }),
      400,
      "EntityTooLarge",
    ],
  ];

  it.each(cases)("%s", async (_, request, status, code) => {
    const answer = await sendRaw(target, request);
    expect(answer).toMatchObject({ status, code });
    expect(answer.headers["x-amz-request-id"]).toMatch(/^[0-9A-F]{16}$/);
    expect(server.keys("bucket")).toHaveLength(status === 200 && request.path.startsWith("/bucket/") ? 1 : 0);
    if (code !== null) expect(answer.text).toContain(`<RequestId>${answer.headers["x-amz-request-id"]}</RequestId>`);
  });

  it("keeps encryption and its key, and the ETag is no MD5 then", async () => {
    const kms = { "x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "key-1" };
    const answer = await sendRaw(target, put({ headers: kms }));
    expect(answer.headers).toMatchObject(kms);
    expect(answer.headers.etag).not.toContain(Buffer.from(md5, "base64").toString("hex"));
    expect((await sendRaw(target, { method: "HEAD", path: "/bucket/key" })).headers).toMatchObject(kms);
  });

  it("adds its own checksum when the client sent none", async () => {
    const answer = await sendRaw(target, put({ body: "123456789" }));
    // The check value of CRC-64/NVME: 0xae8b14860a799888.
    expect(answer.headers["x-amz-checksum-crc64nvme"]).toBe(Buffer.from("ae8b14860a799888", "hex").toString("base64"));
    expect(answer.headers["x-amz-checksum-type"]).toBe("FULL_OBJECT");
  });

  it("waits for 100-continue only where the body is wanted", async () => {
    const ask = (path: string) =>
      new Promise<string>((resolve) => {
        const socket = connect(server.port, "127.0.0.1");
        socket.write(`PUT ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`);
        socket.once("data", (data) => {
          socket.destroy();
          resolve(data.toString().split("\r\n")[0] ?? "");
        });
      });
    expect(await ask("/bucket/unsigned")).toBe("HTTP/1.1 403 Forbidden");
    server.faults.push({ action: { kind: "error", code: "SlowDown" } });
    expect(await ask("/bucket/unsigned")).toBe("HTTP/1.1 100 Continue");
  });
});

describe("reading", () => {
  const read = (method: string, headers: Record<string, string>) =>
    sendRaw(target, { method, path: "/bucket/key", headers });

  it.each([
    [{ range: "bytes=99-" }, 416, "InvalidRange"],
    [{ range: "lines=1-2" }, 200, null],
    [{ "if-match": '"other"' }, 412, "PreconditionFailed"],
    [{ "if-none-match": "*" }, 304, null],
    [{ "if-modified-since": "Mon, 01 Jan 2001 00:00:00 GMT" }, 200, null],
    [{ "if-unmodified-since": "Mon, 01 Jan 2001 00:00:00 GMT" }, 412, "PreconditionFailed"],
  ])("GET with %j", async (headers, status, code) => {
    server.plant("bucket", "key", body);
    expect(await read("GET", headers as Record<string, string>)).toMatchObject({ status, code });
  });

  it("HEAD has no body, not even for an error", async () => {
    expect(await read("HEAD", {})).toMatchObject({ status: 404, text: "" });
    server.plant("bucket", "key", body, { "x-amz-meta-mtime": "7" });
    const head = await read("HEAD", {});
    expect(head).toMatchObject({ status: 200, text: "" });
    expect(head.headers).toMatchObject({ "content-length": String(body.length), "x-amz-meta-mtime": "7" });
  });

  it.each([
    [{ "list-type": "2", "continuation-token": "junk" }, "InvalidArgument"],
    [{ "list-type": "2", "max-keys": "-1" }, "InvalidArgument"],
    [{ "list-type": "2", "encoding-type": "base64" }, "InvalidArgument"],
    [{}, "NotImplemented"],
  ])("a listing with %j", async (query, code) => {
    expect((await sendRaw(target, get("/bucket", query as Record<string, string>))).code).toBe(code);
  });
});

describe("permissions", () => {
  const narrow = async (allow: string[], requests: RawRequest[]) => {
    server.credentials.set("AKIDNARROW", { accessKeyId: "AKIDNARROW", secretAccessKey: "narrow", allow });
    const as = { accessKeyId: "AKIDNARROW", secretAccessKey: "narrow" };
    const answers = [];
    for (const request of requests) answers.push((await sendRaw(target, { ...request, ...as })).status);
    return answers;
  };
  const list = get("/bucket", { "list-type": "2" });
  const head = (path: string): RawRequest => ({ method: "HEAD", path });

  it("s3:PutObject alone writes, also if absent, and reads nothing", async () => {
    const absent = { "if-none-match": "*" };
    const requests = [put(), head("/bucket/key"), head("/bucket"), list, put({ headers: absent })];
    expect(await narrow(["s3:PutObject"], requests)).toEqual([200, 403, 403, 403, 412]);
    const match = { "if-match": `"${Buffer.from(md5, "base64").toString("hex")}"` };
    expect(await narrow(["s3:PutObject"], [put({ headers: match })])).toEqual([403]);
    expect(await narrow(["s3:PutObject", "s3:GetObject"], [put({ headers: match })])).toEqual([200]);
  });

  it("without s3:ListBucket a missing key is forbidden, not absent", async () => {
    server.plant("bucket", "key", body);
    const requests = [head("/bucket/key"), head("/bucket/missing")];
    expect(await narrow(["s3:GetObject"], requests)).toEqual([200, 403]);
    expect(await narrow(["s3:GetObject", "s3:ListBucket"], requests)).toEqual([200, 404]);
  });
});

describe("lesser servers", () => {
  it("may ignore checksums, refuse trailers, and give opaque ETags", async () => {
    const lesser = await startS3Server({ quirks: { checksums: "ignore", trailers: "refuse", etags: "opaque" } });
    const at = { ...target, endpoint: lesser.endpoint };
    const wrong = await sendRaw(at, put({ headers: { "x-amz-checksum-crc32": "AAAAAA==" } }));
    expect(wrong.status).toBe(200);
    expect(Object.keys(wrong.headers).filter((name) => name.startsWith("x-amz-checksum"))).toEqual([]);
    expect(wrong.headers.etag).not.toBe(`"${Buffer.from(md5, "base64").toString("hex")}"`);
    const streamed = put({
      payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
      headers: { "x-amz-decoded-content-length": "13", "x-amz-trailer": "x-amz-checksum-crc32" },
    });
    expect((await sendRaw(at, streamed)).status).toBe(411);
    await lesser.close();
  });
});
