/** Small files: read whole, sent in one conditional PUT, proven by its answer. */
import { checksumOf, md5Hex } from "../../core/checksum.ts";
import { UploaderError } from "../../core/errors.ts";
import type { Condition, PutHooks, PutJob, PutOutcome } from "../../core/ports.ts";
import type { Answer } from "./answer.ts";
import { hasEtag, headObject, refusals } from "./calls.ts";
import type { Reply } from "./client.ts";
import { type Context, conditionHeaders, objectHeaders, type Traits } from "./context.ts";
import { failureOfAnswer } from "./failures.ts";
import { etagOf, type Fingerprint, headerOf, proofByAnswer, proofByHead, unconfirmed, versionOf } from "./proof.ts";
import { bodySizeBytes } from "./source.ts";
import { standsAfterRefusal, standsBefore } from "./standing.ts";

export async function putSmall(context: Context, job: PutJob, hooks: PutHooks): Promise<PutOutcome> {
  const { body } = job;
  const { algorithm, client, reader } = context;
  if (body.kind === "bytes") {
    const { bytes } = body;
    return await sendWhole(context, job, { bytes, checksum: checksumOf(algorithm, bytes), sha256: null }, hooks);
  }
  const lease = await context.buffers.take(bodySizeBytes(body), hooks.signal);
  try {
    const read = await reader.read(body, lease.bytes, algorithm, client.signsPayloads());
    if (read.moved !== null) return { outcome: "changed", ...read.moved };
    return await sendWhole(context, job, read, hooks);
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

async function sendWhole(context: Context, job: PutJob, bytes: Digested, hooks: PutHooks): Promise<PutOutcome> {
  const whole: Whole = { ...bytes, mine: fingerprintOf(bytes.bytes) };
  let refusal: Answer | null = null;
  for (const form of formsFor(context.traits, job.condition)) {
    const end = await sendForm(context, job, whole, form, hooks);
    if ("outcome" in end) return end;
    refusal ??= end.refusal;
  }
  const subject = `sending ${job.key}`;
  if (refusal !== null) throw failureOfAnswer(refusal, subject, context.client.place()).error;
  throw new UploaderError("store_refused", `${subject}: the endpoint takes no form of this request`);
}

interface Digested {
  bytes: Uint8Array;
  /** base64, of the context's algorithm. */
  checksum: string;
  /** Hex; null: not made yet. */
  sha256: string | null;
}

interface Whole extends Digested {
  mine: Fingerprint;
}

/** One form of the request, to its end; a refusal of the form itself is handed back. */
async function sendForm(
  context: Context,
  job: PutJob,
  whole: Whole,
  form: Form,
  hooks: PutHooks,
): Promise<PutOutcome | { refusal: Answer }> {
  const { client, traits, algorithm } = context;
  const { signal, onBytes } = hooks;
  const subject = `sending ${job.key}`;
  let { condition } = job;
  if (!form.condition) {
    const standing = await standsBefore(context, job.key, condition, whole.mine, signal);
    if (standing === "unknown") throw unknowable(subject);
    if (standing !== null) return standing;
  }
  const headers = { ...objectHeaders(job, context.options) };
  if (form.checksum) headers[headerOf(algorithm)] = whole.checksum;
  for (let sends = 1; ; ) {
    const quoted = traits.quotedEtags;
    const reply = await client.call({
      method: "PUT",
      key: job.key,
      headers: form.condition ? { ...headers, ...conditionHeaders(condition, traits) } : headers,
      body: whole.bytes,
      bodyHash: whole.sha256,
      accept: [412, "NoSuchKey", ...refusals],
      isSuccess: hasEtag,
      subject,
      signal,
      onBytes,
    });
    const { answer } = reply;
    if (answer.status === 412) {
      const stands = await standsAfterRefusal(context, job, condition, quoted, whole.mine, signal);
      if (stands !== "as_expected") return stands;
      continue;
    }
    // An If-Match on a key that holds nothing (any more).
    if (answer.status === 404) return { outcome: "conflict", found: null };
    if (answer.status >= 300) return { refusal: answer };
    learn(context, form, condition);
    try {
      return await settled(context, job, whole, reply, signal);
    } catch (error) {
      const etag = etagOf(answer);
      const damaged = error instanceof UploaderError && error.code === "checksum_mismatch" && etag !== null;
      if (!damaged || ++sends > sendsAtMost) throw error;
      // The damaged object is ours: only exactly it may be replaced.
      condition = { if: "etag", etag };
    }
  }
}

/** Sent this often when the store reports damage, before the file level takes over. */
const sendsAtMost = 3;

async function settled(
  context: Context,
  job: PutJob,
  { bytes, checksum, mine }: Whole,
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
    proof = typeof found === "string" ? null : await proofByHead(found, mine);
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
