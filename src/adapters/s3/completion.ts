/** Completing a multipart upload: under the condition, with its checksum, and asking rather than guessing in doubt. */
import { type ErrorCode, UploaderError } from "../../core/errors.ts";
import type { Checksum, PutOutcome, StoredPart } from "../../core/ports.ts";
import { type Completion, completeUpload, headObject } from "./calls.ts";
import { type Context, conditionHeaders } from "./context.ts";
import { failureOfAnswer, storeCodeOf } from "./failures.ts";
import { headerOf, mismatch, proofByHead, versionOf } from "./proof.ts";
import { asPresent, standsAfterRefusal, standsBefore } from "./standing.ts";
import { allParts, fingerprintOfFile, objectChecksum, type Setback, type Upload } from "./upload.ts";

/** After these nobody knows whether the store has completed the upload. */
const doubtfulCodes: ReadonlySet<ErrorCode> = new Set([
  "network_lost",
  "timed_out",
  "store_failed",
  "store_busy",
  "store_unreachable",
]);

export async function complete(context: Context, upload: Upload): Promise<PutOutcome | Setback> {
  const { client, traits } = context;
  const { job, hooks, source } = upload;
  const { signal } = hooks;
  const moved = await source.moved();
  if (moved !== null) return { setback: "moved", moved };
  const parts = allParts(upload);
  if (parts === null) throw new UploaderError("internal", `completing ${job.key} with parts missing`);
  const mine = fingerprintOfFile(context, source, upload, signal);
  if (traits.mayHead) {
    const standing = await standsBefore(context, job.key, job.condition, mine, signal);
    if (standing === "unknown") traits.mayHead = false;
    else if (standing !== null) return standing;
  }
  let completion: Completion;
  let refusal: PutOutcome | "as_expected" = "as_expected";
  try {
    do {
      const quoted = traits.quotedEtags;
      completion = await ask(context, upload, parts);
      if (completion.answer.status !== 412) break;
      refusal = await standsAfterRefusal(context, job, job.condition, quoted, mine, signal);
    } while (refusal === "as_expected");
  } catch (error) {
    if (!(error instanceof UploaderError) || !doubtfulCodes.has(error.code)) throw error;
    return await resolveDoubt(context, upload, error);
  }
  const { answer, doubtful } = completion;
  const subject = `completing ${job.key}`;
  const storeCode = answer.status < 300 ? "" : storeCodeOf(answer);
  if (answer.status < 300) return await confirmed(context, upload, completion);
  if (refusal !== "as_expected") return doubtful ? asOurs(refusal) : refusal;
  if (storeCode === "NoSuchUpload") return { setback: "gone", doubtful };
  if (storeCode === "ConditionalRequestConflict") return { setback: "restart" };
  if (storeCode === "NoSuchKey" && job.condition.if === "etag") return { outcome: "conflict", found: null };
  const { error } = failureOfAnswer(answer, subject, client.place());
  if (!["InvalidPart", "InvalidPartOrder", "BadDigest"].includes(storeCode)) throw error;
  // What is remembered of the parts is not what the store holds: nothing of this upload can be trusted.
  return { setback: "restart" };
}

/** Sends Complete; where it is not known how the store makes the checksum, the likeliest form first. */
async function ask(context: Context, upload: Upload, parts: StoredPart[]): Promise<Completion> {
  const { job, hooks, source, algorithm } = upload;
  for (;;) {
    const type = upload.checksumTypes[0] ?? null;
    const full = type === "full" ? objectChecksum(upload, "full") : null;
    const completion = await completeUpload(
      context.client,
      job.key,
      upload.uploadId,
      parts,
      type === null ? null : algorithm,
      {
        ...conditionHeaders(job.condition, context.traits),
        ...(type === null ? {} : { "x-amz-checksum-type": type === "full" ? "FULL_OBJECT" : "COMPOSITE" }),
        ...(full === null ? {} : { [headerOf(algorithm)]: full.value }),
        "x-amz-mp-object-size": String(source.sizeBytes),
      },
      hooks.signal,
    );
    const refused = completion.answer.status >= 300 && storeCodeOf(completion.answer) === "InvalidRequest";
    if (!refused || upload.checksumTypes.length < 2) return completion;
    upload.checksumTypes = upload.checksumTypes.slice(1);
  }
}

/** The answer was lost: the object itself tells, never a second sending of the file. */
async function resolveDoubt(context: Context, upload: Upload, cause: UploaderError): Promise<PutOutcome> {
  const { job, hooks, source } = upload;
  const found = await headObject(context.client, job.key, hooks.signal);
  const mine = fingerprintOfFile(context, source, upload, hooks.signal);
  const present = typeof found === "string" ? null : await asPresent(found, mine);
  if (present === null) throw cause;
  return asOurs(present);
}

/**
 * Our bytes after a Complete whose answer was lost: it was carried out, so there is no upload left to abort. A store may
 * still be at work on it, and an abort would meet parts that the object needs.
 */
const asOurs = (found: PutOutcome): PutOutcome =>
  found.outcome === "present" ? { ...found, outcome: "stored" } : found;

async function confirmed(context: Context, upload: Upload, completion: Completion): Promise<PutOutcome> {
  const { client, traits } = context;
  const { job, hooks, source } = upload;
  const { answer, etag } = completion;
  const subject = `completing ${job.key}`;
  const full = objectChecksum(upload, "full");
  const composite = objectChecksum(upload, "composite");
  const ours = (type: Checksum["type"]) => (type === "full" ? full : composite);
  const echoed = completion.checksum?.algorithm === upload.algorithm ? completion.checksum : null;
  const expected = echoed === null ? null : ours(echoed.type);
  const stored = {
    sizeBytes: source.sizeBytes,
    etag,
    checksum: expected ?? full ?? composite,
    versionId: versionOf(answer),
    requestId: answer.headers["x-amz-request-id"] ?? null,
  };
  if (echoed !== null && expected !== null) {
    if (echoed.value !== expected.value) throw mismatch(subject, answer);
    return { outcome: "stored", object: { ...stored, proof: "checksum_echoed" } };
  }
  const found = traits.mayHead ? await headObject(client, job.key, hooks.signal) : "unknown";
  if (typeof found !== "string") {
    if (found.sizeBytes !== source.sizeBytes) throw mismatch(subject, answer);
    const proof = await proofByHead(found, fingerprintOfFile(context, source, upload, hooks.signal));
    if (proof === "checksum_head") return { outcome: "stored", object: { ...stored, proof } };
    if (proof === null && found.checksum !== null) throw mismatch(subject, answer);
  }
  // Every part was proven when it was sent, and Complete named exactly those parts.
  return { outcome: "stored", object: { ...stored, proof: upload.partProof } };
}
