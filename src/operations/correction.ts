/**
 * Tells the store who wore what: the summary beside a decoded recording, and where allowed a tag on its objects. What is
 * due follows from the database alone, so a correction, a kill and a store that was away all end in the same way.
 */
import { posix } from "node:path";
import pLimit from "p-limit";
import { type DueRecording, fitsTag, type ObjectTags, type ToldRecording } from "../core/devices.ts";
import { asUploaderError, UploaderError } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import { keyProblem } from "../core/key.ts";
import type { Condition, Destination, PutHooks, PutJob } from "../core/ports.ts";
import type { Store } from "../core/store.ts";

export interface CorrectionContext {
  store: Pick<Store, "dueRecordings" | "recordingTold" | "known" | "uploads">;
  destination: Destination & Partial<ObjectTags>;
  /** May objects carry the patient in a tag? */
  tags: boolean;
  emit: Emit;
  stopping: AbortSignal;
}

export interface Correction {
  summaries: number;
  tagged: number;
  /** Left due: the next upload or change of the map tries again. */
  left: number;
}

const pageSize = 500;
const atOnce = 8;
const tagName = "patient";

/** Errors: those that are about every object (core/errors.ts, `stop`); what was told before them stays told. */
export async function tellStore(cx: CorrectionContext, destinationId: number): Promise<Correction> {
  const result: Correction = { summaries: 0, tagged: 0, left: 0 };
  const told = new Set<string>();
  const once = (message: string): void => {
    if (told.has(message)) return;
    told.add(message);
    cx.emit({ type: "notice", sessionId: null, level: "info", message });
  };
  let mayTag = cx.destination.tag !== undefined;
  const impossible: string[] = [];
  const turn = pLimit(atOnce);

  const tell = async (recording: DueRecording): Promise<void> => {
    if (cx.stopping.aborted) return;
    try {
      const summary = recording.summaryDue ? await putSummary(cx, recording) : null;
      let tagged = false;
      if (recording.tagsDue && mayTag) {
        const outcome = await tagAll(cx, recording);
        tagged = outcome === "tagged" || outcome === "unfit";
        if (outcome === "refused") mayTag = false;
        const why = outcome === "tagged" ? null : whyUntagged[outcome];
        if (why !== null) once(why);
      }
      if (summary === null && !tagged) return;
      const stands = await cx.store.recordingTold({ recording, summary, tagged, tags: cx.tags });
      if (!stands) result.left++;
      if (summary === "impossible") impossible.push(recording.key);
      else if (summary) result.summaries++;
      if (tagged) result.tagged++;
    } catch (error) {
      if (cx.stopping.aborted) return;
      const ours = asUploaderError(error);
      if (ours.retry === "stop" || ours.code === "internal") throw ours;
      result.left++;
      const message = `what ${recording.key} says of its wearer is not up to date: ${ours.message}`;
      cx.emit({ type: "notice", sessionId: null, level: "detail", message });
    }
  };

  for (let afterId = 0; !cx.stopping.aborted; ) {
    const due = await cx.store.dueRecordings(destinationId, cx.tags, afterId, pageSize);
    await Promise.all(due.filter((each) => each.summaryDue || mayTag).map((each) => turn(() => tell(each))));
    if (due.length < pageSize) break;
    afterId = due.at(-1)!.id;
  }
  if (impossible.length > 0) {
    once(
      `${recordings(impossible.length)} cannot have a summary, its name would be too long: such as ${impossible[0]}`,
    );
  }
  if (result.left > 0) {
    once(`${recordings(result.left)} could not be corrected in the store; the next upload there tries again (-v: why)`);
  }
  return result;
}

/**
 * At the end of a run whose files are safe: that the store cannot be told is news, and no fault of the run. Errors: those
 * of the database.
 */
export async function tellStoreInPassing(cx: CorrectionContext, destinationId: number): Promise<void> {
  try {
    await tellStore(cx, destinationId);
  } catch (error) {
    const { code, message } = asUploaderError(error);
    if (code === "internal" || code.startsWith("database_")) throw error;
    cx.emit({
      type: "notice",
      sessionId: null,
      level: "info",
      message: `what the store says of wearers is not up to date, the next upload there tries again: ${message}`,
    });
  }
}

const recordings = (number: number): string => `${number} ${number === 1 ? "recording" : "recordings"}`;

const whyUntagged = {
  refused: "the store does not let us tag objects, so their tags do not say who wore the sensors (s3:PutObjectTagging)",
  full: "some objects have ten tags already: there is no room for the wearer's",
  unfit: "an identifier with characters that tags may not have is not written into tags",
} as const;

/**
 * Beside the decoded files: `decode/<folder>/<stem>_summary.json`. A recording that no one wore, and none was told of, has
 * none. The same row makes the same bytes.
 */
async function putSummary(cx: CorrectionContext, recording: DueRecording): Promise<ToldRecording["summary"]> {
  const key = summaryKeyOf(recording);
  if (key === null) return "impossible";
  const decoded = recording.madeKeys.map((each) => posix.basename(each));
  const bytes = Buffer.from(`${JSON.stringify({ ...recording.facts, decoded }, null, 2)}\n`);
  const known = (await cx.store.known(recording.destinationId, [key])).get(key);
  if (known && known.mtimeNs !== null) throw new UploaderError("key_busy", `a file of the source has the key ${key}`);
  const put = (condition: Condition) => {
    const job: PutJob = {
      fileId: 0,
      key,
      body: { kind: "bytes", bytes },
      condition,
      metadata: { type: "recording_summary" },
      contentType: "application/json",
    };
    // Far below the size from which files go in parts: nothing of it is remembered.
    const hooks: PutHooks = { signal: cx.stopping, uploads: cx.store.uploads, onBytes: () => undefined };
    return cx.destination.put(job, hooks);
  };
  let result = await put(known ? replacing(known.etag) : { if: "absent" });
  // Ours to replace, like all that is made of a recording (design A7).
  if (result.outcome === "conflict") result = await put(replacing(result.found?.etag ?? null));
  if (result.outcome !== "stored" && result.outcome !== "present") {
    throw new UploaderError("store_failed", `${key} was not taken (${result.outcome})`);
  }
  return { key, sizeBytes: bytes.length, object: result.object };
}

const replacing = (etag: string | null): Condition => (etag === null ? { if: "always" } : { if: "etag", etag });

/** null: there is none, as with a `…_decoded.csv` of the longest key. */
function summaryKeyOf({ madeKeys: [made] }: DueRecording): string | null {
  const key = made?.replace(/_decoded\.[^./]*$/, "_summary.json");
  return key === undefined || keyProblem(key) !== null ? null : key;
}

/** The recording, what is made of it, and its summary. */
async function tagAll(
  cx: CorrectionContext,
  recording: DueRecording,
): Promise<"tagged" | "refused" | "full" | "unfit"> {
  const { key, madeKeys, patient } = recording;
  const summary = summaryKeyOf(recording);
  const value = cx.tags ? patient : null;
  const isFit = value === null || fitsTag(value);
  const keys = [key, ...madeKeys, ...(summary === null ? [] : [summary])];
  for (const each of keys) {
    const outcome = await cx.destination.tag!(each, tagName, isFit ? value : null, cx.stopping);
    if (outcome === "refused" || outcome === "full") return outcome;
  }
  return isFit ? "tagged" : "unfit";
}
