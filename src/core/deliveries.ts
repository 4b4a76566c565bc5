/** Telling another system of a session: what is said, how it is signed, and what its answer means. Pure. */
import { createHmac, type Hmac } from "node:crypto";
import type { BackoffPlan } from "./backoff.ts";
import type { ErrorCode } from "./errors.ts";
import type { SessionRow, WorkerIdentity } from "./store.ts";

export const deliveryFormats = ["session", "job"] as const;
export type DeliveryFormat = (typeof deliveryFormats)[number];

/** What a body is made of, beside the session: remembered with the delivery, so whoever comes by can make it. */
export interface DeliveryRecipe {
  format: DeliveryFormat;
  /** Name every uploaded file instead of the prefix. */
  listFiles: boolean;
  /** Of the job format; null: the older program's. */
  jobName: string | null;
  functionName: string | null;
  moduleName: string | null;
  sqsQueue: string | null;
  sqsRegion: string | null;
}

export interface DeliveryPlan {
  url: string;
  /** The URL as it may be remembered. One that had to lose a password or a token is sent to only by who knows it. */
  shownUrl: string;
  recipe: DeliveryRecipe;
}

/** What makes a delivery authentic; stored nowhere. */
export interface DeliverySecrets {
  /** `whsec_` and base64 each; all of them sign, so that a receiver may change from one to the next. */
  signing: readonly string[];
  apiKey: string | null;
}

/** How this process tells others. */
export interface Trigger {
  /** What to tell about its own work; null: nothing is configured. What is due is sent all the same. */
  plan: DeliveryPlan | null;
  secrets: DeliverySecrets;
  webhook: Webhook;
  /** How long an answer is waited for. */
  timeoutMs: number;
  /** How long a one-shot run tries before it leaves a delivery due. */
  waitMs: number;
}

/** The port to the network: one POST, one answer. Follows no redirect. */
export interface Webhook {
  /**
   * Errors: network_lost and timed_out when there is no answer; config_invalid when the address must not be asked.
   * An answer's text is cut after 64 KiB.
   */
  post(message: WebhookMessage, signal: AbortSignal): Promise<WebhookAnswer>;
}

export interface WebhookMessage {
  url: string;
  headers: Readonly<Record<string, string>>;
  bodyBytes: number;
  body: AsyncIterable<string>;
  timeoutMs: number;
}

export interface WebhookAnswer {
  status: number;
  retryAfter: string | null;
  location: string | null;
  text: string;
}

// ---------------------------------------------------------------- the body

/** The older program's (OR 5.2), for whoever moves over without naming others. */
const jobDefaults = {
  functionName: "register_audiofiles",
  moduleName: "madxxx_workbench.audio.register_audio",
  sqsQueue: "madXXX_tasks_data_registration",
  sqsRegion: "eu-west-1",
};

/** Stands where the list of paths comes; no text of a database or of a configuration's JSON column can hold it. */
const listMark = "\0paths\0";

type Paths = readonly string[];

const bodies: Record<DeliveryFormat, (session: SessionRow, recipe: DeliveryRecipe, paths: Paths) => unknown> = {
  /** The seed's fields (OR 5.7, version 1), and `files` when they are listed. */
  session: (session, { listFiles }, paths) => ({
    session_id: session.id,
    bucket_name: bucketOf(session),
    s3_prefix: session.prefix,
    total_files: session.totalFiles,
    files_uploaded: session.filesUploaded,
    total_size_bytes: session.totalSizeBytes,
    local_directory: session.source,
    ...(listFiles ? { files: paths } : {}),
  }),
  /** OR 5.7, version 2: one path, that of the prefix, unless files are listed. */
  job: (session, recipe, paths) => {
    const functionName = recipe.functionName ?? jobDefaults.functionName;
    return {
      job: {
        arguments: [recipe.listFiles ? paths : [prefixPath(session)]],
        function_name: functionName,
        keywords: {},
        module_name: recipe.moduleName ?? jobDefaults.moduleName,
        name: recipe.jobName ?? `session_${session.id}_${functionName}`,
      },
      sqs_queue: recipe.sqsQueue ?? jobDefaults.sqsQueue,
      sqs_region: recipe.sqsRegion ?? jobDefaults.sqsRegion,
    };
  },
};

/** The JSON before and after the list of paths (each of them JSON text, commas between); without a list `tail` is null. */
export function renderBody(session: SessionRow, recipe: DeliveryRecipe): { head: string; tail: string | null } {
  const text = JSON.stringify(bodies[recipe.format](session, recipe, [listMark]));
  const [head, tail = null] = text.split(JSON.stringify(listMark));
  return { head: head!, tail };
}

/** `s3://bucket` or `file:///real/path`; a bucket of another endpoint is called by its name alone. */
export const rootPath = (session: SessionRow): string =>
  session.destinationIdentity.replace(/^s3\+.*\/([^/]+)$/, "s3://$1").replace(/\/+$/, "");

/** Keys as they are, not percent-encoded, as the older program and the AWS tools write them. */
export const filePath = (session: SessionRow, key: string): string => `${rootPath(session)}/${key}`;

const prefixPath = (session: SessionRow): string =>
  session.prefix === "" ? rootPath(session) : filePath(session, session.prefix);

const bucketOf = (session: SessionRow): string =>
  session.destinationKind === "s3" ? rootPath(session).slice("s3://".length) : rootPath(session);

// ---------------------------------------------------------------- the signature

/** Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`, one signature for each secret. */
export function startSignature(secrets: readonly string[], id: string, timestampS: number) {
  const hmacs: Hmac[] = secrets.map((secret) =>
    createHmac("sha256", Buffer.from(secret.replace(/^whsec_/, ""), "base64")).update(`${id}.${timestampS}.`),
  );
  return {
    update(text: string): void {
      for (const hmac of hmacs) hmac.update(text, "utf8");
    },
    /** For `webhook-signature`: `v1,<base64>`, a blank between. */
    value: (): string => hmacs.map((hmac) => `v1,${hmac.digest("base64")}`).join(" "),
  };
}

/** Which secrets a format cannot do without. Both are signed when there is something to sign with. */
export const missingSecret: Record<DeliveryFormat, (secrets: DeliverySecrets) => string | null> = {
  session: ({ signing }) => (signing.length > 0 ? null : "UPLOADER_TRIGGER_SECRET"),
  job: ({ apiKey }) => (apiKey !== null ? null : "UPLOADER_TRIGGER_API_KEY"),
};

/** `api_key` is the older program's own header (OR 5.7), explicitly not a bearer token. */
export const headersOf = (
  format: DeliveryFormat,
  secrets: DeliverySecrets,
  signed: { id: string; timestampS: number; signature: string },
): Record<string, string> => ({
  "content-type": "application/json",
  accept: "application/json",
  "webhook-id": signed.id,
  "webhook-timestamp": String(signed.timestampS),
  ...(secrets.signing.length > 0 ? { "webhook-signature": signed.signature } : {}),
  ...(format === "job" && secrets.apiKey !== null ? { api_key: secrets.apiKey } : {}),
});

// ---------------------------------------------------------------- the answer

/**
 * delivered · again: soon, in this run too · later: stays due, and a person has to do something first, so not in this
 * run · refused: this body never, stays as it is until `--replay` · gone: nothing more to this URL.
 */
export type DeliveryVerdict = "delivered" | "again" | "later" | "refused" | "gone";

interface StatusRow {
  from: number;
  to: number;
  verdict: DeliveryVerdict;
  hint?: string;
}

const settingsHint = "check trigger.url, UPLOADER_TRIGGER_SECRET and UPLOADER_TRIGGER_API_KEY";
const bodyHint =
  "the endpoint does not take this body: check trigger.format; uploader trigger SESSION --replay sends it again";

/** The narrowest rows first. */
const statuses: readonly StatusRow[] = [
  { from: 200, to: 202, verdict: "delivered" },
  { from: 204, to: 204, verdict: "delivered" },
  { from: 408, to: 408, verdict: "again" },
  { from: 425, to: 425, verdict: "again" },
  { from: 429, to: 429, verdict: "again" },
  { from: 410, to: 410, verdict: "gone", hint: "nothing more is sent there; name another trigger.url" },
  { from: 300, to: 399, verdict: "later", hint: "redirects are not followed: name the URL it points to" },
  { from: 400, to: 400, verdict: "refused", hint: bodyHint },
  { from: 405, to: 406, verdict: "refused", hint: bodyHint },
  { from: 409, to: 409, verdict: "refused", hint: bodyHint },
  { from: 411, to: 415, verdict: "refused", hint: bodyHint },
  { from: 422, to: 422, verdict: "refused", hint: bodyHint },
  { from: 400, to: 499, verdict: "later", hint: settingsHint },
  { from: 500, to: 599, verdict: "again" },
];

export const verdictOf = (status: number): { verdict: DeliveryVerdict; hint: string | null } => {
  const row = statuses.find(({ from, to }) => status >= from && status <= to);
  return { verdict: row?.verdict ?? "later", hint: row?.hint ?? null };
};

/** Between attempts of one delivery; stored in the row as next_attempt_at. */
export const deliveryBackoff: BackoffPlan = { baseMs: 1_000, capMs: 5 * 60_000 };
/** After `later`: longer than a run waits. */
export const laterBackoff: BackoffPlan = { baseMs: 10 * 60_000, capMs: 10 * 60_000 };

const longestRetryAfterMs = 24 * 3_600_000;

/** Seconds, or a date (RFC 9110, 10.2.3); at most a day. Null when it says nothing that can be understood. */
export function retryAfterMs(text: string | null, nowMs: number): number | null {
  if (text === null) return null;
  const ms = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), longestRetryAfterMs) : null;
}

const answerKept = 2_000;

/** What is kept of an answer: its beginning as text that a database takes, and the job's id where it names one. */
export function readAnswer(text: string): { answer: string | null; jobId: string | null } {
  // A cut may fall within a character of two halves; half of one is no UTF-8.
  const kept = text
    .replaceAll("\0", "")
    .trim()
    .slice(0, answerKept)
    .replace(/[\ud800-\udbff]$/, "");
  return { answer: kept === "" ? null : kept, jobId: jobIdOf(text) };
}

function jobIdOf(text: string): string | null {
  if (!/^\s*\{/.test(text)) return null;
  try {
    const { job_id: id } = JSON.parse(text) as { job_id?: unknown };
    return typeof id === "string" || typeof id === "number" ? String(id).replaceAll("\0", "").slice(0, 200) : null;
  } catch (error) {
    // HTML, or cut off: an answer without a job.
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

// ---------------------------------------------------------------- the outbox

/** held: the session is not complete yet, or has failed files · dropped: a newer one says all of it. */
export type DeliveryStatus = "held" | "due" | "delivered" | "refused" | "gone" | "dropped";

export interface DeliveryRow {
  id: number;
  /** The receiver's key to tell a repetition: the same over all attempts. */
  webhookId: string;
  sessionId: number;
  scope: "session" | "pass";
  url: string;
  urlHidden: boolean;
  format: DeliveryFormat;
  status: DeliveryStatus;
  /** Uploaded files of the session when the body was frozen; of a pass: those it names. */
  files: number | null;
  bodyBytes: number | null;
  attempts: number;
  httpStatus: number | null;
  answer: string | null;
  jobId: string | null;
  errorCode: string | null;
  errorMessage: string | null;
  createdAt: Date;
  frozenAt: Date | null;
  nextAttemptAt: Date;
  finishedAt: Date | null;
}

export interface DeliveryAttemptRow {
  deliveryId: number;
  attempt: number;
  url: string;
  /** Null: whoever made it did not live to record it. */
  verdict: DeliveryVerdict | null;
  httpStatus: number | null;
  errorCode: string | null;
  errorMessage: string | null;
  answer: string | null;
  startedAt: Date;
  durationMs: number | null;
}

export interface ClaimedDelivery {
  id: number;
  webhookId: string;
  sessionId: number;
  url: string;
  urlHidden: boolean;
  format: DeliveryFormat;
  bodyBytes: number;
  attempt: number;
}

export interface DeliveryEnding {
  verdict: DeliveryVerdict;
  httpStatus: number | null;
  errorCode: ErrorCode | null;
  message: string | null;
  answer: string | null;
  jobId: string | null;
  /** Until the next attempt. */
  delayMs: number;
  /** The endpoint's own Retry-After: nobody comes sooner, not even when asked to. */
  askedMs: number | null;
  durationMs: number;
}

/** What this process can send at all. */
export interface Means {
  formats: readonly DeliveryFormat[];
  /** The `shownUrl` of the one hidden URL it knows. */
  hiddenUrl: string | null;
}

export interface DueDeliveries {
  /** Not delivered and not given up, whoever could send them. */
  due: number;
  /** Of these, what this process can send; the rest wants other secrets or another URL. */
  sendable: number;
  /** Until the earliest of them may be claimed; null: none. */
  delayMs: number | null;
}

export interface Outbox {
  /** A `held` delivery for a session that begins; the promise of an earlier run gets the new plan. */
  promise(sessionId: number, plan: DeliveryPlan, webhookId: string): Promise<void>;
  /** Nobody is to be told of this session by itself. */
  unpromise(sessionId: number): Promise<void>;
  /**
   * Freezes the bodies of promised deliveries whose session is complete, and forgets those that would say nothing new.
   * Returns those that will not be sent, because their URL said 410 last.
   */
  release(project: string): Promise<DeliveryRow[]>;
  /** The delivery of the session that waits for its failed files, or for its end; null: none. */
  held(sessionId: number): Promise<number | null>;
  /**
   * The delivery that says this now: the waiting one if it is the same, else a new one, which replaces those that were
   * not delivered. `told`: this was delivered already, and `force` did not ask for another.
   */
  tell(
    sessionId: number,
    plan: DeliveryPlan,
    options: { webhookId: string; force: boolean },
  ): Promise<{ deliveryId: number; told: boolean }>;
  /** One delivery with the uploaded files of the session that no delivery has named; null: there are none. */
  tellPass(sessionId: number, plan: DeliveryPlan, webhookId: string): Promise<DeliveryRow | null>;
  /** Due again with the same id and bytes; to the plan's URL, if one is given. */
  replay(delivery: DeliveryRow, plan: DeliveryPlan | null): Promise<void>;
  /** Deliveries in the hands of processes that died are free again. */
  rescue(project: string): Promise<number>;
  /** The next due delivery, leased for as long as an attempt may take, its attempt begun; null: none may be taken now. */
  claim(
    project: string,
    me: WorkerIdentity,
    means: Means,
    options: { leaseMs: number; first: number | null },
  ): Promise<ClaimedDelivery | null>;
  next(project: string, means: Means): Promise<DueDeliveries>;
  /** The frozen body, piece by piece. */
  body(deliveryId: number): AsyncIterable<string>;
  record(delivery: ClaimedDelivery, ending: DeliveryEnding): Promise<void>;
  delivery(deliveryId: number): Promise<DeliveryRow | null>;
  history(sessionId: number): Promise<DeliveryRow[]>;
  attempts(sessionId: number): Promise<DeliveryAttemptRow[]>;
}
