/** Checksums as S3 writes them: big-endian bytes in base64; composite ones end in `-<parts>`. */
import { createHash, hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { ChecksumAlgorithm } from "./ports.ts";

export interface RunningChecksum {
  update(bytes: Uint8Array): void;
  /** base64, of everything so far. */
  value(): string;
}

/** Whole bytes at once, base64. */
export function checksumOf(algorithm: ChecksumAlgorithm, bytes: Uint8Array): string {
  if (algorithm === "crc32") return base64OfCrc32(crc32(bytes));
  if (algorithm === "sha256") return hash("sha256", bytes, "base64");
  const running = startChecksum(algorithm);
  running.update(bytes);
  return running.value();
}

/** Piece by piece, for a file larger than memory. */
export function startChecksum(algorithm: ChecksumAlgorithm | "md5"): RunningChecksum {
  if (algorithm === "crc32") {
    let crc = 0;
    return {
      update: (bytes) => {
        crc = crc32(bytes, crc);
      },
      value: () => base64OfCrc32(crc),
    };
  }
  if (algorithm === "crc64nvme") return startCrc64();
  const running = createHash(algorithm);
  return { update: (bytes) => void running.update(bytes), value: () => running.copy().digest("base64") };
}

/** Hex MD5, the form of an ETag. */
export function md5Hex(bytes: Uint8Array): string {
  return hash("md5", bytes, "hex");
}

function base64OfCrc32(crc: number): string {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(crc >>> 0);
  return bytes.toString("base64");
}

/** Checksum of the parts' checksums: `base64(H(part1 ‖ part2 ‖ …))-<parts>` (S3 "composite"). */
export function compositeChecksum(algorithm: ChecksumAlgorithm, partValues: readonly string[]): string {
  const joined = Buffer.concat(partValues.map((value) => Buffer.from(value, "base64")));
  return `${checksumOf(algorithm, joined)}-${partValues.length}`;
}

/** ETag of a multipart object where the store makes it the usual way: MD5 of the parts' MD5s; null if one is no MD5. */
export function multipartEtag(partEtags: readonly string[]): string | null {
  if (!partEtags.every((etag) => /^[0-9a-f]{32}$/i.test(etag))) return null;
  return `${md5Hex(Buffer.concat(partEtags.map((etag) => Buffer.from(etag, "hex"))))}-${partEtags.length}`;
}

/** Reflected polynomials. CRC-32: ISO 3309; CRC-64/NVME: NVM Express command set, "64b CRC". */
const linear = {
  crc32: { widthBits: 32n, poly: 0xedb88320n },
  crc64nvme: { widthBits: 64n, poly: 0x9a6c9329ac4bc9b5n },
} as const;

export type LinearAlgorithm = keyof typeof linear;

/** Whether the checksum of a whole object can be had from those of its parts. */
export function isLinear(algorithm: ChecksumAlgorithm): algorithm is LinearAlgorithm {
  return algorithm in linear;
}

/**
 * Full-object checksum from the parts' own, in order. Appending n bytes multiplies the CRC so far by x^(8n) modulo
 * the polynomial (the method of zlib's crc32_combine, in its reflected form).
 */
export function combineChecksums(
  algorithm: LinearAlgorithm,
  parts: readonly { value: string; sizeBytes: number }[],
): string {
  const { widthBits, poly } = linear[algorithm];
  const one = 1n << (widthBits - 1n);
  const multiply = (a: bigint, b: bigint): bigint => {
    let product = 0n;
    let shifted = b;
    for (let bit = one; bit > 0n; bit >>= 1n) {
      if (a & bit) product ^= shifted;
      shifted = shifted & 1n ? (shifted >> 1n) ^ poly : shifted >> 1n;
    }
    return product;
  };
  const powers = new Map<number, bigint>();
  const shiftBy = (sizeBytes: number): bigint => {
    const known = powers.get(sizeBytes);
    if (known !== undefined) return known;
    let power = one;
    let square = one >> 8n;
    for (let rest = BigInt(sizeBytes); rest > 0n; rest >>= 1n) {
      if (rest & 1n) power = multiply(square, power);
      square = multiply(square, square);
    }
    powers.set(sizeBytes, power);
    return power;
  };
  let crc = 0n;
  for (const part of parts) {
    const own = BigInt(`0x${Buffer.from(part.value, "base64").toString("hex")}`);
    crc = multiply(shiftBy(part.sizeBytes), crc) ^ own;
  }
  const hex = crc.toString(16).padStart(Number(widthBits / 4n), "0");
  return Buffer.from(hex, "hex").toString("base64");
}

/** Eight tables of 256 entries, high and low halves apart: 64-bit integers in JavaScript cost ten times more. */
const crc64Tables = makeCrc64Tables();

function makeCrc64Tables(): { high: Uint32Array; low: Uint32Array } {
  const high = new Uint32Array(8 * 256);
  const low = new Uint32Array(8 * 256);
  const poly = linear.crc64nvme.poly;
  for (let index = 0; index < 256; index++) {
    let crc = BigInt(index);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ poly : crc >> 1n;
    high[index] = Number(crc >> 32n);
    low[index] = Number(crc & 0xffffffffn);
  }
  for (let at = 256; at < 8 * 256; at++) {
    const previousHigh = high[at - 256]!;
    const previousLow = low[at - 256]!;
    const index = previousLow & 0xff;
    low[at] = ((previousLow >>> 8) | (previousHigh << 24)) ^ low[index]!;
    high[at] = (previousHigh >>> 8) ^ high[index]!;
  }
  return { high, low };
}

/** CRC-64/NVME, eight bytes at a time (slicing by 8). Check value of "123456789": ae8b14860a799888. */
function startCrc64(): RunningChecksum {
  const { high, low } = crc64Tables;
  let crcHigh = 0xffffffff;
  let crcLow = 0xffffffff;
  return {
    update(bytes) {
      let at = 0;
      const blocksEnd = bytes.length - (bytes.length % 8);
      for (; at < blocksEnd; at += 8) {
        const a = crcLow ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
        const b = crcHigh ^ (bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24));
        const i0 = 1792 + (a & 0xff);
        const i1 = 1536 + ((a >>> 8) & 0xff);
        const i2 = 1280 + ((a >>> 16) & 0xff);
        const i3 = 1024 + (a >>> 24);
        const i4 = 768 + (b & 0xff);
        const i5 = 512 + ((b >>> 8) & 0xff);
        const i6 = 256 + ((b >>> 16) & 0xff);
        const i7 = b >>> 24;
        crcLow = low[i0]! ^ low[i1]! ^ low[i2]! ^ low[i3]! ^ low[i4]! ^ low[i5]! ^ low[i6]! ^ low[i7]!;
        crcHigh = high[i0]! ^ high[i1]! ^ high[i2]! ^ high[i3]! ^ high[i4]! ^ high[i5]! ^ high[i6]! ^ high[i7]!;
      }
      for (; at < bytes.length; at++) {
        const index = (crcLow ^ bytes[at]!) & 0xff;
        crcLow = ((crcLow >>> 8) | (crcHigh << 24)) ^ low[index]!;
        crcHigh = (crcHigh >>> 8) ^ high[index]!;
      }
    },
    value() {
      const bytes = Buffer.allocUnsafe(8);
      bytes.writeUInt32BE(~crcHigh >>> 0, 0);
      bytes.writeUInt32BE(~crcLow >>> 0, 4);
      return bytes.toString("base64");
    },
  };
}
