import type { ReceivedBody } from "./body.ts";
import type { Call } from "./call.ts";
import type { ChecksumAlgorithm } from "./checksums.ts";
import type { Refusal } from "./refusals.ts";
import type { Blob } from "./storage.ts";
import type { Bucket, World } from "./world.ts";
import { element, xmlDocument } from "./xml.ts";

/** What a handler gets: a request whose signature, region, owner and permission have been checked. */
export interface Exchange {
  call: Call;
  world: World;
  /** The addressed bucket; NoSuchBucket when there is none. */
  bucket(): Bucket;
  /** Has this key pair a further permission? */
  may(action: string): boolean;
  /** `defaultChecksum`: what to compute when the client sent none; else the server's own default. */
  receiveObject(defaultChecksum?: ChecksumAlgorithm | null): Promise<ReceivedBody>;
  receiveDocument(): Promise<string>;
}

export interface BlobRange {
  blob: Blob;
  start: number;
  end: number;
}

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: string | BlobRange;
  /** The error code of a refusal. */
  code?: string;
}

export type Handler = (exchange: Exchange) => Reply | Promise<Reply>;

export function emptyReply(status: number, headers: Record<string, string> = {}): Reply {
  return { status, headers, body: "" };
}

export function xmlReply(body: string, headers: Record<string, string> = {}): Reply {
  return { status: 200, headers: { "content-type": "application/xml", ...headers }, body };
}

/** The error document as S3 writes it. */
export function errorDocument(
  code: string,
  message: string,
  requestId: string,
  elements: Record<string, string> = {},
): string {
  const extra = Object.entries(elements).map(([name, value]) => element(name, value));
  return xmlDocument(
    `<Error>${element("Code", code)}${element("Message", message)}${extra.join("")}` +
      `${element("RequestId", requestId)}${element("HostId", "strict-test-server")}</Error>`,
  );
}

export function refusalReply(refusal: Refusal, requestId: string): Reply {
  return {
    status: refusal.status,
    headers: { "content-type": "application/xml", ...refusal.headers },
    body: errorDocument(refusal.code, refusal.message, requestId, refusal.elements),
    code: refusal.code,
  };
}
