/** What flags and our own variables say: the upper layers. */
import { UploaderError } from "../core/errors.ts";
import type { Lookup } from "./environment.ts";
import { flagOf, type Key } from "./keys.ts";
import type { Layer, Setting } from "./layers.ts";
import { nearestKey } from "./nearest.ts";
import { splitList, valueOfText } from "./text-value.ts";

/**
 * By dotted key path (`s3.profile`); texts are read as the key wants them. `argument source`: given without its flag, as
 * the command's argument; `flag --url trigger.url`: by another flag.
 */
export type GivenFlags = Record<string, string | boolean | number | readonly string[]>;

export function flagLayer(flags: GivenFlags, keys: readonly Key[], cwd: string): Layer {
  const layer = new Map<string, Setting>();
  for (const [name, given] of Object.entries(flags)) {
    const words = name.split(" ");
    const path = words.at(-1)!;
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
    const value =
      typeof given === "string" ? valueOfText(key, given) : typeof given === "object" ? listOf(key, given) : given;
    layer.set(path, {
      value,
      origin: name === path ? `flag ${flagOf(path)}` : words.slice(0, 2).join(" "),
      baseDirectory: cwd,
      isFinal: true,
    });
  }
  return layer;
}

/** A flag given several times. Patterns may hold commas of their own; words of a fixed choice may be told apart by them. */
const listOf = ({ node }: Key, given: readonly string[]): string[] =>
  node.items?.enum ? given.flatMap(splitList) : [...given];

export function variableLayer(lookup: Lookup, keys: readonly Key[], cwd: string): Layer {
  const layer = new Map<string, Setting>();
  for (const key of keys) {
    const found = lookup(key.env);
    if (found === null) continue;
    const value = valueOfText(key, found.text);
    layer.set(key.path, { value, origin: found.origin, baseDirectory: cwd, isFinal: true });
  }
  return layer;
}

/** UPLOADER_CONCURENCY changes nothing, silently: worth a word. Other programs' names are far from ours. */
export function misspelt(env: NodeJS.ProcessEnv, known: readonly string[]): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith("UPLOADER_") && !known.includes(name))
    .flatMap((name) => {
      const nearest = nearestKey(name, known)!;
      return nearest.edits <= 2 ? [`environment ${name} is not known; ${nearest.key} is`] : [];
    });
}
