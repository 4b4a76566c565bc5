/** From zod's findings to sentences that name the place, what was expected and what was found. */
import type { core } from "zod";
import { UploaderError } from "../core/errors.ts";
import type { ConfigFile } from "./file.ts";
import type { JsonValue } from "./json-text.ts";
import { choicesOf, expectedOf, type SchemaNode } from "./keys.ts";
import type { Layer } from "./layers.ts";
import { editDistance } from "./nearest.ts";

const shownIssues = 10;
const shownCharacters = 60;

/** These may hold a password or a token, so what was found is not repeated. */
const confidential = /(?:^|\.)(?:url|endpoint)$/;

/** `usage` when only flags are at fault, else `config_invalid`. One line per finding. */
export function explainIssues(
  issues: readonly core.$ZodIssue[],
  settings: Layer,
  schema: SchemaNode,
  file: ConfigFile | null,
): UploaderError {
  const findings = issues.map((issue) => explain(issue.path, settings, schema, file));
  // Two bad items of one list are one finding.
  const lines = [...new Set(findings.map(({ origin, text }) => `${origin}: ${text}`))];
  if (lines.length > shownIssues) lines.splice(shownIssues, lines.length, `and ${lines.length - shownIssues} more`);
  const hint = lines.length === 1 ? findings[0]!.hint : undefined;
  const isUsage = findings.every(({ origin }) => /^(flag|argument) /.test(origin));
  return new UploaderError(isUsage ? "usage" : "config_invalid", lines.join("\n"), hint === undefined ? {} : { hint });
}

type Path = readonly PropertyKey[];

function explain(issuePath: Path, settings: Layer, schema: SchemaNode, file: ConfigFile | null) {
  const place = keyPlace(issuePath, schema);
  const path = pathOf(place.path);
  const origin = settings.get(path)?.origin ?? file?.originOf(path) ?? "configuration";
  const value = valueAt(settings, place.path);
  const found = value === undefined ? "nothing" : confidential.test(path) ? kindOf(value) : shown(value);
  const choices = choicesOf(place.node);
  const meant =
    typeof value === "string" ? choices.find((choice) => editDistance(choice, value.toLowerCase()) <= 2) : undefined;
  // A flag and a variable name the key themselves.
  const key = /^(?:flag|argument|environment UPLOADER_|\.env UPLOADER_)/.test(origin) ? "" : `${path}: `;
  return {
    origin,
    text: `${key}expected ${expectedOf(place.node)}, found ${found}`,
    hint: meant === undefined ? undefined : `did you mean ${JSON.stringify(meant)}?`,
  };
}

/** The key that a finding is about: a finding within a list of texts is about the list. */
function keyPlace(path: Path, schema: SchemaNode): { path: Path; node: SchemaNode } {
  let node = schema;
  let depth = 0;
  for (const segment of path) {
    const inner = typeof segment === "number" ? node.items : node.properties?.[String(segment)];
    if (inner === undefined || (typeof segment === "number" && inner.properties === undefined)) break;
    node = inner;
    depth += 1;
  }
  return { path: path.slice(0, depth), node };
}

function pathOf(path: Path): string {
  return path
    .map((segment) => (typeof segment === "number" ? `[${segment}]` : `.${String(segment)}`))
    .join("")
    .replace(/^\./, "");
}

function valueAt(settings: Layer, path: Path): JsonValue | undefined {
  const direct = settings.get(pathOf(path));
  if (direct !== undefined) return direct.value;
  let value: JsonValue | undefined = settings.get(String(path[0]))?.value;
  for (const segment of path.slice(1)) {
    value =
      value === null || typeof value !== "object" ? undefined : (value as Record<PropertyKey, JsonValue>)[segment];
  }
  return value;
}

function shown(value: JsonValue): string {
  const text = JSON.stringify(value);
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  return isObject || text.length > shownCharacters ? kindOf(value) : text;
}

function kindOf(value: JsonValue): string {
  if (Array.isArray(value)) return "a list";
  if (value === null) return "null";
  return typeof value === "object" ? "an object" : typeof value === "string" ? "another text" : JSON.stringify(value);
}
