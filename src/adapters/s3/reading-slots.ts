/** What the reading thread and its owner tell each other; the bytes lie in a slot of memory that both see. */
import type { ChecksumAlgorithm } from "../../core/ports.ts";

/** The largest file a slot holds. Memory is taken only as far as files fill it. */
export const slotBytes = 2 ** 20;

export interface Wanted {
  slot: number;
  path: string;
  sizeBytes: number;
  mtimeNs: bigint;
  algorithm: ChecksumAlgorithm;
  /** Whether the SHA-256 that a signature covers is wanted too. */
  signed: boolean;
}

/** `checksum` in base64, `sha256` in hex. */
export type Told =
  | { end: "read"; checksum: string; sha256: string | null }
  | { end: "moved"; sizeBytes: number; mtimeNs: bigint }
  | { end: "odd" }
  | { end: "failed"; errno: string };

export interface Answered {
  told: Told[];
  tookMs: number;
}
