/** From flags, variables, the file and borrowed names to one checked configuration. */
import { resolve } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { borrowedLayer, borrowedNames, readCloudSwitches } from "./borrowed.ts";
import { type DatabaseConnection, type NamedDatabase, nameDatabase } from "./database.ts";
import { parseFolder } from "./destination.ts";
import { createLookup, type Lookup, readDotenv, readSecrets, type Secrets, secretNames } from "./environment.ts";
import { type ConfigFile, readConfigFile } from "./file.ts";
import { flagLayer, type GivenFlags, misspelt, variableLayer } from "./given.ts";
import { explainIssues } from "./issues.ts";
import { keysOf, readSchema, type SchemaNode } from "./keys.ts";
import { type Layer, mergeLayers, type Setting, treeOf } from "./layers.ts";
import { isWithin, type Placed, place, readPlace } from "./places.ts";
import { configSchema, type Settings } from "./schema.ts";

export interface ConfigInput {
  flags: GivenFlags;
  /** As the user gave it; `null`: what UPLOADER_CONFIG names, else no file. */
  configPath: string | null;
  env: NodeJS.ProcessEnv;
  cwd: string;
}

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
  const { env, cwd } = input;
  const schema = readSchema();
  // A file is read once, as it may be a pipe.
  const files = new Map<string, ConfigFile>();
  const fileOf = (name: string): ConfigFile => {
    const file = files.get(name) ?? readConfigFile(resolve(cwd, name), name, schema);
    files.set(name, file);
    return file;
  };
  const known = [...keysOf(schema).map((key) => key.env), ...ownNames];
  const misspellings = misspelt(env, known);
  const loadWith = (variables: Record<string, string>, ...notices: string[]): LoadedConfig => {
    const loaded = resolveConfig(input, schema, createLookup(env, variables), fileOf);
    return { ...loaded, notices: [...loaded.notices, ...misspellings, ...notices] };
  };
  const isInSource = ({ config }: LoadedConfig): boolean =>
    isWithin(cwd, [config.source, ...config.sources.map(({ source }) => source)]);

  const dotenv = readDotenv(cwd, new Set([...known, ...borrowedNames]));
  if (dotenv === null) return loadWith({});
  // What lies on a card must not steer the program, and `.env` itself must not say where the source is.
  if (!isInSource(loadWith({}))) {
    const loaded = loadWith(dotenv.variables, ...dotenv.notices);
    if (!isInSource(loaded)) return loaded;
  }
  return loadWith({}, ".env is left out, because it lies inside a source");
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

function resolveConfig(
  { flags, configPath: named, cwd }: ConfigInput,
  schema: SchemaNode,
  lookup: Lookup,
  fileOf: (name: string) => ConfigFile,
): LoadedConfig {
  const keys = keysOf(schema);
  const fileName = named ?? lookup("UPLOADER_CONFIG")?.text ?? null;
  const file = fileName === null ? null : fileOf(fileName);
  const cloud = readCloudSwitches(lookup);
  const above = mergeLayers([flagLayer(flags, keys, cwd), variableLayer(lookup, keys, cwd)]);
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
    assertKms(parsed.s3, own);
    return place(parsed, own, cwd);
  });

  const database = databaseOf(settings.database.url, merged.get("database.url"), file, lookup, cwd);
  const secrets = readSecrets(lookup, cwd);
  const { $schema: _, ...top } = place(settings, merged, cwd);
  const config: Config = {
    ...top,
    stateDirectory: readPlace("stateDirectory", top.stateDirectory, merged, cwd, (text, base) =>
      parseFolder(text, base, "stateDirectory"),
    ),
    logFile: readPlace("logFile", top.logFile, merged, cwd, (text, base) => parseFolder(text, base, "logFile")),
    database: { ...settings.database, connection: database.connection },
    sources,
    secrets: { ...secrets, databasePassword: secrets.databasePassword ?? database.password },
    cloudUploadEnabled: cloud.cloudUploadEnabled,
    configPath: fileName === null ? null : resolve(cwd, fileName),
  };
  const origins = new Map(keys.map(({ path }) => [path, merged.get(path)?.origin ?? "default"]));
  origins.set("sources", merged.get("sources")?.origin ?? "default");
  origins.set("database.connection", database.origin);
  origins.set("cloudUploadEnabled", cloud.origin);
  return { config, origins, notices: [...(file?.notices ?? []), ...database.notices], configPath: config.configPath };
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
  assertKms(result.data.s3, settings);
  return result.data;
}

/** S3 refuses every file of such a request, so it is told before the first. */
function assertKms({ kmsKeyId, serverSideEncryption }: Settings["s3"], settings: Layer): void {
  if (kmsKeyId === null || serverSideEncryption?.startsWith("aws:kms")) return;
  const origin = settings.get("s3.kmsKeyId")?.origin;
  throw new UploaderError("config_invalid", `${origin}: s3.kmsKeyId needs s3.serverSideEncryption "aws:kms"`);
}

function databaseOf(
  url: string | null,
  setting: Setting | undefined,
  file: ConfigFile | null,
  lookup: Lookup,
  cwd: string,
): NamedDatabase {
  // `--database-url none` means the embedded one, whatever the file and the environment name.
  if (setting?.isFinal && setting.value === null)
    return nameDatabase({ url: null, older: null, lookup: () => null, cwd });
  const named = setting === undefined || url === null ? null : { text: url, origin: setting.origin };
  return nameDatabase({ url: named, older: file?.olderDatabase ?? null, lookup, cwd });
}
