import { Agent } from "node:http";
import { connect } from "node:net";
import { crc32 } from "node:zlib";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RawRequest, type RawTarget, sendRaw } from "../support/raw-s3.ts";
import type { FaultAction } from "../support/s3-server/faults.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";

let server: S3Server;
let target: RawTarget;

beforeAll(async () => {
  server = await startS3Server({ minPartBytes: 1 });
  target = { endpoint: server.endpoint, region: server.region, credential: server.credential };
});
beforeEach(() => {
  server.faults.clear();
  server.forget();
  server.empty("bucket");
});
afterAll(() => server.close());

const put = (key = "key", more: Partial<RawRequest> = {}) =>
  sendRaw(target, { method: "PUT", path: `/bucket/${key}`, body: "content", ...more });
const stored = () => server.keys("bucket").length;
const play = (action: FaultAction) => server.faults.push({ action });

async function openUpload() {
  const at = { path: "/bucket/big" };
  const created = await sendRaw(target, { method: "POST", ...at, query: { uploads: "" } });
  const uploadId = /<UploadId>(.*)<\/UploadId>/.exec(created.text)?.[1] ?? "";
  const part = await sendRaw(target, { method: "PUT", ...at, query: { partNumber: "1", uploadId }, body: "part" });
  const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers.etag}</ETag></Part></CompleteMultipartUpload>`;
  return () => sendRaw(target, { method: "POST", ...at, query: { uploadId }, body });
}

describe("answers in place of the work", () => {
  it.each([
    ["SlowDown", 503],
    ["InternalError", 500],
    ["RequestTimeout", 400],
    ["ExpiredToken", 400],
    ["AccessDenied", 403],
    ["ConditionalRequestConflict", 409],
    ["TooManyRequests", 429],
  ] as const)("%s", async (code, status) => {
    play({ kind: "error", code, retryAfterSeconds: 2 });
    const answer = await put();
    expect(answer).toMatchObject({ status, code });
    expect(answer.headers["retry-after"]).toBe("2");
    expect(stored()).toBe(0);
    expect((await put()).status).toBe(200);
    expect(server.log.map((entry) => entry.fault)).toEqual(["error", null]);
  });

  it("an answer before the body has been read leaves the connection usable", async () => {
    play({ kind: "error", code: "SlowDown", early: true });
    const answer = await put("key", { body: "x".repeat(3_000_000) });
    expect(answer.code).toBe("SlowDown");
  });

  it("200 with an error document, an empty 200, HTML, a skewed clock", async () => {
    const complete = await openUpload();
    play({ kind: "errorInBody", code: "InternalError", spaces: 3 });
    expect(await complete()).toMatchObject({ status: 200, code: "InternalError" });
    play({ kind: "empty" });
    const empty = await complete();
    expect(empty).toMatchObject({ status: 200, text: "" });
    play({ kind: "html", status: 502 });
    expect((await complete()).headers["content-type"]).toBe("text/html");
    play({ kind: "clockSkew", offsetMs: 3_600_000 });
    const skewed = await complete();
    expect(skewed.code).toBe("RequestTimeTooSkewed");
    expect(Date.parse(skewed.headers.date ?? "")).toBeGreaterThan(Date.now() + 3_500_000);
    expect(stored()).toBe(0);
    expect((await complete()).status).toBe(200);
  });
});

describe("broken connections", () => {
  it.each([undefined, 1_000_000])("reset after %s bytes", async (afterBytes) => {
    play(afterBytes === undefined ? { kind: "reset" } : { kind: "reset", afterBytes });
    await expect(put("key", { body: "x".repeat(8_000_000) })).rejects.toMatchObject({
      code: expect.stringMatching(/ECONNRESET|EPIPE/),
    });
    expect(stored()).toBe(0);
    expect(server.log.at(-1)).toMatchObject({ state: "reset", status: null });
  });

  it("a reset is one on the wire: RST, not an orderly end", async () => {
    play({ kind: "reset" });
    const socket = connect(server.port, "127.0.0.1");
    const seen: string[] = [];
    socket.on("end", () => seen.push("end")).on("error", (error: { code?: string }) => seen.push(error.code ?? ""));
    socket.write("PUT /bucket/key HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    await new Promise((resolve) => socket.once("close", resolve));
    expect(seen).toEqual(["ECONNRESET"]);
  });

  it("a lost answer: written all the same", async () => {
    play({ kind: "loseAnswer" });
    await expect(put()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(server.object("bucket", "key")?.writes).toBe(1);
    expect(server.log.at(-1)).toMatchObject({ state: "reset", status: 200 });
    expect((await put("key", { headers: { "if-none-match": "*" } })).status).toBe(412);
  });

  it("a truncated answer, with a body or without", async () => {
    play({ kind: "truncate" });
    await expect(put()).rejects.toThrow();
    expect(server.object("bucket", "key")?.writes).toBe(1);
    play({ kind: "truncate", bytes: 3 });
    await expect(sendRaw(target, { method: "GET", path: "/bucket/key" })).rejects.toThrow(/aborted/);
  });

  it("a stall ends when released, or when the client has gone", async () => {
    play({ kind: "stall" });
    const waiting = put();
    const entry = await server.waitFor((request) => request.state === "stalled");
    expect(stored()).toBe(0);
    server.faults.release();
    expect((await waiting).status).toBe(200);
    expect(entry.state).toBe("answered");

    play({ kind: "stall" });
    const agent = new Agent();
    const client = new S3Client({
      endpoint: server.endpoint,
      region: server.region,
      credentials: server.credential,
      requestHandler: { httpAgent: agent },
    });
    const abort = new AbortController();
    const sending = client.send(new PutObjectCommand({ Bucket: "bucket", Key: "gone", Body: "x" }), {
      abortSignal: abort.signal,
    });
    await server.waitFor((request) => request.key === "gone" && request.state === "stalled");
    abort.abort();
    await expect(sending).rejects.toMatchObject({ name: "AbortError" });
    await server.waitFor((request) => request.key === "gone" && request.state === "reset");
    expect(server.keys("bucket")).toEqual(["key"]);
  });

  it("a client that goes away within its body leaves nothing behind", async () => {
    const abort = new AbortController();
    const sending = put("half", { tamper: () => ({ "content-length": "100" }), signal: abort.signal });
    await server.waitFor((entry) => entry.key === "half");
    abort.abort();
    await expect(sending).rejects.toMatchObject({ name: "AbortError" });
    await server.waitFor((entry) => entry.key === "half" && entry.state === "reset");
    expect(stored()).toBe(0);
  });
});

describe("spoilt answers to work that was done", () => {
  it("without ETag, without checksum, with a wrong one", async () => {
    const value = Buffer.alloc(4);
    value.writeUInt32BE(crc32("content"));
    const headers = { "x-amz-checksum-crc32": value.toString("base64") };
    play({ kind: "omitEtag" });
    expect((await put("key", { headers })).headers).not.toHaveProperty("etag");
    play({ kind: "omitChecksum" });
    expect((await put("key", { headers })).headers).not.toHaveProperty("x-amz-checksum-crc32");
    play({ kind: "wrongChecksum" });
    const wrong = (await put("key", { headers })).headers["x-amz-checksum-crc32"];
    expect(wrong).not.toBe(headers["x-amz-checksum-crc32"]);
    expect(Buffer.from(wrong ?? "", "base64")).toHaveLength(4);
    expect(server.object("bucket", "key")?.writes).toBe(3);
  });

  it("blanks before the result of a long Complete", async () => {
    const complete = await openUpload();
    play({ kind: "spaces", count: 3, intervalMs: 1 });
    const answer = await complete();
    expect(answer.status).toBe(200);
    expect(answer.text).toMatch(/^<\?xml[^>]*>\n {3}<CompleteMultipartUploadResult/);
    expect(stored()).toBe(1);
  });

  it("a late one", async () => {
    play({ kind: "delay", delayMs: 30 });
    const started = performance.now();
    await put();
    expect(performance.now() - started).toBeGreaterThanOrEqual(29);
  });
});

describe("which requests are hit", () => {
  const statuses = async (count: number, key = "key") => {
    const seen = [];
    for (let i = 0; i < count; i++) seen.push((await put(key)).status);
    return seen;
  };
  const action: FaultAction = { kind: "error", code: "SlowDown" };

  it("the first, the n-th, every so many, the first so many", async () => {
    server.faults.push({ action, nth: 3 });
    expect(await statuses(5)).toEqual([200, 200, 503, 200, 200]);
    server.faults.clear();
    server.faults.push({ action, every: 2 });
    expect(await statuses(5)).toEqual([200, 503, 200, 503, 200]);
    server.faults.clear();
    server.faults.push({ action, times: 2 });
    expect(await statuses(4)).toEqual([503, 503, 200, 200]);
  });

  it("by operation, method, key, part and predicate", async () => {
    const always = Number.POSITIVE_INFINITY;
    server.faults.push(
      { match: { key: /^a/ }, action, times: always },
      { match: { operation: "HeadObject" }, action, times: always },
      { match: { method: "GET" }, action, times: always },
      { match: { partNumber: 2 }, action, times: always },
      { match: { where: (call) => call.headers["x-amz-meta-x"] === "1" }, action, times: always },
    );
    expect(await statuses(1, "abc")).toEqual([503]);
    expect(await statuses(1, "bc")).toEqual([200]);
    expect((await sendRaw(target, { method: "HEAD", path: "/bucket/bc" })).status).toBe(503);
    expect((await sendRaw(target, { method: "GET", path: "/bucket/bc" })).status).toBe(503);
    expect((await put("bc", { query: { partNumber: "2", uploadId: "x" } })).status).toBe(503);
    expect((await put("bc", { headers: { "x-amz-meta-x": "1" } })).status).toBe(503);
    expect(server.faults.played).toMatchObject({ error: expect.any(Number) });
  });

  it("by chance, the same with the same seed", async () => {
    const run = async () => {
      let state = 42;
      const random = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32;
      };
      server.faults.chaos = { share: 0.3, actions: [action, { kind: "error", code: "InternalError" }], random };
      return statuses(40);
    };
    const first = await run();
    expect(new Set(first)).toEqual(new Set([200, 500, 503]));
    expect(await run()).toEqual(first);
  });
});
