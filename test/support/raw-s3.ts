import { createHash, createHmac } from "node:crypto";
import { request } from "node:http";

export interface RawTarget {
  endpoint: string;
  region: string;
  credential: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
}

/** A request as it shall go over the wire; what is not given is filled in correctly. */
export interface RawRequest {
  method: string;
  /** Percent-encoded, as sent. */
  path: string;
  /** Decoded parameters. */
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: Buffer | string;
  /** x-amz-content-sha256; default: the body's hash. */
  payload?: string;
  /** Time of signing. */
  time?: Date;
  /** Sent, but left out of the signature. */
  unsigned?: Record<string, string>;
  /** Changes headers after signing; null takes one away. */
  tamper?: (headers: Record<string, string>) => Record<string, string | null>;
  /** Sign with this instead of the target's. */
  secretAccessKey?: string;
  accessKeyId?: string;
  region?: string;
  /** Aborting it closes the connection. */
  signal?: AbortSignal;
}

export interface RawAnswer {
  status: number;
  headers: Record<string, string | undefined>;
  text: string;
  /** `<Code>` of an error document. */
  code: string | null;
}

export const sha256 = (data: Buffer | string) => createHash("sha256").update(data).digest("hex");
const hmac = (key: Buffer | string, text: string) => createHmac("sha256", key).update(text).digest();
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

export interface Signature {
  value: string;
  /** For the chunks of a signed stream. */
  key: Buffer;
  scope: string;
  stamp: string;
}

/** AWS Signature Version 4 for S3, written from its description and independent of the server's own. */
function signatureOf(
  raw: RawRequest,
  headers: Record<string, string>,
  target: RawTarget,
  stamp: string,
  query: string,
): { authorization: string; signature: Signature } {
  const names = Object.keys(headers).sort();
  const canonical = [
    raw.method,
    raw.path,
    query,
    ...names.map((name) => `${name}:${headers[name]}`),
    "",
    names.join(";"),
    headers["x-amz-content-sha256"],
  ].join("\n");
  const scope = `${stamp.slice(0, 8)}/${raw.region ?? target.region}/s3/aws4_request`;
  const secret = raw.secretAccessKey ?? target.credential.secretAccessKey;
  const key = scope.split("/").reduce<Buffer | string>((derived, part) => hmac(derived, part), `AWS4${secret}`);
  const value = hmac(key, ["AWS4-HMAC-SHA256", stamp, scope, sha256(canonical)].join("\n")).toString("hex");
  const credential = `${raw.accessKeyId ?? target.credential.accessKeyId}/${scope}`;
  return {
    authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${value}`,
    signature: { value, key: Buffer.from(key), scope, stamp },
  };
}

/** Sends one request and reads its answer. A `body` function gets the signature its chunks must go on from. */
export function sendRaw(
  target: RawTarget,
  raw: Omit<RawRequest, "body"> & { body?: Buffer | string | ((signature: Signature) => Buffer) },
): Promise<RawAnswer> {
  const url = new URL(target.endpoint);
  const stamp = (raw.time ?? new Date()).toISOString().replace(/[-:]|\.\d+/g, "");
  const query = Object.entries(raw.query ?? {})
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join("&");
  const plain = typeof raw.body === "function" ? "" : (raw.body ?? "");
  const token = target.credential.sessionToken;
  const signed: Record<string, string> = {
    host: url.host,
    "x-amz-date": stamp,
    "x-amz-content-sha256": raw.payload ?? sha256(plain),
    ...(token === undefined ? {} : { "x-amz-security-token": token }),
    ...raw.headers,
  };
  const { authorization, signature } = signatureOf({ ...raw, body: plain }, signed, target, stamp, query);
  const body = typeof raw.body === "function" ? raw.body(signature) : Buffer.from(plain);
  const headers: Record<string, string> = { ...signed, authorization, ...raw.unsigned };
  if (raw.method === "PUT" || raw.method === "POST") headers["content-length"] ??= String(body.length);
  const tampered = Object.entries({ ...headers, ...raw.tamper?.(headers) });
  const sent = Object.fromEntries(tampered.flatMap(([name, value]) => (value === null ? [] : [[name, value]])));
  return sendUnsigned(target.endpoint, raw.method, `${raw.path}${query && `?${query}`}`, sent, body, raw.signal);
}

export function sendUnsigned(
  endpoint: string,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: Buffer | string = "",
  signal?: AbortSignal,
): Promise<RawAnswer> {
  const { hostname, port } = new URL(endpoint);
  return new Promise((resolve, reject) => {
    const options = { hostname, port, method, path, headers, agent: false as const, ...(signal ? { signal } : {}) };
    const outgoing = request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        resolve({
          status: response.statusCode ?? 0,
          headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)])),
          text,
          code: /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? null,
        });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

const emptyHash = sha256("");

/** A body in signed chunks (STREAMING-AWS4-HMAC-SHA256-PAYLOAD), with trailers if any are given. */
export function signedChunks(
  signature: Signature,
  body: Buffer,
  chunkBytes: number,
  trailers: Record<string, string> | null = null,
): Buffer {
  const { key, scope, stamp } = signature;
  let previous = signature.value;
  const sign = (kind: string, ...hashes: string[]) => {
    const text = [`AWS4-HMAC-SHA256-${kind}`, stamp, scope, previous, ...hashes].join("\n");
    previous = hmac(key, text).toString("hex");
    return previous;
  };
  const pieces: (Buffer | string)[] = [];
  for (let offset = 0; offset <= body.length; offset += chunkBytes) {
    const chunk = body.subarray(offset, offset + chunkBytes);
    if (chunk.length === 0) break;
    pieces.push(`${chunk.length.toString(16)};chunk-signature=${sign("PAYLOAD", emptyHash, sha256(chunk))}\r\n`);
    pieces.push(chunk, "\r\n");
  }
  pieces.push(`0;chunk-signature=${sign("PAYLOAD", emptyHash, emptyHash)}\r\n`);
  if (trailers) {
    const lines = Object.entries(trailers).map(([name, value]) => `${name}:${value}`);
    pieces.push(...lines.map((line) => `${line}\r\n`));
    pieces.push(`x-amz-trailer-signature:${sign("TRAILER", sha256(lines.map((line) => `${line}\n`).join("")))}\r\n`);
  }
  pieces.push("\r\n");
  return Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
}

/** A body in plain chunks with trailers (STREAMING-UNSIGNED-PAYLOAD-TRAILER). */
export function plainChunks(chunks: readonly Buffer[], trailers: Record<string, string>): Buffer {
  const pieces: (Buffer | string)[] = [];
  for (const chunk of chunks) pieces.push(`${chunk.length.toString(16)}\r\n`, chunk, "\r\n");
  pieces.push("0\r\n", ...Object.entries(trailers).map(([name, value]) => `${name}:${value}\r\n`), "\r\n");
  return Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
}
