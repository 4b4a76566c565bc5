import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { base64, md5, put, result, type ServerPromise, send, withSdk } from "./place.ts";

const crcOf = (data: string) => base64(Buffer.from(crc32(data).toString(16).padStart(8, "0"), "hex"));

/** What arrives is what was sent. */
export const integrity: ServerPromise[] = [
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
