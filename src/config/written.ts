/** A configuration file that says what flags and answers say. */
import { packageRoot } from "../installed.ts";
import { flagLayer, type GivenFlags } from "./given.ts";
import { keysOf, readSchema } from "./keys.ts";
import { type Setting, treeOf } from "./layers.ts";

/** Where editors find what may stand in the file. */
export const publishedSchemaUrl = new URL("config.schema.json", packageRoot).href;

/** The text of a file; keys in the schema's order, values as a file holds them. Throws `usage`. */
export function configText(flags: GivenFlags, cwd: string): string {
  const keys = keysOf(readSchema());
  const given = flagLayer(flags, keys, cwd);
  const ordered = new Map<string, Setting>();
  for (const { path } of keys) {
    const setting = given.get(path);
    if (setting !== undefined && setting.value !== null) ordered.set(path, setting);
  }
  return `${JSON.stringify({ $schema: publishedSchemaUrl, ...treeOf(ordered) }, null, 2)}\n`;
}
