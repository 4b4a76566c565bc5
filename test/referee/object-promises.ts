import { list } from "./listing-promises.ts";
import { base64, get, md5, put, result, type ServerPromise, send } from "./place.ts";

const oddKeys = ["a b", "a+b", "a%25b", "ümlaut", "emoji-🎧", "a&b=c", "quote'\"", "x//y", "~tilde", "(paren)!*"];

/** Single objects. */
export const objects: ServerPromise[] = [
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
