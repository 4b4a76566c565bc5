/** The table of keys, read from the published schema: their flags, their environment variables, what each one takes. */

import { readFileSync } from "node:fs";
import { packageRoot } from "../installed.ts";

/** The part of JSON Schema that our own schema uses. */
export interface SchemaNode {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  enum?: string[];
  const?: unknown;
  properties?: Record<string, SchemaNode>;
  items?: SchemaNode;
  anyOf?: SchemaNode[];
}

export interface Key {
  /** Dotted: `s3.profile`. */
  path: string;
  env: string;
  nullable: boolean;
  /** In words: `a whole number from 1 to 100`. */
  expected: string;
  node: SchemaNode;
}

export interface FlagSpec {
  path: string;
  /** `--s3-profile <text>`, `--s3-unsigned-payload`, `--no-s3-unsigned-payload`. */
  flag: string;
  /** At most one; `-j` for `--concurrency`. */
  aliases: string[];
  env: string;
  description: string;
  takesValue: boolean;
  /** A list: the flag may be given several times. */
  repeatable: boolean;
}

const aliases: Record<string, string> = {
  concurrency: "-j",
  "s3.region": "--region",
  "s3.endpoint": "--endpoint-url",
  "sync.intervalSeconds": "--interval",
  "sync.settleSeconds": "--settle",
  "decode.enabled": "--decode",
};

/** Where habit has another name than the rule. */
const envNames: Record<string, string> = { stateDirectory: "UPLOADER_STATE_DIR" };

/** What stands between `<` and `>` when the key's name does not say it. */
const placeholders: Record<string, string> = {
  include: "glob",
  exclude: "glob",
  source: "folder",
  stateDirectory: "folder",
  usersFile: "file",
  logFile: "file",
  logMaxSize: "size",
  logKeep: "n",
  http: "address",
  destination: "place",
  concurrency: "n|auto",
  bytesInFlight: "size",
  bwlimit: "size",
  attempts: "n",
  "decode.formats": "list",
};

const words = (path: string): string[] =>
  path
    .replace(/([a-z0-9])([A-Z])/g, "$1.$2")
    .toLowerCase()
    .split(".");
export const flagOf = (path: string): string => `--${words(path).join("-")}`;
export const envOf = (path: string): string => envNames[path] ?? `UPLOADER_${words(path).join("_").toUpperCase()}`;

export function readSchema(): SchemaNode {
  return JSON.parse(readFileSync(new URL("config.schema.json", packageRoot), "utf8")) as SchemaNode;
}

/** All keys with a single value, in the schema's order; not `$schema`, and not `sources`, which only a file can hold. */
export function keysOf(schema: SchemaNode, prefix = ""): Key[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, node]) => {
    const path = prefix + name;
    if (node.properties) return keysOf(node, `${path}.`);
    if (name === "$schema" || node.items?.properties) return [];
    return [{ path, env: envOf(path), nullable: takes(node, "null"), expected: expectedOf(node), node }];
  });
}

/** Does the key take this JSON type? */
export function takes(node: SchemaNode, type: string): boolean {
  return node.type === type || (node.anyOf ?? []).some((one) => takes(one, type));
}

export function choicesOf(node: SchemaNode): string[] {
  return node.enum ?? node.items?.enum ?? (node.anyOf ?? []).flatMap(choicesOf);
}

/** The title next to the key, else the one inside `anyOf`. */
export function expectedOf(node: SchemaNode): string {
  if (node.title !== undefined) return node.title;
  if (node.properties !== undefined) return 'an object: { "key": value }';
  return (node.anyOf ?? []).map(expectedOf).find((text) => text !== "") ?? "";
}

/** Every key as a flag. One of yes or no makes two: `--decode` and `--no-decode`. */
export function describeFlags(): FlagSpec[] {
  return keysOf(readSchema()).flatMap((key): FlagSpec[] => {
    const { path, env, node } = key;
    const alias = aliases[path];
    const spec = { path, env, repeatable: takes(node, "array") };
    if (!takes(node, "boolean")) {
      const flag = `${flagOf(path)} <${placeholderOf(key)}>`;
      return [{ ...spec, flag, aliases: alias ? [alias] : [], description: sentenceOf(node), takesValue: true }];
    }
    return [
      { prefix: "--", description: sentenceOf(node) },
      { prefix: "--no-", description: `The opposite of ${alias ?? flagOf(path)}` },
    ].map(({ prefix, description }) => ({
      ...spec,
      flag: flagOf(path).replace("--", prefix),
      aliases: alias ? [alias.replace("--", prefix)] : [],
      description,
      takesValue: false,
    }));
  });
}

function placeholderOf({ path, node }: Key): string {
  const choices = choicesOf(node);
  if (placeholders[path]) return placeholders[path];
  if (choices.length > 0 && !takes(node, "array")) return choices.join("|");
  return words(path).at(-1)!;
}

function sentenceOf(node: SchemaNode): string {
  const value = Array.isArray(node.default) ? node.default.join(", ") : node.default;
  const isSaid = value === undefined || value === null || value === "" || typeof value === "boolean";
  return `${node.description ?? ""}${isSaid ? "" : ` (default: ${String(value)})`}`;
}
