/** From flags, variables, the file and borrowed names to one checked configuration. */
import { existsSync, realpathSync } from "node:fs";
import { resolve, sep } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { borrowedLayer, borrowedNames, readCloudSwitches } from "./borrowed.ts";
import { type DatabaseConnection, nameDatabase } from "./database.ts";
import { type DestinationPlace, parseDestination, parseFolder, projectNameOf } from "./destination.ts";
import { createLookup, type Lookup, readDotenv, readSecrets, type Secrets, secretNames } from "./environment.ts";
import { type ConfigFile, readConfigFile } from "./file.ts";
import { explainIssues } from "./issues.ts";
import { flagOf, type Key, keysOf, readSchema, type SchemaNode } from "./keys.ts";
import { type Layer, mergeLayers, type Setting, treeOf } from "./layers.ts";
import { nearestKey } from "./nearest.ts";
import { configSchema, type Settings } from "./schema.ts";
import { valueOfText } from "./text-value.ts";

export interface ConfigInput {
  /** By dotted key path (`s3.profile`); texts are read as the key wants them. */
  flags: Record<string, string | boolean | number | readonly string[]>;
  /** As the user gave it; `null`: what UPLOADER_CONFIG names, else no file. */
  configPath: string | null;
  env: NodeJS.ProcessEnv;
  cwd: string;
}

type Placed<T> = Omit<T, "destination"> & { destination: DestinationPlace | null };

/** One of `sources`, filled up from the top level; places are absolute. */
export type SourceConfig = Placed<Settings["sources"][number]>;

/** The effective configuration; places are absolute. `project` is null when there is no destination to name it. */
export interface Config extends Placed<Omit<Settings, "$schema" | "database" | "sources">> {
  database: Settings["database"] & { connection: DatabaseConnection };
  sources: SourceConfig[];
  secrets: Secrets;
  /** False when CLOUD_UPLOAD_ENABLED says so. */
  cloudUploadEnabled: boolean;
  /** Absolute. */
  configPath: string | null;
}

export interface LoadedConfig {
  config: Config;
  /** Where each value comes from, by dotted path: see `Setting.origin`. */
  origins: Map<string, string>;
  notices: string[];
  configPath: string | null;
}

/**
 * Flag, then UPLOADER_* variable, then file, then borrowed name, then default. Throws `usage` for flags and
 * `config_invalid` for everything else that cannot be understood.
 */
export function loadConfig(input: ConfigInput): LoadedConfig {
  const schema = readSchema();
  const plain = resolveConfig(input, schema, createLookup(input.env, {}));
  const known = new Set([...keysOf(schema).map((key) => key.env), ...borrowedNames, ...ownNames]);
  const dotenv = readDotenv(input.cwd, (name) => known.has(name));
  if (dotenv === null) return plain;
  // What lies on a card must not steer the program, and neither may `.env` itself say that it does not.
  const withDotenv = () => resolveConfig(input, schema, createLookup(input.env, dotenv.variables));
  const loaded = isWithinSource(plain.config, input.cwd) ? null : withDotenv();
  if (loaded === null || isWithinSource(loaded.config, input.cwd)) {
    return { ...plain, notices: [...plain.notices, ".env is left out, because it lies inside a source"] };
  }
  return { ...loaded, notices: [...loaded.notices, ...dotenv.notices] };
}

/** The configuration with one of `sources` in place of the top level. Throws `usage` when there is none of that name. */
export function configForSource(config: Config, name: string): Config {
  const entry = config.sources.find((source) => source.name === name);
  if (entry !== undefined) {
    const { name: _, ...own } = entry;
    return { ...config, ...own };
  }
  const names = config.sources.map((source) => source.name);
  throw new UploaderError("usage", `there is no source called ${JSON.stringify(name)}`, {
    hint: names.length > 0 ? `there are ${names.join(", ")}` : "the configuration has no sources",
  });
}

const ownNames = [...secretNames, ...secretNames.map((name) => `${name}_FILE`), "UPLOADER_CONFIG"];

/** An entry of `sources` says these itself: a flag for all of them would make them one. */
const ownOfSource = new Set(["source", "destination", "project", "usersFile"]);

function resolveConfig(input: ConfigInput, schema: SchemaNode, lookup: Lookup): LoadedConfig {
  const { cwd } = input;
  const keys = keysOf(schema);
  const named = input.configPath ?? lookup("UPLOADER_CONFIG")?.text ?? null;
  const configPath = named === null ? null : resolve(cwd, named);
  const file = named === null || configPath === null ? null : readConfigFile(configPath, named, schema);
  const cloud = readCloudSwitches(lookup);
  const above = mergeLayers([flagLayer(input, keys), variableLayer(lookup, keys, cwd)]);
  const fileLayer: Layer = file?.layer ?? new Map();
  const merge = (entry: Layer) => {
    const own = mergeLayers([withoutOwn(above, entry), entry, fileLayer]);
    return mergeLayers([own, borrowedLayer(lookup, (path) => (own.get(path)?.value ?? null) !== null, cwd)]);
  };
  const merged = merge(new Map());
  const settings = check(merged, schema, file);
  const sources = (file?.entries ?? []).map(({ name, layer }) => {
    const own = merge(layer);
    const parsed = configSchema()
      .shape.sources.unwrap()
      .element.parse({ ...treeOf(ofEntry(own, schema)), name });
    return place(parsed, own, cwd);
  });

  const url = merged.get("database.url");
  const isEmptied = url?.isFinal === true && url.value === null;
  const database = nameDatabase({
    url: url && settings.database.url !== null ? { text: settings.database.url, origin: url.origin } : null,
    older: isEmptied ? null : (file?.olderDatabase ?? null),
    // `--database-url none` means the embedded one, whatever the environment names.
    lookup: isEmptied ? () => null : lookup,
    cwd,
  });
  const secrets = readSecrets(lookup, cwd);
  const { $schema: _, ...top } = place(settings, merged, cwd);
  const config: Config = {
    ...top,
    database: { ...settings.database, connection: database.connection },
    sources,
    secrets: { ...secrets, databasePassword: secrets.databasePassword ?? database.password },
    cloudUploadEnabled: cloud.cloudUploadEnabled,
    configPath,
  };
  const origins = new Map(keys.map(({ path }) => [path, merged.get(path)?.origin ?? "default"]));
  origins.set("sources", merged.get("sources")?.origin ?? "default");
  origins.set("database.connection", database.origin);
  origins.set("cloudUploadEnabled", cloud.origin);
  return {
    config,
    origins,
    notices: [...(file?.notices ?? []), ...database.notices, ...misspelt(input.env, keys)],
    configPath,
  };
}

function flagLayer({ flags, cwd }: ConfigInput, keys: readonly Key[]): Layer {
  const layer = new Map<string, Setting>();
  for (const [path, given] of Object.entries(flags)) {
    const key = keys.find((known) => known.path === path);
    if (key === undefined) {
      const nearest = nearestKey(
        path,
        keys.map((known) => known.path),
      )!.key;
      throw new UploaderError("usage", `there is no key ${JSON.stringify(path)}`, {
        hint: `the nearest is ${nearest}`,
      });
    }
    const value = typeof given === "string" ? valueOfText(key, given) : typeof given === "object" ? [...given] : given;
    layer.set(path, { value, origin: `flag ${flagOf(path)}`, baseDirectory: cwd, isFinal: true });
  }
  return layer;
}

function variableLayer(lookup: Lookup, keys: readonly Key[], cwd: string): Layer {
  const layer = new Map<string, Setting>();
  for (const key of keys) {
    const found = lookup(key.env);
    if (found === null) continue;
    const value = valueOfText(key, found.text);
    layer.set(key.path, { value, origin: found.origin, baseDirectory: cwd, isFinal: true });
  }
  return layer;
}

function withoutOwn(above: Layer, entry: Layer): Layer {
  return new Map([...above].filter(([path]) => !ownOfSource.has(path) || (entry.get(path)?.value ?? null) === null));
}

/** The part that an entry of `sources` has keys for. */
function ofEntry(settings: Layer, schema: SchemaNode): Layer {
  const names = schema.properties?.sources?.items?.properties ?? {};
  return new Map([...settings].filter(([path]) => Object.hasOwn(names, path.split(".")[0]!)));
}

function check(settings: Layer, schema: SchemaNode, file: ConfigFile | null): Settings {
  const result = configSchema().safeParse(treeOf(settings));
  if (!result.success) throw explainIssues(result.error.issues, settings, schema, file);
  const { kmsKeyId, serverSideEncryption } = result.data.s3;
  if (kmsKeyId === null || serverSideEncryption?.startsWith("aws:kms")) return result.data;
  const { origin } = settings.get("s3.kmsKeyId")!;
  throw new UploaderError("config_invalid", `${origin}: s3.kmsKeyId needs s3.serverSideEncryption "aws:kms"`);
}

interface Places {
  project: string | null;
  source: string | null;
  destination: string | null;
  usersFile: string | null;
}

/** Those of the file are relative to its folder, all others to the working directory. */
function place<T extends Places>(settings: T, from: Layer, cwd: string): Placed<T> {
  const absolute = (path: "source" | "usersFile"): string | null =>
    settings[path] === null ? null : within(from.get(path), (base) => parseFolder(settings[path]!, base, path), cwd);
  const destination =
    settings.destination === null
      ? null
      : within(from.get("destination"), (base) => parseDestination(settings.destination!, base), cwd);
  return {
    ...settings,
    source: absolute("source"),
    usersFile: absolute("usersFile"),
    destination,
    project: settings.project ?? (destination === null ? null : projectNameOf(destination)),
  };
}

/** Reads a place from where its setting was made; an error says where that was. */
function within<T>(setting: Setting | undefined, read: (baseDirectory: string) => T, cwd: string): T {
  try {
    return read(setting?.baseDirectory ?? cwd);
  } catch (error) {
    if (!(error instanceof UploaderError) || setting === undefined) throw error;
    const { code, hint, cause } = error;
    throw new UploaderError(
      setting.origin.startsWith("flag ") ? "usage" : code,
      `${setting.origin}: ${error.message}`,
      {
        ...(hint === undefined ? {} : { hint }),
        cause,
      },
    );
  }
}

function isWithinSource(config: Config, directory: string): boolean {
  const here = realPath(directory);
  return [config.source, ...config.sources.map(({ source }) => source)].some((source) => {
    if (source === null) return false;
    const root = realPath(source);
    return here === root || here.startsWith(root.endsWith(sep) ? root : root + sep);
  });
}

const realPath = (path: string): string => (existsSync(path) ? realpathSync(path) : path);

/** UPLOADER_CONCURENCY changes nothing, silently: worth a word. Other programs' names are far from ours. */
function misspelt(env: NodeJS.ProcessEnv, keys: readonly Key[]): string[] {
  const known = [...keys.map((key) => key.env), ...ownNames];
  return Object.keys(env)
    .filter((name) => name.startsWith("UPLOADER_") && !known.includes(name))
    .flatMap((name) => {
      const nearest = nearestKey(name, known)!;
      return nearest.edits <= 2 ? [`environment ${name} is not known; ${nearest.key} is`] : [];
    });
}
