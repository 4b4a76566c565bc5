/** Sending the parts that are missing, several at once, each remembered as soon as it is proven. */
import { setMaxListeners } from "node:events";
import { checksumOf, md5Hex } from "../../core/checksum.ts";
import { UploaderError } from "../../core/errors.ts";
import { partRange } from "../../core/part-size.ts";
import type { Proof } from "../../core/ports.ts";
import { hasEtag, refusals } from "./calls.ts";
import type { Reply } from "./client.ts";
import type { Context } from "./context.ts";
import { failureOfAnswer, storeCodeOf } from "./failures.ts";
import { etagOf, headerOf, proofByAnswer, unconfirmed } from "./proof.ts";
import { countOf, type Setback, type Upload, weaker } from "./upload.ts";

/** Sent this often when the store reports damage, before the file level takes over. */
const sendsAtMost = 3;

const noRoom = Buffer.alloc(0);

/**
 * Null when the store holds every part. After a failure no other part is begun, and those on their way may arrive: what
 * the store has taken need not be sent again. A setback stops them too, for nothing will come of this upload.
 */
export async function sendParts(context: Context, upload: Upload): Promise<Setback | null> {
  const { options } = context;
  const missing: number[] = [];
  for (let part = 1; part <= countOf(upload); part++) if (!upload.parts.has(part)) missing.push(part);
  const stop = new AbortController();
  const signal = AbortSignal.any([upload.hooks.signal, stop.signal]);
  setMaxListeners(0, signal);
  const lanes = Math.min(
    missing.length,
    options.connections,
    Math.max(1, Math.floor(options.bytesInFlight / upload.partSizeBytes)),
  );
  let next = 0;
  let end: { setback: Setback } | { error: unknown } | null = null;
  async function lane(): Promise<void> {
    while (next < missing.length && end === null) {
      try {
        const setback = await sendPart(context, upload, missing[next++]!, signal);
        if (setback === null) continue;
        end ??= { setback };
        stop.abort();
      } catch (error) {
        end ??= { error };
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane));
  const how = end as { setback: Setback } | { error: unknown } | null;
  upload.hooks.signal.throwIfAborted();
  if (how === null) return null;
  if ("error" in how) throw how.error;
  return how.setback;
}

async function sendPart(
  context: Context,
  upload: Upload,
  partNumber: number,
  signal: AbortSignal,
): Promise<Setback | null> {
  const { job, hooks, source } = upload;
  const { offset, sizeBytes } = partRange(partNumber, source.sizeBytes, upload.partSizeBytes);
  const lease = job.body.kind === "file" ? await context.buffers.take(sizeBytes, signal) : null;
  try {
    const bytes = await source.read(offset, sizeBytes, lease?.bytes ?? noRoom);
    const moved = await source.moved();
    if (moved !== null) return { setback: "moved", moved };
    if (bytes === null)
      throw new UploaderError("file_unreadable", `${job.key}: the file ended early while it was read`);
    const checksum = checksumOf(upload.algorithm, bytes);
    const sent = await putPart(context, upload, partNumber, bytes, checksum, signal);
    if ("setback" in sent) return sent;
    upload.partProof = weaker(upload.partProof, sent.proof);
    const part = { partNumber, sizeBytes, etag: sent.etag, checksum };
    await hooks.uploads.part(upload.uploadId, part);
    upload.parts.set(partNumber, part);
    return null;
  } finally {
    lease?.release();
  }
}

async function putPart(
  context: Context,
  upload: Upload,
  partNumber: number,
  bytes: Uint8Array,
  checksum: string,
  signal: AbortSignal,
): Promise<Setback | { proof: Proof; etag: string }> {
  const { client } = context;
  const { job, hooks, algorithm } = upload;
  const subject = `sending part ${partNumber} of ${job.key}`;
  const md5 = () => md5Hex(bytes);
  for (let sends = 1; ; sends++) {
    const reply: Reply = await client.call({
      method: "PUT",
      key: job.key,
      query: { partNumber: String(partNumber), uploadId: upload.uploadId },
      headers: upload.checksumTypes[0] === null ? {} : { [headerOf(algorithm)]: checksum },
      body: bytes,
      accept: ["NoSuchUpload", ...(upload.checksumTypes.length > 1 ? refusals : [])],
      isSuccess: hasEtag,
      subject,
      signal,
      onBytes: hooks.onBytes,
    });
    const { answer, payloadSigned } = reply;
    if (answer.status >= 300) {
      if (storeCodeOf(answer) === "NoSuchUpload") return { setback: "gone", doubtful: false };
      if (upload.checksumTypes.length < 2) throw failureOfAnswer(answer, subject, client.place()).error;
      upload.checksumTypes = upload.checksumTypes.slice(1);
      continue;
    }
    try {
      const proof = proofByAnswer(answer, { algorithm, checksum, payloadSigned, md5 }, subject);
      const etag = etagOf(answer);
      if (proof === null || etag === null)
        throw unconfirmed(subject, "the store took the part but gave no proof of it");
      if (proof === "checksum_echoed") client.trustEcho();
      return { proof, etag };
    } catch (error) {
      const damaged = error instanceof UploaderError && error.code === "checksum_mismatch";
      if (!damaged || sends === sendsAtMost) throw error;
    }
  }
}
