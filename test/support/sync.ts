/** A context for sync: real database, destination, tree and content checks; time runs as fast as the test wants. */
import { setTimeout as rest } from "node:timers/promises";
import { openCompleteness } from "../../src/adapters/completeness.ts";
import { openWatchedTree } from "../../src/adapters/watched-tree.ts";
import type { Event, SummaryEvent } from "../../src/core/events.ts";
import { mirrorLayout } from "../../src/core/layout.ts";
import type { Store } from "../../src/core/store.ts";
import type { SourceInput, SyncContext, SyncEvents } from "../../src/operations/sync/context.ts";
import { syncOnce } from "../../src/operations/sync/once.ts";
import { watchSource } from "../../src/operations/sync/watch.ts";
import { type ContextOptions, testContext } from "./context.ts";

/** A clock that runs `speed` times as fast as the world's; pauses are as much shorter. */
export interface FastClock {
  now(): number;
  wallClock(): number;
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
}

export function fastClock(speed: number, beginMs = Date.now()): FastClock {
  const startedMs = performance.now();
  const now = (): number => (performance.now() - startedMs) * speed;
  return {
    now,
    wallClock: () => Math.floor(beginMs + now()),
    sleep: (delayMs, signal) =>
      rest(Math.min(delayMs / speed, 2 ** 31 - 1), undefined, { signal }).catch(() => undefined),
  };
}

export interface SyncOptions extends ContextOptions {
  clock?: FastClock;
  /** Called before every pause. */
  onSleep?: (delayMs: number) => void | Promise<void>;
  looking?: Store;
  fileEvents?: SyncEvents;
}

export interface TestSync extends SyncContext {
  emitted: Event[];
  of<T extends Event["type"]>(type: T): Extract<Event, { type: T }>[];
  notices(): string[];
  stop(): void;
  beats: number;
}

export function syncContext(options: SyncOptions): TestSync {
  const clock = options.clock ?? fastClock(100);
  const base = testContext(options);
  const emitted: Event[] = [];
  const stopping = new AbortController();
  const cx: TestSync = {
    ...base,
    now: clock.now,
    wallClock: clock.wallClock,
    async sleep(delayMs, signal) {
      await options.onSleep?.(delayMs);
      await clock.sleep(delayMs, signal);
    },
    policy: {
      ...base.policy,
      onChange: "replace",
      onGone: "skip",
      settleSeconds: 5,
      maxOutageMs: Number.POSITIVE_INFINITY,
      ...options.policy,
    },
    emit: (event) => emitted.push(event),
    stopping: stopping.signal,
    dropping: new AbortController().signal,
    looking: options.looking ?? options.db.store,
    source: openWatchedTree({ root: options.root, include: options.include ?? [], exclude: [], now: clock.wallClock }),
    layout: mirrorLayout,
    completeness: openCompleteness(),
    ...(options.fileEvents && { fileEvents: options.fileEvents }),
    beats: 0,
    onBeat() {
      cx.beats++;
    },
    emitted,
    of: (type) => emitted.filter((event) => event.type === type) as never,
    notices: () => emitted.flatMap((event) => (event.type === "notice" ? [event.message] : [])),
    stop: () => stopping.abort(),
  };
  return cx;
}

export const sourceInput = (cx: TestSync, over: Partial<SourceInput> = {}): SourceInput => ({
  name: "dock",
  work: {
    project: "reef",
    source: cx.source.root,
    destination: {
      kind: cx.destination.kind,
      identity: cx.destination.identity,
      text: `${cx.destination.identity}/C1`,
      prefix: "C1",
    },
    command: "sync",
  },
  config: { project: "reef" },
  intervalMs: 15_000,
  expectEverySeconds: null,
  stopSignal: () => (cx.stopping.aborted ? "SIGTERM" : null),
  ...over,
});

export const runOnce = (cx: TestSync, over: Partial<SourceInput> = {}): Promise<SummaryEvent> =>
  syncOnce(cx, sourceInput(cx, over));

export interface Watching {
  /** Resolves when it has ended. */
  ended: Promise<void>;
  stop(): Promise<void>;
}

export function startWatch(cx: TestSync, over: Partial<SourceInput> = {}, onReady = () => undefined): Watching {
  const ended = watchSource(cx, { ...sourceInput(cx, over), onReady });
  // Whoever waits for it gets its error.
  ended.catch(() => undefined);
  return {
    ended,
    async stop() {
      cx.stop();
      await ended;
    },
  };
}
