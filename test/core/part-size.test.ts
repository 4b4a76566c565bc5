import { describe, expect, it } from "vitest";
import {
  isPartSizeUsable,
  multipartFromBytes,
  partCount,
  partLimits,
  partRange,
  partSizeFor,
} from "../../src/core/part-size.ts";

const MiB = 1024 * 1024;

describe("part size", () => {
  it("is 8 MiB until 10,000 of them no longer hold the file", () => {
    expect(partSizeFor(multipartFromBytes)).toBe(8 * MiB);
    expect(partSizeFor(80_000 * MiB)).toBe(8 * MiB);
    expect(partSizeFor(80_000 * MiB + 1)).toBe(9 * MiB);
  });

  it("keeps every size within S3's limits", () => {
    for (let sizeBytes = multipartFromBytes; sizeBytes <= partLimits.maxObjectBytes; sizeBytes = sizeBytes * 3 + 1) {
      const partSizeBytes = partSizeFor(sizeBytes);
      expect(isPartSizeUsable(partSizeBytes, sizeBytes), `${sizeBytes}`).toBe(true);
    }
    expect(partSizeFor(partLimits.maxObjectBytes)).toBe(partLimits.maxBytes);
    expect(partCount(partLimits.maxObjectBytes, partLimits.maxBytes)).toBe(10_000);
  });

  it("refuses what no object can hold", () => {
    expect(() => partSizeFor(partLimits.maxObjectBytes + 1)).toThrow(
      expect.objectContaining({ code: "file_too_large" }),
    );
  });

  it("covers the file with parts that neither overlap nor leave a gap", () => {
    const sizeBytes = 3 * 8 * MiB + 5;
    let end = 0;
    for (let part = 1; part <= partCount(sizeBytes, 8 * MiB); part++) {
      const range = partRange(part, sizeBytes, 8 * MiB);
      expect(range.offset).toBe(end);
      end = range.offset + range.sizeBytes;
    }
    expect(end).toBe(sizeBytes);
  });

  it("knows a remembered size that S3 would refuse", () => {
    expect(isPartSizeUsable(partLimits.minBytes - 1, MiB)).toBe(false);
    expect(isPartSizeUsable(partLimits.minBytes, partLimits.minBytes * 10_001)).toBe(false);
  });
});
