import type { Call } from "./call.ts";
import { checksumHeader } from "./checksums.ts";
import { Refusal } from "./refusals.ts";
import type { Bucket, ObjectHead, Quirks, StoredObject, Tag } from "./world.ts";

const keptHeaders = ["content-type", "cache-control", "content-disposition", "content-language", "expires"];
const storageClasses = new Set(
  (
    "STANDARD REDUCED_REDUNDANCY STANDARD_IA ONEZONE_IA INTELLIGENT_TIERING GLACIER DEEP_ARCHIVE OUTPOSTS " +
    "GLACIER_IR SNOW EXPRESS_ONEZONE"
  ).split(" "),
);
const encryptions = new Set(["AES256", "aws:kms", "aws:kms:dsse"]);
const encryptionHeaders = [
  "x-amz-server-side-encryption",
  "x-amz-server-side-encryption-aws-kms-key-id",
  "x-amz-server-side-encryption-bucket-key-enabled",
];
const maxMetadataBytes = 2048;

/** x-amz-* headers this server gives their meaning; any other is refused rather than ignored. */
const knownHeader = new RegExp(
  "^x-amz-(meta-.+|checksum-(crc32|crc32c|crc64nvme|sha1|sha256|algorithm|type|mode)|date|content-sha256|security-token|user-agent|expected-bucket-owner|request-payer|" +
    "decoded-content-length|trailer|sdk-checksum-algorithm|storage-class|tagging|metadata-directive|copy-source|" +
    "source-expected-bucket-owner|object-attributes|max-parts|part-number-marker|mp-object-size|" +
    "server-side-encryption|server-side-encryption-aws-kms-key-id|server-side-encryption-bucket-key-enabled)$",
);

export function checkKnownHeaders(headers: Call["headers"]): void {
  const unknown = Object.keys(headers).find((name) => name.startsWith("x-amz-") && !knownHeader.test(name));
  if (unknown !== undefined) throw new Refusal("NotImplemented", { elements: { Header: unknown } });
}

/** What a PUT, Copy or Create says about the object besides its bytes. */
export function readObjectHead({ headers }: Call): ObjectHead {
  const kept: Record<string, string> = { "content-type": "binary/octet-stream" };
  let metadataBytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (keptHeaders.includes(name)) kept[name] = value;
    if (!name.startsWith("x-amz-meta-")) continue;
    kept[name] = value.trim();
    metadataBytes += name.length - "x-amz-meta-".length + value.length;
  }
  const encoding = (headers["content-encoding"] ?? "").split(",").filter((coding) => coding.trim() !== "aws-chunked");
  if (encoding.join("") !== "") kept["content-encoding"] = encoding.join(",").trim();
  if (metadataBytes > maxMetadataBytes) throw new Refusal("MetadataTooLarge");

  const storageClass = headers["x-amz-storage-class"] ?? "STANDARD";
  if (!storageClasses.has(storageClass)) throw new Refusal("InvalidStorageClass");
  return {
    headers: kept,
    storageClass,
    encryption: readEncryption(headers),
    tags: readTags(headers["x-amz-tagging"] ?? ""),
  };
}

function readEncryption(headers: Call["headers"]): Record<string, string> {
  const encryption = { "x-amz-server-side-encryption": "AES256" } as Record<string, string>;
  for (const name of encryptionHeaders) if (headers[name] !== undefined) encryption[name] = headers[name];
  const kind = encryption["x-amz-server-side-encryption"] ?? "";
  if (!encryptions.has(kind)) {
    throw new Refusal("InvalidArgument", { message: "The encryption method specified is not supported." });
  }
  if (kind === "AES256" && headers["x-amz-server-side-encryption-aws-kms-key-id"] !== undefined) {
    throw new Refusal("InvalidArgument", { message: "A KMS key needs the encryption aws:kms." });
  }
  return encryption;
}

/** Tags as the x-amz-tagging header writes them: a query string. */
function readTags(text: string): Tag[] {
  return checkTags([...new URLSearchParams(text)].map(([key, value]) => ({ key, value })));
}

export function checkTags(tags: Tag[]): Tag[] {
  const distinct = new Set(tags.map((tag) => tag.key)).size === tags.length;
  if (!distinct || tags.length > 10 || tags.some((tag) => tag.key === "" || tag.key.length > 128)) {
    throw new Refusal("InvalidTag");
  }
  return tags;
}

export function usesKms(head: ObjectHead): boolean {
  return head.encryption["x-amz-server-side-encryption"] !== "AES256";
}

function quoted(etag: string): string {
  return `"${etag}"`;
}

function names(list: string, etag: string): boolean {
  return list.split(",").some((item) => item.trim() === "*" || item.trim().replaceAll('"', "") === etag);
}

/** If-None-Match and If-Match of a write. `mayRead`: If-Match also needs permission to read the object. */
export function checkWriteConditions(call: Call, bucket: Bucket, quirks: Quirks, mayRead: boolean): void {
  const absent = call.headers["if-none-match"];
  const match = call.headers["if-match"];
  if (quirks.conditions === "ignore") return;
  if (quirks.conditions === "ignore-on-complete" && call.operation === "CompleteMultipartUpload") return;
  const current = bucket.objects.get(call.key);
  if (absent !== undefined) {
    if (absent !== "*") throw new Refusal("NotImplemented", { elements: { Header: "If-None-Match" } });
    if (current) throw new Refusal("PreconditionFailed", { elements: { Condition: "If-None-Match" } });
  }
  if (match !== undefined) {
    if (!mayRead) throw new Refusal("AccessDenied");
    if (!current) throw new Refusal("NoSuchKey", { elements: { Key: call.key } });
    if (!names(match, current.etag)) throw new Refusal("PreconditionFailed", { elements: { Condition: "If-Match" } });
  }
}

/** The four conditions of a read (RFC 9110, 13.2.2: an ETag condition outranks a date condition). */
export function checkReadConditions({ headers }: Call, object: StoredObject): void {
  const seconds = Math.floor(object.modifiedAt.getTime() / 1000) * 1000;
  const { "if-match": match, "if-none-match": noneMatch } = headers;
  const failed =
    match !== undefined ? !names(match, object.etag) : seconds > Date.parse(headers["if-unmodified-since"] ?? "");
  if (failed) throw new Refusal("PreconditionFailed");
  const unchanged =
    noneMatch !== undefined ? names(noneMatch, object.etag) : seconds <= Date.parse(headers["if-modified-since"] ?? "");
  if (unchanged) throw new Refusal("NotModified", { headers: { etag: quoted(object.etag) } });
}

/** Headers of the answer to a write. */
export function writeHeaders(object: StoredObject): Record<string, string> {
  return {
    etag: quoted(object.etag),
    ...object.encryption,
    ...checksumHeaders(object),
    ...versionHeader(object.versionId),
  };
}

export function versionHeader(versionId: string | null): Record<string, string> {
  return versionId === null ? {} : { "x-amz-version-id": versionId };
}

function checksumHeaders(object: StoredObject): Record<string, string> {
  if (!object.checksum) return {};
  const { algorithm, type, value } = object.checksum;
  return { [checksumHeader(algorithm)]: value, "x-amz-checksum-type": type };
}

/** Headers of the answer to GET and HEAD. */
export function readHeaders(call: Call, object: StoredObject): Record<string, string> {
  const withChecksum = call.headers["x-amz-checksum-mode"]?.toUpperCase() === "ENABLED" && !call.headers.range;
  return {
    ...object.headers,
    etag: quoted(object.etag),
    "last-modified": object.modifiedAt.toUTCString(),
    "accept-ranges": "bytes",
    ...object.encryption,
    ...(object.storageClass === "STANDARD" ? {} : { "x-amz-storage-class": object.storageClass }),
    ...(object.tags.length === 0 ? {} : { "x-amz-tagging-count": String(object.tags.length) }),
    ...(withChecksum ? checksumHeaders(object) : {}),
    ...versionHeader(object.versionId),
  };
}
