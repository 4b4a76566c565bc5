import type { Call } from "./call.ts";
import { errorDocument, type Reply } from "./exchange.ts";
import { type RefusalCode, refusals } from "./refusals.ts";
import type { Operation } from "./routes.ts";

/** Something that goes wrong on purpose. Unless said otherwise the request is not carried out. */
export type FaultAction =
  /** An S3 error answer. `status` and `message` default to S3's own; `early`: without reading the body. */
  | {
      kind: "error";
      code: RefusalCode | (string & {});
      status?: number;
      message?: string;
      retryAfterSeconds?: number;
      early?: boolean;
    }
  /** 200 with an error document as its body, as Complete and Copy may answer; after blanks, if asked. */
  | { kind: "errorInBody"; code: RefusalCode; spaces?: number }
  /** The request is carried out; 200 and blanks are sent first, the result behind them. */
  | { kind: "spaces"; count: number; intervalMs: number }
  /** Connection reset before the body is read, or after some bytes of it. */
  | { kind: "reset"; afterBytes?: number }
  /** No answer until `faults.release()`, then carried out. The body is not read before. */
  | { kind: "stall" }
  /** The request is carried out, then answered after a while. */
  | { kind: "delay"; delayMs: number }
  /** Carried out; the answer announces its full length and stops after `bytes` (default: half). */
  | { kind: "truncate"; bytes?: number }
  /** Carried out; the connection is reset instead of the answer. */
  | { kind: "loseAnswer" }
  /** 200 without body or useful headers. */
  | { kind: "empty" }
  /** An answer of some proxy in HTML, without the store's request id. */
  | { kind: "html"; status: number }
  /** 403 RequestTimeTooSkewed, with a Date header that is off by this much. */
  | { kind: "clockSkew"; offsetMs: number }
  /** Carried out; the answer lacks its ETag. */
  | { kind: "omitEtag" }
  /** Carried out; the answer echoes no checksum, or a wrong one. */
  | { kind: "omitChecksum" }
  | { kind: "wrongChecksum" };

export interface FaultMatch {
  operation?: Operation;
  method?: string;
  key?: string | RegExp;
  partNumber?: number;
  where?: (call: Call) => boolean;
}

export interface FaultRule {
  match?: FaultMatch;
  action: FaultAction;
  /** Of the matching requests, counted from 1: only this one … */
  nth?: number;
  /** … or every so many (without end) … */
  every?: number;
  /** … or the first so many. Default: the first only; `Number.POSITIVE_INFINITY` for all. */
  times?: number;
}

/** Faults by chance: a share of the matching requests, each with one of `actions`, drawn with `random`. */
export interface Chaos {
  share: number;
  actions: readonly FaultAction[];
  random: () => number;
  match?: FaultMatch;
}

export interface Faults {
  push(...rules: FaultRule[]): void;
  clear(): void;
  /** Lets every stalled request go on. */
  release(): void;
  /** Set it for soak runs, null to end them. */
  chaos: Chaos | null;
  /** Faults played so far, by kind. */
  readonly played: Readonly<Record<string, number>>;
}

/** Everything that passes by itself and that a retry must survive: for chaos. */
export const transientFaults: readonly FaultAction[] = [
  { kind: "error", code: "SlowDown", retryAfterSeconds: 0 },
  { kind: "error", code: "InternalError" },
  { kind: "error", code: "RequestTimeout" },
  { kind: "error", code: "ServiceUnavailable", early: true },
  { kind: "html", status: 502 },
  { kind: "reset" },
  { kind: "reset", afterBytes: 1000 },
  { kind: "truncate" },
  { kind: "loseAnswer" },
];

/** What the server itself needs of the faults. */
export interface FaultDesk extends Faults {
  pick(call: Call): FaultAction | null;
  released(): Promise<void>;
}

function matches(match: FaultMatch | undefined, call: Call): boolean {
  if (!match) return true;
  const { operation, method, key, partNumber, where } = match;
  return (
    (operation === undefined || operation === call.operation) &&
    (method === undefined || method === call.method) &&
    (key === undefined || (typeof key === "string" ? key === call.key : key.test(call.key))) &&
    (partNumber === undefined || String(partNumber) === call.query.get("partNumber")) &&
    (where === undefined || where(call))
  );
}

function isDue(rule: FaultRule, count: number): boolean {
  if (rule.nth !== undefined) return count === rule.nth;
  if (rule.every !== undefined) return count % rule.every === 0;
  return count <= (rule.times ?? 1);
}

export function createFaults(): FaultDesk {
  let rules: { rule: FaultRule; seen: number }[] = [];
  let waiting: (() => void)[] = [];
  const played: Record<string, number> = {};

  function scripted(call: Call): FaultAction | null {
    let due: FaultAction | null = null;
    for (const entry of rules) {
      if (!matches(entry.rule.match, call)) continue;
      entry.seen++;
      if (due === null && isDue(entry.rule, entry.seen)) due = entry.rule.action;
    }
    return due;
  }

  function byChance(chaos: Chaos | null, call: Call): FaultAction | null {
    if (!chaos || !matches(chaos.match, call) || chaos.random() >= chaos.share) return null;
    return chaos.actions[Math.floor(chaos.random() * chaos.actions.length)] ?? null;
  }

  return {
    chaos: null,
    played,
    push(...added) {
      rules.push(...added.map((rule) => ({ rule, seen: 0 })));
    },
    clear() {
      rules = [];
      this.chaos = null;
      this.release();
    },
    release() {
      const due = waiting;
      waiting = [];
      for (const go of due) go();
    },
    pick(call) {
      const action = scripted(call) ?? byChance(this.chaos, call);
      if (action) played[action.kind] = (played[action.kind] ?? 0) + 1;
      return action;
    },
    released: () => new Promise((resolve) => waiting.push(resolve)),
  };
}

function errorReply(action: Extract<FaultAction, { kind: "error" }>, requestId: string): Reply {
  const known = refusals[action.code as RefusalCode] as readonly [number, string] | undefined;
  const message = action.message ?? known?.[1] ?? action.code;
  return {
    status: action.status ?? known?.[0] ?? 500,
    headers: {
      "content-type": "application/xml",
      ...(action.retryAfterSeconds === undefined ? {} : { "retry-after": String(action.retryAfterSeconds) }),
    },
    body: errorDocument(action.code, message, requestId),
    code: action.code,
  };
}

/** The answer given in place of carrying the request out; null when the action leaves that alone. */
export function substitute(action: FaultAction, requestId: string, now: Date): Reply | null {
  const html = "<html><head><title>Bad gateway</title></head><body>upstream is away</body></html>";
  switch (action.kind) {
    case "error":
      return errorReply(action, requestId);
    case "errorInBody": {
      const document = errorDocument(action.code, refusals[action.code][1], requestId);
      const blanks = " ".repeat(action.spaces ?? 0);
      const body = document.replace("\n", `\n${blanks}`);
      return { status: 200, headers: { "content-type": "application/xml" }, body, code: action.code };
    }
    case "empty":
      return { status: 200, headers: {}, body: "" };
    case "html":
      return { status: action.status, headers: { "content-type": "text/html", server: "squid/5.7" }, body: html };
    case "clockSkew": {
      const reply = errorReply({ kind: "error", code: "RequestTimeTooSkewed" }, requestId);
      const date = new Date(now.getTime() + action.offsetMs).toUTCString();
      return { ...reply, headers: { ...reply.headers, date } };
    }
    default:
      return null;
  }
}

function withoutHeaders(reply: Reply, unwanted: (name: string) => boolean): Reply {
  const headers = Object.fromEntries(Object.entries(reply.headers).filter(([name]) => !unwanted(name)));
  return { ...reply, headers };
}

const checksumName = /^x-amz-checksum-(crc|sha)/;
const checksumElement = /<Checksum(CRC|SHA)\w*>[^<]*<\/Checksum\w*>/g;

/** The same value with another first character: still base64 of the right length. */
function spoil(value: string): string {
  return (value.startsWith("A") ? "B" : "A") + value.slice(1);
}

/** The answer of a request that was carried out, spoiled. */
export function spoilReply(action: FaultAction, reply: Reply): Reply {
  const { body } = reply;
  const edit = (change: (text: string) => string) => (typeof body === "string" ? change(body) : body);
  switch (action.kind) {
    case "omitEtag":
      return {
        ...withoutHeaders(reply, (name) => name === "etag"),
        body: edit((text) => text.replace(/<ETag>[^<]*<\/ETag>/g, "")),
      };
    case "omitChecksum":
      return {
        ...withoutHeaders(reply, (name) => name.startsWith("x-amz-checksum-")),
        body: edit((text) => text.replace(checksumElement, "")),
      };
    case "wrongChecksum":
      return {
        ...reply,
        headers: Object.fromEntries(
          Object.entries(reply.headers).map(([name, value]) => [name, checksumName.test(name) ? spoil(value) : value]),
        ),
        body: edit((text) => text.replace(/(<Checksum(?:CRC|SHA)\w*>)([^<]*)/g, (_, open, v) => open + spoil(v))),
      };
    default:
      return reply;
  }
}
