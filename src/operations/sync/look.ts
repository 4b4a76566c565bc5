/** One look at a source: what is new, and which of it is finished. Asks the database, and writes nothing. */
import { join } from "node:path";
import { joinKey, keyProblem, refusalKey } from "../../core/key.ts";
import type { LayoutFile, Placement } from "../../core/layout.ts";
import type { Candidate, Refusal } from "../../core/store.ts";
import {
  createSightings,
  printOf,
  type SeenFile,
  takenAnywayMs,
  type WaitingFile,
  type WaitingRow,
  type WaitReason,
} from "../../core/sync.ts";
import { undecoded, unreadable } from "../register.ts";
import { type Batch, inBatches } from "./batches.ts";
import type { SyncContext } from "./context.ts";

/** What a look, or a part of it, has found to do. */
export interface Findings {
  /** Nobody knows these keys. */
  fresh: Candidate[];
  /** The store holds them in another state. */
  known: Candidate[];
  /** The session has a row: it settled another state, or waited for this one. */
  renewed: Candidate[];
  /** To be told in rows: files that are not ready. */
  waiting: WaitingFile[];
  leftOut: (Candidate & { reason: string })[];
  refused: Refusal[];
  /** Keys of rows that waited for files that are gone, or need nothing any more. */
  gone: { keys: string[]; reason: string }[];
  safeFiles: number;
  safeBytes: number;
  /** Nothing was remembered: what is safe replaces what earlier looks have counted. */
  isAnew: boolean;
  /** All of it is in the database, but for these. */
  done(except: ReadonlySet<Candidate>): void;
}

export const hasWork = (found: Findings): boolean =>
  [found.fresh, found.known, found.renewed, found.waiting, found.refused, found.gone, found.leftOut].some(
    (list) => list.length > 0,
  );

export interface LookInput {
  /** 0: there is none yet. */
  sessionId: number;
  full: boolean;
  /** The first of two looks of a single pass: nothing is taken, all is only seen. */
  onlySee: boolean;
  /** A single pass says of every file that is not ready why; a watch only of those that keep it waiting. */
  tellAll: boolean;
}

export interface Looker {
  look(input: LookInput, signal: AbortSignal): AsyncGenerator<Findings>;
  /** Rows that wait: of an earlier run, or of files that changed while they were read. */
  load(rows: readonly WaitingRow[]): void;
  /** Wall clock, ms: when another look is worth it; null: no file is settling. */
  dueMs(): number | null;
  /** As of the last whole look. */
  readonly notReady: number;
  /** A new session has no rows yet: all is judged again. */
  forget(): void;
}

interface Told {
  key: string;
  print: number;
  reason: WaitReason;
  looks: number;
  /** Since when this state is told, and when it was last. */
  sinceMs: number;
  toldMs: number;
}

const batchSize = 2_000;
/** Files that have rested for so long are finished, whatever their end looks like. FAT shifts times by hours. */
const restedMs = 24 * 60 * 60_000;
/** A row of a file that grows and grows is brought up to date no more often than this. */
const tellEveryMs = 60_000;

export function createLooker(cx: SyncContext, place: { destinationId: number; prefix: string }): Looker {
  const { destinationId, prefix } = place;
  const settleMs = cx.policy.settleSeconds * 1000;
  const sightings = createSightings(settleMs);
  /** By path alone: who has been waiting for longer than it takes to settle is told. */
  const patience = createSightings(2 * settleMs + 1);
  let told = new Map<string, Told>();
  let stillTold = new Set<string>();
  const refusedBefore = new Set<string>();
  const noticed = new Set<string>();
  /** Of this look, by print; and the whole files of a source that is looked at as a whole every time. */
  const answered = new Map<number, WaitReason | null>();
  let notReady = 0;
  let waitingNow = 0;

  const notice = (message: string): void => {
    if (noticed.has(message)) return;
    noticed.add(message);
    cx.emit({ type: "notice", sessionId: null, level: "info", message });
  };

  const refuse = (found: Findings, refusal: Refusal): void => {
    if (refusedBefore.has(refusal.key)) return;
    found.refused.push(refusal);
  };

  const emptyFindings = (): Findings => ({
    fresh: [],
    known: [],
    renewed: [],
    waiting: [],
    leftOut: [],
    refused: [],
    gone: [],
    safeFiles: 0,
    safeBytes: 0,
    isAnew: false,
    done: () => undefined,
  });

  const wait = (found: Findings, input: LookInput, file: SeenFile, candidate: Candidate, why: Why): void => {
    waitingNow++;
    const nowMs = cx.wallClock();
    const before = told.get(file.path);
    stillTold.add(file.path);
    const isSame = before?.print === file.print && before.reason === why.reason && before.key === candidate.key;
    const isLong = patience.observe(printOf(file.path, unseen), nowMs) === "settled";
    const isNews = before ? !isSame && nowMs - before.toldMs >= tellEveryMs : isLong;
    if (input.onlySee || !(isNews || input.tellAll)) return;
    const looks = (before?.looks ?? 0) + 1;
    const sinceMs = before?.print === file.print ? before.sinceMs : nowMs;
    const delayMs = why.untilMs === null ? settleMs : Math.max(0, why.untilMs - nowMs);
    found.waiting.push({ ...candidate, inode: file.inode, reason: why.reason, looks, delayMs });
    told.set(file.path, {
      key: candidate.key,
      print: file.print,
      reason: why.reason,
      looks,
      sinceMs,
      toldMs: nowMs,
    });
  };

  /** Of those that have settled: which are whole, and which nobody writes to. Told once per state and look. */
  const complete = async (files: readonly SeenFile[]): Promise<(WaitReason | null)[]> => {
    const unknown = files.filter(({ print }) => !answered.has(print));
    const answers = await inspect(unknown);
    for (const [at, { print }] of unknown.entries()) answered.set(print, answers[at] ?? null);
    return files.map(({ print }) => answered.get(print) ?? null);
  };

  const inspect = async (files: readonly SeenFile[]): Promise<(WaitReason | null)[]> => {
    const nowMs = cx.wallClock();
    const restFor = (file: SeenFile): number =>
      nowMs - Math.min(Number(file.mtimeNs / 1_000_000n), told.get(file.path)?.sinceMs ?? nowMs);
    const isOld = files.map((file) => restFor(file) > restedMs);
    const asked = files.filter((_, at) => !isOld[at]);
    const answers = await cx.completeness.missing(
      asked.map((file) => ({ path: join(cx.source.root, file.path), sizeBytes: file.sizeBytes })),
    );
    const byFile = new Map(asked.map((file, at) => [file, answers[at] ?? null]));
    return files.map((file) => {
      const reason = byFile.get(file) ?? null;
      if (reason === null || restFor(file) < takenAnywayMs) return reason;
      notice(`${file.path} has rested for an hour and still is ${reason.replaceAll("_", " ")}: it is sent as it is`);
      return null;
    });
  };

  async function judge(batch: Batch, input: LookInput): Promise<Findings> {
    const found = emptyFindings();
    found.isAnew = batch.isAnew;
    const { sessionId } = input;
    const nowMs = cx.wallClock();
    const byPath = new Map<string, SeenFile>();
    for (const file of batch.files) {
      if (file.key === null || file.problem !== null) refuse(found, impossible(prefix, file, file.problem ?? "no key"));
      else byPath.set(file.path, file);
    }
    for (const oddity of batch.oddities) {
      if (oddity.kind.startsWith("unreadable")) refuse(found, unreadable(prefix)(oddity));
    }
    // A package is whole only if each of its files is.
    const whole = new Set<string>();
    if (cx.layout.takes === "folder") {
      const rested = [...byPath.values()].filter(({ print }) => sightings.observe(print, nowMs) === "settled");
      const reasons = input.onlySee ? [] : await complete(rested);
      for (const [at, { path }] of rested.entries()) if (!input.onlySee && !reasons[at]) whole.add(path);
    }
    const plan = await cx.layout.plan([...byPath.values()] as LayoutFile[], {
      destinationId,
      prefix,
      nowMs,
      isSettled: ({ path }) => whole.has(path),
    });
    for (const message of plan.notices) notice(message);

    const candidates: Candidate[] = [];
    for (const placement of plan.placements) {
      const candidate = candidateOf(prefix, placement);
      const problem = keyProblem(candidate.key);
      if (problem === null) candidates.push(candidate);
      else refuse(found, { ...candidate, ...impossibleKey(candidate.key, problem) });
    }
    const verdicts = await cx.looking.judge(sessionId, destinationId, candidates);
    const files = candidates.filter(({ body }) => !body);
    const wanting = await undecoded({ ...cx, store: cx.looking }, { sessionId, destinationId }, files);
    found.safeFiles = verdicts.safeFiles - wanting.length;
    found.safeBytes = verdicts.safeBytes - wanting.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

    const lists = new Map<Candidate, "fresh" | "known" | "renewed">();
    for (const list of ["fresh", "known", "renewed"] as const) for (const file of verdicts[list]) lists.set(file, list);
    for (const file of wanting) lists.set(file, "known");
    // A row that waits for this very state is open to the database, and news to us.
    for (const file of candidates) {
      const row = file.body ? undefined : told.get(file.path);
      if (row && (!lists.has(file) || row.key !== file.key)) lists.set(file, "renewed");
    }

    const settled: { candidate: Candidate; file: SeenFile }[] = [];
    const unready = new Set<string>();
    for (const candidate of lists.keys()) {
      const file = byPath.get(candidate.path);
      if (candidate.body || file === undefined) continue;
      if (sightings.observe(file.print, nowMs) === "settled" && !input.onlySee) settled.push({ candidate, file });
      else {
        unready.add(file.path);
        wait(found, input, file, candidate, { reason: "settling", untilMs: null });
      }
    }
    const reasons = await complete(settled.map(({ file }) => file));
    for (const [at, { candidate, file }] of settled.entries()) {
      const reason = reasons[at];
      if (!reason) continue;
      unready.add(file.path);
      wait(found, input, file, candidate, { reason, untilMs: null });
    }
    for (const file of plan.waiting) {
      const seen = byPath.get(file.path);
      if (!seen) continue;
      unready.add(file.path);
      wait(found, input, seen, { ...pick(file), key: joinKey(prefix, file.key) }, file);
    }
    if (input.onlySee)
      return {
        ...emptyFindings(),
        safeFiles: found.safeFiles,
        safeBytes: found.safeBytes,
        isAnew: found.isAnew,
        done: () => batch.done(byPathExcept(byPath, unready, lists)),
      };

    for (const [candidate, list] of lists)
      if (!unready.has(candidate.path) || candidate.body) found[list].push(candidate);
    found.leftOut = plan.leftOut.map((file) => ({
      ...pick(file),
      key: joinKey(prefix, file.key),
      reason: file.reason,
    }));
    found.done = (except) => {
      for (const { key } of found.refused) refusedBefore.add(key);
      for (const list of [found.fresh, found.known, found.renewed, found.leftOut]) {
        for (const file of list) if (!except.has(file)) told.delete(file.path);
      }
      const open = new Set([...unready, ...[...except].map(({ path }) => path)]);
      batch.done(batch.files.filter(({ path }) => !open.has(path)));
    };
    return found;
  }

  /** Rows that waited, and were not met in a whole look. */
  async function missed(): Promise<Findings> {
    const found = emptyFindings();
    const gone: string[] = [];
    const left: string[] = [];
    for (const [path, { key }] of told) {
      if (stillTold.has(path)) continue;
      ((await cx.source.look(path)) === null ? gone : left).push(key);
    }
    if (gone.length > 0) found.gone.push({ keys: gone, reason: "gone" });
    if (left.length > 0) found.gone.push({ keys: left, reason: "left_alone" });
    found.done = () => {
      const keys = new Set([...gone, ...left]);
      told = new Map([...told].filter(([, row]) => !keys.has(row.key)));
    };
    return found;
  }

  return {
    async *look(input, signal) {
      let isWhole = false;
      waitingNow = 0;
      stillTold = new Set();
      // A layout of whole folders wants to see all of it every time.
      if (cx.layout.takes === "folder") cx.source.forget();
      try {
        const all = cx.layout.takes === "folder" ? Number.POSITIVE_INFINITY : batchSize;
        for await (const batch of inBatches(cx.source.changes(input.full, signal), all)) {
          cx.onBeat();
          yield await judge(batch, input);
        }
        if (signal.aborted) return;
        isWhole = true;
        notReady = waitingNow;
        if (!input.onlySee && told.size > 0) yield await missed();
      } finally {
        const isMirror = cx.layout.takes === "batches";
        for (const [print, reason] of answered) if (isMirror || reason !== null) answered.delete(print);
        sightings.turn(isWhole);
        patience.turn(isWhole);
      }
    },
    load(rows) {
      const nowMs = cx.wallClock();
      for (const row of rows) {
        if (told.has(row.path)) continue;
        const print = printOf(row.path, row);
        const sinceMs = nowMs + row.dueInMs - settleMs;
        sightings.remember(print, sinceMs);
        const { key, looks } = row;
        told.set(row.path, { key, print, reason: row.reason ?? "settling", looks, sinceMs, toldMs: sinceMs });
      }
      cx.source.undo(rows.map(({ path }) => path));
    },
    dueMs: () => sightings.dueMs,
    get notReady() {
      return notReady;
    },
    forget() {
      told = new Map();
      refusedBefore.clear();
      cx.source.forget();
    },
  };
}

interface Why {
  reason: WaitReason;
  untilMs: number | null;
}

const unseen = { sizeBytes: 0, mtimeNs: 0n, inode: 0n };

const pick = ({ path, sizeBytes, mtimeNs }: LayoutFile) => ({ path, sizeBytes, mtimeNs });

const candidateOf = (
  prefix: string,
  { path, key, sizeBytes, mtimeNs, type, priority, body }: Placement,
): Candidate => ({
  path,
  key: joinKey(prefix, key),
  sizeBytes,
  mtimeNs,
  type,
  priority,
  body,
});

const impossibleKey = (key: string, problem: string) => ({
  key: refusalKey(key),
  code: "key_impossible",
  message: problem,
  permanent: true,
});

const impossible = (prefix: string, file: SeenFile, problem: string): Refusal => ({
  ...pick({ ...file, key: file.path }),
  ...impossibleKey(joinKey(prefix, file.key ?? file.path), problem),
});

/** What needs nothing: neither new nor waited for. */
const byPathExcept = (
  byPath: ReadonlyMap<string, SeenFile>,
  unready: ReadonlySet<string>,
  lists: ReadonlyMap<Candidate, unknown>,
): SeenFile[] => {
  const open = new Set([...unready, ...[...lists.keys()].map(({ path }) => path)]);
  return [...byPath.values()].filter(({ path }) => !open.has(path));
};
