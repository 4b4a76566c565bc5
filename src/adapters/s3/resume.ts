/** Continuing a multipart upload begun earlier, by any process: which parts need not be sent again. */
import { checksumOf, md5Hex } from "../../core/checksum.ts";
import { isPartSizeUsable, partRange } from "../../core/part-size.ts";
import type { OpenUpload, PutJob, StoredPart } from "../../core/ports.ts";
import { listParts } from "./calls.ts";
import type { Context } from "./context.ts";
import type { Source } from "./source.ts";
import { countOf, type Upload } from "./upload.ts";

/** Whether what is remembered is of this very file. */
export function isOfJob(remembered: OpenUpload, job: PutJob, source: Source): boolean {
  return (
    remembered.key === job.key &&
    remembered.sizeBytes === source.sizeBytes &&
    (job.body.kind === "bytes" || remembered.mtimeNs === job.body.mtimeNs) &&
    isPartSizeUsable(remembered.partSizeBytes, source.sizeBytes)
  );
}

/**
 * Fills `upload.parts` with what the store is proven to hold: a part both remembered and listed alike, or listed and
 * equal to the file's own bytes there. Where listing is not permitted the rows are trusted; Complete has the last word.
 */
export async function adoptParts(
  context: Context,
  upload: Upload,
  remembered: readonly StoredPart[],
): Promise<"adopted" | "gone"> {
  const { job, hooks, algorithm } = upload;
  const listed = await listParts(context.client, job.key, upload.uploadId, algorithm, hooks.signal);
  if (listed === "gone") return "gone";
  const rows = new Map(remembered.map((part) => [part.partNumber, part]));
  if (listed !== null && listed.type !== null) upload.checksumTypes = [listed.type];
  const inStore = listed === null ? rows : new Map(listed.parts.map((part) => [part.partNumber, part]));
  for (let partNumber = 1; partNumber <= countOf(upload); partNumber++) {
    const held = inStore.get(partNumber);
    const { sizeBytes } = rangeOf(upload, partNumber);
    if (held === undefined || held.sizeBytes !== sizeBytes) continue;
    const row = rows.get(partNumber);
    const part = agree(row, held) ?? (await verified(context, upload, held));
    if (part === null) continue;
    if (row?.etag !== part.etag || row.checksum !== part.checksum) await hooks.uploads.part(upload.uploadId, part);
    upload.parts.set(partNumber, part);
  }
  return "adopted";
}

function rangeOf(upload: Upload, partNumber: number): { offset: number; sizeBytes: number } {
  return partRange(partNumber, upload.source.sizeBytes, upload.partSizeBytes);
}

/** The part as both know it, with its checksum; null when they differ or neither knows the checksum. */
function agree(row: StoredPart | undefined, held: StoredPart): StoredPart | null {
  if (row === undefined || row.etag !== held.etag || row.sizeBytes !== held.sizeBytes) return null;
  const checksum = row.checksum ?? held.checksum;
  if (checksum === null || (held.checksum !== null && held.checksum !== checksum)) return null;
  return { ...held, checksum };
}

/** Compares the listed part with the file's bytes at its place: by checksum, else by MD5. Null: not proven equal. */
async function verified(context: Context, upload: Upload, held: StoredPart): Promise<StoredPart | null> {
  const { offset, sizeBytes } = rangeOf(upload, held.partNumber);
  const lease = await context.buffers.take(sizeBytes, upload.hooks.signal);
  try {
    const bytes = await upload.source.read(offset, sizeBytes, lease.bytes);
    if (bytes === null) return null;
    const checksum = checksumOf(upload.algorithm, bytes);
    const equal = held.checksum === null ? held.etag.toLowerCase() === md5Hex(bytes) : held.checksum === checksum;
    return equal ? { ...held, checksum } : null;
  } finally {
    lease.release();
  }
}
