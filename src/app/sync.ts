/** `sync` from a configuration to its end: every source with its own destination, one state for all of them. */
import {
  type OpenedState,
  openBandwidth,
  openContext,
  openDecoding,
  openState,
  ownPaths,
  requireDestination,
  requireSource,
} from "../app.ts";
import { type Config, configForSource, destinationText, redactConfig } from "../config.ts";
import { asUploaderError, UploaderError } from "../core/errors.ts";
import { type Emit, type SummaryEvent, summaryWithoutSession } from "../core/events.ts";
import { exitCodeOfAll } from "../core/exit-codes.ts";
import type { Bandwidth } from "../core/ports.ts";
import type { SourceState } from "../core/sources.ts";
import type { SourceInput, SyncContext } from "../operations/sync/context.ts";
import { openLayout } from "./layout.ts";
import { checkTarget, openTarget } from "./target.ts";
import { openTrigger } from "./trigger.ts";
import { mayComeBack, openWhenThere, stoppedBy } from "./waiting.ts";

export interface SyncOptions {
  config: Config;
  /** Only these of the configuration's sources; empty: all. */
  only: readonly string[];
  watch: boolean;
  skipTrigger: boolean;
  emit: Emit;
  /** Of one source; what is said of all of them goes to `emit`. */
  emitFor?(name: string): Emit;
  stopping: AbortSignal;
  dropping: AbortSignal;
  stopSignal(): "SIGINT" | "SIGTERM" | null;
  /** A watch finishes what it has in hand and ends with `reload`. */
  reloading?: AbortSignal;
  /** The loop of this source is alive; null: what all of them wait for. */
  onBeat?(name: string | null): void;
  onState?(state: OpenedState): void;
  onBandwidth?(bandwidth: Bandwidth): void;
}

/** One source with its own configuration. */
interface Watched {
  name: string;
  config: Config;
}

export function sourcesOf(config: Config, only: readonly string[]): Watched[] {
  const names = only.length > 0 ? only : config.sources.map(({ name }) => name);
  if (names.length > 0) return names.map((name) => ({ name, config: configForSource(config, name) }));
  return [{ name: config.project ?? "default", config }];
}

/** The exit code, or that the configuration is to be read again. */
export async function runSync(options: SyncOptions): Promise<number | "reload"> {
  const { config, watch, emit, reloading } = options;
  const sources = sourcesOf(config, options.only);
  for (const { config: own } of sources) {
    requireSource(own);
    requireDestination(own);
  }
  if (!config.cloudUploadEnabled) return (await import("./sync-disabled.ts")).reportOnly(options, sources);

  const failed = new AbortController();
  const stopping = AbortSignal.any([options.stopping, failed.signal, ...(reloading ? [reloading] : [])]);
  const closing: (() => Promise<void>)[] = [];
  const onBeat = options.onBeat ?? (() => undefined);
  const top = { config: watch ? patient(config) : config, emit, stopping, dropping: options.dropping };
  try {
    const state = await openWhenThere(watch, { emit, stopping, onBeat, name: null }, () => openState(top));
    if (state === null) return endOfWatch(options, { files: 0, bytes: 0 }, 0);
    closing.push(() => state.store.close());
    options.onState?.(state);
    const bandwidth = await openBandwidth(top);
    closing.push(async () => bandwidth.close());
    options.onBandwidth?.(bandwidth);
    const shared: Shared = { options, state, bandwidth, stopping, onBeat, taken: new Set() };
    return watch ? await watchAll(shared, sources, failed) : await passOver(shared, sources);
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** A watch waits for as long as it takes. */
const patient = (config: Config): Config => ({ ...config, maxOutageMinutes: Number.POSITIVE_INFINITY });

interface Shared {
  options: SyncOptions;
  state: OpenedState;
  bandwidth: Bandwidth;
  stopping: AbortSignal;
  onBeat(name: string | null): void;
  /** Source and destination, of those that are looked after. */
  taken: Set<string>;
}

async function passOver(shared: Shared, sources: readonly Watched[]): Promise<number> {
  const { syncOnce } = await import("../operations/sync/once.ts");
  const codes: number[] = [];
  for (const source of sources) {
    if (shared.stopping.aborted) {
      // What was not looked at is not safe.
      codes.push(stoppedBy(shared.options.stopSignal()));
      break;
    }
    const closing: (() => Promise<void>)[] = [];
    let isOpen = false;
    try {
      const { cx, input } = await openSource(shared, source, closing);
      isOpen = true;
      codes.push((await syncOnce(cx, input)).exitCode);
    } catch (error) {
      if (!isOpen && !shared.stopping.aborted) await tellOfFault(shared, source, error);
      // One source's fault keeps none of the others from being sent.
      if (sources.length === 1) throw error;
      const { code, exitCode, message, hint } = asUploaderError(error);
      codes.push(exitCode);
      const told = { code, exitCode, message: `${source.name}: ${message}`, hint: hint ?? null };
      shared.options.emit({ type: "error", sessionId: null, ...told });
    } finally {
      for (const close of closing.reverse()) await close();
    }
  }
  return exitCodeOfAll(codes);
}

/** A source that a pass could not even begin with has failed, too: of those that are known, the database is told. */
async function tellOfFault({ state, options }: Shared, { name, config }: Watched, error: unknown): Promise<void> {
  const { resolveLinks } = await import("../adapters/source-tree.ts");
  const project = config.project ?? "default";
  const source = resolveLinks(requireSource(config));
  const destination = destinationText(requireDestination(config));
  try {
    const states = await state.store.sources(project);
    // A mistyped command is nobody's silence, and a daemon tells of its own.
    const isOurs = (each: SourceState): boolean =>
      each.name === name && each.source === source && each.destination === destination && each.holderPid === null;
    if (!states.some(isOurs)) return;
    await state.store.recordPass({
      project,
      name,
      source,
      destination,
      host: state.me.host,
      pid: state.me.pid,
      intervalSeconds: null,
      expectEverySeconds: config.expectEverySeconds,
      errorCode: asUploaderError(error).code,
      filesSeen: 0,
      durationMs: 0,
    });
  } catch (failure) {
    // The next pass tells.
    const { message } = asUploaderError(failure);
    options.emit({
      type: "notice",
      sessionId: null,
      level: "detail",
      message: `the pass could not be noted: ${message}`,
    });
  }
}

async function watchAll(
  shared: Shared,
  sources: readonly Watched[],
  failed: AbortController,
): Promise<number | "reload"> {
  const { watchSource } = await import("../operations/sync/watch.ts");
  const { options, stopping, onBeat } = shared;
  const startedMs = performance.now();
  const sent = { files: 0, bytes: 0 };
  const queued = new Set<string>();
  const onReady = (name: string): void => {
    if (queued.has(name)) return;
    queued.add(name);
    if (queued.size === sources.length) options.emit({ type: "ready", sources: sources.length });
  };
  const counting =
    (emit: Emit): Emit =>
    (event) => {
      if (event.type === "pass") {
        sent.files += event.filesThisRun;
        sent.bytes += event.bytesThisRun;
      }
      emit(event);
    };
  const watchOne = async (source: Watched): Promise<void> => {
    const closing: (() => Promise<void>)[] = [];
    const emit = counting(options.emitFor?.(source.name) ?? options.emit);
    const waiting = { emit, stopping, onBeat, name: source.name, onAway: () => onReady(source.name) };
    try {
      const opened = await openWhenThere(true, waiting, () => openSource(shared, source, closing, emit));
      if (opened === null) return;
      await watchSource(opened.cx, { ...opened.input, onReady: () => onReady(source.name) });
    } catch (error) {
      failed.abort();
      throw error;
    } finally {
      for (const close of closing.reverse()) await close();
    }
  };
  const ends = await Promise.allSettled(sources.map(watchOne));
  const end = ends.find((each) => each.status === "rejected");
  if (end) throw end.reason;
  return endOfWatch(options, sent, performance.now() - startedMs);
}

function endOfWatch(
  { emit, reloading, stopping, stopSignal }: SyncOptions,
  sent: { files: number; bytes: number },
  durationMs: number,
): number | "reload" {
  if (reloading?.aborted && !stopping.aborted) return "reload";
  const exitCode = stoppedBy(stopSignal());
  emit(summaryOf(sent, durationMs, exitCode));
  return exitCode;
}

async function openSource(
  { options, state, bandwidth, stopping, onBeat, taken }: Shared,
  { name, config: own }: Watched,
  closing: (() => Promise<void>)[],
  emit: Emit = options.emitFor?.(name) ?? options.emit,
): Promise<{ cx: SyncContext; input: SourceInput }> {
  const { watch } = options;
  const config = watch ? patient(own) : own;
  const world = { config, emit, stopping, dropping: options.dropping };
  const trigger = options.skipTrigger ? null : await openTrigger(config);
  const { openWatchedTree } = await import("../adapters/watched-tree.ts");
  const tree = openWatchedTree({
    root: requireSource(config),
    include: config.include,
    exclude: config.exclude,
    excludePaths: await ownPaths(config),
    now: Date.now,
  });
  const { destination, concurrency, workOf } = await openTarget(world, tree.root, bandwidth, closing);
  // A store that is away is waited for by a watch, once it is at work.
  await checkTarget(world, destination, (code) => watch && mayComeBack.has(code));
  const work = workOf("sync");
  const place = JSON.stringify([tree.root, destination.identity, work.destination.prefix]);
  if (taken.has(place)) {
    throw new UploaderError("config_invalid", `two sources are the same folder for the same destination: ${tree.root}`);
  }
  taken.add(place);
  closing.push(async () => void taken.delete(place));
  const decoding = openDecoding(world);
  closing.push(() => decoding.close());
  const base = await openContext(world, {
    state,
    destination,
    source: tree,
    concurrency,
    bandwidth,
    decoding,
    onChange: "replace",
    ...(trigger && { trigger }),
  });
  const { openCompleteness } = await import("../adapters/completeness.ts");
  const cx: SyncContext = {
    ...base,
    policy: { ...base.policy, onGone: "skip" },
    source: tree,
    looking: watch ? state.hasty : state.store,
    layout: await openLayout(config, watch ? state.hasty : state.store, tree.root),
    completeness: openCompleteness(),
    onBeat: () => onBeat(name),
  };
  if (watch) {
    const { openWatcher } = await import("../adapters/watcher.ts");
    const events = openWatcher({
      root: tree.root,
      touch: tree.touch,
      onLimit: (message) => emit({ type: "notice", sessionId: null, level: "info", message }),
    });
    closing.push(() => events.close());
    cx.fileEvents = events;
  }
  const input: SourceInput = {
    name,
    work,
    config: redactConfig(own),
    intervalMs: config.sync.intervalSeconds * 1000,
    expectEverySeconds: config.expectEverySeconds,
    stopSignal: options.stopSignal,
  };
  return { cx, input };
}

const summaryOf = (sent: { files: number; bytes: number }, durationMs: number, exitCode: number): SummaryEvent =>
  summaryWithoutSession({
    status: "interrupted",
    totalFiles: sent.files,
    totalBytes: sent.bytes,
    filesUploaded: sent.files,
    bytesUploaded: sent.bytes,
    filesThisRun: sent.files,
    bytesThisRun: sent.bytes,
    durationMs: Math.round(durationMs),
    exitCode,
  });
