/** Asks the store again: every object of a session against what we remember of it (design A6). */
import pLimit from "p-limit";
import { backoffMs, fileBackoff } from "../core/backoff.ts";
import { asUploaderError, UploaderError } from "../core/errors.ts";
import { exitCodeOf } from "../core/exit-codes.ts";
import type { ExpectedObject } from "../core/inquiries.ts";
import type { DigestForm, FoundObject } from "../core/ports.ts";
import type { KnownObject, SessionRow } from "../core/store.ts";
import type { Context, Policy } from "./context.ts";

export interface VerifyInput {
  session: SessionRow;
  /** Objects asked for at one time. */
  concurrency: number;
  /** Share of the objects that are read whole, by chance. */
  readBackPercent: number;
  /** What is missing or different is no longer taken for safe. */
  forget: boolean;
  onFinding(finding: Finding): void;
  stopSignal(): "SIGINT" | "SIGTERM" | null;
}

/** What was compared last, and decided. `look`: the store would not say, or shows no file. */
export type Comparison = "presence" | "size" | "checksum" | "etag" | "content" | "none" | "look";

export interface Finding {
  key: string;
  path: string | null;
  verdict: "proven" | "different" | "missing" | "unproven" | "unknown";
  by: Comparison;
  /** One sentence, for all but `proven`. */
  detail: string | null;
  sizeBytes: number | null;
  foundBytes: number | null;
}

export interface Verification {
  sessionId: number;
  objects: number;
  bytes: number;
  provenByChecksum: number;
  provenByEtag: number;
  /** Read whole, whatever came of it. */
  readBack: number;
  different: number;
  missing: number;
  unproven: number;
  unknown: number;
  forgotten: number;
  /** Why nothing could be proven, and how often. */
  unprovenWhy: Record<string, number>;
  /** Files of the session that are not in the store as far as we know, so nobody was asked about them. */
  filesLeft: number;
  filesFailed: number;
  durationMs: number;
  exitCode: number;
}

type VerifyContext = Pick<Context, "store" | "destination" | "random" | "sleep" | "now" | "stopping"> & {
  policy: Pick<Policy, "attempts">;
};

type Judgement = Pick<Finding, "verdict" | "by" | "detail">;

const pageSize = 1_000;
/** Each holds a piece of some megabytes. */
const readBacksAtOnce = 8;

/** From the surest down: the first that can tell, tells. */
const ladder: readonly ((known: KnownObject, found: FoundObject) => Judgement | null)[] = [
  (known, found) =>
    found.sizeBytes === known.sizeBytes || known.sizeBytes < 0
      ? null
      : different("size", `it has ${found.sizeBytes} bytes, ${known.sizeBytes} were sent`),
  ({ checksum: ours }, { checksum: theirs }) => {
    if (!ours || !theirs || ours.algorithm !== theirs.algorithm || ours.type !== theirs.type) return null;
    return ours.value === theirs.value
      ? proven("checksum")
      : different("checksum", `its ${ours.algorithm} is ${theirs.value}, ${ours.value} was sent`);
  },
  (known, found) => {
    if (known.etag === null || found.etag === null) return null;
    return known.etag === found.etag
      ? proven("etag")
      : different("etag", `it has been written again since: its ETag is ${found.etag}, it was ${known.etag}`);
  },
];

const proven = (by: Comparison): Judgement => ({ verdict: "proven", by, detail: null });
const different = (by: Comparison, detail: string): Judgement => ({ verdict: "different", by, detail });
const unproven = (detail: string): Judgement => ({ verdict: "unproven", by: "none", detail });

function judge(known: KnownObject, found: FoundObject): Judgement {
  for (const rung of ladder) {
    const judgement = rung(known, found);
    if (judgement) return judgement;
  }
  return unproven(
    known.checksum === null && known.etag === null
      ? "nothing but its size is remembered"
      : "the store shows nothing that can be compared with what is remembered",
  );
}

/** What reading an object whole can be compared with; null: nothing. */
function readable(expected: ExpectedObject): { form: DigestForm; digest: string } | null {
  const { known, partSizeBytes } = expected;
  if (known === null) return null;
  const { checksum, etag } = known;
  if (checksum !== null && (checksum.type === "full" || partSizeBytes !== null)) {
    const { algorithm, type, value } = checksum;
    return { form: { algorithm, partSizeBytes: type === "full" ? null : partSizeBytes }, digest: value };
  }
  if (etag === null || !/^[0-9a-f]{32}$/i.test(etag)) return null;
  return { form: { algorithm: "md5", partSizeBytes: null }, digest: Buffer.from(etag, "hex").toString("base64") };
}

/** Errors that concern every object are thrown, as are those of one that the store would not answer in any attempt. */
export async function verify(cx: VerifyContext, input: VerifyInput): Promise<Verification> {
  const { session } = input;
  const startedMs = cx.now();
  if (session.destinationIdentity !== cx.destination.identity) {
    throw new UploaderError(
      "config_invalid",
      `session ${session.id} went to ${session.destination}, the configuration names another destination`,
      { hint: "use the configuration that the session was made with" },
    );
  }
  const result: Verification = {
    sessionId: session.id,
    objects: 0,
    bytes: 0,
    provenByChecksum: 0,
    provenByEtag: 0,
    readBack: 0,
    different: 0,
    missing: 0,
    unproven: 0,
    unknown: 0,
    forgotten: 0,
    unprovenWhy: {},
    filesLeft: session.filesPending + session.filesUploading,
    filesFailed: session.filesFailed,
    durationMs: 0,
    exitCode: 0,
  };
  const limit = pLimit(input.concurrency);
  const limitReads = pLimit(readBacksAtOnce);

  const look = async (expected: ExpectedObject): Promise<Finding> => {
    const finding = (judgement: Judgement, foundBytes: number | null): Finding => ({
      key: expected.key,
      path: expected.path,
      ...judgement,
      sizeBytes: expected.known?.sizeBytes ?? null,
      foundBytes,
    });
    const found = await persist(cx, () => cx.destination.head(expected.key, cx.stopping));
    if (found === "absent") {
      return finding({ verdict: "missing", by: "presence", detail: "the store does not hold it" }, null);
    }
    if (found === "unknown") {
      return finding(
        cx.destination.kind === "folder"
          ? different("look", "what stands there is no file")
          : { verdict: "unknown", by: "look", detail: "the store will not say" },
        null,
      );
    }
    const judgement = expected.known === null ? unproven("nothing is remembered of it") : judge(expected.known, found);
    const chosen = cx.random() * 100 < input.readBackPercent;
    const surelyDifferent = judgement.verdict === "different" && judgement.by !== "etag";
    if (!chosen || surelyDifferent) return finding(judgement, found.sizeBytes);
    const whole = readable(expected);
    if (whole === null) {
      const why = "it was to be read back, but no checksum or part size is remembered to compare with";
      return finding(judgement.verdict === "different" ? judgement : unproven(why), found.sizeBytes);
    }
    const read = await limitReads(() =>
      persist(cx, () => cx.destination.readBack(expected.key, whole.form, cx.stopping)),
    );
    if (read !== "unknown") result.readBack++;
    return finding(judgeContent(read, whole.digest, judgement), found.sizeBytes);
  };

  const count = (finding: Finding): void => {
    result.objects++;
    result.bytes += finding.foundBytes ?? 0;
    if (finding.verdict !== "proven") result[finding.verdict]++;
    else if (finding.by === "etag") result.provenByEtag++;
    else result.provenByChecksum++;
    if (finding.verdict === "unproven") {
      const why = finding.detail ?? "";
      result.unprovenWhy[why] = (result.unprovenWhy[why] ?? 0) + 1;
    }
    input.onFinding(finding);
  };

  try {
    for await (const page of pages(cx, session)) {
      const findings = await limit.map(page, (expected) => look(expected));
      if (result.objects === 0 && findings.every(({ verdict, by }) => verdict === "unknown" && by === "look"))
        throw mayNotAsk();
      for (const finding of findings) count(finding);
      const refuted = findings.filter(({ verdict }) => verdict === "missing" || verdict === "different");
      if (input.forget && refuted.length > 0) {
        const keys = refuted.map((finding) => finding.key);
        result.forgotten += await cx.store.forget(session.destinationId, keys);
      }
      if (cx.stopping.aborted) break;
    }
  } catch (error) {
    limit.clearQueue();
    limitReads.clearQueue();
    if (!cx.stopping.aborted) throw error;
  }
  result.durationMs = Math.round(cx.now() - startedMs);
  const failed = result.different + result.missing > 0;
  result.exitCode = exitCodeOf({
    fault: result.unknown > 0 ? "access_denied" : failed ? "verification_failed" : null,
    signal: input.stopSignal(),
    filesFailed: 0,
    filesConflicting: 0,
    filesNotReady: 0,
    triggerDue: false,
  });
  return result;
}

function judgeContent(
  read: { sizeBytes: number; digest: string } | "absent" | "unknown",
  digest: string,
  byHead: Judgement,
): Judgement {
  if (read === "absent") return { verdict: "missing", by: "presence", detail: "it vanished while it was asked for" };
  // Asked to read it, nobody may call proven what could not be read.
  if (read === "unknown") {
    return byHead.verdict === "different"
      ? byHead
      : { verdict: "unknown", by: "content", detail: "it may not be read" };
  }
  if (read.digest === digest) return proven("content");
  return different("content", `read back whole, its digest is ${read.digest}, ${digest} was sent`);
}

const mayNotAsk = (): UploaderError =>
  new UploaderError("access_denied", "the store will not say what it holds (HEAD is refused), so nothing is verified", {
    hint: "allow s3:GetObject on the prefix, and s3:ListBucket, without which a missing object looks forbidden",
  });

/** The session's own objects; then, if files were safe before it, what else is remembered below its prefix. */
async function* pages(cx: VerifyContext, session: SessionRow): AsyncGenerator<ExpectedObject[]> {
  const below = session.prefix.split("/").filter((segment) => segment !== "");
  const folder = below.length === 0 ? "" : `${below.join("/")}/`;
  const range = {
    destinationId: session.destinationId,
    // "0" follows "/" in the order of bytes: every key below the folder, and no C10 beside C1.
    belowKey: folder === "" ? null : `${folder.slice(0, -1)}0`,
  };
  const sources = [
    (afterKey: string) => cx.store.sessionObjects(session.id, afterKey, pageSize),
    ...(session.filesSafe === 0
      ? []
      : [(afterKey: string) => cx.store.otherObjects(session.id, { ...range, afterKey }, pageSize)]),
  ];
  for (const [at, source] of sources.entries()) {
    let afterKey = at === 0 ? "" : folder;
    for (;;) {
      const page = await source(afterKey);
      if (page.length > 0) yield page;
      if (page.length < pageSize) break;
      afterKey = page.at(-1)!.key;
    }
  }
}

/** The request level has its own retries; this bridges what lasts longer. */
async function persist<T>(cx: VerifyContext, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const ours = asUploaderError(error);
      if (cx.stopping.aborted || ours.retry !== "again" || attempt >= cx.policy.attempts) throw ours;
      await cx.sleep(backoffMs(fileBackoff, attempt, cx.random(), ours.retryAfterMs), cx.stopping);
    }
  }
}
