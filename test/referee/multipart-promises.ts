import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { get, md5, type Place, put, result, type ServerPromise, send, withSdk } from "./place.ts";

const mebibyte = 1024 ** 2;

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

/** Multipart uploads. */
export const multipart: ServerPromise[] = [
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
