/** From a flag's or a variable's text to the value a file would hold. What does not fit stays text, and is refused later. */
import type { JsonValue } from "./json-text.ts";
import { type Key, takes } from "./keys.ts";

const yes = ["true", "1", "yes", "on"];
const no = ["false", "0", "no", "off"];

/** `none` empties a key that may be empty: nothing below it, neither file nor borrowed name, then fills it. */
export function valueOfText({ node, nullable }: Pick<Key, "node" | "nullable">, text: string): JsonValue {
  const word = text.trim();
  if (nullable && word === "none") return null;
  if (takes(node, "array")) return splitList(text);
  if (takes(node, "boolean") && yes.includes(word.toLowerCase())) return true;
  if (takes(node, "boolean") && no.includes(word.toLowerCase())) return false;
  const isNumeric = takes(node, "integer") || takes(node, "number");
  return isNumeric && /^[+-]?\d+(?:\.\d+)?$/.test(word) ? Number(word) : text;
}

/** At commas and line ends, but not at the commas inside the brackets of a pattern: `**\/*.{wav,flac}` is one. */
export function splitList(text: string): string[] {
  const items: string[] = [""];
  let depth = 0;
  for (const character of text) {
    if ("{([".includes(character)) depth += 1;
    else if ("})]".includes(character)) depth = Math.max(0, depth - 1);
    if (/[,\n]/.test(character) && depth === 0) items.push("");
    else items[items.length - 1] += character;
  }
  return items.map((item) => item.trim()).filter((item) => item !== "");
}
