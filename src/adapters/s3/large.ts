/** Large files: parts in parallel, each remembered once proven, completed under the condition, never sent twice. */
import { UploaderError } from "../../core/errors.ts";
import { partSizeFor } from "../../core/part-size.ts";
import type { Checksum, OpenUpload, PutHooks, PutJob, PutOutcome } from "../../core/ports.ts";
import { abortUpload, createUpload, headObject } from "./calls.ts";
import { complete } from "./completion.ts";
import { type Context, objectHeaders } from "./context.ts";
import { sendParts } from "./parts.ts";
import { unconfirmed } from "./proof.ts";
import { adoptParts, isOfJob } from "./resume.ts";
import { openSource, type Source } from "./source.ts";
import { asPresent, standsBefore } from "./standing.ts";
import { fingerprintOfFile, type Upload } from "./upload.ts";

/** How often one call begins a file afresh because the store dropped the upload or demanded it (409). */
const startsAtMost = 3;

export async function putLarge(context: Context, job: PutJob, hooks: PutHooks): Promise<PutOutcome> {
  const source = await openSource(job.body);
  try {
    const moved = await source.moved();
    const remembered = await hooks.uploads.find(job.fileId);
    if (remembered !== null) {
      const outcome =
        moved === null && isOfJob(remembered, job, source)
          ? await carryOut(context, continued(context, remembered, job, hooks, source), remembered)
          : await discard(context, remembered, hooks);
      if (outcome !== null) return outcome;
    }
    if (moved !== null) return { outcome: "changed", ...moved };
    for (let starts = 0; starts < startsAtMost; starts++) {
      const upload = await begin(context, job, hooks, source);
      if ("outcome" in upload) return upload;
      const outcome = await carryOut(context, upload, null);
      if (outcome !== null) return outcome;
    }
    throw new UploaderError("upload_gone", `sending ${job.key}: the store dropped the multipart upload repeatedly`, {
      hint: "look for a lifecycle rule or another program that aborts uploads",
    });
  } finally {
    source.close();
  }
}

/** From wherever the upload stands to the end. Null: it can serve no longer, and the file has to begin afresh. */
async function carryOut(context: Context, upload: Upload, remembered: OpenUpload | null): Promise<PutOutcome | null> {
  const { hooks } = upload;
  if (remembered !== null && (await adoptParts(context, upload, remembered.parts)) === "gone") {
    for (const part of remembered.parts) upload.parts.set(part.partNumber, part);
    return await afterLoss(context, upload, false);
  }
  const end = (await sendParts(context, upload)) ?? (await complete(context, upload));
  if ("outcome" in end) {
    if (end.outcome === "stored") await hooks.uploads.end(upload.uploadId, "completed");
    else await discard(context, openUploadOf(upload), hooks);
    return end;
  }
  if (end.setback === "gone") return await afterLoss(context, upload, end.doubtful);
  await discard(context, openUploadOf(upload), hooks);
  return end.setback === "moved" ? { outcome: "changed", ...end.moved } : null;
}

function openUploadOf(upload: Upload): { key: string; uploadId: string } {
  return { key: upload.job.key, uploadId: upload.uploadId };
}

function continued(context: Context, open: OpenUpload, job: PutJob, hooks: PutHooks, source: Source): Upload {
  const algorithm = open.checksumAlgorithm ?? context.algorithm;
  const likely: (Checksum["type"] | null)[] =
    algorithm === "sha256" ? ["composite", null] : ["full", "composite", null];
  return {
    job,
    hooks,
    source,
    uploadId: open.uploadId,
    partSizeBytes: open.partSizeBytes,
    algorithm,
    checksumTypes: open.checksumAlgorithm === null ? [null] : likely,
    parts: new Map(),
    // Rows do not say how their parts were proven: no claim beyond the weakest that it can have been.
    partProof: context.options.unsignedPayload ? "etag_md5" : "payload_signed",
  };
}

/** A new upload, remembered before its first part; or the outcome, when the key is already taken. */
async function begin(context: Context, job: PutJob, hooks: PutHooks, source: Source): Promise<Upload | PutOutcome> {
  const { traits, algorithm } = context;
  const { signal } = hooks;
  if (traits.mayHead) {
    const mine = fingerprintOfFile(context, source, null, signal);
    const standing = await standsBefore(context, job.key, job.condition, mine, signal);
    if (standing === "unknown") traits.mayHead = false;
    else if (standing !== null) return standing;
  }
  const created = await create(context, job, signal);
  const partSizeBytes = partSizeFor(source.sizeBytes);
  await hooks.uploads.begin(job.fileId, {
    uploadId: created.uploadId,
    key: job.key,
    partSizeBytes,
    sizeBytes: source.sizeBytes,
    mtimeNs: job.body.kind === "file" ? job.body.mtimeNs : 0n,
    checksumAlgorithm: algorithm,
  });
  return {
    job,
    hooks,
    source,
    uploadId: created.uploadId,
    partSizeBytes,
    algorithm,
    checksumTypes: created.types,
    parts: new Map(),
    partProof: "checksum_echoed",
  };
}

/** With the best form of checksum that the endpoint takes; whether it keeps it shows later where it does not say. */
async function create(
  context: Context,
  job: PutJob,
  signal: AbortSignal,
): Promise<{ uploadId: string; types: (Checksum["type"] | null)[] }> {
  const { client, traits, algorithm, options } = context;
  const headers = objectHeaders(job, options);
  for (let form = traits.multipart; ; form = form === "full" ? "composite" : "none") {
    // SHA-256 of parts cannot be combined, so S3 knows it in composite form only.
    if (form === "full" && algorithm === "sha256") continue;
    const type = form === "none" ? null : form;
    const created = await createUpload(client, job.key, headers, type && { algorithm, type }, signal);
    if (created === "refused") continue;
    if (form !== traits.multipart && algorithm !== "sha256") {
      context.noticeOnce(`the endpoint refuses ${traits.multipart} checksums of multipart uploads: using ${form}`);
    }
    traits.multipart = form;
    return { uploadId: created.uploadId, types: created.checksumKept ? [type] : [type, null] };
  }
}

/** NoSuchUpload: a Complete may have succeeded unheard, so the object is asked for before anything is sent again. */
async function afterLoss(context: Context, upload: Upload, doubtful: boolean): Promise<PutOutcome | null> {
  const { job, hooks, source } = upload;
  const found = await headObject(context.client, job.key, hooks.signal);
  if (found === "unknown" && doubtful) {
    throw unconfirmed(`completing ${job.key}`, "the answer was lost, and the store may not be asked what it holds");
  }
  const mine = fingerprintOfFile(context, source, upload, hooks.signal);
  const present = typeof found === "string" ? null : await asPresent(found, mine);
  await hooks.uploads.end(upload.uploadId, present === null ? "aborted" : "completed");
  return present;
}

/** The upload can serve no longer: given up in the store, then in memory. */
async function discard(context: Context, open: { key: string; uploadId: string }, hooks: PutHooks): Promise<null> {
  try {
    await abortUpload(context.client, open.key, open.uploadId, hooks.signal);
  } catch (error) {
    if (!(error instanceof UploaderError)) throw error;
    context.noticeOnce(`an unfinished upload could not be aborted (${error.code}): a lifecycle rule or gc removes it`);
  }
  await hooks.uploads.end(open.uploadId, "aborted");
  return null;
}
