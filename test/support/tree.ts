import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Body, ScanBatch, ScannedFile, SourceTree } from "../../src/core/ports.ts";

/** A folder of its own for one test; removed by `remove`. */
export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "uploader-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Contents by relative path; a number is that many bytes that no two files share. */
export type TreeContents = Record<string, string | Uint8Array | number>;

/** Makes files (and the folders they need) below `root`. */
export function makeTree(root: string, contents: TreeContents): void {
  for (const [path, content] of Object.entries(contents)) writeAt(join(root, path), contentOf(path, content));
}

function writeAt(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}

function contentOf(path: string, content: string | Uint8Array | number): Uint8Array {
  return typeof content === "number" ? noise(content, path) : Buffer.from(content);
}

/** Bytes that look random and are the same for the same seed (xorshift32 seeded by FNV-1a). */
export function noise(sizeBytes: number, seed: string): Uint8Array {
  let state = 2166136261;
  for (const byte of Buffer.from(seed)) state = Math.imul(state ^ byte, 16777619);
  const words = new Uint32Array(Math.ceil(sizeBytes / 4));
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return new Uint8Array(words.buffer, 0, sizeBytes);
}

/** The body of a file as a scan would register it now. */
export async function bodyOf(path: string): Promise<Extract<Body, { kind: "file" }>> {
  const stats = await lstat(path, { bigint: true });
  return { kind: "file", path, sizeBytes: Number(stats.size), mtimeNs: stats.mtimeNs };
}

/** Sets a file's mtime, in whole seconds since 1970. */
export function setMtime(path: string, seconds: number): void {
  utimesSync(path, seconds, seconds);
}

export interface WholeScan extends ScanBatch {
  batches: number;
}

/** A whole scan at once: trees of tests are small. */
export async function scanAll(tree: SourceTree, signal = new AbortController().signal): Promise<WholeScan> {
  const whole: WholeScan = { files: [], oddities: [], excludedFiles: 0, batches: 0 };
  for await (const batch of tree.scan(signal)) {
    whole.files.push(...batch.files);
    whole.oddities.push(...batch.oddities);
    whole.excludedFiles += batch.excludedFiles;
    whole.batches += 1;
  }
  return whole;
}

export const keysOf = (files: readonly ScannedFile[]): (string | null)[] => files.map((file) => file.key);

/** 256 bytes that pass for the header of a Shimmer3 recording: 51.2 Hz, a MAC, hardware 3, LogAndStream. */
export function shimmerHead(): Uint8Array {
  const head = new Uint8Array(256).fill(0xff);
  const view = new DataView(head.buffer);
  view.setUint16(0, 640, true);
  head.set([0x00, 0x06, 0x66, 0x01, 0x02, 0x03], 24);
  view.setUint16(30, 3);
  view.setUint16(34, 3);
  return head;
}
