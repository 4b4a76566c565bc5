/** One attempt at one file: what to do is decided here, how it is done by the destination. */
import { join } from "node:path";
import { backoffMs, fileBackoff } from "../core/backoff.ts";
import { asUploaderError, type ErrorCode, UploaderError } from "../core/errors.ts";
import { contentTypeOf } from "../core/file-kinds.ts";
import { objectMetadata } from "../core/object-metadata.ts";
import type { Body, Condition, FoundObject, PutHooks, PutOutcome } from "../core/ports.ts";
import type { ClaimedFile, Ending, KnownObject, ObjectFact } from "../core/store.ts";
import type { Context } from "./context.ts";
import type { Deriver } from "./derive.ts";

export interface AttemptTools {
  hooks: PutHooks;
  /** What `objects` says of this key; asked only when registration saw a row there. */
  known(file: ClaimedFile): Promise<KnownObject | null>;
  deriver: Deriver;
}

/** What is made of a recording is ours to replace (design A7). */
const ours = { onConflict: "replace", onChange: "replace" } as const;

/**
 * Ends in a move of the file's row. Throws only errors whose retry is `stop`: they are not about this file.
 * An attempt that was cancelled ends in `release`.
 */
export async function attempt(cx: Context, tools: AttemptTools, file: ClaimedFile): Promise<Ending> {
  const startedMs = cx.now();
  const elapsed = (): number => Math.round(cx.now() - startedMs);
  try {
    const of = file.derivedFrom === null ? cx : { ...cx, policy: { ...cx.policy, ...ours } };
    const ending = await decide(of, tools, file, elapsed);
    await tools.deriver.derive(file, ending, tools.hooks.signal);
    return ending;
  } catch (error) {
    if (tools.hooks.signal.aborted) return { move: "release", file };
    const ours = await told(cx, file, asUploaderError(error));
    if (ours.retry === "stop") throw ours;
    if (ours.code === "file_gone" && cx.policy.onGone === "skip")
      return { move: "skip", file, reason: "gone", object: null };
    const ended = {
      file,
      code: ours.code,
      message: ours.message,
      requestId: ours.requestId ?? null,
      durationMs: elapsed(),
    };
    if (ours.retry === "never" && ours.code !== "internal") return { move: "give_up", ...ended, permanent: true };
    if (file.attempts + 1 >= cx.policy.attempts) return { move: "give_up", ...ended, permanent: false };
    const delayMs = backoffMs(fileBackoff, file.attempts + 1, cx.random(), ours.retryAfterMs);
    return { move: "postpone", ...ended, delayMs };
  }
}

/**
 * A second look at the source. Throws what is about all files: a card that was pulled is not as many files that were
 * deleted. One that is back already was only away for a moment.
 */
async function told(cx: Context, file: ClaimedFile, error: UploaderError): Promise<UploaderError> {
  if (!error.code.startsWith("file_")) return error;
  const now = await cx.source.look(file.path);
  return error.code === "file_gone" && now
    ? new UploaderError("file_unreadable", error.message, { cause: error })
    : error;
}

async function decide(cx: Context, tools: AttemptTools, file: ClaimedFile, elapsed: () => number): Promise<Ending> {
  const { signal } = tools.hooks;
  const derived = file.derivedFrom === null ? null : await tools.deriver.body(file, signal);
  if (derived && (derived.sizeBytes !== file.sizeBytes || derived.mtimeNs !== file.mtimeNs)) {
    // Its source changed since, or is decoded otherwise now.
    return {
      move: "revise",
      file,
      sizeBytes: derived.sizeBytes,
      mtimeNs: derived.mtimeNs,
      reason: "settling",
      delayMs: 0,
    };
  }
  const made: Body | null = file.body ? { kind: "bytes", bytes: file.body } : null;
  const body: Body = derived?.body ??
    made ?? {
      kind: "file",
      path: join(cx.source.root, file.path),
      sizeBytes: file.sizeBytes,
      mtimeNs: file.mtimeNs,
    };
  const type = derived ? "decoded_recording" : (file.type ?? "recording");
  // What a layout made has no file name, and came to be when this state was first seen.
  const name = derived || made ? file.key : file.path;
  const madeAtMs = made ? Number(file.mtimeNs / 1_000_000n) : cx.wallClock();
  let condition: Condition = { if: "absent" };
  const known = file.expect === "known" ? await tools.known(file) : null;

  // Safe by definition; what is made of a recording may be made otherwise now, with its size and mtime.
  const isSafe = known && !derived && known.sizeBytes === file.sizeBytes && known.mtimeNs === file.mtimeNs;
  if (known && isSafe) return unchanged(file, known, "unchanged");
  const evidence = known && known.sizeBytes === file.sizeBytes ? await evidenceOf(cx, file, known, signal) : known;

  if (known && evidence) {
    const verdict =
      evidence.sizeBytes === file.sizeBytes ? await cx.destination.compare(body, evidence, signal) : "different";
    if (verdict === "equal") return unchanged(file, { ...known, ...evidence }, "unchanged");
    // Whether a log's file has changed nobody can tell: then it has.
    const isSent = !isProven(known) && known.ours && cx.policy.onChange === "replace";
    if (verdict === "unknown" && !derived && !isSent) return unproven(cx, file);
    if (!known.ours && cx.policy.onConflict !== "replace") return conflict(cx, file, elapsed);
    if (known.ours && cx.policy.onChange === "fail") {
      throw new UploaderError(
        "changed",
        `${file.path} differs from what was uploaded under this key before (${known.sizeBytes < 0 ? "of unknown size" : `${known.sizeBytes} bytes`} then, ${file.sizeBytes} now)`,
        {
          hint: "a second card with the same names? give it a prefix of its own; to send it as a new version: --on-change replace",
        },
      );
    }
    condition = evidence.etag === null ? { if: "always" } : { if: "etag", etag: evidence.etag };
  } else if (file.expect === "found") {
    const found = await cx.destination.head(file.key, signal);
    if (found !== "absent" && found !== "unknown") {
      const ending = await settleFound(cx, file, body, found, signal, elapsed);
      if (ending) return ending;
      condition = found.etag === null ? { if: "always" } : { if: "etag", etag: found.etag };
    }
  }

  const put = (when: Condition): Promise<PutOutcome> =>
    cx.destination.put(
      {
        fileId: file.id,
        key: file.key,
        body,
        condition: when,
        metadata: objectMetadata(type, made ? null : name, file.mtimeNs, madeAtMs),
        contentType: contentTypeOf(name),
      },
      tools.hooks,
    );
  let result = await put(condition);
  if (result.outcome === "conflict" && condition.if === "absent" && cx.policy.onConflict === "replace") {
    const etag = result.found?.etag ?? null;
    result = await put(etag === null ? { if: "always" } : { if: "etag", etag });
  }
  switch (result.outcome) {
    case "stored":
    case "present":
      return {
        move: "settle",
        file,
        object: { ...result.object, mtimeNs: file.mtimeNs, ours: true },
        requestId: result.object.requestId,
        durationMs: elapsed(),
      };
    case "changed":
      return {
        move: "revise",
        file,
        sizeBytes: result.sizeBytes,
        mtimeNs: derived?.mtimeNs ?? result.mtimeNs,
        reason: "settling",
        delayMs: cx.policy.settleSeconds * 1000,
      };
    case "conflict":
      return conflict(cx, file, elapsed);
  }
}

const isProven = ({ checksum, etag }: FoundObject): boolean => checksum !== null || etag !== null;

/** What is known by a log's word alone is asked of the store. null: it does not hold it. */
async function evidenceOf(
  cx: Context,
  file: ClaimedFile,
  known: KnownObject,
  signal: AbortSignal,
): Promise<(FoundObject & Partial<Pick<ObjectFact, "proof">>) | null> {
  if (isProven(known)) return known;
  const found = await cx.destination.head(file.key, signal);
  if (found === "absent") return null;
  return found === "unknown" ? known : { ...found, proof: found.checksum === null ? "etag_md5" : "checksum_head" };
}

/** The listing had this key. null: it is to be replaced. */
async function settleFound(
  cx: Context,
  file: ClaimedFile,
  body: Body,
  found: FoundObject,
  signal: AbortSignal,
  elapsed: () => number,
): Promise<Ending | null> {
  if (found.sizeBytes === file.sizeBytes) {
    if (cx.policy.existing === "size") return alreadyThere(file, { ...found, proof: "size_trusted" });
    const verdict = await cx.destination.compare(body, found, signal);
    if (verdict === "equal") {
      return alreadyThere(file, { ...found, proof: found.checksum === null ? "etag_md5" : "checksum_head" });
    }
    if (verdict === "unknown" && cx.policy.onConflict !== "replace") return unproven(cx, file);
  }
  return cx.policy.onConflict === "replace" ? null : conflict(cx, file, elapsed);
}

/** Nothing to compare with, or the file moved while it was compared: which of the two, a look at the file tells. */
async function unproven(cx: Context, file: ClaimedFile): Promise<Ending> {
  const now = file.body ? null : await cx.source.look(file.path);
  if (now && (now.sizeBytes !== file.sizeBytes || now.mtimeNs !== file.mtimeNs)) {
    return { move: "revise", file, ...now, reason: "settling", delayMs: cx.policy.settleSeconds * 1000 };
  }
  throw new UploaderError(
    "unconfirmed",
    `the store holds ${file.sizeBytes} bytes under ${file.key} and nothing to compare their content by`,
    { hint: "--existing size trusts the size; --on-conflict replace sends the file again" },
  );
}

const alreadyThere = (file: ClaimedFile, object: FoundObject & Pick<ObjectFact, "proof">): Ending => ({
  move: "skip",
  file,
  reason: "already_there",
  object: { ...object, mtimeNs: file.mtimeNs, ours: false },
});

/** Only the mtime moved (FAT cards shift by an hour): noted, nothing sent. */
const unchanged = (file: ClaimedFile, known: KnownObject, reason: string): Ending => ({
  move: "skip",
  file,
  reason,
  object: { ...known, mtimeNs: file.mtimeNs },
});

function conflict(cx: Context, file: ClaimedFile, elapsed: () => number): Ending {
  if (cx.policy.onConflict === "skip") return { move: "skip", file, reason: "conflict", object: null };
  const code: ErrorCode = "conflict";
  return {
    move: "give_up",
    file,
    code,
    message: `the store holds other bytes under ${file.key}, and uploader did not write them`,
    permanent: true,
    requestId: null,
    durationMs: elapsed(),
  };
}
