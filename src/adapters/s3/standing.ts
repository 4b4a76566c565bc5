/** What already stands under a key, and whether it is our own bytes. */
import { UploaderError } from "../../core/errors.ts";
import type { Condition, FoundObject, PutJob, PutOutcome } from "../../core/ports.ts";
import { headObject } from "./calls.ts";
import type { Context } from "./context.ts";
import { type Fingerprint, proofByHead, unconfirmed } from "./proof.ts";

/** `present` when the object found is proven to be our bytes. */
export async function asPresent(found: FoundObject, mine: Fingerprint): Promise<PutOutcome | null> {
  const proof = await proofByHead(found, mine);
  return proof === null ? null : { outcome: "present", object: { ...found, proof, requestId: null } };
}

/**
 * After a 412: our own bytes (an answer was lost, or another tool sent them), or someone else's. `as_expected`: the
 * object is the very one that the condition names, so the request is worth sending again with the ETag unquoted;
 * `quoted` tells how it was sent.
 */
export async function standsAfterRefusal(
  context: Context,
  job: PutJob,
  condition: Condition,
  quoted: boolean,
  mine: Fingerprint,
  signal: AbortSignal,
): Promise<PutOutcome | "as_expected"> {
  const { traits } = context;
  const found = await headObject(context.client, job.key, signal);
  if (found === "unknown") {
    throw unconfirmed(`sending ${job.key}`, "an object is already there, and the store may not be asked which");
  }
  if (found !== "absent") {
    const present = await asPresent(found, mine);
    if (present !== null) return present;
    if (condition.if !== "etag" || condition.etag !== found.etag) return { outcome: "conflict", found };
    if (!quoted) throw busyKey(job.key);
    traits.quotedEtags = false;
    return "as_expected";
  }
  if (condition.if === "etag") return { outcome: "conflict", found: null };
  throw new UploaderError("store_failed", `sending ${job.key}: the object that was in the way has gone`, {
    hint: "something else writes to this prefix; the file is tried again",
  });
}

/** What a HEAD says before writing: null when nothing is in the way, `unknown` when it may not be asked. */
export async function standsBefore(
  context: Context,
  key: string,
  condition: Condition,
  mine: Fingerprint,
  signal: AbortSignal,
): Promise<PutOutcome | null | "unknown"> {
  if (condition.if === "always") return null;
  const found = await headObject(context.client, key, signal);
  if (found === "unknown") return "unknown";
  if (found === "absent") return condition.if === "etag" ? { outcome: "conflict", found: null } : null;
  if (condition.if === "etag" && found.etag === condition.etag) return null;
  return (await asPresent(found, mine)) ?? { outcome: "conflict", found };
}

function busyKey(key: string): UploaderError {
  return new UploaderError("key_busy", `sending ${key}: the object there changes while it is asked for`, {
    hint: "something else writes to this prefix; the file is tried again",
  });
}
