/** Where ports meet adapters: the only file that sees both sides. */

import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "./config.ts";
import { type Decoding, settingsText } from "./core/decoding.ts";
import type { Trigger } from "./core/deliveries.ts";
import type { ObjectTags } from "./core/devices.ts";
import { UploaderError } from "./core/errors.ts";
import type { Emit } from "./core/events.ts";
import type { Bandwidth, Destination, SelectionRules, SourceTree, UnfinishedUploads } from "./core/ports.ts";
import type { Store, WorkerIdentity } from "./core/store.ts";
import { versionOf } from "./installed.ts";
import type { Concurrency } from "./operations/concurrency.ts";
import type { Context } from "./operations/context.ts";
import type { DecodeContext } from "./operations/decode.ts";
import type { Database } from "./store/database.ts";

export interface World {
  config: Config;
  emit: Emit;
  stopping: AbortSignal;
  dropping: AbortSignal;
}

/** Ends early, without error, when the signal aborts. */
const rest = (delayMs: number, signal: AbortSignal): Promise<void> =>
  sleep(delayMs, undefined, { signal }).catch(() => undefined);

export interface OpenedDatabase {
  database: Database;
  /** For psql of the same user; holds a password only when the user wrote one into the configuration. */
  url(): Promise<string>;
  description: string;
}

export async function openConnection({ config, emit, stopping }: World): Promise<OpenedDatabase> {
  const { openDatabase } = await import("./store/database.ts");
  const { databaseAddress } = await import("./database-address.ts");
  const address = databaseAddress(config, stopping);
  const database = openDatabase({
    address: address.connect,
    description: address.description,
    maxConnections: 4,
    now: () => performance.now(),
    random: Math.random,
    signal: stopping,
    onOutage(lost, error) {
      emit({
        type: "notice",
        sessionId: null,
        level: "info",
        message: lost ? `${error?.message ?? "the database is away"}; waiting for it` : "the database is back",
      });
    },
  });
  return { database, url: address.url, description: address.description };
}

export interface OpenedState {
  store: Store;
  /** Answers at once when the database is away. */
  hasty: Store;
  database: Database;
  me: WorkerIdentity;
  isAlive(worker: WorkerIdentity): boolean | null;
}

/** How long one statement of the hot path is tried before its result goes into the journal. */
const hastyMs = 1_000;

/** The migrated state machine. */
export async function openState(world: World): Promise<OpenedState> {
  const { database } = await openConnection(world);
  try {
    const { migrate } = await import("./store/migrate.ts");
    // Which asks nothing of the database, so it is made while that answers.
    const [state] = await Promise.all([stateOn(database, world), migrate(database, world.config.database.schema)]);
    await replay(state, world);
    return state;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** What earlier runs could not tell this database comes in before anything else is decided. */
async function replay(state: OpenedState, { config, emit }: World): Promise<void> {
  const { applyMemo, journalFolder, replayJournals } = await import("./store/journal.ts");
  const { stateDirectoryOf } = await import("./database-address.ts");
  const directory = stateDirectoryOf(config);
  if (!existsSync(journalFolder(directory))) return;
  const { store, isAlive } = state;
  const onBad = (path: string, error: UploaderError): void =>
    emit({
      type: "notice",
      sessionId: null,
      level: "info",
      message: `a journal of an earlier run could not be brought in (${error.message}); it is kept as ${path}`,
    });
  const count = await replayJournals(
    directory,
    await store.installation(),
    isAlive,
    (memo) => applyMemo(store, memo),
    onBad,
  );
  if (count === 0) return;
  const many = count === 1 ? "1 result" : `${count} results`;
  const message = `${many} of an earlier run, kept while the database was away, now in it`;
  emit({ type: "notice", sessionId: null, level: "info", message });
}

async function stateOn(database: Database, { config }: World): Promise<OpenedState> {
  const { openStore } = await import("./store/store.ts");
  const { ownIdentity, fateOf } = await import("./store/embedded/process-identity.ts");
  const own = ownIdentity();
  // A pid counts only within its boot and its pid namespace, so both go into one word.
  const me: WorkerIdentity = {
    host: own.host,
    boot: `${own.boot} ${own.space}`,
    pid: own.pid,
    processStart: own.start,
  };
  const isAlive = ({ host, boot, pid, processStart }: WorkerIdentity): boolean | null => {
    const [bootId, space] = [boot.slice(0, boot.indexOf(" ")), boot.slice(boot.indexOf(" ") + 1)];
    const fate = fateOf({ host, boot: bootId, space, pid, start: processStart }, 0);
    return fate === "alive" ? true : fate === "dead" ? false : null;
  };
  const { schema } = config.database;
  return {
    store: openStore(database, schema, isAlive),
    hasty: openStore(database.withPatience(hastyMs), schema, isAlive),
    database,
    me,
    isAlive,
  };
}

/** For a dry run: the state when there is one, never made, started afresh or migrated. */
export async function peekState(world: World): Promise<OpenedState | null> {
  if (world.config.database.connection.kind === "embedded") {
    const { stateDirectoryOf } = await import("./database-address.ts");
    if (!existsSync(join(stateDirectoryOf(world.config), "database", "PG_VERSION"))) return null;
  }
  const { database } = await openConnection(world);
  try {
    const { schemaState } = await import("./store/migrate.ts");
    if ((await schemaState(database, world.config.database.schema)) === "current")
      return await stateOn(database, world);
    await database.close();
    return null;
  } catch (error) {
    await database.close();
    throw error;
  }
}

export function requireSource(config: Config): string {
  if (config.source !== null) return config.source;
  throw new UploaderError("usage", "no source is named", {
    hint: 'uploader upload /media/SD01 s3://bucket/prefix, or "source" in the configuration',
  });
}

export function requireDestination(config: Config): NonNullable<Config["destination"]> {
  if (config.destination !== null) return config.destination;
  throw new UploaderError("usage", "no destination is named", {
    hint: 'uploader upload /media/SD01 s3://bucket/prefix, or "destination" in the configuration',
  });
}

export async function openDestination(
  { config, emit }: World,
  concurrency?: Pick<Concurrency, "ceiling" | "throttled">,
  bandwidth?: Bandwidth,
): Promise<Destination & Partial<UnfinishedUploads> & Partial<ObjectTags>> {
  const destination = requireDestination(config);
  const onNotice = (message: string): void => emit({ type: "notice", sessionId: null, level: "info", message });
  if (destination.kind === "folder") {
    const { openFolderDestination } = await import("./adapters/folder.ts");
    return openFolderDestination({
      root: destination.path,
      createRoot: true,
      bytesInFlight: config.bytesInFlight,
      onNotice,
      ...(bandwidth && { bandwidth }),
    });
  }
  const { openS3Destination } = await import("./adapters/s3/destination.ts");
  const { usualDeadlines } = await import("./adapters/s3/options.ts");
  const { connectTimeoutSeconds, idleTimeoutSeconds, forcePathStyle, ...s3 } = config.s3;
  return openS3Destination({
    bucket: destination.bucket,
    ...s3,
    forcePathStyle: forcePathStyle ?? undefined,
    checksum: config.checksum,
    onNotice,
    onThrottle: (cause) => concurrency?.throttled(cause),
    connections: (concurrency?.ceiling ?? 4) + 4,
    bytesInFlight: config.bytesInFlight,
    ...(bandwidth && { bandwidth }),
    now: Date.now,
    random: Math.random,
    deadlines: { ...usualDeadlines, connectMs: connectTimeoutSeconds * 1000, idleMs: idleTimeoutSeconds * 1000 },
    env: process.env,
  });
}

export async function openSource(config: Config, root: string): Promise<SourceTree> {
  const { openSourceTree } = await import("./adapters/source-tree.ts");
  return openSourceTree({
    root,
    include: config.include,
    exclude: config.exclude,
    excludePaths: await ownPaths(config),
  });
}

/** Our own state, configuration and logs, and the users file with its passwords, are never sent. */
export async function ownPaths(config: Config): Promise<string[]> {
  const { stateDirectoryOf } = await import("./database-address.ts");
  const { putAside } = await import("./adapters/log-file.ts");
  const logs = config.logFile === null ? [] : [config.logFile, ...putAside(config.logFile, config.logKeep)];
  const own = [config.configPath, config.usersFile].filter((path) => path !== null);
  return [stateDirectoryOf(config), ...own, ...logs];
}

/** For `upload --decode`: threads and a folder come to be with the first recording, and most runs meet none. */
export function openDecoding({ config }: Pick<World, "config">): Decoding {
  const { enabled, formats, profile, timeSource } = config.decode;
  const settings = { profile, timeSource };
  let opened: Promise<Decoding> | null = null;
  const open = async (): Promise<Decoding> => {
    const { openDecoderThreads } = await import("./adapters/decoding/threads.ts");
    const { openScratch } = await import("./adapters/decoding/scratch.ts");
    const { stateDirectoryOf } = await import("./database-address.ts");
    const version = versionOf();
    return openScratch({
      enabled,
      formats,
      settings,
      version,
      folder: join(stateDirectoryOf(config), "decoding"),
      // One core is for sending.
      decoder: openDecoderThreads({ threads: Math.max(1, Math.min(availableParallelism() - 1, 8)) }),
      now: Date.now,
      random: Math.random,
    });
  };
  const scratch = (): Promise<Decoding> => (opened ??= open());
  return {
    enabled,
    formats,
    settings: settingsText(settings, formats),
    isRecording: async (path) => (await scratch()).isRecording(path),
    make: async (path, how, signal) => (await scratch()).make(path, how, signal),
    close: async () => (await opened)?.close(),
  };
}

/** What `decode` needs; no database, no destination. */
export async function openDecode(
  { stopping, dropping }: Pick<World, "stopping" | "dropping">,
  folder: string,
): Promise<DecodeContext & { close(): Promise<void> }> {
  const { openDecoderThreads } = await import("./adapters/decoding/threads.ts");
  const { openOutputFolder } = await import("./adapters/decoding/outputs.ts");
  const { findRecordings, isFolder } = await import("./adapters/recordings.ts");
  const atOnce = Math.min(availableParallelism(), 4);
  const decoder = openDecoderThreads({ threads: atOnce });
  return {
    files: { isFolder, find: findRecordings },
    decoder,
    openOutputs: (sources) => openOutputFolder({ folder, sources, random: Math.random }),
    atOnce,
    stopping,
    dropping,
    close: () => decoder.close(),
  };
}

export async function openBandwidth({ config, emit }: World): Promise<Bandwidth> {
  const { openBandwidth: open } = await import("./adapters/bandwidth.ts");
  return open({
    configured: config.bwlimit,
    now: () => performance.now(),
    onChange: (limit) =>
      emit({
        type: "notice",
        sessionId: null,
        level: "info",
        message: limit === null ? "no bandwidth limit any more" : `bandwidth limit: ${limit} bytes/s`,
      }),
  });
}

/** The rules by which files of a source are chosen, for one path at a time. `root` need not be there. */
export async function openRules(
  config: Config,
  root: string,
  chosen: { include: readonly string[]; exclude: readonly string[] },
): Promise<SelectionRules> {
  const { openSelectionRules } = await import("./adapters/source/rules.ts");
  return openSelectionRules({ root, ...chosen, excludePaths: await ownPaths(config) });
}

/** More connections than this gain nothing from one process (measured at 20 ms latency: 64 → 1,389, 256 → 1,910 files/s). */
const autoCeiling = 384;

export async function openConcurrency({ config, emit }: World): Promise<Concurrency> {
  const { autoConcurrency, fixedConcurrency } = await import("./operations/concurrency.ts");
  if (config.concurrency !== "auto") return fixedConcurrency(config.concurrency);
  const { openFilesLimit } = await import("./adapters/machine.ts");
  // Each file on its way holds a descriptor of its own and one of a connection.
  const byDescriptors = Math.floor(((openFilesLimit() ?? 1024) - 64) / 2);
  return autoConcurrency({
    ceiling: Math.max(4, Math.min(autoCeiling, byDescriptors)),
    now: () => performance.now(),
    say: (message) => emit({ type: "notice", sessionId: null, level: "detail", message }),
  });
}

export interface Parts {
  state: OpenedState;
  destination: Context["destination"];
  source: SourceTree;
  concurrency: Concurrency;
  bandwidth?: Bandwidth;
  decoding?: Decoding;
  trigger?: Trigger;
  onChange: "fail" | "replace";
}

/** Time, chance, cancellation and a mouth, as operations get them. */
export const surroundings = ({ emit, stopping, dropping }: World) => ({
  now: () => performance.now(),
  wallClock: Date.now,
  random: Math.random,
  sleep: rest,
  emit,
  stopping,
  dropping,
});

export async function openContext(world: World, parts: Parts): Promise<Context> {
  const { config } = world;
  const { state } = parts;
  const { applyMemo, openJournal } = await import("./store/journal.ts");
  const { stateDirectoryOf } = await import("./database-address.ts");
  const maxOutageMs = config.maxOutageMinutes * 60_000;
  state.database.setPatience(maxOutageMs);
  return {
    store: state.store,
    apply: (memo) => applyMemo(state.hasty, memo),
    journal: openJournal(stateDirectoryOf(config), await state.store.installation(), state.me),
    giveUpOnDatabase: () => state.database.setPatience(0),
    me: state.me,
    destination: parts.destination,
    source: parts.source,
    concurrency: parts.concurrency,
    ...(parts.bandwidth && { bandwidth: parts.bandwidth }),
    ...(parts.decoding && { decoding: parts.decoding }),
    ...(parts.trigger && { trigger: parts.trigger }),
    policy: {
      attempts: config.attempts,
      existing: config.existing,
      onConflict: config.onConflict,
      onChange: config.onChange ?? parts.onChange,
      settleSeconds: config.sync.settleSeconds,
      maxOutageMs,
      patientTags: config.patientTags,
    },
    ...surroundings(world),
  };
}
