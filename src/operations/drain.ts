/**
 * The one loop that upload, retry and sync share: claim → attempt → settle. It ends when nothing of the session is left
 * to do, when it is told to stop, or with the cause that stops every file.
 */
import { setMaxListeners } from "node:events";
import { asUploaderError, type UploaderError } from "../core/errors.ts";
import { priorities } from "../core/layout.ts";
import type { ClaimedFile, Ending } from "../core/store.ts";
import { attempt } from "./attempt.ts";
import type { Context } from "./context.ts";
import { createDeriver } from "./derive.ts";
import { createGate } from "./gate.ts";
import type { Lease } from "./lease.ts";
import { linkedSignal } from "./linked-signal.ts";
import { createProvisions } from "./provisions.ts";
import { createRecorder } from "./recorder.ts";
import { createSettler } from "./settler.ts";

export interface DrainInput {
  sessionId: number;
  destinationId: number;
  lease: Lease;
  /** A file still changing after so many looks is left for the next run. */
  maxLooks: number;
  /** Rows may still be added: wait for them. */
  registering(): boolean;
  /** Resolves at the next registration, or at its end. */
  registered(): Promise<void>;
  onBytes(sentBytes: number): void;
  onSettled?(files: number, bytes: number): void;
  onPaused?(paused: boolean): void;
}

export interface DrainResult {
  files: number;
  bytes: number;
  notReady: number;
}

/** A claim is as large as a few seconds' work, so that others find something left of a small session. */
const claimPerSlot = 8;
const claimAtMost = 500;
const { bulk } = priorities;
/** While waiting for other workers or for a file to become due, look again at least this often. */
export const idleMs = 2_000;

export async function drain(cx: Context, input: DrainInput): Promise<DrainResult> {
  const { sessionId, lease } = input;
  const recorder = createRecorder(cx, sessionId);
  const settler = createSettler(cx, sessionId, lease, recorder, () => progressed());
  const ready: ClaimedFile[] = [];
  let cursor = 0;
  let rewoundMs = cx.now();
  let claiming: Promise<void> | null = null;
  let finished = false;
  let notReady = 0;
  let inFlight = 0;
  let landed = 0;
  let quiet: (() => void) | null = null;
  let fault: UploaderError | null = null;
  const failed = new AbortController();
  const stopping = AbortSignal.any([cx.stopping, failed.signal]);
  const dropping = AbortSignal.any([cx.dropping, failed.signal]);
  // Every request on its way listens; Node warns of a leak at eleven.
  setMaxListeners(0, dropping);
  const gate = createGate(cx, sessionId, stopping);

  const provisions = createProvisions(cx, input.destinationId, recorder);
  const hooks = { signal: dropping, uploads: provisions.uploads, onBytes: input.onBytes };
  const deriver = createDeriver(cx, sessionId, () => lease.workerId);

  const claimSize = (): number => Math.min(claimAtMost, claimPerSlot * cx.concurrency.limit);

  const fail = (error: unknown): void => {
    fault ??= asUploaderError(error);
    failed.abort();
  };

  /** Waits for the event, but no longer than the delay: a lost event costs time, not the run. */
  const waitFor = async (event: Promise<void>, delayMs: number): Promise<void> => {
    const over = linkedSignal(stopping);
    await Promise.race([event, cx.sleep(delayMs, over.signal)]);
    over.end();
  };

  /** One sweep of the cursor; at its end either wait for what is to come or find that nothing is left. */
  const claimMore = async (): Promise<void> => {
    const files = await cx.store.claim(sessionId, lease.workerId, cursor, claimSize(), input.maxLooks);
    for (const file of files) lease.inHand.add(file.id);
    await provisions.fetch(files);
    ready.push(...files);
    // What is urgent came from wherever it was.
    cursor = files.findLast(({ priority = bulk }) => priority >= bulk)?.id ?? cursor;
    if (files.length > 0) return;
    if (cursor > 0 && !input.registering()) {
      cursor = 0;
      return;
    }
    if (input.registering()) {
      await waitFor(input.registered(), idleMs);
      // A watch registers for ever, and files behind the cursor are due again: changed ones, and those that failed once.
      if (cx.now() - rewoundMs >= idleMs) {
        cursor = 0;
        rewoundMs = cx.now();
      }
      return;
    }
    const landedBefore = landed;
    await settler.flush();
    if (lease.inHand.size === 0) await cx.store.releaseOthers(lease.workerId, lease.inHand);
    const due = await cx.store.nextDue(sessionId, lease.workerId, input.maxLooks);
    notReady = due.notReady;
    if (due.delayMs === null && due.elsewhere === 0 && lease.inHand.size === 0) finished = true;
    // What landed while the database was asked is in hand until the next flush: nothing to wait for.
    else if (landed === landedBefore) {
      // Due now and yet not claimed: locked by another worker for a moment, or this one's lease has lapsed.
      const delayMs = Math.min(Math.max(due.delayMs ?? idleMs, 100), idleMs);
      if (inFlight === 0) await cx.sleep(delayMs, stopping);
      else
        await waitFor(
          new Promise<void>((resolve) => {
            quiet = resolve;
          }),
          delayMs,
        );
    }
  };

  const take = async (): Promise<ClaimedFile | null> => {
    while (!finished && !stopping.aborted) {
      const file = ready.shift();
      if (ready.length < claimSize() / 2 && !claiming) {
        claiming = claimMore()
          .catch(fail)
          .finally(() => {
            claiming = null;
          });
      }
      if (file) return file;
      await claiming;
    }
    return null;
  };

  /** The gate lets one slot probe with the file in its hands; a file met while it is shut goes back. */
  const work = async (file: ClaimedFile): Promise<void> => {
    for (let probing = false; ; probing = true) {
      try {
        const ending = await attempt(cx, { hooks, known: provisions.known, deriver }, file);
        if (ending.move === "settle" || ending.move === "skip") gate.succeeded();
        return settler.add(ending);
      } catch (error) {
        const cause = asUploaderError(error);
        if (gate.isOnesOwn(cause)) return settler.add(deniedAlone(file, cause));
        const probe = await gate.tripped(cause, probing).catch((fatal: unknown) => {
          fail(fatal);
          return false;
        });
        input.onPaused?.(gate.paused);
        if (!probe || stopping.aborted) return settler.add({ move: "release", file });
      }
    }
  };

  /** A file, and what was made of it meanwhile: whoever made it sends it, so little of it lies on the disk. */
  const workAll = async (file: ClaimedFile): Promise<void> => {
    await work(file);
    const mine = deriver.claimed(file);
    for (const { id } of mine) lease.inHand.add(id);
    for (const made of mine) {
      if (stopping.aborted) settler.add({ move: "release", file: made });
      else await work(made);
    }
    for (const each of [file, ...mine]) provisions.forget(each);
    await deriver.forget(file);
  };

  let slots = 0;
  let settledFiles = 0;
  let settledBytes = 0;
  const progressed = (): void => {
    input.onPaused?.(gate.paused);
    if (settler.settledFiles === settledFiles) return;
    cx.concurrency.progressed(settler.settledFiles - settledFiles, settler.settledBytes - settledBytes);
    settledFiles = settler.settledFiles;
    settledBytes = settler.settledBytes;
    input.onSettled?.(settledFiles, settledBytes);
  };

  // Whoever declared this worker lost has these files again.
  lease.onLost = () => {
    ready.length = 0;
  };

  const slot = async (): Promise<void> => {
    // Checked and counted in one turn, or all slots could leave at once after a cut.
    while (slots <= cx.concurrency.limit) {
      await gate.pass();
      await settler.room();
      const file = await take();
      if (!file) break;
      inFlight++;
      await workAll(file);
      landed++;
      if (--inFlight === 0) quiet?.();
      progressed();
    }
    slots--;
  };

  await new Promise<void>((resolve) => {
    const leave = (): void => {
      if (slots === 0) resolve();
    };
    const fill = (): void => {
      for (; slots < cx.concurrency.limit && !finished && !stopping.aborted; slots++) {
        void slot()
          .catch((error: unknown) => {
            slots--;
            fail(error);
          })
          .finally(leave);
      }
      leave();
    };
    cx.concurrency.onRise(fill);
    fill();
  });
  // A claim under way brings files after the last slot has left.
  await claiming;
  for (const file of ready) settler.add({ move: "release", file });
  try {
    await settler.flush();
  } catch (error) {
    fail(error);
  }
  if (fault) throw fault;
  return { files: settler.settledFiles, bytes: settler.settledBytes, notReady };
}

const deniedAlone = (file: ClaimedFile, cause: UploaderError): Ending => ({
  move: "give_up",
  file,
  code: cause.code,
  message: cause.message,
  permanent: false,
  requestId: cause.requestId ?? null,
  durationMs: 0,
});
