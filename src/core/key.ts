import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";

/** S3's limit for a whole key, prefix included, in bytes of UTF-8. */
export const maxKeyBytes = 1024;

const keyRules: readonly { problem: string; breaks(key: string): boolean }[] = [
  { problem: "the key is empty", breaks: (key) => key === "" },
  {
    problem: `the key is longer than ${maxKeyBytes} bytes`,
    breaks: (key) => key.length > maxKeyBytes / 3 && Buffer.byteLength(key) > maxKeyBytes,
  },
  { problem: "the name holds a NUL character", breaks: (key) => key.includes("\0") },
  { problem: "the name is not UTF-8", breaks: (key) => /\p{Surrogate}/u.test(key) },
  { problem: 'the key has a segment "." or ".."', breaks: (key) => /(?:^|\/)\.\.?(?:\/|$)/.test(key) },
  { problem: "the key has an empty segment", breaks: (key) => /^\/|\/\/|\/$/.test(key) },
];

/** What may break a rule, in one look: half of what a scan of 300,000 names spent on keys went into the rules. */
const suspicious = /^$|[\0\ud800-\udfff]|\/\/|^\/|\/$|(?:^|\/)\.\.?(?:\/|$)/;

/** Why a full key (prefix included) cannot be stored, or `null`. Blanks, newlines, quotes, emoji, `%` and `+` are fine. */
export function keyProblem(key: string): string | null {
  if (key.length <= maxKeyBytes / 3 && !suspicious.test(key)) return null;
  return keyRules.find((rule) => rule.breaks(key))?.problem ?? null;
}

/** `prefix/key` with exactly one slash between segments of the prefix, whatever the user typed around them. */
export function joinKey(prefix: string, key: string): string {
  return keyStart(prefix) + key;
}

/** What all keys below this prefix begin with: `a/b/`, or nothing. */
export function keyStart(prefix: string): string {
  return prefix
    .split("/")
    .filter((segment) => segment !== "")
    .map((segment) => `${segment}/`)
    .join("");
}

/**
 * The key of a row for a file that has no possible key: itself, or, when it is too long for an index, its beginning and
 * its hash, so that two such files never share a row.
 */
export function refusalKey(key: string): string {
  if (Buffer.byteLength(key) <= maxKeyBytes) return key;
  return `${Buffer.from(key).subarray(0, 900).toString("utf8")}…${createHash("sha256").update(key).digest("hex")}`;
}

/** UTF-16 puts surrogates (U+10000 and above) before U+E000; UTF-8 puts them last. */
function utf8Rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** Order of the keys' UTF-8 bytes, as S3 lists them. */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    const x = a.charCodeAt(at);
    const y = b.charCodeAt(at);
    if (x !== y) return utf8Rank(x) - utf8Rank(y);
  }
  return a.length - b.length;
}

export interface SegmentKey {
  key: string;
  note: "normalised" | "kept_own_form";
}

/**
 * Keys of those names of one directory that are not in Unicode form NFC; every other name is its own key.
 * A name takes its NFC form unless a sibling has it: by being named so, or by coming earlier in byte order.
 */
export function siblingKeys(names: readonly string[]): ReadonlyMap<string, SegmentKey> {
  const odd = names.filter((name) => /[^\x00-\x7f]/.test(name) && name !== name.normalize("NFC"));
  if (odd.length === 0) return new Map();
  const taken = new Set(names);
  const keys = new Map<string, SegmentKey>();
  for (const name of odd.sort(compareKeys)) {
    const normal = name.normalize("NFC");
    if (taken.has(normal)) keys.set(name, { key: name, note: "kept_own_form" });
    else {
      taken.add(normal);
      keys.set(name, { key: normal, note: "normalised" });
    }
  }
  return keys;
}

/** Length of the UTF-8 sequence that a lead byte announces (RFC 3629); 0 when no sequence starts so. */
function sequenceBytes(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

/** A name that is not UTF-8, for people: odd bytes as `\xNN`, a backslash as `\\` so that two names never look alike. */
export function displayBytes(bytes: Uint8Array): string {
  const decoder = new TextDecoder();
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const sequence = bytes.subarray(at, at + sequenceBytes(bytes[at]!));
    if (sequence.length > 0 && isUtf8(sequence)) {
      text += sequence[0] === 0x5c ? "\\\\" : decoder.decode(sequence);
      at += sequence.length;
    } else {
      text += `\\x${bytes[at]!.toString(16).padStart(2, "0")}`;
      at += 1;
    }
  }
  return text;
}
