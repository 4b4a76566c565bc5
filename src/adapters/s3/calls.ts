/** The rare calls: what the bucket holds, and multipart uploads begun, listed, completed and aborted. */
import {
  type Checksum,
  type ChecksumAlgorithm,
  checksumAlgorithms,
  type FoundObject,
  type StoredPart,
} from "../../core/ports.ts";
import type { Answer } from "./answer.ts";
import type { Client } from "./client.ts";
import { failureOfAnswer, storeCodeOf } from "./failures.ts";
import { asChecksum, foundOf, headerOf } from "./proof.ts";
import { decodeListedKey, elements, escapeXml, textOf } from "./xml.ts";

export interface ListedPage {
  objects: { key: string; found: FoundObject }[];
  truncated: boolean;
  next: string | null;
}

export interface ListedParts {
  parts: StoredPart[];
  /** How the object's checksum will be made; null when the store keeps none. */
  type: Checksum["type"] | null;
}

/** A real answer to a PUT or a HEAD names the object's ETag. */
export function hasEtag(answer: Answer): boolean {
  return answer.headers.etag !== undefined;
}

function hasElement(name: string): (answer: Answer) => boolean {
  const start = new RegExp(`<${name}[\\s>]`);
  return (answer) => start.test(answer.body.toString("utf8"));
}

/** Names in XML: `ChecksumCRC32`, `ChecksumCRC64NVME`, `ChecksumSHA256`. */
export function checksumElement(algorithm: ChecksumAlgorithm): string {
  return `Checksum${algorithm.toUpperCase()}`;
}

export async function headObject(
  client: Client,
  key: string,
  signal: AbortSignal,
): Promise<FoundObject | "absent" | "unknown"> {
  const { answer } = await client.call({
    method: "HEAD",
    key,
    headers: { "x-amz-checksum-mode": "ENABLED" },
    accept: [400, 403, 404, 405, 501],
    isSuccess: hasEtag,
    subject: `asking for ${key}`,
    signal,
  });
  if (answer.status === 404) return "absent";
  return answer.status < 300 ? foundOf(answer) : "unknown";
}

/** Null when listing is not permitted. */
export async function listObjects(
  client: Client,
  range: { startAfter?: string; prefix?: string; maxKeys?: number },
  signal: AbortSignal,
): Promise<ListedPage | null> {
  const { answer } = await client.call({
    method: "GET",
    key: null,
    query: {
      "list-type": "2",
      "encoding-type": "url",
      "max-keys": String(range.maxKeys ?? 1000),
      ...(range.startAfter === undefined ? {} : { "start-after": range.startAfter }),
      ...(range.prefix === undefined ? {} : { prefix: range.prefix }),
    },
    accept: [403],
    isSuccess: hasElement("ListBucketResult"),
    subject: "listing the bucket",
    signal,
  });
  if (answer.status === 403) {
    if (storeCodeOf(answer) === "AccessDenied" || answer.body.length === 0) return null;
    throw failureOfAnswer(answer, "listing the bucket", client.place()).error;
  }
  const xml = answer.body.toString("utf8");
  const objects = elements(xml, "Contents").map((entry) => ({
    key: decodeListedKey(elements(entry, "Key")[0] ?? ""),
    found: {
      sizeBytes: Number(textOf(entry, "Size")),
      etag: textOf(entry, "ETag")?.replace(/^"|"$/g, "") ?? null,
      checksum: null,
      versionId: null,
    },
  }));
  return { objects, truncated: textOf(xml, "IsTruncated") === "true", next: objects.at(-1)?.key ?? null };
}

/** Begins a multipart upload. `type` null asks for no checksum. `refused`: the endpoint does not take that checksum. */
export async function createUpload(
  client: Client,
  key: string,
  headers: Readonly<Record<string, string>>,
  checksum: { algorithm: ChecksumAlgorithm; type: Checksum["type"] } | null,
  signal: AbortSignal,
): Promise<{ uploadId: string; checksumKept: boolean } | "refused"> {
  const subject = `beginning ${key}`;
  const { answer } = await client.call({
    method: "POST",
    key,
    query: { uploads: "" },
    headers: { ...headers, ...(checksum === null ? {} : checksumHeaders(checksum)) },
    ...(checksum === null ? {} : { accept: refusals }),
    isSuccess: hasElement("UploadId"),
    subject,
    signal,
  });
  if (answer.status >= 300) return "refused";
  const uploadId = textOf(answer.body.toString("utf8"), "UploadId") ?? "";
  return { uploadId, checksumKept: answer.headers["x-amz-checksum-algorithm"] !== undefined };
}

function checksumHeaders(checksum: { algorithm: ChecksumAlgorithm; type: Checksum["type"] }): Record<string, string> {
  return {
    "x-amz-checksum-algorithm": checksum.algorithm.toUpperCase(),
    "x-amz-checksum-type": checksum.type === "full" ? "FULL_OBJECT" : "COMPOSITE",
  };
}

/** Answers that may mean: this endpoint does not know that header. Statuses and store codes. */
export const refusals: readonly (number | string)[] = [501, "NotImplemented", "InvalidRequest", "InvalidArgument"];

/** The parts the store holds; null when it may not be asked, `gone` when it does not know the upload. */
export async function listParts(
  client: Client,
  key: string,
  uploadId: string,
  algorithm: ChecksumAlgorithm,
  signal: AbortSignal,
): Promise<ListedParts | null | "gone"> {
  const subject = `listing the parts of ${key}`;
  const parts: StoredPart[] = [];
  for (let marker = ""; ; ) {
    const { answer } = await client.call({
      method: "GET",
      key,
      query: { uploadId, "max-parts": "1000", ...(marker === "" ? {} : { "part-number-marker": marker }) },
      accept: [403, 404],
      isSuccess: hasElement("ListPartsResult"),
      subject,
      signal,
    });
    if (answer.status === 403) {
      const { error } = failureOfAnswer(answer, subject, client.place());
      if (error.code === "access_denied") return null;
      throw error;
    }
    if (answer.status === 404) {
      if (storeCodeOf(answer) === "NoSuchUpload") return "gone";
      throw failureOfAnswer(answer, subject, client.place()).error;
    }
    const xml = answer.body.toString("utf8");
    for (const part of elements(xml, "Part")) {
      parts.push({
        partNumber: Number(textOf(part, "PartNumber")),
        sizeBytes: Number(textOf(part, "Size")),
        etag: textOf(part, "ETag")?.replace(/^"|"$/g, "") ?? "",
        checksum: textOf(part, checksumElement(algorithm)),
      });
    }
    const next = textOf(xml, "NextPartNumberMarker") ?? "";
    if (textOf(xml, "IsTruncated") !== "true" || next === marker || next === "") {
      const type = textOf(xml, "ChecksumType");
      return { parts, type: type === null ? null : type === "COMPOSITE" ? "composite" : "full" };
    }
    marker = next;
  }
}

export interface Completion {
  etag: string | null;
  checksum: Checksum | null;
  answer: Answer;
  doubtful: boolean;
}

const completionRefusals = [
  "ConditionalRequestConflict",
  "InvalidPart",
  "InvalidPartOrder",
  "BadDigest",
  "InvalidRequest",
];

/** Refusals that the caller decides about (404, 412 and the codes above) are in `answer`. */
export async function completeUpload(
  client: Client,
  key: string,
  uploadId: string,
  parts: readonly StoredPart[],
  algorithm: ChecksumAlgorithm | null,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Completion> {
  const element = algorithm === null ? null : checksumElement(algorithm);
  const listed = parts.map(({ partNumber, etag, checksum }) => {
    const own = element === null || checksum === null ? "" : `<${element}>${checksum}</${element}>`;
    return `<Part><PartNumber>${partNumber}</PartNumber><ETag>"${escapeXml(etag)}"</ETag>${own}</Part>`;
  });
  const xml = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${listed.join("")}</CompleteMultipartUpload>`;
  const { answer, doubtful } = await client.call({
    method: "POST",
    key,
    query: { uploadId },
    headers: { ...headers, "content-type": "application/xml" },
    body: Buffer.from(xml),
    accept: [404, 412, ...completionRefusals],
    subject: `completing ${key}`,
    signal,
    isSuccess: hasElement("CompleteMultipartUploadResult"),
    // Putting thousands of parts together may take the store minutes.
    patience: 10,
  });
  const text = answer.body.toString("utf8");
  const echoed = checksumAlgorithms.flatMap((name) => {
    const value = textOf(text, checksumElement(name)) ?? answer.headers[headerOf(name)];
    return value == null ? [] : [asChecksum(name, value, textOf(text, "ChecksumType"))];
  });
  return {
    etag: textOf(text, "ETag")?.replace(/^"|"$/g, "") ?? null,
    checksum: echoed.find((one) => one.algorithm === algorithm) ?? echoed[0] ?? null,
    answer,
    doubtful,
  };
}

/** False when the store no longer knew it; `access_denied` is thrown like any failure. */
export async function abortUpload(
  client: Client,
  key: string,
  uploadId: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { answer } = await client.call({
    method: "DELETE",
    key,
    query: { uploadId },
    accept: [404],
    subject: `aborting the upload of ${key}`,
    signal,
  });
  return answer.status !== 404;
}

export interface ListedUploads {
  uploads: { key: string; uploadId: string; initiatedMs: number }[];
  next: { key: string; uploadId: string } | null;
}

export async function listUploads(
  client: Client,
  prefix: string,
  after: { key: string; uploadId: string } | null,
  signal: AbortSignal,
): Promise<ListedUploads> {
  const { answer } = await client.call({
    method: "GET",
    key: null,
    query: {
      uploads: "",
      "encoding-type": "url",
      "max-uploads": "1000",
      ...(prefix === "" ? {} : { prefix }),
      ...(after === null ? {} : { "key-marker": after.key, "upload-id-marker": after.uploadId }),
    },
    isSuccess: hasElement("ListMultipartUploadsResult"),
    subject: "listing unfinished uploads",
    signal,
  });
  const xml = answer.body.toString("utf8");
  const uploads = elements(xml, "Upload").map((entry) => ({
    key: decodeListedKey(elements(entry, "Key")[0] ?? ""),
    uploadId: textOf(entry, "UploadId") ?? "",
    initiatedMs: Date.parse(textOf(entry, "Initiated") ?? ""),
  }));
  const last = uploads.at(-1);
  const truncated = textOf(xml, "IsTruncated") === "true" && last !== undefined;
  return { uploads, next: truncated ? { key: last.key, uploadId: last.uploadId } : null };
}
