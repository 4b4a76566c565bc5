/** The configuration file: read, parsed, its keys known, its values not yet checked. */
import { dirname } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { readConfigured } from "./environment.ts";
import { type JsonObject, type JsonValue, parseJsonText } from "./json-text.ts";
import { expectedOf, keysOf, type SchemaNode } from "./keys.ts";
import type { Layer, Setting } from "./layers.ts";
import { isLegacyKey, readLegacy } from "./legacy.ts";
import { nearestKey } from "./nearest.ts";
import type { DatabaseFields } from "./service-file.ts";

export interface ConfigFile {
  layer: Layer;
  /** Entries of `sources`, each with its own keys. */
  entries: { name: string; layer: Layer }[];
  olderDatabase: { fields: DatabaseFields; password: string | null; origin: string } | null;
  notices: string[];
  /** `file reef.json:12` for a dotted path, or for what holds it. */
  originOf(path: string): string;
}

/** Secrets that people put where settings are; letters and digits only, in lower case. */
const secrets = new Map([
  ["password", "UPLOADER_DATABASE_PASSWORD"],
  ["databasepassword", "UPLOADER_DATABASE_PASSWORD"],
  ["secret", "UPLOADER_TRIGGER_SECRET"],
  ["secrets", "UPLOADER_TRIGGER_SECRET"],
  ["triggersecret", "UPLOADER_TRIGGER_SECRET"],
  ["apikey", "UPLOADER_TRIGGER_API_KEY"],
  ["pseudonymkey", "UPLOADER_PSEUDONYM_KEY"],
  ["triggerapikey", "UPLOADER_TRIGGER_API_KEY"],
  ["accesskeyid", "AWS_PROFILE"],
  ["secretaccesskey", "AWS_PROFILE"],
  ["sessiontoken", "AWS_PROFILE"],
  ["awsaccesskeyid", "AWS_PROFILE"],
  ["awssecretaccesskey", "AWS_PROFILE"],
  ["awssessiontoken", "AWS_PROFILE"],
]);

/** `name` is the path as the user gave it, `path` the absolute one. Throws `config_invalid`. */
export function readConfigFile(path: string, name: string, schema: SchemaNode): ConfigFile {
  const bytes = readConfigured(path, "the configuration file", "give its path with --config");
  const { value: root, lines } = parseJsonText(decode(bytes, name), name);
  const baseDirectory = dirname(path);
  const entryNode = schema.properties?.sources?.items ?? {};

  function originOf(at: string): string {
    const line = lines.get(at);
    if (line !== undefined) return `file ${name}:${line}`;
    const holder = at.replace(/(?:\.|\[)[^.[]*$/, "");
    return holder === at ? `file ${name}` : originOf(holder);
  }

  /** Settings of an object by their path below `prefix`; every key must be one of the schema's. */
  function collect(holder: JsonObject, node: SchemaNode, prefix: string, inner: string, into: Map<string, Setting>) {
    for (const [key, value] of Object.entries(holder)) {
      const [whole, below] = [`${prefix}${key}`, `${inner}${key}`];
      const child = Object.hasOwn(node.properties ?? {}, key) ? node.properties?.[key] : undefined;
      if (child === undefined) {
        if (whole === key && isLegacyKey(key)) continue;
        throw unknownKey(key, whole, inner, originOf(whole));
      }
      if (below === "$schema") continue;
      if (child.properties !== undefined) {
        if (value === null) continue;
        collect(asObject(value, expectedOf(child), whole), child, `${whole}.`, `${below}.`, into);
      } else into.set(below, { value, origin: originOf(whole), baseDirectory, isFinal: false });
    }
    return into;
  }

  function asObject(value: JsonValue, expected: string, at: string): JsonObject {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
    throw new UploaderError("config_invalid", `${originOf(at)}: ${at === "" ? "" : `${at}: `}expected ${expected}`);
  }

  function unknownKey(key: string, whole: string, group: string, origin: string): UploaderError {
    const variable = secrets.get(key.toLowerCase().replace(/[^a-z0-9]/g, ""));
    if (variable !== undefined) {
      const own = variable.startsWith("UPLOADER_")
        ? `set ${variable}, or ${variable}_FILE`
        : "use s3.profile, or the AWS variables";
      return new UploaderError("config_invalid", `${origin}: ${whole} is a secret, and this file is no place for one`, {
        hint: `remove it and ${own}`,
      });
    }
    const isOfSource = whole.startsWith("sources[");
    const [all, own] = [schema, isOfSource ? entryNode : schema].map((node) => keysOf(node).map(({ path: at }) => at));
    const nearest = nearestKey(`${group}${key}`, [...all!, "sources"])!.key;
    const where =
      isOfSource && !own!.includes(nearest) ? `${nearest} at the top level, for all sources` : inWords(nearest, group);
    return new UploaderError("config_invalid", `${origin}: there is no key ${JSON.stringify(whole)}`, {
      hint: `the nearest known key is ${where}`,
    });
  }

  const top = asObject(root, 'an object: { "key": value }', "");
  const layer = collect(top, schema, "", "", new Map());
  const legacy = readLegacy(top, name, (key) => lines.get(key) ?? 1);
  for (const { path: at, value, key } of legacy.settings) {
    layer.set(at, { value, origin: originOf(key), baseDirectory, isFinal: false });
  }

  const given = layer.get("sources")?.value;
  const entries = (Array.isArray(given) ? given : []).map((entry, at) => {
    const object = asObject(entry, "an object with a name", `sources[${at}]`);
    return {
      name: typeof object.name === "string" ? object.name : "",
      layer: collect(object, entryNode, `sources[${at}].`, "", new Map()),
    };
  });
  const twice = entries.find(({ name: own }, at) => entries.findIndex((other) => other.name === own) !== at);
  if (twice?.name) {
    throw new UploaderError(
      "config_invalid",
      `${originOf("sources")}: two sources are called ${JSON.stringify(twice.name)}`,
      {
        hint: "give each its own name",
      },
    );
  }
  return {
    layer,
    entries,
    olderDatabase: legacy.database && { ...legacy.database, origin: originOf(legacy.database.key) },
    notices: legacy.notice === null ? [] : [legacy.notice],
    originOf,
  };
}

/** A key as it is written where `group` is: `region` of `s3` stands inside its object. */
function inWords(path: string, group: string): string {
  const dot = path.lastIndexOf(".") + 1;
  const [holder, key] = [path.slice(0, dot), JSON.stringify(path.slice(dot))];
  if (holder === group) return key;
  return `${key} ${holder === "" ? "at the top level" : `inside ${JSON.stringify(holder.slice(0, -1))}`}`;
}

function decode(bytes: Buffer, name: string): string {
  const isWide = bytes.length > 1 && (bytes.readUInt16BE(0) === 0xfffe || bytes.readUInt16BE(0) === 0xfeff);
  try {
    if (!isWide) return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new UploaderError("config_invalid", `${name} is not UTF-8`, { hint: "save it as UTF-8", cause });
  }
  throw new UploaderError("config_invalid", `${name} is UTF-16`, { hint: "save it as UTF-8" });
}
