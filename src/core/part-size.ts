import { UploaderError } from "./errors.ts";

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

/** S3's limits for multipart uploads (AWS: "Amazon S3 multipart upload limits"); the last part may be smaller. */
export const partLimits = {
  minBytes: 5 * MiB,
  maxBytes: 5 * GiB,
  maxParts: 10_000,
  /** 10,000 parts of 5 GiB: 48.8 TiB. */
  maxObjectBytes: 10_000 * 5 * GiB,
} as const;

/** Below this a file goes in one PUT: two parts or more from here on. */
export const multipartFromBytes = 16 * MiB;

/** Measured: 8 MiB parts were the fastest and the smallest in memory; larger ones only cost memory. */
const usualPartBytes = 8 * MiB;

/** Part size in bytes, a pure function of the file's size, so any process continues any other's upload. */
export function partSizeFor(sizeBytes: number): number {
  if (sizeBytes > partLimits.maxObjectBytes) {
    throw new UploaderError("file_too_large", `${sizeBytes} bytes are more than an S3 object can hold (48.8 TiB)`, {
      hint: "split the file",
    });
  }
  const needed = Math.ceil(Math.ceil(sizeBytes / partLimits.maxParts) / MiB) * MiB;
  return Math.max(usualPartBytes, needed);
}

/** True when S3 would take this part size for this file; asked of sizes remembered from an earlier version. */
export function isPartSizeUsable(partSizeBytes: number, sizeBytes: number): boolean {
  return (
    partSizeBytes >= partLimits.minBytes &&
    partSizeBytes <= partLimits.maxBytes &&
    partCount(sizeBytes, partSizeBytes) <= partLimits.maxParts
  );
}

export function partCount(sizeBytes: number, partSizeBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / partSizeBytes));
}

/** Where part `partNumber` (from 1) lies in the file. */
export function partRange(
  partNumber: number,
  sizeBytes: number,
  partSizeBytes: number,
): { offset: number; sizeBytes: number } {
  const offset = (partNumber - 1) * partSizeBytes;
  return { offset, sizeBytes: Math.min(partSizeBytes, sizeBytes - offset) };
}
