/** Telling another system of a session: the words for it, and the ports to the network and to the outbox. */
import type { ErrorCode } from "./errors.ts";
import type { WorkerIdentity } from "./store.ts";

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

/**
 * delivered · again: soon, in this run too · later: stays due, and a person has to do something first, so not in this
 * run · refused: this body never, stays as it is until `--replay` · gone: nothing more to this URL.
 */
export type DeliveryVerdict = "delivered" | "again" | "later" | "refused" | "gone";

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
