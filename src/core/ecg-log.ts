/** The older ECG program's `upload_log.json`: which keys it gave to which files, and when. Pure. */
import type { LoggedKey, LoggedUser } from "./ecg.ts";
import type { Zone } from "./ecg-stamp.ts";
import { joinKey, keyProblem } from "./key.ts";

export interface LogProblem {
  /** From 1, as far as the log can be taken apart. */
  entry: number;
  /** From 1. */
  line: number;
  problem: string;
}

export interface UploadLog {
  entries: number;
  keys: LoggedKey[];
  users: LoggedUser[];
  /** Files that were sent before under an older entry: the newest counts. */
  repeated: number;
  problems: LogProblem[];
}

export interface LogQuestion {
  /** Of times without an offset. */
  zone: Zone;
  /** Only what went there is there; null: a folder, of which the log says nothing. */
  bucket: string | null;
  prefix: string;
  /** Unix time, ms: nothing was sent later than that, whatever the clock was then. */
  nowMs: number;
}

export function readUploadLog(text: string, question: LogQuestion): UploadLog {
  const keys = new Map<string, LoggedKey>();
  const users = new Map<string, LoggedUser>();
  const log: UploadLog = { entries: 0, keys: [], users: [], repeated: 0, problems: [] };
  for (const { line, value } of entriesOf(text)) {
    log.entries++;
    const facts = value === null ? "it is no JSON, or is cut off" : factsOf(value, question);
    if (typeof facts === "string") {
      log.problems.push({ entry: log.entries, line, problem: facts });
      continue;
    }
    for (const problem of facts.problems) log.problems.push({ entry: log.entries, line, problem });
    for (const fact of facts.keys) {
      const before = keys.get(fact.name);
      if (before) log.repeated++;
      if (!before || before.sentAtMs <= fact.sentAtMs) keys.set(fact.name, fact);
    }
    for (const user of facts.users) {
      const before = users.get(user.username);
      if (before) log.repeated++;
      if (!before || before.sentAtMs < user.sentAtMs) users.set(user.username, user);
    }
  }
  return { ...log, keys: [...keys.values()], users: [...users.values()] };
}

/** Where an entry begins: after a comma, a bracket or a line's end; objects within one follow a colon. */
const entryStart = /(?:^|[,[\n])\s*(\{\s*"(?:local_path|uploaded_at|service|result|metadata)"\s*:)/g;

/**
 * The entries, `value` null where one cannot be read. The program wrote the log anew after each upload, without a lock:
 * one may be cut off, or another begin in its midst. The rest of the log is read all the same.
 */
function entriesOf(text: string): { line: number; value: unknown }[] {
  const log = text.replace(/^\ufeff/, "").replace(/(:\s*)(?:NaN|-?Infinity)\b/g, "$1null");
  const starts = [...log.matchAll(entryStart)].map((match) => match.index + match[0].length - match[1]!.length);
  let line = 1;
  let counted = 0;
  const lines = starts.map((start) => {
    for (let at = log.indexOf("\n", counted); at !== -1 && at < start; at = log.indexOf("\n", at + 1)) line++;
    counted = start;
    return line;
  });
  const whole = parse(log);
  if (Array.isArray(whole))
    return whole.map((value, at) => ({ line: lines.length === whole.length ? lines[at]! : 1, value }));
  if (starts.length === 0) return log.trim() === "" ? [] : [{ line: 1, value: whole }];
  const entries = starts.map((start, at) => ({
    line: lines[at]!,
    value: parse(log.slice(start, starts[at + 1]).replace(/[\s,\]]+$/, "")),
  }));
  const ahead = log.slice(0, starts[0]).replace(/[\s,[]/g, "");
  return ahead === "" ? entries : [{ line: 1, value: null }, ...entries];
}

/** null: it is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

interface Facts {
  keys: LoggedKey[];
  users: LoggedUser[];
  problems: string[];
}

type Fields = Record<string, unknown>;

const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const textOf = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null);
const textIn = (...values: unknown[]): string | null => values.map(textOf).find((text) => text !== null) ?? null;

/** Of a path of either system, in the form that keys have. */
const nameIn = (path: string | null): string | null => path?.split(/[\\/]/).at(-1)?.normalize("NFC") || null;

/** What one entry says, or why it says nothing. */
function factsOf(value: unknown, question: LogQuestion): Facts | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "it is no entry";
  const entry = fieldsOf(value);
  const [result, metadata] = [fieldsOf(entry.result), fieldsOf(entry.metadata)];
  const service = textIn(result.service, entry.service);
  if (service !== null && service !== "s3") return `it went to ${JSON.stringify(service)}, not to S3`;
  const status = textOf(result.status);
  if (status !== null && status !== "success") return `its status is ${JSON.stringify(status)}`;
  const bucket = textOf(result.bucket);
  if (question.bucket !== null && bucket !== null && bucket !== question.bucket)
    return `it went to another bucket, ${bucket}`;
  const at = textOf(entry.uploaded_at);
  if (at === null) return "it does not say when (uploaded_at)";
  const sentAtMs = question.zone.instantOf(at);
  if (sentAtMs === null) return `its uploaded_at is no time: ${JSON.stringify(at)}`;
  const sent = { sentAtMs: Math.min(sentAtMs, question.nowMs) };

  const facts: Facts = { keys: [], users: [], problems: [] };
  if (Array.isArray(result.uploads)) {
    for (const [n, upload] of result.uploads.entries()) {
      const key = keyOf(fieldsOf(upload).key, question.prefix);
      const name = nameIn(key.key);
      if (key.problem !== null || name === null) facts.problems.push(`upload ${n + 1} of its package: ${key.problem}`);
      else facts.keys.push({ name, key: key.key, kind: "package", ...sent });
    }
    return result.uploads.length === 0 ? "its package holds no upload" : facts;
  }
  const { key, problem } = keyOf(result.key, question.prefix);
  const signedUp = /^user_signup_(.+)_\d{8}_\d{6}\.json$/s.exec(nameIn(textOf(result.key)) ?? "")?.[1];
  if (metadata.type === "user_signup" || signedUp !== undefined) {
    const username = textIn(metadata.username, result.username, signedUp);
    if (textOf(result.key) !== null && problem !== null) return problem;
    if (username === null) return "it does not say which user signed up";
    facts.users.push({ username, ...sent });
    return facts;
  }
  if (problem !== null) return problem;
  const name = nameIn(textOf(entry.local_path)) ?? nameIn(textOf(metadata.filename)) ?? nameIn(key);
  if (name === null) return "it does not say which file";
  facts.keys.push({ name, key, kind: "simple", ...sent });
  return facts;
}

/** Relative to the prefix. */
function keyOf(given: unknown, prefix: string): { key: string; problem: null } | { key: ""; problem: string } {
  const key = textOf(given);
  if (key === null) return { key: "", problem: "it has no key" };
  const problem = keyProblem(key);
  if (problem !== null) return { key: "", problem };
  const folder = joinKey(prefix, "");
  if (!key.startsWith(folder)) return { key: "", problem: `its key is not below the destination's prefix ${folder}` };
  return { key: key.slice(folder.length), problem: null };
}
