import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { decodeChunks } from "./aws-chunked.ts";
import type { Call } from "./call.ts";
import {
  algorithmTable,
  type ChecksumAlgorithm,
  checksumAlgorithm,
  checksumAlgorithms,
  checksumHeader,
  claimedChecksum,
  type RunningChecksum,
  wellFormed,
} from "./checksums.ts";
import { Refusal } from "./refusals.ts";
import type { Authentication } from "./signature.ts";
import { type Blob, blobBytes, memoryStorage, type Storage } from "./storage.ts";

export interface ReceivedBody {
  blob: Blob;
  /** MD5, hex; null where neither the ETag nor the client needs it. */
  md5: string | null;
  /** base64; the one the client sent (verified), else the server's own default. */
  checksum: { algorithm: ChecksumAlgorithm; value: string } | null;
}

export interface BodyRules {
  /** `verify`: check and keep them as S3 does; `ignore`: neither, as radosgw does. */
  checksums: "verify" | "ignore";
  /** `refuse`: bodies with trailers get 411, as radosgw answers. */
  trailers: "accept" | "refuse";
  /** Computed when the client sent no checksum: S3 adds a CRC-64/NVME. */
  defaultChecksum: ChecksumAlgorithm | null;
  /** `md5` as S3 without KMS; `opaque`: random, as with SSE-KMS everywhere (and cheaper: MD5 takes most of the time). */
  etags: "md5" | "opaque";
}

interface PayloadMode {
  chunked: boolean;
  signed: boolean;
  trailer: boolean;
}

const streamingModes: Record<string, PayloadMode> = {
  "STREAMING-UNSIGNED-PAYLOAD-TRAILER": { chunked: true, signed: false, trailer: true },
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": { chunked: true, signed: true, trailer: false },
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": { chunked: true, signed: true, trailer: true },
};

const maxPutBytes = 5 * 1024 ** 3;
const maxDocumentBytes = 2 * 1024 ** 2;

function payloadMode(payload: string): PayloadMode & { sha256: string | null } {
  const streaming = streamingModes[payload];
  if (streaming) return { ...streaming, sha256: null };
  const plain = { chunked: false, signed: false, trailer: false };
  if (payload === "UNSIGNED-PAYLOAD") return { ...plain, sha256: null };
  if (/^[0-9a-f]{64}$/.test(payload)) return { ...plain, sha256: payload };
  throw new Refusal("InvalidArgument", {
    message: "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING-* mode, or a valid sha256 value.",
    elements: { ArgumentName: "x-amz-content-sha256", ArgumentValue: payload },
  });
}

function lengthHeader(headers: Call["headers"], name: string): number {
  const text = headers[name] ?? "";
  if (!/^\d+$/.test(text)) throw new Refusal("MissingContentLength");
  return Number(text);
}

/** The checksum to expect, where it will be found, and the algorithm to run meanwhile. */
function expectedChecksum(call: Call, mode: PayloadMode, rules: BodyRules) {
  if (rules.checksums === "ignore") return { algorithm: null, header: null, trailer: null };
  const header = claimedChecksum(call.headers);
  const announced = (call.headers["x-amz-trailer"] ?? "").toLowerCase().trim();
  const trailer = checksumAlgorithms.find((algorithm) => announced === checksumHeader(algorithm));
  if (mode.trailer && trailer === undefined) {
    throw new Refusal("InvalidRequest", {
      message: "The value specified in the x-amz-trailer header is not supported.",
    });
  }
  const named = call.headers["x-amz-sdk-checksum-algorithm"];
  const algorithm = header?.algorithm ?? trailer;
  if (named !== undefined && checksumAlgorithm(named) !== algorithm) {
    throw new Refusal("InvalidRequest", {
      message: "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer found.",
    });
  }
  return { algorithm: algorithm ?? rules.defaultChecksum, header, trailer };
}

function checkChecksum(algorithm: ChecksumAlgorithm, expected: string | undefined, actual: string): void {
  if (expected === undefined) throw new Refusal("MalformedTrailerError");
  if (!wellFormed(algorithm, expected)) {
    throw new Refusal("InvalidRequest", { message: `Value for ${checksumHeader(algorithm)} header is invalid.` });
  }
  if (expected !== actual) {
    throw new Refusal("BadDigest", {
      message: `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`,
    });
  }
}

function checkContentMd5(contentMd5: string | undefined, md5: Buffer | null): void {
  if (contentMd5 === undefined || md5 === null) return;
  const expected = Buffer.from(contentMd5, "base64");
  if (expected.length !== 16 || expected.toString("base64") !== contentMd5) throw new Refusal("InvalidDigest");
  if (!expected.equals(md5)) {
    throw new Refusal("BadDigest", { message: "The Content-MD5 you specified did not match what we received." });
  }
}

/** Hands every network chunk over; rejects when the client goes away, or at the first thing wrong. */
function pump(request: IncomingMessage, onChunk: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    request.on("data", (chunk: Buffer) => {
      try {
        onChunk(chunk);
      } catch (error) {
        request.removeAllListeners("data");
        request.resume();
        reject(error);
      }
    });
    request.on("end", resolve);
    request.on("error", reject);
    request.on("close", () => reject(new Error("the client closed the connection within its body")));
  });
}

/** Reads a request's body into storage and checks everything that was promised about it. */
export async function receiveBody(
  call: Call,
  authentication: Authentication,
  request: IncomingMessage,
  storage: Storage,
  rules: BodyRules,
): Promise<ReceivedBody> {
  const mode = payloadMode(authentication.payload);
  if (mode.chunked && mode.trailer && rules.trailers === "refuse") throw new Refusal("MissingContentLength");
  const sizeBytes = lengthHeader(call.headers, mode.chunked ? "x-amz-decoded-content-length" : "content-length");
  if (sizeBytes > maxPutBytes) throw new Refusal("EntityTooLarge", { elements: { ProposedSize: String(sizeBytes) } });
  const expected = expectedChecksum(call, mode, rules);

  const writer = storage.create();
  const contentMd5 = call.headers["content-md5"];
  const md5 = rules.etags === "md5" || contentMd5 !== undefined ? createHash("md5") : null;
  const sha256 = mode.sha256 === null ? null : createHash("sha256");
  const checksum: RunningChecksum | null = expected.algorithm ? algorithmTable[expected.algorithm].start() : null;
  function take(bytes: Buffer): void {
    md5?.update(bytes);
    sha256?.update(bytes);
    checksum?.update(bytes);
    writer.write(bytes);
  }

  const decoder = mode.chunked ? decodeChunks(take, mode.signed ? authentication.chunkSigner : null) : null;
  await pump(request, decoder ? decoder.push : take);
  const trailers = decoder?.finish() ?? {};

  const blob = writer.finish();
  if (blob.sizeBytes !== sizeBytes) throw new Refusal("IncompleteBody");
  const digest = md5?.digest() ?? null;
  checkContentMd5(contentMd5, digest);
  if (sha256 && sha256.digest("hex") !== mode.sha256) throw new Refusal("XAmzContentSHA256Mismatch");
  const value = checksum?.digest().toString("base64");
  if (expected.algorithm && value !== undefined) {
    if (expected.header) checkChecksum(expected.algorithm, expected.header.value, value);
    else if (expected.trailer) checkChecksum(expected.algorithm, trailers[checksumHeader(expected.algorithm)], value);
  }
  const kept = expected.algorithm && value !== undefined ? { algorithm: expected.algorithm, value } : null;
  return { blob, md5: digest?.toString("hex") ?? null, checksum: kept };
}

/** Reads a small XML body, checked like any other. */
export async function receiveDocument(
  call: Call,
  authentication: Authentication,
  request: IncomingMessage,
  rules: BodyRules,
): Promise<string> {
  if (Number(call.headers["content-length"]) > maxDocumentBytes) throw new Refusal("MalformedXML");
  // On Complete, x-amz-checksum-* speak of the object, not of this document.
  const headers = call.operation === "CompleteMultipartUpload" ? withoutChecksums(call.headers) : call.headers;
  const own: BodyRules = { ...rules, defaultChecksum: null };
  const received = await receiveBody({ ...call, headers }, authentication, request, memoryStorage(), own);
  return blobBytes(received.blob).toString("utf8");
}

function withoutChecksums(headers: Call["headers"]): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith("x-amz-checksum-")));
}
