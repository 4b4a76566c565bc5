import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { Refusal } from "./refusals.ts";

export const checksumAlgorithms = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const;
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number];
export type ChecksumType = "FULL_OBJECT" | "COMPOSITE";

/** A checksum as S3 stores it: base64, with `-<parts>` behind a composite one. */
export interface Checksum {
  algorithm: ChecksumAlgorithm;
  type: ChecksumType;
  value: string;
}

export interface RunningChecksum {
  update(chunk: Buffer): void;
  digest(): Buffer;
}

interface AlgorithmRow {
  sizeBytes: number;
  /** Which kinds of multipart checksum S3 offers for this algorithm; the first is the default. */
  types: readonly ChecksumType[];
  start(): RunningChecksum;
  /** Reflected polynomial: only a CRC can be combined from the CRCs of its parts. */
  polynomial?: bigint;
}

// Polynomials: IEEE 802.3 (zlib), Castagnoli (RFC 3720), and CRC-64/NVME (NVM Express 1.0 TP 4074), all reflected.
const castagnoli = 0x82f63b78;
const nvme = 0x9a6c9329ac4bc9b5n;

export const algorithmTable: Record<ChecksumAlgorithm, AlgorithmRow> = {
  crc32: { sizeBytes: 4, types: ["COMPOSITE", "FULL_OBJECT"], start: startCrc32, polynomial: 0xedb88320n },
  crc32c: { sizeBytes: 4, types: ["COMPOSITE", "FULL_OBJECT"], start: startCrc32c, polynomial: BigInt(castagnoli) },
  crc64nvme: { sizeBytes: 8, types: ["FULL_OBJECT"], start: startCrc64, polynomial: nvme },
  sha1: { sizeBytes: 20, types: ["COMPOSITE"], start: () => startHash("sha1") },
  sha256: { sizeBytes: 32, types: ["COMPOSITE"], start: () => startHash("sha256") },
};

function startHash(name: string): RunningChecksum {
  const hash = createHash(name);
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest() };
}

function startCrc32(): RunningChecksum {
  let crc = 0;
  return {
    update(chunk) {
      crc = crc32(chunk, crc);
    },
    digest: () => bigEndian(BigInt(crc), 4),
  };
}

const castagnoliTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ castagnoli : crc >>> 1;
  return crc;
});

function startCrc32c(): RunningChecksum {
  let crc = 0xffffffff;
  return {
    update(chunk) {
      for (const byte of chunk) crc = (crc >>> 8) ^ castagnoliTable[(crc ^ byte) & 0xff]!;
    },
    digest: () => bigEndian(BigInt(~crc >>> 0), 4),
  };
}

const nvmeTable = Array.from({ length: 256 }, (_, byte) => {
  let crc = BigInt(byte);
  for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ nvme : crc >> 1n;
  return crc;
});
const nvmeHigh = Uint32Array.from(nvmeTable, (crc) => Number(crc >> 32n));
const nvmeLow = Uint32Array.from(nvmeTable, (crc) => Number(crc & 0xffffffffn));

// Two 32-bit halves: a BigInt per byte would be some fifty times slower.
function startCrc64(): RunningChecksum {
  let high = 0xffffffff;
  let low = 0xffffffff;
  return {
    update(chunk) {
      for (const byte of chunk) {
        const index = (low ^ byte) & 0xff;
        low = ((low >>> 8) | (high << 24)) ^ nvmeLow[index]!;
        high = (high >>> 8) ^ nvmeHigh[index]!;
      }
    },
    digest: () => bigEndian((BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0), 8),
  };
}

function bigEndian(value: bigint, sizeBytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(sizeBytes * 2, "0"), "hex");
}

/** Product of two polynomials modulo `polynomial`, reflected: the highest bit is x^0 (as in zlib's crc32_combine). */
function multiply(a: bigint, b: bigint, polynomial: bigint, topBit: bigint): bigint {
  let product = 0n;
  let shifted = b;
  for (let bit = topBit; bit > 0n; bit >>= 1n) {
    if (a & bit) product ^= shifted;
    shifted = shifted & 1n ? (shifted >> 1n) ^ polynomial : shifted >> 1n;
  }
  return product;
}

/** CRC of two joined byte strings from their own CRCs: the first, moved on by the second's length, plus the second. */
function combineTwo(algorithm: ChecksumAlgorithm, first: Buffer, second: Buffer, secondSizeBytes: number): Buffer {
  const { polynomial, sizeBytes } = algorithmTable[algorithm];
  if (polynomial === undefined) throw new Error(`${algorithm} cannot be combined`);
  const topBit = 1n << BigInt(sizeBytes * 8 - 1);
  let power = topBit >> 1n;
  let shift = topBit;
  for (let exponent = BigInt(secondSizeBytes) * 8n; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) shift = multiply(shift, power, polynomial, topBit);
    power = multiply(power, power, polynomial, topBit);
  }
  const moved = multiply(shift, BigInt(`0x${first.toString("hex")}`), polynomial, topBit);
  return bigEndian(moved ^ BigInt(`0x${second.toString("hex")}`), sizeBytes);
}

export interface PartChecksum {
  /** base64, of this part alone. */
  value: string;
  sizeBytes: number;
}

/** The checksum of a multipart object from those of its parts. */
export function joinChecksums(
  algorithm: ChecksumAlgorithm,
  type: ChecksumType,
  parts: readonly PartChecksum[],
): Checksum {
  const digests = parts.map((part) => Buffer.from(part.value, "base64"));
  if (type === "COMPOSITE") {
    const outer = algorithmTable[algorithm].start();
    for (const digest of digests) outer.update(digest);
    return { algorithm, type, value: `${outer.digest().toString("base64")}-${parts.length}` };
  }
  let joined = algorithmTable[algorithm].start().digest();
  for (const [index, digest] of digests.entries()) {
    joined = combineTwo(algorithm, joined, digest, parts[index]!.sizeBytes);
  }
  return { algorithm, type, value: joined.toString("base64") };
}

export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm}`;
}

/** `CRC32` or `crc32` to our name; an unknown algorithm is refused. */
export function checksumAlgorithm(name: string): ChecksumAlgorithm {
  const found = checksumAlgorithms.find((algorithm) => algorithm === name.toLowerCase());
  if (!found) throw new Refusal("InvalidRequest", { message: `Checksum algorithm provided is unsupported: ${name}` });
  return found;
}

/** Is this the base64 of a digest of the right length? */
export function wellFormed(algorithm: ChecksumAlgorithm, value: string): boolean {
  const bytes = Buffer.from(value, "base64");
  return bytes.length === algorithmTable[algorithm].sizeBytes && bytes.toString("base64") === value;
}

/** The one checksum that a request announces in its headers; two of them are refused. */
export function claimedChecksum(
  headers: Readonly<Record<string, string>>,
): { algorithm: ChecksumAlgorithm; value: string } | undefined {
  const claims = checksumAlgorithms.flatMap((algorithm) => {
    const value = headers[checksumHeader(algorithm)];
    return value === undefined ? [] : [{ algorithm, value }];
  });
  if (claims.length > 1) {
    throw new Refusal("InvalidRequest", { message: "Expecting a single x-amz-checksum- header." });
  }
  return claims[0];
}
