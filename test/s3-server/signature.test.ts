import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RawRequest, type RawTarget, sendRaw, sendUnsigned, signedChunks } from "../support/raw-s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";

/** The examples of AWS's own documentation ("Authenticating Requests", S3 API Reference), keys and all. */
describe("the published signature examples", () => {
  let server: S3Server;
  let time = new Date("2013-05-24T00:00:30Z");
  const credentialText = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
  const emptyHash = createHash("sha256").digest("hex");

  beforeAll(async () => {
    server = await startS3Server({
      buckets: ["examplebucket"],
      domains: ["s3.amazonaws.com"],
      now: () => time,
      credentials: [
        { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" },
      ],
    });
    server.plant("examplebucket", "test.txt", "Welcome to Amazon S3.");
  });
  afterAll(() => server.close());

  function send(method: string, path: string, headers: Record<string, string>, signature: string, body?: Buffer) {
    const all: Record<string, string> = {
      host: "examplebucket.s3.amazonaws.com",
      "x-amz-date": "20130524T000000Z",
      ...headers,
    };
    const names = Object.keys(all).sort().join(";");
    const authorization = `AWS4-HMAC-SHA256 Credential=${credentialText},SignedHeaders=${names},Signature=${signature}`;
    return sendUnsigned(server.endpoint, method, path, { ...all, authorization }, body);
  }

  it("GET of a range, virtual-host style", async () => {
    const headers = { range: "bytes=0-9", "x-amz-content-sha256": emptyHash };
    const signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    expect(await send("GET", "/test.txt", headers, signature)).toMatchObject({ status: 206, text: "Welcome to" });
    const forged = signature.replace("f0", "0f");
    expect(await send("GET", "/test.txt", headers, forged)).toMatchObject({ code: "SignatureDoesNotMatch" });
  });

  it("PUT of a key with a dollar sign", async () => {
    const body = Buffer.from("Welcome to Amazon S3.");
    const answer = await send(
      "PUT",
      "/test%24file.text",
      {
        date: "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
      },
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
      body,
    );
    expect(answer.status).toBe(200);
    expect(server.object("examplebucket", "test$file.text")).toMatchObject({ storageClass: "REDUCED_REDUNDANCY" });
  });

  it("the query string is part of it", async () => {
    const answer = await send(
      "GET",
      "/?max-keys=2&prefix=J",
      { "x-amz-content-sha256": emptyHash },
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
    // Listing version 1 is not served; a wrong signature would have been refused before.
    expect(answer.code).toBe("NotImplemented");
  });

  it("a presigned URL", async () => {
    const query = [
      "X-Amz-Algorithm=AWS4-HMAC-SHA256",
      `X-Amz-Credential=${encodeURIComponent(credentialText)}`,
      "X-Amz-Date=20130524T000000Z",
      "X-Amz-Expires=86400",
      "X-Amz-SignedHeaders=host",
      "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    ].join("&");
    const host = { host: "examplebucket.s3.amazonaws.com" };
    const good = await sendUnsigned(server.endpoint, "GET", `/test.txt?${query}`, host);
    expect(good).toMatchObject({ status: 200, text: "Welcome to Amazon S3." });
    const longer = query.replace("86400", "86401");
    const bad = await sendUnsigned(server.endpoint, "GET", `/test.txt?${longer}`, host);
    expect(bad.code).toBe("SignatureDoesNotMatch");
    time = new Date("2013-05-25T00:00:01Z");
    const late = await sendUnsigned(server.endpoint, "GET", `/test.txt?${query}`, host);
    time = new Date("2013-05-24T00:00:30Z");
    expect(late).toMatchObject({ status: 403, code: "AccessDenied" });
  });

  it("a body in signed chunks", async () => {
    const chunk = (text: string, signature: string) =>
      `${text.length.toString(16)};chunk-signature=${signature}\r\n${text}\r\n`;
    const body = Buffer.from(
      chunk("a".repeat(65536), "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648") +
        chunk("a".repeat(1024), "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497") +
        chunk("", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    );
    const headers = {
      host: "s3.amazonaws.com",
      "content-encoding": "aws-chunked",
      "content-length": "66824",
      "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
      "x-amz-decoded-content-length": "66560",
      "x-amz-storage-class": "REDUCED_REDUNDANCY",
    };
    const seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const put = (bytes: Buffer) => send("PUT", "/examplebucket/chunkObject.txt", headers, seed, bytes);
    expect((await put(body)).status).toBe(200);
    expect(server.object("examplebucket", "chunkObject.txt")?.bytes().toString()).toBe("a".repeat(66560));
    const spoilt = Buffer.from(body);
    spoilt[70_000 - 5000] = 0x62;
    expect(await put(spoilt)).toMatchObject({ status: 403, code: "SignatureDoesNotMatch" });
  });
});

describe("requests that are signed wrongly", () => {
  let server: S3Server;
  let target: RawTarget;
  const now = new Date("2026-03-01T12:00:00Z");

  beforeAll(async () => {
    server = await startS3Server({
      now: () => now,
      region: "eu-west-1",
      buckets: ["bucket", { name: "elsewhere", region: "us-west-2" }],
      credentials: [
        { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secretsecret" },
        { accessKeyId: "ASIATEMPORARY", secretAccessKey: "secret2", sessionToken: "token" },
        { accessKeyId: "ASIAEXPIRED", secretAccessKey: "secret3", sessionToken: "token", expired: true },
      ],
    });
    target = { endpoint: server.endpoint, region: server.region, credential: server.credential };
  });
  afterAll(() => server.close());

  const minutes = (count: number) => new Date(now.getTime() + count * 60_000);
  const put = (more: Partial<RawRequest>): RawRequest => ({
    method: "PUT",
    path: "/bucket/key",
    body: "content",
    time: now,
    ...more,
  });
  const rescope = (from: string, to: string) => (headers: Record<string, string>) => ({
    authorization: headers.authorization?.replace(from, to) ?? "",
  });
  const temporary = { accessKeyId: "ASIATEMPORARY", secretAccessKey: "secret2" };
  const cases: [name: string, request: RawRequest, status: number, code: string | null][] = [
    ["correct", put({}), 200, null],
    ["wrong secret", put({ secretAccessKey: "guess" }), 403, "SignatureDoesNotMatch"],
    ["unknown key", put({ accessKeyId: "AKIDNOBODY" }), 403, "InvalidAccessKeyId"],
    ["14 minutes late", put({ time: minutes(-14) }), 200, null],
    ["16 minutes late", put({ time: minutes(-16) }), 403, "RequestTimeTooSkewed"],
    ["16 minutes early", put({ time: minutes(16) }), 403, "RequestTimeTooSkewed"],
    ["token missing", put(temporary), 400, "InvalidToken"],
    ["token right", put({ ...temporary, headers: { "x-amz-security-token": "token" } }), 200, null],
    ["token wrong", put({ ...temporary, headers: { "x-amz-security-token": "nekot" } }), 400, "InvalidToken"],
    ["token not asked for", put({ headers: { "x-amz-security-token": "token" } }), 400, "InvalidToken"],
    [
      "token expired",
      put({ accessKeyId: "ASIAEXPIRED", secretAccessKey: "secret3", headers: { "x-amz-security-token": "token" } }),
      400,
      "ExpiredToken",
    ],
    ["unsigned x-amz header", put({ unsigned: { "x-amz-storage-class": "STANDARD" } }), 403, "AccessDenied"],
    [
      "header changed afterwards",
      put({ tamper: () => ({ "x-amz-date": "20260301T120001Z" }) }),
      403,
      "SignatureDoesNotMatch",
    ],
    [
      "no x-amz-content-sha256",
      put({ tamper: () => ({ "x-amz-content-sha256": null }) }),
      400,
      "MissingSecurityHeader",
    ],
    ["no authorization", put({ tamper: () => ({ authorization: null }) }), 403, "AccessDenied"],
    ["version 2", put({ tamper: () => ({ authorization: "AWS AKIDEXAMPLE:abc" }) }), 400, "InvalidRequest"],
    ["credential cut short", put({ tamper: rescope("/aws4_request", "") }), 400, "AuthorizationHeaderMalformed"],
    ["another service", put({ tamper: rescope("/s3/", "/sqs/") }), 400, "AuthorizationHeaderMalformed"],
    ["another day's scope", put({ tamper: rescope("/20260301/", "/20260228/") }), 400, "AuthorizationHeaderMalformed"],
    ["body hash wrong", put({ payload: "0".repeat(64) }), 400, "XAmzContentSHA256Mismatch"],
    ["body hash no hash", put({ payload: "SIGNED" }), 400, "InvalidArgument"],
    ["unsigned payload", put({ payload: "UNSIGNED-PAYLOAD" }), 200, null],
    ["wrong region", put({ region: "us-east-1" }), 400, "AuthorizationHeaderMalformed"],
    ["bucket of another region", put({ path: "/elsewhere/key" }), 301, "PermanentRedirect"],
    ["bucket of another region, addressed so", put({ path: "/elsewhere/key", region: "us-west-2" }), 200, null],
    ["a plus left bare", put({ path: "/bucket/a+b" }), 403, "SignatureDoesNotMatch"],
    ["not UTF-8", put({ path: "/bucket/%ff" }), 400, "InvalidURI"],
  ];

  it.each(cases)("%s", async (_, request, status, code) => {
    expect(await sendRaw(target, request)).toMatchObject({ status, code });
  });

  it("names the right region", async () => {
    const answer = await sendRaw(target, put({ region: "us-east-1" }));
    expect(answer.text).toContain("<Region>eu-west-1</Region>");
    const head = await sendRaw(target, { method: "HEAD", path: "/elsewhere", time: now });
    expect(head).toMatchObject({ status: 301, text: "" });
    expect(head.headers["x-amz-bucket-region"]).toBe("us-west-2");
  });

  it("tells its own time when refusing a skewed clock", async () => {
    const answer = await sendRaw(target, put({ time: minutes(-60) }));
    expect(answer.text).toContain("<ServerTime>2026-03-01T12:00:00.000Z</ServerTime>");
    expect(answer.headers.date).toBe(now.toUTCString());
  });

  it("checks signed chunks and the signed trailer behind them", async () => {
    const body = Buffer.alloc(30_000, "x");
    const crc = createHash("sha256").update(body).digest("base64");
    const send = (change: (bytes: Buffer) => Buffer) =>
      sendRaw(target, {
        method: "PUT",
        path: "/bucket/chunks",
        time: now,
        payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        headers: {
          "content-encoding": "aws-chunked",
          "x-amz-decoded-content-length": "30000",
          "x-amz-trailer": "x-amz-checksum-sha256",
        },
        body: (signature) => change(signedChunks(signature, body, 16_384, { "x-amz-checksum-sha256": crc })),
      });
    const replace = (from: string, to: string) => (bytes: Buffer) =>
      Buffer.from(bytes.toString("latin1").replace(from, to), "latin1");
    expect((await send((bytes) => bytes)).status).toBe(200);
    expect(server.object("bucket", "chunks")?.bytes().equals(body)).toBe(true);
    expect((await send(replace("xx\r\n", "xy\r\n"))).code).toBe("SignatureDoesNotMatch");
    expect(
      (
        await send(
          replace(
            crc,
            crc.replace(/^./, (c) => (c === "A" ? "B" : "A")),
          ),
        )
      ).code,
    ).toBe("SignatureDoesNotMatch");
    expect((await send((bytes) => bytes.subarray(0, -20))).code).toBe("IncompleteBody");
  });
});
