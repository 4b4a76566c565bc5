/** Whether a file's content is whole, as far as its kind tells: the end that writers write last, and lengths that agree. */
import { extensionOf } from "./file-kinds.ts";

/** Reads `length` bytes at `offset`, fewer at the end of the file. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

type Rule = (read: ReadAt, sizeBytes: number) => Promise<boolean>;

const ascii = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The end-of-file mark lies in the last 1,024 bytes (ISO 32000-1, annex H, implementation note 18). */
const pdf: Rule = async (read, sizeBytes) => {
  if (ascii(await read(0, 5)) !== "%PDF-") return true;
  return ascii(await read(Math.max(0, sizeBytes - 1024), 1024)).includes("%%EOF");
};

/** Larger ones are judged by their last character: no report is as large, and memory is bounded. */
const parsedBytes = 16 * 2 ** 20;

const json: Rule = async (read, sizeBytes) => {
  if (sizeBytes > parsedBytes) return /[\]}]\s*$/.test(ascii(await read(sizeBytes - 1024, 1024)));
  try {
    JSON.parse(
      Buffer.from(await read(0, sizeBytes))
        .toString("utf8")
        .replace(/^\ufeff/, ""),
    );
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
};

/** RIFF: the u32 LE at 4 counts what follows it. 0 until the recorder is done; 0xFFFFFFFF: a stream's, unknown for ever. */
const riff: Rule = async (read, sizeBytes) => {
  const head = await read(0, 12);
  if (head.length < 12 || ascii(head.subarray(0, 4)) !== "RIFF") return !isZero(head);
  const counted = viewOf(head).getUint32(4, true);
  return counted === 0xffff_ffff || (counted > 0 && counted + 8 <= sizeBytes);
};

const boxesAtMost = 100_000;

/** ISO 14496-12: boxes of a u32 BE length (1: a u64 follows; 0: to the end) and a type; `moov` is written last. */
const boxes: Rule = async (read, sizeBytes) => {
  let hasMovie = false;
  let at = 0;
  for (let count = 0; at < sizeBytes && count < boxesAtMost; count++) {
    const head = await read(at, 16);
    if (head.length < 8 || isZero(head)) return false;
    const type = ascii(head.subarray(4, 8));
    if (at === 0 && !/^[\w ]{4}$/.test(type)) return true;
    hasMovie ||= type === "moov";
    const short = viewOf(head).getUint32(0);
    const length = short === 1 && head.length === 16 ? Number(viewOf(head).getBigUint64(8)) : short;
    if (length === 0) return hasMovie;
    if (length < 8) return false;
    at += length;
  }
  return at === sizeBytes && hasMovie;
};

const isZero = (bytes: Uint8Array): boolean => bytes.length > 0 && bytes.every((byte) => byte === 0);

const rules: Readonly<Record<string, Rule>> = {
  pdf,
  json,
  wav: riff,
  avi: riff,
  mp4: boxes,
  m4v: boxes,
  mov: boxes,
};

/** Kinds whose first bytes are never zero: a file of zeros was made as long as it will be, and is not written yet. */
const everNonZero = new Set(["pdf", "flac", "jpg", "jpeg", "png", "tif", "tiff", "ogg", "mkv", ...Object.keys(rules)]);

/** False: its end is missing. True: it is whole, or its kind does not tell. */
export async function isComplete(path: string, sizeBytes: number, read: ReadAt): Promise<boolean> {
  const kind = extensionOf(path);
  if (sizeBytes > 0 && everNonZero.has(kind) && isZero(await read(0, 16))) return false;
  // An empty recording stays one; an empty report is one that is about to be written.
  if (sizeBytes === 0) return kind !== "json" && kind !== "pdf";
  return (await rules[kind]?.(read, sizeBytes)) ?? true;
}
