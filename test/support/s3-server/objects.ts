import { checksumAlgorithm } from "./checksums.ts";
import { type BlobRange, type Exchange, emptyReply, type Handler, type Reply, xmlReply } from "./exchange.ts";
import {
  checkReadConditions,
  checkTags,
  checkWriteConditions,
  readHeaders,
  readObjectHead,
  usesKms,
  versionHeader,
  writeHeaders,
} from "./object-head.ts";
import { Refusal } from "./refusals.ts";
import { findBucket, newEtag, publish, randomId, remove, type StoredObject } from "./world.ts";
import { childText, element, parseXml, s3Document, type XmlNode } from "./xml.ts";

export function newVersionId(exchange: Exchange): string | null {
  return exchange.bucket().versioning ? randomId() : null;
}

/** The object that is asked for. Who may not list is not told whether a key exists: 403 instead of 404. */
function findObject(exchange: Exchange): StoredObject {
  const { call } = exchange;
  const bucket = exchange.bucket();
  const versionId = call.query.get("versionId");
  const object =
    versionId === undefined ? bucket.objects.get(call.key) : bucket.versions.get(`${versionId}/${call.key}`);
  if (object) return object;
  if (!exchange.may("s3:ListBucket")) throw new Refusal("AccessDenied");
  throw new Refusal(versionId === undefined ? "NoSuchKey" : "NoSuchVersion", { elements: { Key: call.key } });
}

const putObject: Handler = async (exchange) => {
  const { call, world } = exchange;
  const bucket = exchange.bucket();
  const head = readObjectHead(call);
  if (head.tags.length > 0 && !exchange.may("s3:PutObjectTagging")) throw new Refusal("AccessDenied");
  const body = await exchange.receiveObject();
  checkWriteConditions(call, bucket, world.quirks, exchange.may("s3:GetObject"));
  const object: StoredObject = {
    ...head,
    key: call.key,
    blob: body.blob,
    etag: newEtag(body.md5, world.quirks, usesKms(head)),
    checksum: body.checksum && { ...body.checksum, type: "FULL_OBJECT" },
    modifiedAt: world.now(),
    versionId: newVersionId(exchange),
    parts: [],
  };
  publish(bucket, object);
  return emptyReply(200, writeHeaders(object));
};

/** Server-side copy of a whole object with its headers; new headers with `x-amz-metadata-directive: REPLACE`. */
const copyObject: Handler = (exchange) => {
  const { call, world } = exchange;
  const source = decodeURIComponent(call.headers["x-amz-copy-source"] ?? "").replace(/^\//, "");
  const slash = source.indexOf("/");
  if (slash < 1) throw new Refusal("InvalidArgument", { message: "x-amz-copy-source must name a bucket and a key." });
  const original = findBucket(world, source.slice(0, slash)).objects.get(source.slice(slash + 1));
  if (!exchange.may("s3:GetObject")) throw new Refusal("AccessDenied");
  if (!original) throw new Refusal("NoSuchKey", { elements: { Key: source.slice(slash + 1) } });
  checkWriteConditions(call, exchange.bucket(), world.quirks, true);
  const replaced = call.headers["x-amz-metadata-directive"] === "REPLACE" ? readObjectHead(call) : {};
  const object = {
    ...original,
    ...replaced,
    key: call.key,
    modifiedAt: world.now(),
    versionId: newVersionId(exchange),
  };
  publish(exchange.bucket(), object);
  const result = element("LastModified", object.modifiedAt.toISOString()) + element("ETag", `"${object.etag}"`);
  return xmlReply(s3Document("CopyObjectResult", result), versionHeader(object.versionId));
};

/** RFC 9110, 14.1.2, one range; a header that is not understood counts as absent. */
function readRange(header: string | undefined, sizeBytes: number): [start: number, end: number] | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return null;
  const [first, last] = [match[1], match[2]];
  const start = first === "" ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === "" || last === "" ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  if (start >= sizeBytes || start >= end) {
    throw new Refusal("InvalidRange", {
      elements: { RangeRequested: header ?? "", ActualObjectSize: String(sizeBytes) },
      headers: { "content-range": `bytes */${sizeBytes}` },
    });
  }
  return [start, end];
}

/** The bytes of one part of a multipart object (`?partNumber=`). */
function partRange(text: string, object: StoredObject): [start: number, end: number] {
  const parts = object.parts.length > 0 ? object.parts : [{ partNumber: 1, sizeBytes: object.blob.sizeBytes }];
  const index = parts.findIndex((part) => part.partNumber === Number(text));
  const part = parts[index];
  if (!part) throw new Refusal("InvalidPartNumber");
  const start = parts.slice(0, index).reduce((sum, earlier) => sum + earlier.sizeBytes, 0);
  return [start, start + part.sizeBytes];
}

function readReply(exchange: Exchange): { reply: Reply; range: BlobRange } {
  const { call } = exchange;
  const object = findObject(exchange);
  checkReadConditions(call, object);
  const sizeBytes = object.blob.sizeBytes;
  const partNumber = call.query.get("partNumber");
  const range = partNumber === undefined ? readRange(call.headers.range, sizeBytes) : partRange(partNumber, object);
  const [start, end] = range ?? [0, sizeBytes];
  const headers = {
    ...readHeaders(call, object),
    "content-length": String(end - start),
    ...(range && sizeBytes > 0 ? { "content-range": `bytes ${start}-${end - 1}/${sizeBytes}` } : {}),
    ...(partNumber !== undefined && object.parts.length > 0
      ? { "x-amz-mp-parts-count": String(object.parts.length) }
      : {}),
  };
  return { reply: emptyReply(range ? 206 : 200, headers), range: { blob: object.blob, start, end } };
}

const headObject: Handler = (exchange) => readReply(exchange).reply;

const getObject: Handler = (exchange) => {
  const { reply, range } = readReply(exchange);
  return { ...reply, body: range };
};

const deleteObject: Handler = (exchange) => {
  const { call } = exchange;
  const bucket = exchange.bucket();
  const match = call.headers["if-match"];
  if (match !== undefined && bucket.objects.get(call.key)?.etag !== match.replaceAll('"', "")) {
    throw new Refusal("PreconditionFailed");
  }
  const versionId = call.query.get("versionId");
  if (versionId === undefined) {
    remove(bucket, call.key);
    return emptyReply(204, bucket.versioning ? { "x-amz-delete-marker": "true", ...versionHeader(randomId()) } : {});
  }
  bucket.versions.delete(`${versionId}/${call.key}`);
  if (bucket.objects.get(call.key)?.versionId === versionId) remove(bucket, call.key);
  return emptyReply(204, versionHeader(versionId));
};

const deleteObjects: Handler = async (exchange) => {
  const bucket = exchange.bucket();
  if (!exchange.call.headers["content-md5"] && !hasChecksum(exchange)) {
    throw new Refusal("InvalidRequest", { message: "Missing required header for this request: Content-MD5" });
  }
  const document = parseXml(await exchange.receiveDocument());
  const keys = document.children.filter((node) => node.name === "Object").map((node) => childText(node, "Key") ?? "");
  if (keys.length === 0 || keys.length > 1000) throw new Refusal("MalformedXML");
  for (const key of keys) remove(bucket, key);
  const quiet = childText(document, "Quiet") === "true";
  const deleted = quiet ? [] : keys.map((key) => `<Deleted>${element("Key", key)}</Deleted>`);
  return xmlReply(s3Document("DeleteResult", deleted.join("")));
};

function hasChecksum({ call }: Exchange): boolean {
  const named = call.headers["x-amz-sdk-checksum-algorithm"];
  return named !== undefined && checksumAlgorithm(named) !== undefined;
}

const getObjectTagging: Handler = (exchange) => {
  const tags = findObject(exchange).tags.map(
    (tag) => `<Tag>${element("Key", tag.key)}${element("Value", tag.value)}</Tag>`,
  );
  return xmlReply(s3Document("Tagging", `<TagSet>${tags.join("")}</TagSet>`));
};

function readTagging(document: XmlNode) {
  const set = document.children.find((node) => node.name === "TagSet");
  if (document.name !== "Tagging" || !set) throw new Refusal("MalformedXML");
  return set.children.map((tag) => ({ key: childText(tag, "Key") ?? "", value: childText(tag, "Value") ?? "" }));
}

const putObjectTagging: Handler = async (exchange) => {
  const object = findObject(exchange);
  object.tags = checkTags(readTagging(parseXml(await exchange.receiveDocument())));
  return emptyReply(200, versionHeader(object.versionId));
};

const getObjectAttributes: Handler = (exchange) => {
  if (!exchange.may("s3:GetObject")) throw new Refusal("AccessDenied");
  const object = findObject(exchange);
  const wanted = (exchange.call.headers["x-amz-object-attributes"] ?? "").split(",").map((name) => name.trim());
  const { checksum } = object;
  const checksumName = checksum && `Checksum${checksum.algorithm.toUpperCase()}`;
  const parts = object.parts.map(
    (part) =>
      `<Part>${element("PartNumber", part.partNumber)}${element("Size", part.sizeBytes)}` +
      `${checksumName && checksum.type === "COMPOSITE" ? element(checksumName, part.checksum) : ""}</Part>`,
  );
  const attributes: Record<string, string> = {
    ETag: element("ETag", object.etag),
    Checksum:
      checksum && checksumName
        ? `<Checksum>${element(checksumName, checksum.value)}${element("ChecksumType", checksum.type)}</Checksum>`
        : "",
    ObjectParts:
      parts.length > 0
        ? `<ObjectParts>${element("PartsCount", parts.length)}${element("IsTruncated", false)}${parts.join("")}</ObjectParts>`
        : "",
    StorageClass: element("StorageClass", object.storageClass),
    ObjectSize: element("ObjectSize", object.blob.sizeBytes),
  };
  if (!wanted.every((name) => name in attributes)) throw new Refusal("InvalidArgument");
  const content = wanted.map((name) => attributes[name] ?? "").join("");
  return xmlReply(s3Document("GetObjectAttributesResponse", content), {
    "last-modified": object.modifiedAt.toUTCString(),
    ...versionHeader(object.versionId),
  });
};

export const objectHandlers = {
  PutObject: putObject,
  CopyObject: copyObject,
  HeadObject: headObject,
  GetObject: getObject,
  DeleteObject: deleteObject,
  DeleteObjects: deleteObjects,
  GetObjectTagging: getObjectTagging,
  PutObjectTagging: putObjectTagging,
  GetObjectAttributes: getObjectAttributes,
} satisfies Record<string, Handler>;
