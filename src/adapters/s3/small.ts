/** Small files: read whole, sent in one conditional PUT, proven by its answer. */
import { checksumOf, md5Hex } from "../../core/checksum.ts";
import { UploaderError } from "../../core/errors.ts";
import type { Condition, PutHooks, PutJob, PutOutcome } from "../../core/ports.ts";
import { hasEtag, headObject, refusals } from "./calls.ts";
import type { Reply } from "./client.ts";
import { type Context, conditionHeaders, objectHeaders, type Traits } from "./context.ts";
import { failureOfAnswer } from "./failures.ts";
import { etagOf, type Fingerprint, headerOf, proofByAnswer, proofByHead, unconfirmed, versionOf } from "./proof.ts";
import { bodySizeBytes, readSmall } from "./source.ts";
import { standsAfterRefusal, standsBefore } from "./standing.ts";

export async function putSmall(context: Context, job: PutJob, hooks: PutHooks): Promise<PutOutcome> {
  const { body } = job;
  if (body.kind === "bytes") return await sendWhole(context, job, body.bytes, hooks);
  const lease = await context.buffers.take(bodySizeBytes(body), hooks.signal);
  try {
    const read = await readSmall(body, lease.bytes);
    if (read.moved !== null) return { outcome: "changed", ...read.moved };
    return await sendWhole(context, job, read.bytes, hooks);
  } finally {
    lease.release();
  }
}

/** What a PUT carries beside its bytes. An endpoint that refuses one thing gets the next form; see `forms`. */
interface Form {
  checksum: boolean;
  condition: boolean;
}

/** From the best form to the barest; what the endpoint is known to refuse, or to take, narrows the choice. */
const forms: readonly Form[] = [
  { checksum: true, condition: true },
  { checksum: false, condition: true },
  { checksum: true, condition: false },
  { checksum: false, condition: false },
];

function formsFor(traits: Traits, condition: Condition): Form[] {
  const may = (known: Traits["checksums"], wanted: boolean) => (wanted ? known !== "refused" : known !== "taken");
  const conditional = condition.if !== "always";
  return forms.filter(
    (form) =>
      may(traits.checksums, form.checksum) && (conditional ? may(traits.conditions, form.condition) : !form.condition),
  );
}

async function sendWhole(context: Context, job: PutJob, bytes: Uint8Array, hooks: PutHooks): Promise<PutOutcome> {
  const { traits, algorithm } = context;
  const checksum = checksumOf(algorithm, bytes);
  const headers = objectHeaders(job, context.options);
  const subject = `sending ${job.key}`;
  let { condition } = job;
  let refused: Reply | null = null;
  for (const form of formsFor(traits, condition)) {
    if (!form.condition && condition.if !== "always") {
      const standing = await standsBefore(context, job.key, condition, fingerprintOf(bytes), hooks.signal);
      if (standing === "unknown") throw unknowable(subject);
      if (standing !== null) return standing;
    }
    for (let damaged = 0; ; ) {
      const reply = await context.client.call({
        method: "PUT",
        key: job.key,
        headers: {
          ...headers,
          ...(form.checksum ? { [headerOf(algorithm)]: checksum } : {}),
          ...(form.condition ? conditionHeaders(condition, traits) : {}),
        },
        body: bytes,
        accept: [404, 412, ...refusals],
        isSuccess: hasEtag,
        subject,
        signal: hooks.signal,
        onBytes: hooks.onBytes,
      });
      const { answer } = reply;
      if (answer.status === 412) {
        const stands = await standsAfterRefusal(context, job, condition, fingerprintOf(bytes), hooks.signal);
        if (stands === "as_expected") continue;
        return stands;
      }
      if (answer.status === 404) {
        const { error, storeCode } = failureOfAnswer(answer, subject, context.client.region());
        if (condition.if === "etag" && storeCode === "NoSuchKey") return { outcome: "conflict", found: null };
        throw error;
      }
      if (answer.status >= 300) {
        refused ??= reply;
        break;
      }
      learn(context, form, condition);
      try {
        return await settled(context, job, bytes, checksum, reply, hooks.signal);
      } catch (error) {
        const etag = etagOf(answer);
        const again = error instanceof UploaderError && error.code === "checksum_mismatch" && etag !== null;
        if (!again || ++damaged > 2) throw error;
        // The damaged object is ours: only exactly it may be replaced.
        condition = { if: "etag", etag };
      }
    }
  }
  if (refused === null)
    throw new UploaderError("store_refused", `${subject}: the endpoint takes no form of this request`);
  throw failureOfAnswer(refused.answer, subject, context.client.region()).error;
}

async function settled(
  context: Context,
  job: PutJob,
  bytes: Uint8Array,
  checksum: string,
  reply: Reply,
  signal: AbortSignal,
): Promise<PutOutcome> {
  const { client, algorithm } = context;
  const { answer, payloadSigned } = reply;
  const subject = `sending ${job.key}`;
  const sent = { algorithm, checksum, payloadSigned, md5: () => md5Hex(bytes) };
  let proof = proofByAnswer(answer, sent, subject);
  if (proof === "checksum_echoed") client.trustEcho();
  if (proof === null) {
    const found = await headObject(client, job.key, signal);
    proof = typeof found === "string" ? null : await proofByHead(found, fingerprintOf(bytes));
  }
  if (proof === null) throw unconfirmed(subject, "the store took the bytes but gave no proof of them");
  return {
    outcome: "stored",
    object: {
      sizeBytes: bytes.length,
      etag: etagOf(answer),
      checksum: { algorithm, type: "full", value: checksum },
      versionId: versionOf(answer),
      proof,
      requestId: answer.headers["x-amz-request-id"] ?? null,
    },
  };
}

function learn(context: Context, form: Form, condition: Condition): void {
  const { traits } = context;
  if (traits.checksums === "unknown") {
    traits.checksums = form.checksum ? "taken" : "refused";
    if (!form.checksum)
      context.noticeOnce("the endpoint refuses checksum headers: signed payload hashes prove the bytes");
  }
  if (traits.conditions === "unknown" && condition.if !== "always") {
    traits.conditions = form.condition ? "taken" : "refused";
    if (!form.condition)
      context.noticeOnce("the endpoint refuses conditional writes: keys are looked up before each PUT");
  }
}

function fingerprintOf(bytes: Uint8Array): Fingerprint {
  return {
    sizeBytes: bytes.length,
    full: async (algorithm) => checksumOf(algorithm, bytes),
    composite: async () => null,
    hasEtag: async (etag) => md5Hex(bytes) === etag,
  };
}

function unknowable(subject: string): UploaderError {
  return new UploaderError("store_refused", `${subject}: it cannot be known whether an object is already there`, {
    hint: "the endpoint refuses conditional writes, so the policy must allow s3:GetObject",
  });
}
