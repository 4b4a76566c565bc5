import { createHash } from "node:crypto";
import {
  algorithmTable,
  type ChecksumAlgorithm,
  type ChecksumType,
  checksumAlgorithm,
  checksumHeader,
  claimedChecksum,
  joinChecksums,
} from "./checksums.ts";
import { type Exchange, emptyReply, type Handler, xmlReply } from "./exchange.ts";
import { checkWriteConditions, readObjectHead, usesKms, versionHeader } from "./object-head.ts";
import { newVersionId } from "./objects.ts";
import { Refusal } from "./refusals.ts";
import { joinBlobs } from "./storage.ts";
import { newEtag, publish, randomId, type StoredObject, type StoredPart, type Upload } from "./world.ts";
import { childText, element, parseXml, s3Document, type XmlNode } from "./xml.ts";

const maxParts = 10_000;

function checksumElement(algorithm: ChecksumAlgorithm): string {
  return `Checksum${algorithm.toUpperCase()}`;
}

function findUpload({ call, bucket }: Exchange): Upload {
  const upload = bucket().uploads.get(call.query.get("uploadId") ?? "");
  if (!upload || upload.key !== call.key) {
    throw new Refusal("NoSuchUpload", { elements: { UploadId: call.query.get("uploadId") ?? "" } });
  }
  return upload;
}

function checksumType(algorithm: ChecksumAlgorithm, asked: string | undefined): ChecksumType {
  const { types } = algorithmTable[algorithm];
  const type = asked === undefined ? types[0] : types.find((candidate) => candidate === asked);
  if (type) return type;
  throw new Refusal("InvalidRequest", {
    message: `The ${asked} checksum type cannot be used with the ${algorithm} checksum algorithm.`,
  });
}

const createMultipartUpload: Handler = (exchange) => {
  const { call, world } = exchange;
  const asked = call.headers["x-amz-checksum-algorithm"];
  const askedType = call.headers["x-amz-checksum-type"];
  if (asked === undefined && askedType !== undefined) {
    throw new Refusal("InvalidRequest", { message: "x-amz-checksum-type needs x-amz-checksum-algorithm." });
  }
  const wanted = asked === undefined ? world.quirks.defaultChecksum : checksumAlgorithm(asked);
  const algorithm = world.quirks.checksums === "ignore" ? null : wanted;
  const upload: Upload = {
    ...readObjectHead(call),
    uploadId: randomId(),
    key: call.key,
    checksumAlgorithm: algorithm,
    checksumType: algorithm ? checksumType(algorithm, askedType) : "FULL_OBJECT",
    checksumAsked: asked !== undefined && algorithm !== null,
    parts: new Map(),
    startedAt: world.now(),
  };
  exchange.bucket().uploads.set(upload.uploadId, upload);
  const content = element("Bucket", call.bucket) + element("Key", call.key) + element("UploadId", upload.uploadId);
  const announced = upload.checksumAsked && algorithm;
  return xmlReply(s3Document("InitiateMultipartUploadResult", content), {
    ...upload.encryption,
    ...(announced
      ? { "x-amz-checksum-algorithm": algorithm.toUpperCase(), "x-amz-checksum-type": upload.checksumType }
      : {}),
  });
};

/**
 * A part carries the checksum that Create announced, and none when it announced none. Where that of the whole is
 * computed from those of the parts (FULL_OBJECT) S3 fills in what the client left out.
 */
function checkPartAlgorithm(upload: Upload, exchange: Exchange): void {
  if (exchange.world.quirks.checksums === "ignore") return;
  const trailer = (exchange.call.headers["x-amz-trailer"] ?? "").replace("x-amz-checksum-", "");
  const actual = claimedChecksum(exchange.call.headers)?.algorithm ?? (trailer === "" ? null : trailer);
  const expected = upload.checksumAsked ? upload.checksumAlgorithm : null;
  const filledIn = actual === null && upload.checksumType === "FULL_OBJECT";
  if (actual !== expected && !filledIn) {
    throw new Refusal("InvalidRequest", {
      message: `Checksum Type mismatch occurred, expected checksum Type: ${expected}, actual checksum Type: ${actual}`,
    });
  }
}

const uploadPart: Handler = async (exchange) => {
  const { call, world } = exchange;
  const partNumber = Number(call.query.get("partNumber"));
  if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > maxParts) {
    throw new Refusal("InvalidArgument", { message: `Part number must be between 1 and ${maxParts}.` });
  }
  const upload = findUpload(exchange);
  checkPartAlgorithm(upload, exchange);
  const body = await exchange.receiveObject(upload.checksumAlgorithm);
  // The upload may have been completed or aborted while the part was on its way.
  findUpload(exchange);
  const part: StoredPart = {
    partNumber,
    blob: body.blob,
    md5: body.md5,
    etag: newEtag(body.md5, world.quirks, usesKms(upload)),
    checksum: body.checksum,
    modifiedAt: world.now(),
  };
  upload.parts.set(partNumber, part);
  const echoed = part.checksum && upload.checksumAsked;
  return emptyReply(200, {
    etag: `"${part.etag}"`,
    ...upload.encryption,
    ...(echoed && part.checksum ? { [checksumHeader(part.checksum.algorithm)]: part.checksum.value } : {}),
  });
};

/** One `<Part>` of Complete against what was uploaded. */
function matchPart(node: XmlNode, upload: Upload): StoredPart {
  const partNumber = Number(childText(node, "PartNumber"));
  const etag = childText(node, "ETag")?.replaceAll('"', "");
  if (node.name !== "Part" || !Number.isInteger(partNumber) || etag === undefined) throw new Refusal("MalformedXML");
  const part = upload.parts.get(partNumber);
  const wrong = () => new Refusal("InvalidPart", { elements: { PartNumber: String(partNumber), ETag: etag } });
  if (!part || part.etag !== etag) throw wrong();
  const algorithm = upload.checksumAlgorithm;
  const claimed = algorithm ? childText(node, checksumElement(algorithm)) : undefined;
  if (claimed !== undefined && claimed !== part.checksum?.value) throw wrong();
  if (claimed === undefined && upload.checksumAsked && upload.checksumType === "COMPOSITE") {
    throw new Refusal("InvalidRequest", {
      message:
        `The upload was created using a ${algorithm} checksum. The complete request must include the checksum for ` +
        `each part. It was missing for part ${partNumber} in the request.`,
    });
  }
  return part;
}

function listedParts(document: XmlNode, upload: Upload, minPartBytes: number): StoredPart[] {
  const nodes = document.children;
  if (document.name !== "CompleteMultipartUpload" || nodes.length === 0 || nodes.length > maxParts) {
    throw new Refusal("MalformedXML");
  }
  const parts = nodes.map((node) => matchPart(node, upload));
  for (const [index, part] of parts.entries()) {
    const next = parts[index + 1];
    if (next && next.partNumber <= part.partNumber) throw new Refusal("InvalidPartOrder");
    if (next && part.blob.sizeBytes < minPartBytes) {
      throw new Refusal("EntityTooSmall", {
        elements: {
          PartNumber: String(part.partNumber),
          ProposedSize: String(part.blob.sizeBytes),
          MinSizeAllowed: String(minPartBytes),
        },
      });
    }
  }
  return parts;
}

function md5OfMd5s(parts: readonly StoredPart[]): string {
  const md5s = parts.map((part) => Buffer.from(part.md5 ?? "", "hex"));
  return createHash("md5").update(Buffer.concat(md5s)).digest("hex");
}

function joinedChecksum(upload: Upload, parts: readonly StoredPart[]): StoredObject["checksum"] {
  if (upload.checksumAlgorithm === null) return null;
  const values = parts.map((part) => ({ value: part.checksum?.value ?? "", sizeBytes: part.blob.sizeBytes }));
  return joinChecksums(upload.checksumAlgorithm, upload.checksumType, values);
}

/** What Complete says about the whole object: its size, its checksum, the checksum's type. */
function checkWhole({ call }: Exchange, object: StoredObject): void {
  const size = call.headers["x-amz-mp-object-size"];
  if (size !== undefined && Number(size) !== object.blob.sizeBytes) {
    throw new Refusal("InvalidRequest", { message: "x-amz-mp-object-size differs from the sum of the parts." });
  }
  if (!object.checksum) return;
  const { algorithm, type, value } = object.checksum;
  const askedType = call.headers["x-amz-checksum-type"];
  if (askedType !== undefined && askedType !== type) {
    throw new Refusal("InvalidRequest", { message: `The upload was created with the checksum type ${type}.` });
  }
  const claimed = claimedChecksum(call.headers);
  if (!claimed) return;
  if (claimed.algorithm !== algorithm || claimed.value.replace(/-\d+$/, "") !== value.replace(/-\d+$/, "")) {
    throw new Refusal("BadDigest", {
      message: `The ${claimed.algorithm} you specified did not match the calculated checksum.`,
    });
  }
}

/** The parts that Complete names, in a form that can be compared. */
function partsText(document: XmlNode): string {
  return document.children.map((node) => `${childText(node, "PartNumber")}:${childText(node, "ETag")}`).join();
}

function completedReply(exchange: Exchange, object: StoredObject) {
  const { call } = exchange;
  const { checksum } = object;
  const content =
    element("Location", `/${call.bucket}/${call.key}`) +
    element("Bucket", call.bucket) +
    element("Key", call.key) +
    element("ETag", `"${object.etag}"`) +
    (checksum ? element(checksumElement(checksum.algorithm), checksum.value) : "") +
    element("ChecksumType", checksum?.type);
  return xmlReply(s3Document("CompleteMultipartUploadResult", content), {
    ...object.encryption,
    ...versionHeader(object.versionId),
  });
}

const completeMultipartUpload: Handler = async (exchange) => {
  const { call, world } = exchange;
  const bucket = exchange.bucket();
  const document = parseXml(await exchange.receiveDocument());
  const uploadId = call.query.get("uploadId") ?? "";
  const earlier = world.completed.get(uploadId);
  if (world.quirks.repeatedComplete === "same" && earlier?.parts === partsText(document)) {
    return completedReply(exchange, earlier.object);
  }
  const upload = findUpload(exchange);
  const parts = listedParts(document, upload, world.minPartBytes);
  const object: StoredObject = {
    key: call.key,
    headers: upload.headers,
    storageClass: upload.storageClass,
    encryption: upload.encryption,
    tags: upload.tags,
    blob: joinBlobs(parts.map((part) => part.blob)),
    etag: `${newEtag(md5OfMd5s(parts), world.quirks, usesKms(upload))}-${parts.length}`,
    checksum: joinedChecksum(upload, parts),
    modifiedAt: world.now(),
    versionId: newVersionId(exchange),
    parts: parts.map((part) => ({
      partNumber: part.partNumber,
      sizeBytes: part.blob.sizeBytes,
      checksum: part.checksum?.value ?? null,
    })),
  };
  checkWhole(exchange, object);
  checkWriteConditions(call, bucket, world.quirks, exchange.may("s3:GetObject"));
  bucket.uploads.delete(uploadId);
  world.completed.set(uploadId, { object, parts: partsText(document) });
  publish(bucket, object);
  return completedReply(exchange, object);
};

const abortMultipartUpload: Handler = (exchange) => {
  exchange.bucket().uploads.delete(findUpload(exchange).uploadId);
  return emptyReply(204);
};

export const multipartHandlers = {
  CreateMultipartUpload: createMultipartUpload,
  UploadPart: uploadPart,
  CompleteMultipartUpload: completeMultipartUpload,
  AbortMultipartUpload: abortMultipartUpload,
} satisfies Record<string, Handler>;

export { checksumElement, findUpload };
