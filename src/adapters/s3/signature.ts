/** AWS Signature Version 4 for S3: one pass, the derived key kept per day, region and secret. */
import { createHmac, hash } from "node:crypto";

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  /** When the store stops taking them. */
  expiration?: Date | undefined;
}

export interface Unsigned {
  method: string;
  /** Encoded once, as it goes on the wire. */
  path: string;
  /** Canonical: names and values encoded, sorted by name; without the question mark. */
  query: string;
  /** Value of the Host header. */
  host: string;
  /** Lower-case names. All of them are signed. */
  headers: Readonly<Record<string, string>>;
  /** Hex SHA-256 of the body, or `UNSIGNED-PAYLOAD`. */
  payloadHash: string;
}

export const unsignedPayload = "UNSIGNED-PAYLOAD";
export const emptyPayloadHash = hash("sha256", "", "hex");

/** Returns the header lines of the signed request, `host` and `authorization` among them. */
export type Sign = (request: Unsigned, credentials: Credentials, region: string, nowMs: number) => string;

export function createSigner(): Sign {
  let keptFor = "";
  let keptKey: Buffer = Buffer.alloc(0);
  let stampSecond = -1;
  let stamp = "";

  function signingKey(credentials: Credentials, region: string, day: string): Buffer {
    const wanted = `${credentials.secretAccessKey}\n${region}\n${day}`;
    if (wanted !== keptFor) {
      keptKey = ["s3", "aws4_request"].reduce(
        (key, text) => hmac(key, text),
        hmac(hmac(Buffer.from(`AWS4${credentials.secretAccessKey}`), day), region),
      );
      keptFor = wanted;
    }
    return keptKey;
  }

  /** A run has a handful of sets of headers: sorting them anew took a fifth of the signature's time. */
  const orders = new Map<string, { sorted: string[]; joined: string }>();
  function inOrder(names: string[]): { sorted: string[]; joined: string } {
    const given = names.join();
    let order = orders.get(given);
    if (order === undefined) {
      const sorted = names.sort();
      order = { sorted, joined: sorted.join(";") };
      orders.set(given, order);
    }
    return order;
  }

  return (request, credentials, region, nowMs) => {
    const second = Math.floor(nowMs / 1000);
    if (second !== stampSecond) {
      stampSecond = second;
      stamp = `${new Date(second * 1000).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
    }
    const day = stamp.slice(0, 8);
    const headers: Record<string, string> = {
      ...request.headers,
      host: request.host,
      "x-amz-content-sha256": request.payloadHash,
      "x-amz-date": stamp,
    };
    if (credentials.sessionToken !== undefined) headers["x-amz-security-token"] = credentials.sessionToken;
    const names = inOrder(Object.keys(headers));
    let lines = "";
    let canonical = "";
    for (const name of names.sorted) {
      const value = headers[name]!;
      lines += `${name}: ${value}\r\n`;
      canonical += `${name}:${spare.test(value) ? value.trim().replace(/ {2,}/g, " ") : value}\n`;
    }
    const signedNames = names.joined;
    const wholeRequest = `${request.method}\n${request.path}\n${request.query}\n${canonical}\n${signedNames}\n${request.payloadHash}`;
    const scope = `${day}/${region}/s3/aws4_request`;
    const toSign = `AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${hash("sha256", wholeRequest, "hex")}`;
    const signature = hmac(signingKey(credentials, region, day), toSign).toString("hex");
    return `${lines}authorization: AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signedNames}, Signature=${signature}\r\n`;
  };
}

/** White space that the canonical form leaves out. */
const spare = /^\s|\s$| {2}/;

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
