/** Scan → what is known → what the store lists → rows. Runs beside the drain; nothing holds all files. */

import { join } from "node:path";
import { backoffMs, probeBackoff } from "../core/backoff.ts";
import { mayBeRecording } from "../core/decoding.ts";
import { asUploaderError, type ErrorCode } from "../core/errors.ts";
import { compareKeys, joinKey, keyProblem, keyStart, refusalKey } from "../core/key.ts";
import { type Layout, type LayoutFile, type LayoutPlan, mirrorLayout, type Placement } from "../core/layout.ts";
import type { FoundObject, Oddity, OddKind, ScannedFile } from "../core/ports.ts";
import type { Candidate, Refusal, Verdicts } from "../core/store.ts";
import type { WaitingFile } from "../core/sync.ts";
import type { Context } from "./context.ts";

export interface ScanTotals {
  files: number;
  bytes: number;
  safeFiles: number;
  safeBytes: number;
  registered: number;
  renewed: number;
  excluded: number;
  oddities: Map<OddKind, number>;
  normalised: number;
  /** Kept back by the layout: for another run. */
  waiting: number;
}

export interface RegisterInput {
  sessionId: number;
  destinationId: number;
  prefix: string;
  /** Absent: keys are as the folders. */
  layout?: Layout;
  /** After every batch: rows may be there to claim. */
  onBatch(totals: ScanTotals): void;
}

export const emptyTotals = (): ScanTotals => ({
  files: 0,
  bytes: 0,
  safeFiles: 0,
  safeBytes: 0,
  registered: 0,
  renewed: 0,
  excluded: 0,
  oddities: new Map(),
  normalised: 0,
  waiting: 0,
});

/** Splits a batch into files that a layout may place and files that can never be sent. */
export function sortBatch(
  files: readonly ScannedFile[],
  prefix: string,
): { possible: LayoutFile[]; refused: Refusal[] } {
  const possible: LayoutFile[] = [];
  const refused: Refusal[] = [];
  for (const { path, key, problem, sizeBytes, mtimeNs } of files) {
    if (key !== null && problem === null) possible.push({ path, key, sizeBytes, mtimeNs });
    else refused.push(impossible({ path, key: joinKey(prefix, key ?? path), sizeBytes, mtimeNs }, problem ?? "no key"));
  }
  return { possible, refused };
}

const impossible = (file: Candidate, message: string): Refusal => ({
  ...file,
  key: refusalKey(file.key),
  code: "key_impossible",
  message,
  permanent: true,
});

/** Placements with their whole keys, and those whose key no store takes. */
export function candidatesOf(
  placements: readonly Placement[],
  prefix: string,
): { possible: Candidate[]; refused: Refusal[] } {
  const possible: Candidate[] = [];
  const refused: Refusal[] = [];
  const start = keyStart(prefix);
  for (const { path, key, sizeBytes, mtimeNs, type, priority, body } of placements) {
    const candidate: Candidate = { path, key: start + key, sizeBytes, mtimeNs, type, priority, body };
    const problem = keyProblem(candidate.key);
    if (problem === null) possible.push(candidate);
    else refused.push(impossible(candidate, problem));
  }
  return { possible, refused };
}

/** `upload` takes every file as it is. */
export const asItIs = (nowMs: number, destinationId: number, prefix: string) => ({
  destinationId,
  prefix,
  nowMs,
  isSettled: () => true,
});

/** What one plan places, a batch at a time, in the order of priority and then of keys. */
export function* inBatches(placements: readonly Placement[]): Generator<Placement[]> {
  const sorted = [...placements].sort((a, b) => a.priority - b.priority || compareKeys(a.key, b.key));
  for (let at = 0; at < sorted.length; at += batchSize) yield sorted.slice(at, at + batchSize);
}

const batchSize = 2_000;

/** A scan that was told to stop ends early; that is no error. */
export async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  try {
    for await (const item of items) {
      if (signal.aborted) return;
      yield item;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Asks for the next item while the last one is worked on: the disk and the database are busy at the same time. */
async function* readAhead<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (let coming = iterator.next(); ; ) {
      const { done, value } = await coming;
      if (done) return;
      coming = iterator.next();
      // It is awaited in the next turn; if that never comes, nobody asks for its error.
      coming.catch(() => undefined);
      yield value;
    }
  } finally {
    await iterator.return?.();
  }
}

/** What cannot be looked into cannot be called complete: a failed row, so that the run does not end with 0. */
export const unreadable =
  (prefix: string) =>
  ({ path, kind }: Oddity): Refusal => ({
    path,
    key: refusalKey(joinKey(prefix, kind === "unreadable_folder" ? `${path}/` : path)),
    sizeBytes: 0,
    mtimeNs: 0n,
    code: "file_forbidden",
    message: kind === "unreadable_folder" ? "this folder cannot be read" : "this file cannot be read",
    permanent: true,
  });

/** Recordings that are safe and were not decoded yet: their rows find them unchanged, and have them decoded. */
export async function undecoded(
  { decoding, store, source }: Context,
  { sessionId, destinationId }: Pick<RegisterInput, "sessionId" | "destinationId">,
  files: readonly Candidate[],
): Promise<Candidate[]> {
  if (!decoding?.enabled) return [];
  const wanting = await store.undecoded(
    sessionId,
    destinationId,
    files.filter(({ path }) => mayBeRecording(path)),
    decoding.settings,
  );
  const areRecordings = await Promise.all(wanting.map(({ path }) => decoding.isRecording(join(source.root, path))));
  return wanting.filter((_, at) => areRecordings[at]);
}

export function tellRefused(cx: Pick<Context, "emit">, sessionId: number, files: readonly Refusal[]): void {
  for (const { path, key, sizeBytes, code, message } of files) {
    cx.emit({
      type: "file",
      sessionId,
      path,
      key,
      size: sizeBytes,
      status: "failed",
      errorCode: code as ErrorCode,
      errorMessage: message,
      attempt: 0,
      durationMs: null,
    });
  }
}

/** These pass by themselves. */
const passing: ReadonlySet<ErrorCode> = new Set([
  "store_unreachable",
  "store_failed",
  "store_busy",
  "network_lost",
  "timed_out",
  "credentials_expired",
]);

/**
 * What the store lists of these keys; null: it may not be asked. One that is away for now is waited for as long as an
 * outage may last: what it does not list would be sent again.
 */
async function listing(
  cx: Context,
  sessionId: number,
  files: readonly Candidate[],
  signal: AbortSignal,
): Promise<Map<string, FoundObject> | null> {
  if (files.length === 0) return null;
  const keys = files.map(({ key }) => key);
  const sinceMs = cx.now();
  for (let probe = 1; ; probe++) {
    try {
      return await cx.destination.find(keys, signal);
    } catch (error) {
      const { code, message, retryAfterMs } = asUploaderError(error);
      const delayMs = backoffMs(probeBackoff, probe, cx.random(), retryAfterMs);
      if (signal.aborted || !passing.has(code) || cx.now() - sinceMs + delayMs > cx.policy.maxOutageMs) throw error;
      if (probe === 1) cx.emit({ type: "notice", sessionId, level: "info", message: `${message}; the scan waits` });
      await cx.sleep(delayMs, signal);
    }
  }
}

export async function registerTree(cx: Context, input: RegisterInput, signal: AbortSignal): Promise<ScanTotals> {
  const { sessionId, destinationId, prefix } = input;
  const totals = emptyTotals();
  const refuse = async (files: readonly Refusal[]): Promise<void> => {
    await cx.store.refuse(sessionId, destinationId, files);
    tellRefused(cx, sessionId, files);
  };
  const layout = input.layout ?? mirrorLayout;
  const whole: LayoutFile[] = [];
  // Rows that sync left without a key of their own: what is placed now moves them.
  const waiting = new Set(layout.takes === "folder" ? (await cx.store.waiting(sessionId)).map(({ path }) => path) : []);
  // Asked once: judging costs a third of registering. What another session puts there meanwhile, the store's answer tells.
  // A layout of whole folders brings knowledge of its own: what an imported log has as sent is noted while it plans.
  const isUntouched =
    layout.takes === "batches" && (await cx.store.untouched(sessionId, destinationId, keyStart(prefix)));
  const ask = (files: readonly LayoutFile[]): Promise<LayoutPlan> =>
    layout.plan(files, asItIs(cx.wallClock(), destinationId, prefix));
  const judge = async (files: readonly Candidate[]): Promise<Verdicts> =>
    isUntouched
      ? { fresh: [...files], known: [], renewed: [], safeFiles: 0, safeBytes: 0 }
      : await cx.store.judge(sessionId, destinationId, files);
  const take = async (
    { possible, refused }: ReturnType<typeof candidatesOf>,
    judged?: Promise<Verdicts>,
  ): Promise<void> => {
    await refuse(refused);
    const awaited = possible.filter(({ path, body }) => !body && waiting.has(path));
    await cx.store.rekey(sessionId, awaited);
    const verdicts = await (judged ?? judge(possible));
    const wanting = await undecoded(cx, input, possible);
    const found = await listing(cx, sessionId, verdicts.fresh, signal);
    const listed = verdicts.fresh.filter((file) => found?.has(file.key));
    const absent = listed.length === 0 ? verdicts.fresh : verdicts.fresh.filter((file) => !found?.has(file.key));

    for (const [files, expect] of [
      [absent, "absent"],
      [listed, "found"],
      [verdicts.known, "known"],
      [wanting, "known"],
    ] as const) {
      const { registered, busy } = await cx.store.register(sessionId, destinationId, files, expect);
      totals.registered += registered;
      await refuse(
        busy.map((each) => ({
          ...each.file,
          code: "key_busy",
          message: `session ${each.sessionId} is to write this key and has not finished`,
          permanent: false,
        })),
      );
    }
    totals.renewed += await cx.store.renew(sessionId, destinationId, [...new Set([...verdicts.renewed, ...awaited])]);
    totals.safeFiles += verdicts.safeFiles - wanting.length;
    totals.safeBytes += verdicts.safeBytes - wanting.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    await cx.store.scanned(sessionId, totals.safeFiles, totals.safeBytes, false);
    input.onBatch(totals);
  };
  /** What is known of a batch is asked as soon as it is scanned, while the one before is registered. */
  async function* batches() {
    for await (const batch of untilAborted(cx.source.scan(signal), signal)) {
      const sorted = sortBatch(batch.files, prefix);
      if (layout.takes === "folder") {
        yield { batch, ...sorted, work: null };
        continue;
      }
      const candidates = candidatesOf((await ask(sorted.possible)).placements, prefix);
      const judged = judge(candidates.possible);
      // It is awaited in its turn; if that never comes, nobody asks for its error.
      judged.catch(() => undefined);
      yield { batch, ...sorted, work: { candidates, judged } };
    }
  }
  for await (const { batch, possible, refused, work } of readAhead(batches())) {
    totals.excluded += batch.excludedFiles;
    for (const oddity of batch.oddities) {
      totals.oddities.set(oddity.kind, (totals.oddities.get(oddity.kind) ?? 0) + 1);
      cx.emit({
        type: "notice",
        sessionId,
        level: "detail",
        message: `${oddity.kind.replace("_", " ")}: ${oddity.path}`,
      });
    }
    for (const file of batch.files) {
      if (file.note === null) continue;
      totals.normalised++;
      const what =
        file.note === "normalised" ? "its key is in NFC" : "a sibling has the NFC form: its key keeps its own";
      cx.emit({ type: "notice", sessionId, level: "detail", message: `${file.path}: ${what}` });
    }

    refused.push(...batch.oddities.filter((oddity) => oddity.kind.startsWith("unreadable")).map(unreadable(prefix)));
    await refuse(refused);
    for (const file of batch.files) {
      totals.files++;
      totals.bytes += file.sizeBytes;
    }
    if (work === null) whole.push(...possible);
    else await take(work.candidates, work.judged);
  }
  if (layout.takes === "folder" && !signal.aborted) {
    const { placements, leftOut, notices, ...plan } = await ask(whole);
    for (const message of notices) cx.emit({ type: "notice", sessionId, level: "info", message });
    for (const { path, reason } of plan.waiting) {
      cx.emit({ type: "notice", sessionId, level: "detail", message: `${path}: not ready (${reason})` });
    }
    totals.waiting = plan.waiting.length;
    const kept = plan.waiting.map((file): WaitingFile => {
      const delayMs = Math.max(0, (file.untilMs ?? 0) - cx.wallClock());
      const { path, sizeBytes, mtimeNs, reason } = file;
      return { path, key: joinKey(prefix, file.key), sizeBytes, mtimeNs, inode: 0n, reason, looks: 1, delayMs };
    });
    await cx.store.rekey(sessionId, kept);
    await cx.store.wait(sessionId, destinationId, kept);
    await cx.store.leftOut(
      sessionId,
      destinationId,
      leftOut.map((file) => ({ ...file, key: joinKey(prefix, file.key) })),
    );
    for (const batch of inBatches(placements)) await take(candidatesOf(batch, prefix));
  }
  if (!signal.aborted) await cx.store.scanned(sessionId, totals.safeFiles, totals.safeBytes, true);
  return totals;
}
