/** A context for operations: real store, real destination, real tree; time, chance and cancellation in the test's hand. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openSourceTree } from "../../src/adapters/source-tree.ts";
import type { Event, SummaryEvent } from "../../src/core/events.ts";
import type { Destination } from "../../src/core/ports.ts";
import type { Store, WorkerIdentity } from "../../src/core/store.ts";
import { fixedConcurrency } from "../../src/operations/concurrency.ts";
import type { Context, Policy } from "../../src/operations/context.ts";
import { upload } from "../../src/operations/upload.ts";
import { applyMemo, openJournal } from "../../src/store/journal.ts";
import { type TestDatabase, worker } from "./database.ts";

export interface TestContext extends Context {
  events: Event[];
  of<T extends Event["type"]>(type: T): Extract<Event, { type: T }>[];
  stop(): void;
  drop(): void;
  /** Called for every pause a verb wants to make; the default returns at once after a turn of the event loop. */
  onSleep: (delayMs: number) => Promise<void> | void;
}

export interface ContextOptions {
  db: TestDatabase;
  destination: Destination;
  root: string;
  include?: string[];
  me?: WorkerIdentity;
  policy?: Partial<Policy>;
  concurrency?: number;
  /** The store that results go to; default the patient one. */
  hasty?: Store;
  journalIn?: string;
}

/** Waits longer than this are skipped: the tests do not live through them. */
const longestRealWaitMs = 50;

export function testContext(options: ContextOptions): TestContext {
  const stopping = new AbortController();
  const dropping = new AbortController();
  const events: Event[] = [];
  let skippedMs = 0;
  const cx: TestContext = {
    store: options.db.store,
    destination: options.destination,
    source: openSourceTree({ root: options.root, include: options.include ?? [], exclude: [] }),
    apply: (memo) => applyMemo(options.hasty ?? options.db.store, memo),
    journal: openJournal(options.journalIn ?? join(tmpdir(), "uploader-test-state"), "test", worker(process.pid)),
    giveUpOnDatabase: () => options.db.database.setPatience(0),
    concurrency: fixedConcurrency(options.concurrency ?? 8),
    me: options.me ?? worker(1),
    policy: {
      attempts: 5,
      existing: "checksum",
      onConflict: "fail",
      onChange: "fail",
      settleSeconds: 0,
      maxOutageMs: 15 * 60_000,
      ...options.policy,
    },
    now: () => performance.now() + skippedMs,
    wallClock: Date.now,
    random: () => 0.5,
    async sleep(delayMs, signal) {
      await cx.onSleep(delayMs);
      const waitMs = Math.min(delayMs, longestRealWaitMs);
      skippedMs += delayMs - waitMs;
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    },
    emit: (event) => events.push(event),
    stopping: stopping.signal,
    dropping: dropping.signal,
    events,
    of: (type) => events.filter((event) => event.type === type) as never,
    stop: () => stopping.abort(),
    drop: () => dropping.abort(),
    onSleep: () => undefined,
  };
  return cx;
}

export interface RunOptions {
  project?: string;
  prefix?: string;
  newSession?: boolean;
  join?: number;
  rounds?: { rounds: number; delayMs: number } | null;
}

export function runUpload(cx: TestContext, options: RunOptions = {}): Promise<SummaryEvent> {
  const prefix = options.prefix ?? "C1";
  return upload(cx, {
    work: {
      project: options.project ?? "reef",
      source: cx.source.root,
      destination: {
        kind: cx.destination.kind,
        identity: cx.destination.identity,
        text: `${cx.destination.identity}/${prefix}`,
        prefix,
      },
      command: "upload",
    },
    config: { project: "reef" },
    newSession: options.newSession ?? false,
    join: options.join ?? null,
    rounds: options.rounds ? { ...options.rounds, includePermanent: false } : null,
    stopSignal: () => (cx.stopping.aborted ? "SIGINT" : null),
  });
}
