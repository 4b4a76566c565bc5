import { describe, expect, it } from "vitest";
import { checksumOf, compositeChecksum } from "../../src/core/checksum.ts";
import { startDigest } from "../../src/core/object-digest.ts";
import { noise } from "../support/tree.ts";

function inPieces(bytes: Uint8Array, pieceBytes: number, digest: ReturnType<typeof startDigest>): string {
  for (let at = 0; at < bytes.length; at += pieceBytes) digest.update(bytes.subarray(at, at + pieceBytes));
  return digest.value();
}

describe("the digest of an object in pieces", () => {
  it.each([1, 7, 100, 250, 1_000])("is the whole checksum, and the composite one, in pieces of %i", (pieceBytes) => {
    const bytes = noise(1_000, "object");
    expect(inPieces(bytes, pieceBytes, startDigest({ algorithm: "crc32", partSizeBytes: null }))).toBe(
      checksumOf("crc32", bytes),
    );
    for (const partSizeBytes of [1_000, 250, 300]) {
      const parts = [];
      for (let at = 0; at < bytes.length; at += partSizeBytes) {
        parts.push(checksumOf("sha256", bytes.subarray(at, at + partSizeBytes)));
      }
      expect(inPieces(bytes, pieceBytes, startDigest({ algorithm: "sha256", partSizeBytes }))).toBe(
        compositeChecksum("sha256", parts),
      );
    }
  });

  it("of nothing is one empty part", () => {
    const empty = checksumOf("crc32", new Uint8Array());
    expect(startDigest({ algorithm: "crc32", partSizeBytes: 5 }).value()).toBe(compositeChecksum("crc32", [empty]));
  });
});
