import type { SummaryEvent } from "../core/events.ts";
import { type Layout, type LayoutFile, mirrorLayout, type Placement } from "../core/layout.ts";
import type { OddKind } from "../core/ports.ts";
import type { Work } from "../core/store.ts";
import type { Context } from "./context.ts";
import { promiseDelivery } from "./deliveries.ts";
import { asItIs, candidatesOf, inBatches, registerTree, type ScanTotals, sortBatch, untilAborted } from "./register.ts";
import { assertDestinationOf } from "./session-destination.ts";
import { type Rounds, runSession } from "./session-run.ts";

export interface UploadInput {
  work: Work;
  /** The effective configuration without secrets, for config_history. */
  config: unknown;
  newSession: boolean;
  /** Nobody is to be told of this session, whatever an earlier run of it promised. */
  skipTrigger?: boolean;
  /** Work on a session that another process or machine registered. */
  join: number | null;
  rounds: Rounds | null;
  /** Absent: keys are as the folders. */
  layout?: Layout;
  stopSignal(): "SIGINT" | "SIGTERM" | null;
}

/** A file still changing after so many looks is left for the next run (exit 4). */
const maxLooks = 3;

/** The whole pipeline. The source and the destination have been checked; the database is migrated. */
export async function upload(cx: Context, input: UploadInput): Promise<SummaryEvent> {
  const { work } = input;
  const concurrency = cx.concurrency.limit;
  const joined = input.join === null ? null : await cx.store.session(input.join);
  if (joined) assertDestinationOf(joined, cx.destination);
  const opened =
    input.join === null
      ? await cx.store.openSession(work, cx.me, { newSession: input.newSession, concurrency })
      : await cx.store.enterSession(input.join, cx.me, { joined: true, reopen: false, concurrency });
  const { sessionId, destinationId } = opened;
  await cx.store.rememberConfig(sessionId, input.config);
  // A helper tells nobody by itself: whom to tell is the holder's to say.
  if (input.skipTrigger) await cx.store.deliveries.unpromise(sessionId);
  else if (input.join === null) await promiseDelivery(cx, sessionId);
  cx.emit({
    type: "start",
    sessionId,
    command: "upload",
    project: joined?.project ?? work.project,
    source: work.source,
    destination: joined?.destination ?? work.destination.text,
    resumed: opened.resumed,
  });
  const notice = (message: string): void => cx.emit({ type: "notice", sessionId, level: "info", message });
  if (opened.rescued > 0) notice(`${files(opened.rescued)} taken back from a process that died`);
  if (opened.superseded > 0) notice(`taken afresh: ${files(opened.superseded)} that failed before`);

  return runSession(cx, {
    opened,
    maxLooks,
    register:
      input.join !== null
        ? ({ signal, wake }) => untilScanned(cx, sessionId, signal, wake)
        : async ({ signal, wake }) => {
            const totals = await registerTree(
              cx,
              {
                ...{ sessionId, destinationId, prefix: work.destination.prefix, onBatch: wake },
                ...(input.layout && { layout: input.layout }),
              },
              signal,
            );
            for (const message of remarks(totals)) notice(message);
          },
    rounds: input.rounds,
    condemn: false,
    stopSignal: input.stopSignal,
  });
}

/** A joiner stays as long as the holder scans: there will be more to do. */
async function untilScanned(cx: Context, sessionId: number, signal: AbortSignal, wake: () => void): Promise<void> {
  while (!signal.aborted) {
    const [session, workers] = await Promise.all([cx.store.session(sessionId), cx.store.workers(sessionId)]);
    if (session?.scanFinishedAt || !workers.some((worker) => worker.live && !worker.joined)) return;
    wake();
    await cx.sleep(joinEveryMs, signal);
  }
}

const joinEveryMs = 2_000;

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
const files = (count: number): string => counted(count, "file");

const oddWords: Record<OddKind, (count: number) => string> = {
  symlink: (count) => `${counted(count, "symlink")} not followed`,
  fifo: (count) => `${counted(count, "fifo")} not sent`,
  socket: (count) => `${counted(count, "socket")} not sent`,
  device: (count) => `${counted(count, "device")} not sent`,
  vanished: (count) => `${files(count)} gone since the folder was listed`,
  unreadable_folder: (count) => `${counted(count, "folder")} that cannot be read`,
  unreadable_file: (count) => `${files(count)} that cannot be read`,
};

function remarks({ oddities, excluded, normalised, waiting }: ScanTotals): string[] {
  const odd = [...oddities].map(([kind, count]) => oddWords[kind](count));
  return [
    ...(odd.length > 0 ? [`${odd.join(", ")} (-v names them)`] : []),
    // "Complete" is said of what was selected: whoever empties the card must know that it was not all.
    ...(excluded > 0 ? [`${counted(excluded, "other file")} left out (uploader explain PATH says why)`] : []),
    ...(normalised > 0 ? [`${normalised} names with decomposed accents: keys are in NFC (-v names them)`] : []),
    ...(waiting > 0
      ? [`${files(waiting)} of packages that are not complete yet: run it again later (-v names them)`]
      : []),
  ];
}

export interface DryRun {
  files: number;
  bytes: number;
  safeFiles: number;
  safeBytes: number;
  refused: number;
  changed: number;
  found: number;
  toSend: number;
  bytesToSend: number;
  /** Of packages that are not complete yet. */
  waiting: number;
  /** By the layout, for good. */
  leftOut: number;
  excluded: number;
}

/** What `upload` would do. Reads only; `store` is null when there is no database yet. */
export async function dryRun(
  cx: Pick<Context, "source" | "destination" | "stopping" | "wallClock" | "emit"> & { store: Context["store"] | null },
  input: { destinationId: number | null; prefix: string; layout?: Layout },
): Promise<DryRun> {
  const { prefix, layout = mirrorLayout } = input;
  const result: DryRun = {
    files: 0,
    bytes: 0,
    safeFiles: 0,
    safeBytes: 0,
    refused: 0,
    changed: 0,
    found: 0,
    toSend: 0,
    bytesToSend: 0,
    waiting: 0,
    leftOut: 0,
    excluded: 0,
  };
  const whole: LayoutFile[] = [];
  const ask = (files: readonly LayoutFile[]) =>
    layout.plan(files, asItIs(cx.wallClock(), input.destinationId ?? 0, prefix));
  const take = async (placements: readonly Placement[]): Promise<void> => {
    const { possible, refused } = candidatesOf(placements, prefix);
    result.refused += refused.length;
    const verdicts =
      cx.store === null || input.destinationId === null
        ? { fresh: possible, known: [], renewed: [], safeFiles: 0, safeBytes: 0 }
        : await cx.store.judge(0, input.destinationId, possible);
    result.safeFiles += verdicts.safeFiles;
    result.safeBytes += verdicts.safeBytes;
    result.changed += verdicts.known.length;
    const found = await cx.destination.find(
      verdicts.fresh.map((file) => file.key),
      cx.stopping,
    );
    for (const file of verdicts.fresh) {
      if (found?.has(file.key)) result.found++;
      else {
        result.toSend++;
        result.bytesToSend += file.sizeBytes;
      }
    }
  };
  for await (const batch of untilAborted(cx.source.scan(cx.stopping), cx.stopping)) {
    const { possible, refused } = sortBatch(batch.files, prefix);
    result.excluded += batch.excludedFiles;
    result.refused += refused.length;
    result.files += batch.files.length;
    for (const file of batch.files) result.bytes += file.sizeBytes;
    if (layout.takes === "folder") whole.push(...possible);
    else await take((await ask(possible)).placements);
  }
  if (layout.takes === "batches" || cx.stopping.aborted) return result;
  const plan = await ask(whole);
  for (const message of plan.notices) cx.emit({ type: "notice", sessionId: null, level: "info", message });
  result.waiting = plan.waiting.length;
  result.leftOut = plan.leftOut.length;
  for (const batch of inBatches(plan.placements)) await take(batch);
  // What the layout does not place again: the older program sent it, by its log.
  const placed = plan.placements.filter(({ body }) => body === null).length;
  const named = placed + result.waiting + result.leftOut;
  result.safeFiles += whole.length - named;
  return result;
}
