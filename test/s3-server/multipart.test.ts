import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { type RawTarget, sendRaw } from "../support/raw-s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";

let server: S3Server;
let target: RawTarget;

beforeAll(async () => {
  server = await startS3Server({ minPartBytes: 100 });
  target = { endpoint: server.endpoint, region: server.region, credential: server.credential };
});
beforeEach(() => server.empty("bucket"));
afterAll(() => server.close());

const part = (number: number, letter: string) =>
  `<Part><PartNumber>${number}</PartNumber><ETag>${letter}</ETag></Part>`;
const document = (...parts: string[]) => `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;

async function create(headers: Record<string, string> = {}): Promise<string> {
  const answer = await sendRaw(target, { method: "POST", path: "/bucket/big", query: { uploads: "" }, headers });
  return /<UploadId>(.*)<\/UploadId>/.exec(answer.text)?.[1] ?? `refused: ${answer.code}`;
}
function upload(uploadId: string, partNumber: number | string, bytes: string, headers: Record<string, string> = {}) {
  const query = { partNumber: String(partNumber), uploadId };
  return sendRaw(target, { method: "PUT", path: "/bucket/big", query, body: bytes, headers });
}
function complete(uploadId: string, text: string, headers: Record<string, string> = {}) {
  return sendRaw(target, { method: "POST", path: "/bucket/big", query: { uploadId }, body: text, headers });
}
const hundred = (letter: string) => letter.repeat(100);
async function twoParts(headers: Record<string, string> = {}) {
  const uploadId = await create(headers);
  const [a, b] = [await upload(uploadId, 1, hundred("a")), await upload(uploadId, 2, "b")];
  return { uploadId, a: a.headers.etag ?? "", b: b.headers.etag ?? "" };
}

it("completes, and again with the same parts", async () => {
  const { uploadId, a, b } = await twoParts();
  const first = await complete(uploadId, document(part(1, a), part(2, b)));
  expect(first.text).toMatch(/<ETag>&quot;[0-9a-f]{32}-2&quot;<\/ETag>/);
  expect(server.object("bucket", "big")?.bytes().toString()).toBe(`${hundred("a")}b`);
  expect((await complete(uploadId, document(part(1, a), part(2, b)))).text).toBe(first.text);
  expect((await complete(uploadId, document(part(1, a)))).code).toBe("NoSuchUpload");
  expect(server.object("bucket", "big")?.writes).toBe(1);
  server.quirks.repeatedComplete = "NoSuchUpload";
  expect((await complete(uploadId, document(part(1, a), part(2, b)))).code).toBe("NoSuchUpload");
  server.quirks.repeatedComplete = "same";
});

it("refuses what does not fit", async () => {
  const { uploadId, a, b } = await twoParts();
  const codes = async (...parts: string[]) => (await complete(uploadId, document(...parts))).code;
  expect(await codes(part(2, b), part(1, a))).toBe("InvalidPartOrder");
  expect(await codes(part(1, a), part(1, a))).toBe("InvalidPartOrder");
  expect(await codes(part(1, a), part(2, a))).toBe("InvalidPart");
  expect(await codes(part(1, a), part(3, b))).toBe("InvalidPart");
  expect(await codes()).toBe("MalformedXML");
  expect((await complete(uploadId, "<CompleteMultipartUpload>")).code).toBe("MalformedXML");
  await upload(uploadId, 1, "short");
  const short = createHash("md5").update("short").digest("hex");
  expect(await codes(part(1, short), part(2, b))).toBe("EntityTooSmall");
  const size = { "x-amz-mp-object-size": "7" };
  expect((await complete(uploadId, document(part(1, short)), size)).code).toBe("InvalidRequest");
  expect(server.keys("bucket")).toEqual([]);
});

it("knows its uploads", async () => {
  expect((await upload("unknown", 1, "x")).code).toBe("NoSuchUpload");
  const uploadId = await create();
  for (const number of ["0", "10001", "one"]) {
    expect((await upload(uploadId, number, "x")).code).toBe("InvalidArgument");
  }
  const abort = () => sendRaw(target, { method: "DELETE", path: "/bucket/big", query: { uploadId } });
  expect((await abort()).status).toBe(204);
  expect((await abort()).code).toBe("NoSuchUpload");
  expect((await upload(uploadId, 1, "x")).code).toBe("NoSuchUpload");
});

it("honours conditions on Complete unless told not to", async () => {
  const { uploadId, a } = await twoParts();
  server.plant("bucket", "big", "somebody else's");
  const absent = { "if-none-match": "*" };
  expect(await complete(uploadId, document(part(1, a)), absent)).toMatchObject({ status: 412 });
  expect(server.uploads("bucket").map((open) => open.uploadId)).toContain(uploadId);
  server.quirks.conditions = "ignore-on-complete";
  expect(await complete(uploadId, document(part(1, a)), absent)).toMatchObject({ status: 200 });
  expect((await sendRaw(target, { method: "PUT", path: "/bucket/big", body: "x", headers: absent })).status).toBe(412);
  server.quirks.conditions = "honour";
});

const base64 = (bytes: Buffer) => bytes.toString("base64");
const sha = (...data: (string | Buffer)[]) =>
  base64(
    createHash("sha256")
      .update(Buffer.concat(data.map((d) => Buffer.from(d))))
      .digest(),
  );
const shaHeader = (text: string) => ({ "x-amz-checksum-sha256": sha(text) });

it("demands the announced checksum on every part, and on Complete for a composite one", async () => {
  const uploadId = await create({ "x-amz-checksum-algorithm": "SHA256" });
  expect((await upload(uploadId, 1, "a")).code).toBe("InvalidRequest");
  expect((await upload(uploadId, 1, "a", shaHeader("b"))).code).toBe("BadDigest");
  const sent = await upload(uploadId, 1, "a", shaHeader("a"));
  expect(sent.headers["x-amz-checksum-sha256"]).toBe(sha("a"));
  const etag = sent.headers.etag ?? "";
  const withSum = (sum: string) =>
    document(`<Part><PartNumber>1</PartNumber><ETag>${etag}</ETag><ChecksumSHA256>${sum}</ChecksumSHA256></Part>`);
  expect((await complete(uploadId, document(part(1, etag)))).code).toBe("InvalidRequest");
  expect((await complete(uploadId, withSum(sha("b")))).code).toBe("InvalidPart");
  expect((await complete(uploadId, withSum(sha("a")), { "x-amz-checksum-sha256": sha("a") })).code).toBe("BadDigest");
  const composite = sha(createHash("sha256").update("a").digest());
  const done = await complete(uploadId, withSum(sha("a")));
  expect(done.text).toContain(`<ChecksumSHA256>${composite}-1</ChecksumSHA256>`);
});

it("takes no checksum on a part when none was announced", async () => {
  const uploadId = await create();
  const answer = await upload(uploadId, 1, "a", shaHeader("a"));
  expect(answer.text).toContain("expected checksum Type: null, actual checksum Type: sha256");
});

it.each([
  ["SHA256", "FULL_OBJECT"],
  ["CRC64NVME", "COMPOSITE"],
  ["XXHASH", "FULL_OBJECT"],
])("offers no %s of type %s", async (algorithm, type) => {
  const headers = { "x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": type };
  expect(await create(headers)).toBe("refused: InvalidRequest");
});

it("fills in part checksums for a full-object one and checks that of the whole", async () => {
  const { uploadId, a, b } = await twoParts({
    "x-amz-checksum-algorithm": "CRC32",
    "x-amz-checksum-type": "FULL_OBJECT",
  });
  const whole = Buffer.alloc(4);
  whole.writeUInt32BE(crc32(`${hundred("a")}b`));
  const parts = document(part(1, a), part(2, b));
  expect((await complete(uploadId, parts, { "x-amz-checksum-crc32": "AAAAAA==" })).code).toBe("BadDigest");
  const done = await complete(uploadId, parts, { "x-amz-checksum-crc32": base64(whole) });
  expect(done.text).toContain(`<ChecksumCRC32>${base64(whole)}</ChecksumCRC32>`);
});
