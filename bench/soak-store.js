// A store for the soak: S3's verbs that sync needs, conditions obeyed, every write counted; and it can be cut off. It checks
// the CRC-32 that it is sent; signatures are for the tests' strict server.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { crc32 } from "node:zlib";

const xml = (text) => text.replace(/[&<>"]/g, (char) => `&#${char.codePointAt(0)};`);

export async function openSoakStore() {
  const objects = new Map();
  const faults = [];
  const sockets = new Set();
  let again = 0;

  const list = (url) => {
    const prefix = url.searchParams.get("prefix") ?? "";
    const after = url.searchParams.get("continuation-token") ?? url.searchParams.get("start-after") ?? "";
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const page = keys.slice(0, 1000);
    const more = keys.length > page.length;
    const contents = page.map((key) => {
      const { bytes, etag } = objects.get(key);
      return `<Contents><Key>${xml(key)}</Key><Size>${bytes.length}</Size><ETag>${xml(etag)}</ETag></Contents>`;
    });
    const token = more ? `<NextContinuationToken>${xml(page.at(-1))}</NextContinuationToken>` : "";
    return `<ListBucketResult><IsTruncated>${more}</IsTruncated>${token}<KeyCount>${page.length}</KeyCount>${contents.join("")}</ListBucketResult>`;
  };

  const put = (key, headers, bytes) => {
    const held = objects.get(key);
    if (headers["if-none-match"] === "*" && held) return [412];
    if (headers["if-match"] && headers["if-match"] !== held?.etag) return [held ? 412 : 404];
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32 ? crc32(bytes) : 0);
    const sent = headers["x-amz-checksum-crc32"];
    if (sent && crc32 && sent !== sum.toString("base64")) return [400];
    const etag = `"${createHash("md5").update(bytes).digest("hex")}"`;
    if (held?.etag === etag) {
      again++;
      faults.push(`${key}: the same bytes were written again`);
    }
    objects.set(key, { bytes, etag, crc: sent ?? sum.toString("base64"), writes: (held?.writes ?? 0) + 1 });
    return [200, { etag, ...(sent && { "x-amz-checksum-crc32": sent, "x-amz-checksum-type": "FULL_OBJECT" }) }];
  };

  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url, "http://store");
      const [, , ...rest] = url.pathname.split("/");
      const key = decodeURIComponent(rest.join("/"));
      const held = objects.get(key);
      const answer = (status, headers = {}, body = "") => {
        response.writeHead(status, { "x-amz-request-id": "soak", ...headers });
        response.end(body);
      };
      if (request.method === "GET" && key === "") return answer(200, { "content-type": "application/xml" }, list(url));
      if (request.method === "HEAD" && key === "") return answer(200);
      if (request.method === "PUT") return answer(...put(key, request.headers, Buffer.concat(chunks)));
      if (!held) return answer(404);
      const about = { etag: held.etag, "x-amz-checksum-crc32": held.crc, "x-amz-checksum-type": "FULL_OBJECT" };
      if (request.method === "HEAD") return answer(200, { ...about, "content-length": held.bytes.length });
      return answer(200, about, held.bytes);
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
  });
  const listen = (port) => new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = server.address();
  const endpoint = `http://127.0.0.1:${port}`;
  return {
    endpoint,
    /** For an uploader that sends here. */
    env: (stateDirectory) => ({
      ...process.env,
      UPLOADER_STATE_DIR: stateDirectory,
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ACCESS_KEY_ID: "soak",
      AWS_SECRET_ACCESS_KEY: "soaksoaksoak",
      AWS_REGION: "eu-west-1",
      AWS_EC2_METADATA_DISABLED: "true",
    }),
    objects,
    faults,
    writtenAgain: () => again,
    async cut() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    mend: () => listen(port),
  };
}
