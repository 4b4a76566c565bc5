import { createHash } from "node:crypto";
import { S3Client } from "@aws-sdk/client-s3";
import { type RawAnswer, type RawRequest, type RawTarget, sendRaw } from "../support/raw-s3.ts";

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

export const md5 = (data: string | Buffer) => createHash("md5").update(data).digest();
export const base64 = (bytes: Buffer) => bytes.toString("base64");
export const result = ({ status, code }: RawAnswer) => [status, code];
export const mebibyte = 1024 ** 2;

export function send(place: Place, method: string, key: string, more: Partial<RawRequest> = {}) {
  return sendRaw(place, { method, path: `/${place.bucket}${key === "" ? "" : `/${key}`}`, ...more });
}
export const put = (place: Place, key: string, more: Partial<RawRequest> = {}) =>
  send(place, "PUT", key, { body: "content", ...more });
export const get = (place: Place, key: string, headers: Record<string, string> = {}) =>
  send(place, "GET", key, { headers });

export async function withSdk<T>(place: Place, use: (client: S3Client) => Promise<T>): Promise<T> {
  const { endpoint, region, credential } = place;
  const client = new S3Client({ endpoint, region, credentials: credential, maxAttempts: 1 });
  try {
    return await use(client);
  } finally {
    client.destroy();
  }
}
