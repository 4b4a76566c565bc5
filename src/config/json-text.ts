/** JSON for people: strict, but errors show the place, duplicates are refused, and every key knows its line. */
import { UploaderError } from "../core/errors.ts";
import { maskLine } from "./redact.ts";

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

export interface JsonText {
  value: JsonValue;
  /** Line of each key, by its path (`s3.region`, `sources[0].name`); from 1. */
  lines: ReadonlyMap<string, number>;
}

const maxDepth = 64;
const space = /[ \t\r\n]*/y;
const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const words: [text: string, value: JsonValue][] = [
  ["true", true],
  ["false", false],
  ["null", null],
];

/** What a misplaced beginning usually means. */
const remarks: [pattern: RegExp, hint: string][] = [
  [/^(?:\/\/|\/\*|#)/, "JSON has no comments: remove it"],
  [/^'/, 'JSON wants double quotes: "…"'],
  [/^[\u201c\u201d\u201e]/, 'these are typographic quotes: write "…"'],
  [/^(?:True|False|None|undefined|NaN|yes|no)\b/, "JSON knows true, false and null, in lower case"],
  [/^\.?\d/, "numbers are written like 0.5 or 15"],
];

/** `name` is the file, for messages. Throws `config_invalid` with line, column and the line itself. */
export function parseJsonText(text: string, name: string): JsonText {
  const lines = new Map<string, number>();
  let at = text.startsWith("\ufeff") ? 1 : 0;

  const lineAt = (offset: number): number => text.slice(0, offset).split("\n").length;

  function fail(expected: string, offset = at): never {
    const line = lineAt(offset);
    const start = text.lastIndexOf("\n", offset - 1) + 1;
    const shown = excerpt(
      text
        .slice(start)
        .split(/\r?\n/, 1)[0]!
        .replace(/^\ufeff/, " "),
      offset - start,
    );
    const gutter = String(line).padStart(5);
    const rest = text.slice(offset);
    const hint = remarks.find(([pattern]) => pattern.test(rest))?.[1];
    throw new UploaderError(
      "config_invalid",
      `${name}:${line}:${offset - start + 1}: expected ${expected}, found ${describe(rest)}\n` +
        `${gutter} | ${shown.line}\n${" ".repeat(gutter.length)} | ${" ".repeat(shown.column)}^`,
      hint === undefined ? {} : { hint },
    );
  }

  function match(pattern: RegExp): string | null {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? null;
    if (found !== null) at += found.length;
    return found;
  }

  function next(character: string): boolean {
    match(space);
    if (text[at] !== character) return false;
    at += 1;
    return true;
  }

  function object(path: string, depth: number): JsonObject {
    const result: JsonObject = {};
    const seen = new Map<string, number>();
    if (next("}")) return result;
    do {
      match(space);
      const offset = at;
      const token = match(string) ?? fail(seen.size === 0 ? 'a key in double quotes or "}"' : "a key in double quotes");
      const key = JSON.parse(token) as string;
      const line = lineAt(offset);
      const inner = path === "" ? key : `${path}.${key}`;
      const before = seen.get(key);
      if (before !== undefined) {
        throw new UploaderError(
          "config_invalid",
          `${name}:${line}: ${token} is given twice, in line ${before} and in line ${line}`,
          { hint: "keep one of them" },
        );
      }
      seen.set(key, line);
      lines.set(inner, line);
      if (!next(":")) fail(`":" after the key ${token}`);
      // A plain assignment of "__proto__" would not make a key.
      Object.defineProperty(result, key, { value: value(inner, depth), enumerable: true, writable: true });
    } while (next(","));
    if (!next("}")) fail('"," or "}"');
    return result;
  }

  function list(path: string, depth: number): JsonValue[] {
    const result: JsonValue[] = [];
    if (next("]")) return result;
    do {
      match(space);
      const inner = `${path}[${result.length}]`;
      lines.set(inner, lineAt(at));
      result.push(value(inner, depth));
    } while (next(","));
    if (!next("]")) fail('"," or "]"');
    return result;
  }

  function value(path: string, depth: number): JsonValue {
    if (depth > maxDepth) fail(`at most ${maxDepth} levels`);
    if (next("{")) return object(path, depth + 1);
    if (next("[")) return list(path, depth + 1);
    const token = match(string);
    if (token !== null) return JSON.parse(token) as string;
    for (const [word, meaning] of words) {
      if (!text.startsWith(word, at) || /\w/.test(text[at + word.length] ?? "")) continue;
      at += word.length;
      return meaning;
    }
    const digits = match(number);
    return digits === null ? fail("a value") : Number(digits);
  }

  const result = value("", 0);
  match(space);
  if (at < text.length) fail("the end of the file");
  return { value: result, lines };
}

function describe(rest: string): string {
  if (rest === "") return "the end of the file";
  if (/^[\r\n]/.test(rest)) return "the end of the line";
  if (rest.startsWith('"')) return /^"[^"\r\n]*"/.test(rest) ? "a text" : "a text without an end";
  const [token = ""] = /^(?:[\w.+-]+|.)/su.exec(rest) ?? [];
  return token.length > 20 ? "a word" : JSON.stringify(token);
}

const shownColumns = 100;

/** The part of a line around `column`, secrets masked at equal length, tabs as blanks so that the caret fits. */
function excerpt(line: string, column: number): { line: string; column: number } {
  const from = Math.max(0, column - shownColumns / 2);
  const shown = maskLine(line)
    .replaceAll("\t", " ")
    .slice(from, from + shownColumns)
    .trimEnd();
  return { line: shown, column: column - from };
}
