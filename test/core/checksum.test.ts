import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  checksumOf,
  combineChecksums,
  compositeChecksum,
  type LinearAlgorithm,
  multipartEtag,
  startChecksum,
} from "../../src/core/checksum.ts";
import { checksumAlgorithms } from "../../src/core/ports.ts";

const digits = Buffer.from("123456789");
const hexOf = (value: string) => Buffer.from(value, "base64").toString("hex");

/** Bytes without a period that a CRC could hide in. */
function noise(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = 12345;
  for (let at = 0; at < sizeBytes; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

describe("checksums", () => {
  it("have the published check values", () => {
    expect(hexOf(checksumOf("crc32", digits))).toBe("cbf43926");
    expect(hexOf(checksumOf("crc64nvme", digits))).toBe("ae8b14860a799888");
    expect(checksumOf("sha256", digits)).toBe(createHash("sha256").update(digits).digest("base64"));
  });

  it("of nothing are what S3 gives an empty object", () => {
    expect(checksumOf("crc32", Buffer.alloc(0))).toBe("AAAAAA==");
    expect(checksumOf("crc64nvme", Buffer.alloc(0))).toBe("AAAAAAAAAAA=");
  });

  it.each(checksumAlgorithms)("%s piece by piece equals the whole, at every cut", (algorithm) => {
    const bytes = noise(41);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const running = startChecksum(algorithm);
      running.update(bytes.subarray(0, cut));
      running.update(bytes.subarray(cut));
      expect(running.value(), `cut at ${cut}`).toBe(checksumOf(algorithm, bytes));
    }
  });

  it.each<LinearAlgorithm>(["crc32", "crc64nvme"])("%s of parts combines to that of the object", (algorithm) => {
    const bytes = noise(300_007);
    const cuts = [0, 1, 65_536, 131_072, 131_072, 300_000, bytes.length];
    const parts = cuts.slice(1).map((end, index) => {
      const part = bytes.subarray(cuts[index], end);
      return { value: checksumOf(algorithm, part), sizeBytes: part.length };
    });
    expect(combineChecksums(algorithm, parts)).toBe(checksumOf(algorithm, bytes));
    expect(combineChecksums(algorithm, [parts[1]!, parts[0]!])).not.toBe(
      combineChecksums(algorithm, parts.slice(0, 2)),
    );
  });

  it("composite: the checksum of the parts' checksums, with their count", () => {
    const values = [noise(10), noise(20)].map((bytes) => checksumOf("sha256", bytes));
    const joined = Buffer.concat(values.map((value) => Buffer.from(value, "base64")));
    expect(compositeChecksum("sha256", values)).toBe(`${createHash("sha256").update(joined).digest("base64")}-2`);
  });

  it("multipart ETag: the MD5 of the parts' MD5s, and none where a part's ETag is no MD5", () => {
    const md5s = [noise(10), noise(20)].map((bytes) => createHash("md5").update(bytes).digest("hex"));
    const joined = Buffer.from(md5s.join(""), "hex");
    expect(multipartEtag(md5s)).toBe(`${createHash("md5").update(joined).digest("hex")}-2`);
    expect(multipartEtag([md5s[0]!, "opaque-mark"])).toBeNull();
  });
});
