/** `upload` from a configuration to its end: one way for the command line and for the library. */
import {
  type OpenedState,
  openBandwidth,
  openContext,
  openDecoding,
  openSource,
  openState,
  peekState,
  requireDestination,
  requireSource,
  surroundings,
  type World,
} from "../app.ts";
import { type Config, redactConfig } from "../config.ts";
import type { SummaryEvent } from "../core/events.ts";
import type { Bandwidth } from "../core/ports.ts";
import type { SessionRow, Store } from "../core/store.ts";
import type { DryRun } from "../operations/upload.ts";
import { openLayout } from "./layout.ts";
import { checkTarget, openTarget } from "./target.ts";
import { openTrigger } from "./trigger.ts";

export interface UploadOptions {
  newSession?: boolean;
  skipRetry?: boolean;
  skipTrigger?: boolean;
  /** To help with: which session, and the configuration with what it knows. */
  join?: (store: Store, config: Config) => Promise<{ session: SessionRow; config: Config }>;
  stopSignal(): "SIGINT" | "SIGTERM" | null;
  /** The limit of this run, for a configuration that is read again while it runs. */
  onBandwidth?(bandwidth: Bandwidth): void;
}

/** What upload and its dry run do first: the source is there, the store answers. Closed in the order of `closing`. */
async function openEnds(world: World, closing: (() => Promise<void>)[]) {
  const { config } = world;
  requireDestination(config);
  const source = await openSource(config, requireSource(config));
  const bandwidth = await openBandwidth(world);
  closing.push(async () => bandwidth.close());
  const { destination, concurrency, workOf } = await openTarget(world, source.root, bandwidth, closing);
  await checkTarget(world, destination);
  return { source, concurrency, bandwidth, destination, work: workOf("upload") };
}

export async function runUpload(start: World, options: UploadOptions): Promise<SummaryEvent> {
  const closing: (() => Promise<void>)[] = [];
  const opened = async (): Promise<OpenedState> => {
    const state = await openState(start);
    closing.push(() => state.store.close());
    return state;
  };
  try {
    // A secret that is missing is said before the first file, not after the last.
    const trigger = options.skipTrigger ? null : await openTrigger(start.config);
    let state: OpenedState | null = null;
    let world = start;
    let join: number | null = null;
    if (options.join) {
      state = await opened();
      const { session, config } = await options.join(state.store, start.config);
      join = session.id;
      world = { ...start, config: { ...config, source: config.source ?? session.source } };
    }
    const { config } = world;
    const { source, destination, concurrency, bandwidth, work } = await openEnds(world, closing);
    options.onBandwidth?.(bandwidth);
    const decoding = openDecoding(world);
    closing.push(() => decoding.close());
    state ??= await opened();
    const { upload } = await import("../operations/upload.ts");
    const parts = { state, destination, source, concurrency, bandwidth, decoding, onChange: "fail" } as const;
    return await upload(await openContext(world, { ...parts, ...(trigger && { trigger }) }), {
      work,
      config: redactConfig(config),
      newSession: options.newSession === true,
      skipTrigger: options.skipTrigger === true,
      join,
      rounds: options.skipRetry ? null : { rounds: 3, delayMs: 5_000, includePermanent: false },
      layout: await openLayout(config, state.store, source.root),
      stopSignal: options.stopSignal,
    });
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** What `runUpload` would do; writes nothing anywhere. */
export async function tryUpload(world: World): Promise<DryRun> {
  const closing: (() => Promise<void>)[] = [];
  try {
    const { source, destination, work } = await openEnds(world, closing);
    const state = await peekState(world);
    if (state) closing.push(() => state.store.close());
    const { dryRun } = await import("../operations/upload.ts");
    const destinationId = (await state?.store.destinationId(destination.identity)) ?? null;
    return await dryRun(
      { ...surroundings(world), source, destination, store: state?.store ?? null },
      {
        destinationId,
        prefix: work.destination.prefix,
        layout: await openLayout(world.config, state?.store ?? null, source.root, { readOnly: true }),
      },
    );
  } finally {
    for (const close of closing.reverse()) await close();
  }
}
