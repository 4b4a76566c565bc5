/** What `doctor` looks at: everything that some command needs. Reads only. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { type Config, configForSource } from "../config.ts";
import { UploaderError } from "../core/errors.ts";
import type { Probe } from "../operations/doctor.ts";
import type { Face } from "./face.ts";
import { bytes, count, duration, files } from "./format.ts";

/** More than any answer takes, and far less than the 15 minutes that S3 allows. */
const allowedSkewMs = 60_000;
/** For a look at what is selected. */
const patienceMs = 2_000;
const neededBytes = 200 * 1024 * 1024;

export async function doctorProbes(face: Face): Promise<Probe[]> {
  const { config } = face.loaded;
  return [
    { name: "program", run: async () => program(face) },
    { name: "database", run: () => withDatabase(face, database) },
    { name: "clock", run: () => withDatabase(face, clock) },
    { name: "disk", run: () => disk(face) },
    { name: "limits", run: () => limits(face) },
    ...placeProbes(face, config, ""),
    ...config.sources.flatMap(({ name }) => placeProbes(face, configForSource(config, name), ` of ${name}`)),
    ...(config.trigger.url === null ? [] : [{ name: "trigger", run: () => trigger(config) }]),
  ];
}

/** A source that names no places of its own is one of several. */
const placeProbes = (face: Face, config: Config, whose: string): Probe[] => [
  ...(config.source === null ? [] : [{ name: `source${whose}`, run: () => source(face, config) }]),
  ...(config.destination === null ? [] : [{ name: `destination${whose}`, run: () => destination(face, config) }]),
];

const worldOf = (face: Face, config = face.loaded.config) => ({
  config,
  emit: face.emit,
  stopping: face.stopping,
  dropping: face.dropping,
});

function program({ loaded }: Face): string {
  const { node } = process.versions;
  return `Node ${node} on ${process.platform}, configuration ${loaded.configPath ?? "from flags and environment"}`;
}

interface Connected {
  query<R>(text: string): Promise<R[]>;
  description: string;
  schema: string;
  schemaState(): Promise<"absent" | "older" | "current">;
}

export async function withDatabase(face: Face, look: (database: Connected) => Promise<string>): Promise<string> {
  const { openConnection } = await import("../app.ts");
  const { schemaState } = await import("../store/migrate.ts");
  const { schema } = face.loaded.config.database;
  const { database: opened, description } = await openConnection(worldOf(face));
  try {
    return await look({
      query: (text) => opened.query(text),
      description,
      schema,
      schemaState: () => schemaState(opened, schema),
    });
  } finally {
    await opened.close();
  }
}

export async function database({ query, description, schema, schemaState }: Connected): Promise<string> {
  const [row] = await query<{ version: string; number: number; read_only: boolean; may_create: boolean }>(
    `select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
       pg_is_in_recovery() as read_only,
       coalesce((select has_schema_privilege(oid, 'create') from pg_namespace where nspname = '${schema}'),
         has_database_privilege(current_database(), 'create')) as may_create`,
  );
  const refuse = (message: string, hint: string): never => {
    throw new UploaderError("database_refused", message, { hint });
  };
  const { version, number, read_only: isReplica, may_create: mayCreate } = row!;
  if (number < 140_000) refuse(`PostgreSQL ${version} at ${description} is too old`, "version 14 or later is needed");
  if (isReplica) refuse(`${description} is a read-only replica`, "name the primary in database.url");
  const state = await schemaState();
  if (state !== "current" && !mayCreate) {
    refuse(
      `this user may not make tables in schema "${schema}" of ${description}`,
      `as its owner: grant create on schema ${schema} to this user, or name a schema of its own (database.schema)`,
    );
  }
  const words = {
    absent: "no tables yet: the first run makes them",
    older: "the next run brings it up to date",
    current: "up to date",
  };
  return `PostgreSQL ${version}, ${description}, schema "${schema}": ${words[state]}`;
}

async function clock({ query, description }: Connected): Promise<string> {
  const askedMs = Date.now();
  const [row] = await query<{ now_ms: number }>("select extract(epoch from clock_timestamp()) * 1000 as now_ms");
  const offMs = Math.round(row!.now_ms - (askedMs + Date.now()) / 2);
  const off = duration(Math.abs(offMs));
  if (Math.abs(offMs) < allowedSkewMs) return `within ${off} of ${description}'s`;
  const way = offMs > 0 ? "behind" : "ahead of";
  throw new UploaderError("clock_skewed", `this machine's clock is ${off} ${way} ${description}'s`, {
    hint: "let one of them follow a time server: timedatectl set-ntp true; S3 refuses clocks 15 minutes off",
  });
}

async function disk(face: Face): Promise<string> {
  const { freeBytes } = await import("../adapters/machine.ts");
  const { stateDirectoryOf } = await import("../database-address.ts");
  let folder = stateDirectoryOf(face.loaded.config);
  while (!existsSync(folder)) folder = dirname(folder);
  const free = freeBytes(folder);
  if (free >= neededBytes) return `${bytes(free)} free where state is kept (${folder})`;
  throw new UploaderError("disk_full", `only ${bytes(free)} are free where state is kept (${folder})`, {
    hint: "free some space, or set UPLOADER_STATE_DIR",
  });
}

async function limits(face: Face): Promise<string> {
  const { openFilesLimit, watchLimit } = await import("../adapters/machine.ts");
  const { openConcurrency } = await import("../app.ts");
  const descriptors = openFilesLimit();
  const { limit } = await openConcurrency(worldOf(face));
  const wanted = 2 * limit + 64;
  if (descriptors !== null && descriptors < wanted) {
    throw new UploaderError(
      "usage",
      `only ${count(descriptors)} files may be open at once, ${count(wanted)} are wanted`,
      { hint: `ulimit -n ${wanted}, or a lower --concurrency` },
    );
  }
  const open = descriptors === null ? "unknown" : Number.isFinite(descriptors) ? count(descriptors) : "unlimited";
  const watches = watchLimit();
  return `${open} open files${watches === null ? "" : `, ${count(watches)} watches`}`;
}

/** Counts what is selected, for as long as somebody likes to wait. */
export async function source(face: Face, config: Config): Promise<string> {
  const { openSource } = await import("../app.ts");
  const tree = await openSource(config, config.source!);
  const untilMs = performance.now() + patienceMs;
  const seen = { files: 0, bytes: 0, excluded: 0 };
  let more = "";
  for await (const batch of tree.scan(face.stopping)) {
    seen.files += batch.files.length;
    seen.excluded += batch.excludedFiles;
    for (const file of batch.files) seen.bytes += file.sizeBytes;
    if (performance.now() < untilMs) continue;
    more = " and more";
    break;
  }
  const others = seen.excluded === 0 ? "" : `, ${files(seen.excluded)} left out`;
  return `${tree.root} is readable: ${files(seen.files)}, ${bytes(seen.bytes)}${more} selected${others}`;
}

export async function destination(face: Face, config: Config): Promise<string> {
  const { openDestination } = await import("../app.ts");
  if (config.destination?.kind === "folder" && config.source !== null) {
    const { assertDisjoint } = await import("../adapters/folder.ts");
    await assertDisjoint(config.source, config.destination.path);
  }
  const opened = await openDestination(worldOf(face, config));
  try {
    const report = await opened.check(face.stopping);
    return [report.description, ...report.notices].join("; ");
  } finally {
    await opened.close();
  }
}

/** That it could be signed; nothing is sent. */
async function trigger(config: Config): Promise<string> {
  const { openTrigger } = await import("../app/trigger.ts");
  const { plan } = await openTrigger(config);
  return `${plan!.recipe.format} format to ${plan!.shownUrl}, and there is a secret for it (nothing was sent)`;
}
