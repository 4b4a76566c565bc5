import type { Call } from "./call.ts";
import { type Handler, xmlReply } from "./exchange.ts";
import { checksumElement, findUpload } from "./multipart.ts";
import { Refusal } from "./refusals.ts";
import { uriEncode } from "./signature.ts";
import { type Bucket, compareKeys, keysInOrder, type StoredObject } from "./world.ts";
import { element, s3Document } from "./xml.ts";

const maxPage = 1000;

function pageSize(call: Call, name: string): number {
  const text = call.query.get(name);
  if (text === undefined || text === "") return maxPage;
  if (!/^\d{1,10}$/.test(text)) throw new Refusal("InvalidArgument", { elements: { ArgumentName: name } });
  return Math.min(Number(text), maxPage);
}

/** Names as the client wants them: percent-encoded when it asks for `encoding-type=url`. */
function encoder(call: Call): (text: string) => string {
  const encoding = call.query.get("encoding-type");
  if (encoding !== undefined && encoding !== "url") throw new Refusal("InvalidArgument");
  return encoding === "url" ? (text) => text.split("/").map(uriEncode).join("/") : (text) => text;
}

/** Where a page ended: behind a key, or behind everything under a common prefix. */
type Mark = { key: string } | { commonPrefix: string };

function writeToken(mark: Mark): string {
  return Buffer.from(JSON.stringify(mark)).toString("base64url");
}

function readToken(token: string): Mark {
  try {
    return JSON.parse(Buffer.from(token, "base64url").toString());
  } catch {
    throw new Refusal("InvalidArgument", { message: "The continuation token provided is incorrect." });
  }
}

/** Index of the first key that is `past` something, by bisection: once past, every later key is too. */
function firstIndex(keys: readonly string[], past: (key: string) => boolean): number {
  let low = 0;
  for (let high = keys.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (past(keys[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function behind(mark: Mark): (key: string) => boolean {
  if ("key" in mark) return (key) => compareKeys(key, mark.key) > 0;
  return (key) => compareKeys(key, mark.commonPrefix) > 0 && !key.startsWith(mark.commonPrefix);
}

interface Page {
  objects: StoredObject[];
  commonPrefixes: string[];
  next: Mark | null;
}

function listPage(bucket: Bucket, prefix: string, delimiter: string, mark: Mark | null, size: number): Page {
  const keys = keysInOrder(bucket);
  const page: Page = { objects: [], commonPrefixes: [], next: null };
  let last: Mark | null = null;
  let index = Math.max(
    firstIndex(keys, (key) => compareKeys(key, prefix) >= 0),
    mark ? firstIndex(keys, behind(mark)) : 0,
  );
  while (index < keys.length && size > 0) {
    const key = keys[index]!;
    if (!key.startsWith(prefix)) break;
    if (page.objects.length + page.commonPrefixes.length >= size) {
      page.next = last;
      break;
    }
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
    if (cut < 0) {
      page.objects.push(bucket.objects.get(key)!);
      last = { key };
      index++;
    } else {
      const commonPrefix = key.slice(0, cut + delimiter.length);
      page.commonPrefixes.push(commonPrefix);
      last = { commonPrefix };
      index = firstIndex(keys, behind(last));
    }
  }
  return page;
}

const listObjectsV2: Handler = ({ call, bucket }) => {
  if (call.query.get("list-type") !== "2") throw new Refusal("NotImplemented");
  const encode = encoder(call);
  const get = (name: string) => call.query.get(name) ?? "";
  const [prefix, delimiter, startAfter, token] = ["prefix", "delimiter", "start-after", "continuation-token"].map(get);
  if (call.query.has("continuation-token") && token === "") throw new Refusal("InvalidArgument");
  const mark = token ? readToken(token) : startAfter ? { key: startAfter } : null;
  const size = pageSize(call, "max-keys");
  const page = listPage(bucket(), prefix!, delimiter!, mark, size);
  const contents = page.objects.map(
    (object) =>
      `<Contents>${element("Key", encode(object.key))}` +
      element("LastModified", object.modifiedAt.toISOString()) +
      element("ETag", `"${object.etag}"`) +
      element("ChecksumAlgorithm", object.checksum?.algorithm.toUpperCase()) +
      element("ChecksumType", object.checksum?.type) +
      element("Size", object.blob.sizeBytes) +
      `${element("StorageClass", object.storageClass)}</Contents>`,
  );
  const prefixes = page.commonPrefixes.map(
    (common) => `<CommonPrefixes>${element("Prefix", encode(common))}</CommonPrefixes>`,
  );
  return xmlReply(
    s3Document(
      "ListBucketResult",
      element("Name", call.bucket) +
        element("Prefix", encode(prefix!)) +
        element("Delimiter", delimiter ? encode(delimiter) : undefined) +
        element("StartAfter", startAfter ? encode(startAfter) : undefined) +
        element("ContinuationToken", token || undefined) +
        element("EncodingType", call.query.get("encoding-type")) +
        element("KeyCount", page.objects.length + page.commonPrefixes.length) +
        element("MaxKeys", size) +
        element("IsTruncated", page.next !== null) +
        element("NextContinuationToken", page.next ? writeToken(page.next) : undefined) +
        contents.join("") +
        prefixes.join(""),
    ),
  );
};

const listParts: Handler = (exchange) => {
  const { call } = exchange;
  const upload = findUpload(exchange);
  const marker = Number(call.query.get("part-number-marker") ?? "0");
  const size = pageSize(call, "max-parts");
  const rest = [...upload.parts.values()]
    .filter((part) => part.partNumber > marker)
    .sort((a, b) => a.partNumber - b.partNumber);
  const page = rest.slice(0, size);
  const algorithm = upload.checksumAsked ? upload.checksumAlgorithm : null;
  const parts = page.map(
    (part) =>
      `<Part>${element("PartNumber", part.partNumber)}` +
      element("LastModified", part.modifiedAt.toISOString()) +
      element("ETag", `"${part.etag}"`) +
      element("Size", part.blob.sizeBytes) +
      `${algorithm ? element(checksumElement(algorithm), part.checksum?.value) : ""}</Part>`,
  );
  const truncated = rest.length > page.length;
  return xmlReply(
    s3Document(
      "ListPartsResult",
      element("Bucket", call.bucket) +
        element("Key", encoder(call)(call.key)) +
        element("UploadId", upload.uploadId) +
        element("PartNumberMarker", marker) +
        element("NextPartNumberMarker", truncated ? (page.at(-1)?.partNumber ?? marker) : undefined) +
        element("MaxParts", size) +
        element("IsTruncated", truncated) +
        element("StorageClass", upload.storageClass) +
        element("ChecksumAlgorithm", algorithm?.toUpperCase()) +
        element("ChecksumType", algorithm ? upload.checksumType : undefined) +
        parts.join(""),
    ),
  );
};

const listMultipartUploads: Handler = ({ call, bucket }) => {
  const encode = encoder(call);
  const prefix = call.query.get("prefix") ?? "";
  const keyMarker = call.query.get("key-marker") ?? "";
  const idMarker = call.query.get("upload-id-marker") ?? "";
  const size = pageSize(call, "max-uploads");
  const rest = [...bucket().uploads.values()]
    .filter((upload) => upload.key.startsWith(prefix))
    .sort((a, b) => compareKeys(a.key, b.key) || compareKeys(a.uploadId, b.uploadId))
    .filter((upload) => {
      const order = compareKeys(upload.key, keyMarker);
      return order > 0 || (order === 0 && idMarker !== "" && compareKeys(upload.uploadId, idMarker) > 0);
    });
  const page = rest.slice(0, size);
  const truncated = rest.length > page.length;
  const last = truncated ? page.at(-1) : undefined;
  const uploads = page.map(
    (upload) =>
      `<Upload>${element("Key", encode(upload.key))}${element("UploadId", upload.uploadId)}` +
      element("StorageClass", upload.storageClass) +
      `${element("Initiated", upload.startedAt.toISOString())}</Upload>`,
  );
  return xmlReply(
    s3Document(
      "ListMultipartUploadsResult",
      element("Bucket", call.bucket) +
        element("KeyMarker", encode(keyMarker)) +
        element("UploadIdMarker", idMarker) +
        element("NextKeyMarker", last && encode(last.key)) +
        element("NextUploadIdMarker", last?.uploadId) +
        element("Prefix", encode(prefix)) +
        element("EncodingType", call.query.get("encoding-type")) +
        element("MaxUploads", size) +
        element("IsTruncated", truncated) +
        uploads.join(""),
    ),
  );
};

export const listingHandlers = {
  ListObjectsV2: listObjectsV2,
  ListParts: listParts,
  ListMultipartUploads: listMultipartUploads,
} satisfies Record<string, Handler>;
