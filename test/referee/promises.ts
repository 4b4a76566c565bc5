import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import { HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { type RawAnswer, type RawRequest, type RawTarget, sendRaw, signedChunks } from "../support/raw-s3.ts";

/** An empty bucket of its own on some S3 server. */
export interface Place extends RawTarget {
  bucket: string;
}

/** What a server does in one situation, written down as a plain value. */
export interface ServerPromise {
  name: string;
  observe(place: Place): Promise<unknown>;
  /** What S3, and our server, do. */
  expected: unknown;
  /** What Ceph's radosgw 16.2 does where it differs. */
  radosgw?: unknown;
}

const md5 = (data: string | Buffer) => createHash("md5").update(data).digest();
const base64 = (bytes: Buffer) => bytes.toString("base64");
const crcOf = (data: string) => base64(Buffer.from(crc32(data).toString(16).padStart(8, "0"), "hex"));
const result = ({ status, code }: RawAnswer) => [status, code];
const mebibyte = 1024 ** 2;

function send(place: Place, method: string, key: string, more: Partial<RawRequest> = {}) {
  return sendRaw(place, { method, path: `/${place.bucket}${key === "" ? "" : `/${key}`}`, ...more });
}
const put = (place: Place, key: string, more: Partial<RawRequest> = {}) =>
  send(place, "PUT", key, { body: "content", ...more });
const get = (place: Place, key: string, headers: Record<string, string> = {}) => send(place, "GET", key, { headers });

async function list(place: Place, query: Record<string, string> = {}) {
  const { text } = await send(place, "GET", "", { query: { "list-type": "2", "encoding-type": "url", ...query } });
  const all = (name: string) =>
    [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map((match) => match[1] ?? "");
  const decode = (name: string) => decodeURIComponent(name.replaceAll("+", " ").replaceAll("&apos;", "'"));
  return {
    keys: all("Key").map(decode),
    prefixes: [...text.matchAll(/<CommonPrefixes>\s*<Prefix>([^<]*)/g)].map((match) => decode(match[1] ?? "")),
    token: all("NextContinuationToken")[0],
  };
}

async function listAll(place: Place, query: Record<string, string>) {
  const seen: string[] = [];
  for (let token: string | undefined; ; ) {
    const page = await list(place, { ...query, ...(token ? { "continuation-token": token } : {}) });
    seen.push(...page.keys, ...page.prefixes);
    token = page.token;
    if (!token) return seen;
  }
}

async function create(place: Place, key: string): Promise<string> {
  const answer = await send(place, "POST", key, { query: { uploads: "" } });
  return /<UploadId>([^<]*)</.exec(answer.text)?.[1] ?? "";
}
async function upload(place: Place, key: string, uploadId: string, partNumber: number, body: Buffer | string) {
  const answer = await send(place, "PUT", key, { query: { partNumber: String(partNumber), uploadId }, body });
  return { answer, part: { partNumber, etag: answer.headers.etag ?? "" } };
}
function complete(
  place: Place,
  key: string,
  uploadId: string,
  parts: { partNumber: number; etag: string }[],
  headers: Record<string, string> = {},
) {
  const rows = parts.map((p) => `<Part><PartNumber>${p.partNumber}</PartNumber><ETag>${p.etag}</ETag></Part>`);
  const body = `<CompleteMultipartUpload>${rows.join("")}</CompleteMultipartUpload>`;
  return send(place, "POST", key, { query: { uploadId }, body, headers });
}
const fiveMebibytes = Buffer.alloc(5 * mebibyte, "five");

async function withSdk<T>(place: Place, use: (client: S3Client) => Promise<T>): Promise<T> {
  const { endpoint, region, credential } = place;
  const client = new S3Client({ endpoint, region, credentials: credential, maxAttempts: 1 });
  try {
    return await use(client);
  } finally {
    client.destroy();
  }
}

const signatures: ServerPromise[] = [
  {
    name: "a wrong secret is refused",
    observe: async (place) => result(await put(place, "a", { secretAccessKey: "guess" })),
    expected: [403, "SignatureDoesNotMatch"],
  },
  {
    name: "an unknown key is refused",
    observe: async (place) => result(await put(place, "a", { accessKeyId: "AKIDNOBODY" })),
    expected: [403, "InvalidAccessKeyId"],
  },
  {
    name: "a clock 20 minutes slow is refused",
    observe: async (place) => result(await put(place, "a", { time: new Date(Date.now() - 20 * 60_000) })),
    expected: [403, "RequestTimeTooSkewed"],
  },
  {
    name: "a header changed after signing is refused",
    observe: async (place) => {
      const signed = { headers: { "x-amz-meta-a": "1" }, tamper: () => ({ "x-amz-meta-a": "2" }) };
      return result(await put(place, "a", signed));
    },
    expected: [403, "SignatureDoesNotMatch"],
  },
  {
    name: "no signature, no entry",
    observe: async (place) => result(await put(place, "a", { tamper: () => ({ authorization: null }) })),
    expected: [403, "AccessDenied"],
  },
  {
    name: "the payload's hash is checked",
    observe: async (place) => result(await put(place, "a", { payload: "0".repeat(64) })),
    expected: [400, "XAmzContentSHA256Mismatch"],
  },
  {
    name: "an unsigned payload is taken",
    observe: async (place) => result(await put(place, "a", { payload: "UNSIGNED-PAYLOAD" })),
    expected: [200, null],
  },
  {
    name: "a body in signed chunks is decoded, a changed chunk refused",
    observe: async (place) => {
      const body = Buffer.alloc(100_000, "abc");
      const sendChunks = (change: (bytes: Buffer) => Buffer) =>
        sendRaw(place, {
          method: "PUT",
          path: `/${place.bucket}/chunks`,
          payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
          headers: { "content-encoding": "aws-chunked", "x-amz-decoded-content-length": String(body.length) },
          body: (signature) => change(signedChunks(signature, body, 65_536)),
        });
      const good = await sendChunks((bytes) => bytes);
      const stored = (await get(place, "chunks")).text === body.toString();
      const bad = await sendChunks((bytes) =>
        Buffer.from(bytes.toString("latin1").replace("abcabc", "abcxbc"), "latin1"),
      );
      return [good.status, stored, result(bad)];
    },
    expected: [200, true, [403, "SignatureDoesNotMatch"]],
  },
];

const integrity: ServerPromise[] = [
  {
    name: "the ETag of one PUT is the MD5",
    observe: async (place) => (await put(place, "a")).headers.etag === `"${md5("content").toString("hex")}"`,
    expected: true,
  },
  {
    name: "Content-MD5 is checked",
    observe: async (place) => {
      const withMd5 = (value: string) => put(place, "a", { headers: { "content-md5": value } });
      const answers = [
        await withMd5(base64(md5("content"))),
        await withMd5(base64(md5("other"))),
        await withMd5("junk"),
      ];
      return answers.map(result);
    },
    expected: [
      [200, null],
      [400, "BadDigest"],
      [400, "InvalidDigest"],
    ],
  },
  {
    name: "a wrong CRC-32 is refused",
    observe: async (place) => result(await put(place, "a", { headers: { "x-amz-checksum-crc32": "AAAAAA==" } })),
    expected: [400, "BadDigest"],
    radosgw: [200, null],
  },
  {
    name: "a CRC-32 is echoed by PUT and by HEAD",
    observe: async (place) => {
      const sum = { "x-amz-checksum-crc32": crcOf("content") };
      const written = await put(place, "a", { headers: sum });
      const head = await send(place, "HEAD", "a", { headers: { "x-amz-checksum-mode": "ENABLED" } });
      return [written, head].map((answer) => answer.headers["x-amz-checksum-crc32"] === sum["x-amz-checksum-crc32"]);
    },
    expected: [true, true],
    radosgw: [false, false],
  },
  {
    name: "the SDK's default stream, with its checksum in a trailer, is taken",
    observe: (place) =>
      withSdk(place, async (client) => {
        const input = { Bucket: place.bucket, Key: "stream", Body: Readable.from(["content"]), ContentLength: 7 };
        return client.send(new PutObjectCommand(input)).then(
          () => "taken",
          (error: { $metadata?: { httpStatusCode?: number } }) => error.$metadata?.httpStatusCode,
        );
      }),
    expected: "taken",
    radosgw: 411,
  },
  {
    name: "a body without length is refused",
    observe: async (place) => {
      const tamper = () => ({ "content-length": null, "transfer-encoding": "chunked" });
      return result(await put(place, "a", { tamper }));
    },
    expected: [411, "MissingContentLength"],
  },
];

const oddKeys = ["a b", "a+b", "a%25b", "ümlaut", "emoji-🎧", "a&b=c", "quote'\"", "x//y", "~tilde", "(paren)!*"];

const objects: ServerPromise[] = [
  {
    name: "what is put is got, with type and metadata",
    observe: async (place) => {
      const headers = { "content-type": "audio/wav", "x-amz-meta-mtime": "1700000000" };
      await put(place, "dir/one.wav", { headers });
      const answer = await get(place, "dir/one.wav");
      return [answer.text, answer.headers["content-type"], answer.headers["x-amz-meta-mtime"]];
    },
    expected: ["content", "audio/wav", "1700000000"],
  },
  {
    name: "ranges",
    observe: async (place) => {
      await put(place, "a", { body: "0123456789" });
      const answers = [];
      for (const range of ["bytes=2-4", "bytes=8-", "bytes=-3", "bytes=99-"])
        answers.push(await get(place, "a", { range }));
      return answers.map((answer) => (answer.status === 206 ? answer.text : answer.status));
    },
    expected: ["234", "89", "789", 416],
  },
  {
    name: "what is not there",
    observe: async (place) => [
      result(await get(place, "none")),
      (await send(place, "HEAD", "none")).status,
      (await send(place, "DELETE", "none")).status,
      result(await put({ ...place, bucket: "bucket-that-is-not-there" }, "a")),
    ],
    expected: [[404, "NoSuchKey"], 404, 204, [404, "NoSuchBucket"]],
  },
  {
    name: "delete deletes",
    observe: async (place) => {
      await put(place, "a");
      return [(await send(place, "DELETE", "a")).status, (await send(place, "HEAD", "a")).status];
    },
    expected: [204, 404],
  },
  {
    name: "If-None-Match: * writes once",
    observe: async (place) => {
      const once = { headers: { "if-none-match": "*" } };
      const answers = [await put(place, "a", once), await put(place, "a", { ...once, body: "other" })];
      return [...answers.map(result), (await get(place, "a")).text];
    },
    expected: [[200, null], [412, "PreconditionFailed"], "content"],
  },
  {
    name: "If-Match replaces only what it names",
    observe: async (place) => {
      const etag = (await put(place, "a")).headers.etag ?? "";
      const wrong = await put(place, "a", { body: "2", headers: { "if-match": '"0123456789abcdef0123456789abcdef"' } });
      const bare = await put(place, "a", { body: "2", headers: { "if-match": etag.replaceAll('"', "") } });
      const bareText = (await get(place, "a")).text;
      const current = (await send(place, "HEAD", "a")).headers.etag ?? "";
      const right = await put(place, "a", { body: "3", headers: { "if-match": current } });
      return [result(wrong), result(bare), bareText, result(right), (await get(place, "a")).text];
    },
    expected: [[412, "PreconditionFailed"], [200, null], "2", [200, null], "3"],
    // It compares with the ETag as it stands in the header: quoted, it never matches.
    radosgw: [[412, "PreconditionFailed"], [200, null], "2", [412, "PreconditionFailed"], "2"],
  },
  {
    name: "a read may ask for what it does not know yet",
    observe: async (place) => {
      const etag = (await put(place, "a")).headers.etag ?? "";
      return [
        (await get(place, "a", { "if-none-match": etag })).status,
        (await get(place, "a", { "if-match": '"other"' })).status,
      ];
    },
    expected: [304, 412],
  },
  {
    name: "keys of any characters come back unharmed, in the order of their bytes",
    observe: async (place) => {
      const encode = (key: string) =>
        key
          .split("/")
          .map((part) =>
            encodeURIComponent(part).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
          )
          .join("/");
      for (const key of oddKeys) await put(place, encode(key), { body: key });
      const read = [];
      for (const key of oddKeys) read.push((await get(place, encode(key))).text);
      return [read, (await list(place)).keys];
    },
    expected: [oddKeys, [...oddKeys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))],
  },
  {
    name: "a key of 1,024 bytes is the longest",
    observe: async (place) => {
      const answers = [await put(place, "k".repeat(1024)), await put(place, "k".repeat(1025))];
      return answers.map((answer) => answer.status);
    },
    expected: [200, 400],
  },
  {
    name: "tags",
    observe: async (place) => {
      await put(place, "a");
      const body = "<Tagging><TagSet><Tag><Key>kind</Key><Value>ecg</Value></Tag></TagSet></Tagging>";
      const headers = { "content-md5": base64(md5(body)) };
      await send(place, "PUT", "a", { query: { tagging: "" }, body, headers });
      const { text } = await send(place, "GET", "a", { query: { tagging: "" } });
      return /<Key>kind<\/Key>\s*<Value>ecg<\/Value>/.test(text);
    },
    expected: true,
  },
  {
    name: "twenty writers with If-None-Match, one winner",
    observe: async (place) => {
      const once = (body: string) => put(place, "raced", { body, headers: { "if-none-match": "*" } });
      const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => once(`writer ${index}`)));
      const winners = answers.flatMap((answer, index) => (answer.status === 200 ? [`writer ${index}`] : []));
      return [winners.length, winners[0] === (await get(place, "raced")).text];
    },
    expected: [1, true],
  },
];

const listings: ServerPromise[] = [
  {
    name: "a listing in pages names every key once",
    observe: async (place) => {
      for (const key of ["a", "b/1", "b/2", "c", "d"]) await put(place, key);
      return listAll(place, { "max-keys": "2" });
    },
    expected: ["a", "b/1", "b/2", "c", "d"],
  },
  {
    name: "prefix, delimiter, start-after",
    observe: async (place) => {
      for (const key of ["a", "b/1", "b/2", "c/1", "d"]) await put(place, key);
      return [
        await listAll(place, { prefix: "b/" }),
        await listAll(place, { delimiter: "/", "max-keys": "1" }),
        await listAll(place, { "start-after": "b/1" }),
      ];
    },
    expected: [
      ["b/1", "b/2"],
      ["a", "b/", "c/", "d"],
      ["b/2", "c/1", "d"],
    ],
  },
];

const multipart: ServerPromise[] = [
  {
    name: "two parts become one object",
    observe: async (place) => {
      const uploadId = await create(place, "big");
      const first = await upload(place, "big", uploadId, 1, fiveMebibytes);
      const second = await upload(place, "big", uploadId, 2, "tail");
      const done = await complete(place, "big", uploadId, [first.part, second.part]);
      const head = await send(place, "HEAD", "big");
      const etag = md5(Buffer.concat([md5(fiveMebibytes), md5("tail")])).toString("hex");
      const tail = await get(place, "big", { range: "bytes=-8" });
      return [done.status, head.headers.etag === `"${etag}-2"`, head.headers["content-length"], tail.text];
    },
    expected: [200, true, String(5 * mebibyte + 4), "fivetail"],
  },
  {
    name: "Complete again with the same parts",
    observe: async (place) => {
      const uploadId = await create(place, "big");
      const { part } = await upload(place, "big", uploadId, 1, "only");
      const answers = [await complete(place, "big", uploadId, [part]), await complete(place, "big", uploadId, [part])];
      return answers.map(result);
    },
    expected: [
      [200, null],
      [200, null],
    ],
  },
  {
    name: "parts that do not fit are refused",
    observe: async (place) => {
      const uploadId = await create(place, "big");
      const first = (await upload(place, "big", uploadId, 1, "small")).part;
      const second = (await upload(place, "big", uploadId, 2, "tail")).part;
      const attempts = [
        [first, second],
        [{ ...first, etag: second.etag }],
        [{ ...second, partNumber: 3 }],
        [second, first],
      ];
      const codes = [];
      for (const parts of attempts) codes.push((await complete(place, "big", uploadId, parts)).code);
      return [codes, (await send(place, "HEAD", "big")).status];
    },
    expected: [["EntityTooSmall", "InvalidPart", "InvalidPart", "InvalidPartOrder"], 404],
    // It sorts the parts itself.
    radosgw: [["EntityTooSmall", "InvalidPart", "InvalidPart", "EntityTooSmall"], 404],
  },
  {
    name: "a part of an unknown upload is refused",
    observe: async (place) => result((await upload(place, "big", "unknown-upload", 1, "x")).answer),
    expected: [404, "NoSuchUpload"],
  },
  {
    name: "a part sent again replaces the first",
    observe: async (place) => {
      const uploadId = await create(place, "big");
      await upload(place, "big", uploadId, 1, "first");
      const { part } = await upload(place, "big", uploadId, 1, "second");
      await complete(place, "big", uploadId, [part]);
      return (await get(place, "big")).text;
    },
    expected: "second",
  },
  {
    name: "parts are listed in pages",
    observe: async (place) => {
      const uploadId = await create(place, "big");
      for (const partNumber of [3, 1, 2]) await upload(place, "big", uploadId, partNumber, "x");
      const pages = [];
      for (const marker of ["0", "2"]) {
        const query = { uploadId, "max-parts": "2", "part-number-marker": marker };
        const { text } = await send(place, "GET", "big", { query });
        const numbers = [...text.matchAll(/<PartNumber>(\d+)</g)].map((match) => Number(match[1]));
        pages.push([numbers, /<IsTruncated>(\w+)</.exec(text)?.[1]]);
      }
      return pages;
    },
    expected: [
      [[1, 2], "true"],
      [[3], "false"],
    ],
  },
  {
    name: "an aborted upload is gone",
    observe: async (place) => {
      const uploadId = await create(place, "big");
      const uploads = async () => (await send(place, "GET", "", { query: { uploads: "" } })).text.includes(uploadId);
      const before = await uploads();
      const abort = await send(place, "DELETE", "big", { query: { uploadId } });
      return [before, abort.status, await uploads(), (await upload(place, "big", uploadId, 1, "x")).answer.status];
    },
    expected: [true, 204, false, 404],
  },
  {
    name: "If-None-Match on Complete",
    observe: async (place) => {
      const uploadId = await create(place, "big");
      const { part } = await upload(place, "big", uploadId, 1, "mine");
      await put(place, "big", { body: "theirs" });
      const done = await complete(place, "big", uploadId, [part], { "if-none-match": "*" });
      return [result(done), (await get(place, "big")).text];
    },
    expected: [[412, "PreconditionFailed"], "theirs"],
    radosgw: [[200, null], "mine"],
  },
  {
    name: "lib-storage's multipart upload arrives whole",
    observe: (place) =>
      withSdk(place, async (client) => {
        const Body = Buffer.alloc(12 * mebibyte, "lib-storage");
        await new Upload({ client, params: { Bucket: place.bucket, Key: "lib", Body } }).done();
        const head = await client.send(new HeadObjectCommand({ Bucket: place.bucket, Key: "lib" }));
        return [head.ContentLength, head.ETag?.endsWith('-3"')];
      }),
    expected: [12 * mebibyte, true],
  },
];

export const promises: readonly ServerPromise[] = [...signatures, ...integrity, ...objects, ...listings, ...multipart];
