/** The outbox at work: what is due in a project is sent, one delivery after the other, and its answer is recorded. */
import { backoffMs } from "../core/backoff.ts";
import {
  type ClaimedDelivery,
  type DeliveryEnding,
  type DeliveryPlan,
  deliveryFormats,
  type Means,
  type Trigger,
  type WebhookAnswer,
} from "../core/deliveries.ts";
import { deliveryBackoff, laterBackoff, readAnswer, retryAfterMs, verdictOf } from "../core/delivery-answer.ts";
import { headersOf, missingSecret, startSignature, unspeakable } from "../core/delivery-message.ts";
import { asUploaderError } from "../core/errors.ts";
import type { Context } from "./context.ts";

export type DeliveryContext = Pick<
  Context,
  "store" | "me" | "now" | "wallClock" | "random" | "sleep" | "emit" | "stopping" | "dropping" | "trigger"
>;

export interface SendInput {
  project: string;
  /** For messages. */
  sessionId: number | null;
  /** How long failed attempts are repeated; 0: none is waited for. */
  waitMs: number;
  /** A daemon, which need not say in each pass what is still due. */
  comesAgain?: boolean;
  /** This one before all others; once it has ended, the others are not waited for. */
  first?: number | null;
}

export interface Sent {
  delivered: number;
  /** Still due in the project. */
  due: number;
  /** Refused for good, by this run. */
  refused: number;
}

/** However little may be waited for: so long a run goes on with what need not wait. */
const leastMs = 30_000;

/** The receiver's idempotency key: the time, and 96 bits of chance. */
export function newWebhookId({ wallClock, random }: Pick<Context, "wallClock" | "random">): string {
  const chance = (): string =>
    Math.floor(random() * 2 ** 48)
      .toString(36)
      .padStart(10, "0");
  return `msg_${wallClock().toString(36).padStart(9, "0")}${chance()}${chance()}`;
}

export function meansOf({ plan, secrets }: Trigger): Means {
  return {
    formats: deliveryFormats.filter((format) => missingSecret[format](secrets) === null),
    hiddenUrl: plan !== null && plan.shownUrl !== plan.url ? plan.shownUrl : null,
  };
}

const nothing: Sent = { delivered: 0, due: 0, refused: 0 };

/**
 * Sends what is due in the project: this session's, older ones, and what was promised for sessions that are complete by
 * now. What an endpoint does throws nothing; what the database does, does.
 */
export async function sendDue(cx: DeliveryContext, input: SendInput): Promise<Sent> {
  const { trigger } = cx;
  if (!trigger) return nothing;
  const { deliveries } = cx.store;
  const { project, first = null } = input;
  let { waitMs } = input;
  // The reason for exit status 16 is told under --quiet too.
  const level = input.comesAgain ? "detail" : "warn";
  const means = meansOf(trigger);
  const startedMs = cx.now();
  const sent = { delivered: 0, refused: 0 };
  let cause = "";
  for (const { sessionId, url } of await deliveries.release(project)) {
    notice(cx, input, `nobody is told of session ${sessionId}: ${url} said that it is gone (410)`, "warn");
    sent.refused++;
  }
  for (;;) {
    const next = await deliveries.next(project, means);
    const spentMs = cx.now() - startedMs;
    if (next.due === 0 || cx.stopping.aborted) return { ...sent, due: next.due };
    if (next.sendable === 0) {
      const why = "cannot be sent from here: other secrets, or another URL, are wanted";
      notice(cx, input, `${counted(next.due)} due, and ${why}`, level);
      return { ...sent, due: next.due };
    }
    await deliveries.rescue(project);
    const claimed = spentMs < Math.max(waitMs, leastMs) ? await claim(cx, trigger, input, means) : null;
    if (claimed) {
      const ending = await deliver(cx, trigger, claimed);
      await deliveries.record(claimed, ending);
      const isFinal = ending.verdict === "refused" || ending.verdict === "gone";
      notice(cx, input, sentence(claimed, ending), isFinal ? "warn" : "info");
      if (ending.verdict === "delivered") sent.delivered++;
      else if (isFinal) sent.refused++;
      else cause = ` (${ending.message})`;
      if (claimed.id === first && ending.verdict !== "again") waitMs = 0;
      continue;
    }
    const delayMs = Math.max(next.delayMs ?? 0, shortestPauseMs);
    if (cx.now() - startedMs + delayMs > waitMs) {
      const then = "the next upload, retry, sync or trigger of the project sends it";
      notice(cx, input, `${counted(next.due)} still due${cause}; ${then}`, level);
      return { ...sent, due: next.due };
    }
    await cx.sleep(delayMs, cx.stopping);
  }
}

/** Between two looks at a delivery that another process has in its hands. */
const shortestPauseMs = 200;

const counted = (count: number): string => (count === 1 ? "1 delivery is" : `${count} deliveries are`);

const claim = (
  cx: DeliveryContext,
  { timeoutMs }: Trigger,
  { project, first = null }: SendInput,
  means: Means,
): Promise<ClaimedDelivery | null> =>
  // Longer than an attempt can take (the statement adds what a large body may), and then some.
  cx.store.deliveries.claim(project, cx.me, means, { leaseMs: 2 * timeoutMs + 30_000, first });

function notice(
  cx: DeliveryContext,
  { sessionId }: SendInput,
  message: string,
  level: "warn" | "info" | "detail" = "info",
): void {
  cx.emit({ type: "notice", sessionId, level, message });
}

/** One attempt. */
async function deliver(cx: DeliveryContext, trigger: Trigger, delivery: ClaimedDelivery): Promise<DeliveryEnding> {
  const startedMs = cx.now();
  const ending = await post(cx, trigger, delivery).then(
    (answer) => endingOfAnswer(cx, trigger, delivery, answer),
    (error: unknown) => endingOfError(cx, delivery, error),
  );
  return { ...ending, durationMs: cx.now() - startedMs };
}

async function post(cx: DeliveryContext, trigger: Trigger, delivery: ClaimedDelivery): Promise<WebhookAnswer> {
  const { deliveries } = cx.store;
  const { secrets, plan, timeoutMs } = trigger;
  const timestampS = Math.floor(cx.wallClock() / 1000);
  // The signature goes before the body: what does not fit into memory is read twice.
  const signature = startSignature(secrets.signing, delivery.webhookId, timestampS);
  for await (const text of deliveries.body(delivery.id)) signature.update(text);
  const signed = { id: delivery.webhookId, timestampS, signature: signature.value() };
  return trigger.webhook.post(
    {
      url: delivery.urlHidden ? plan!.url : delivery.url,
      headers: headersOf(delivery.format, secrets, signed),
      bodyBytes: delivery.bodyBytes,
      body: deliveries.body(delivery.id),
      timeoutMs,
    },
    cx.dropping,
  );
}

type Ending = Omit<DeliveryEnding, "durationMs">;

function endingOfAnswer(
  cx: DeliveryContext,
  trigger: Trigger,
  delivery: ClaimedDelivery,
  answer: WebhookAnswer,
): Ending {
  const { verdict, hint } = verdictOf(answer.status);
  const { answer: text, jobId } = readAnswer(answer.text, unspeakable(trigger.secrets, trigger.plan));
  const askedMs = verdict === "again" || verdict === "later" ? retryAfterMs(answer.retryAfter, cx.wallClock()) : null;
  const plan = verdict === "later" ? laterBackoff : deliveryBackoff;
  const where =
    answer.location === null
      ? ""
      : ` to ${answer.location
          .replace(/[?#].*$/s, "")
          .replace(/\/\/[^/]*@/, "//")
          .slice(0, 200)}`;
  const delivered = verdict === "delivered";
  return {
    verdict,
    httpStatus: answer.status,
    errorCode: delivered ? null : "trigger_undelivered",
    message: delivered ? null : `HTTP ${answer.status}${where}${hint === null ? "" : `: ${hint}`}`,
    answer: text,
    jobId: delivered ? jobId : null,
    delayMs: backoffMs(plan, delivery.attempt, cx.random(), askedMs ?? 0),
    askedMs,
  };
}

/** No answer: the network, or a place that must not be asked, which a person has to change. */
function endingOfError(cx: DeliveryContext, delivery: ClaimedDelivery, error: unknown): Ending {
  const ours = asUploaderError(error);
  // The database's errors, and bugs, are not the endpoint's.
  if (!networkCodes.has(ours.code)) throw error;
  const verdict = ours.code === "config_invalid" ? "later" : "again";
  return {
    verdict,
    httpStatus: null,
    errorCode: ours.code,
    message: ours.message,
    answer: null,
    jobId: null,
    delayMs: backoffMs(verdict === "later" ? laterBackoff : deliveryBackoff, delivery.attempt, cx.random()),
    askedMs: null,
  };
}

const networkCodes: ReadonlySet<string> = new Set(["network_lost", "timed_out", "config_invalid"]);

function sentence(delivery: ClaimedDelivery, ending: DeliveryEnding): string {
  const whom = `session ${delivery.sessionId} to ${delivery.url}`;
  const job = ending.jobId === null ? "" : `; job ${ending.jobId}`;
  if (ending.verdict === "delivered") return `told ${whom} (HTTP ${ending.httpStatus}${job})`;
  const after = ending.verdict === "again" ? `; again in ${Math.ceil(ending.delayMs / 1000)} s at the earliest` : "";
  return `could not tell ${whom}: ${ending.message}${after}`;
}

/**
 * Writes one delivery that names the files of the session that are uploaded and that none has named, in one transaction
 * with the memory of them. Null: there are none, nothing is configured, or the endpoint is gone.
 */
export async function tellPass(cx: DeliveryContext, sessionId: number): Promise<number | null> {
  const plan = cx.trigger?.plan ?? null;
  if (plan === null) return null;
  const row = await cx.store.deliveries.tellPass(sessionId, plan, newWebhookId(cx));
  if (row?.status === "gone") {
    const message = `nobody is told of this pass: ${row.url} said that it is gone (410)`;
    cx.emit({ type: "notice", sessionId, level: "info", message });
  }
  return row?.id ?? null;
}

/** For a session that begins or goes on: whoever sees it complete will tell of it, should this process die. */
export async function promiseDelivery(cx: DeliveryContext, sessionId: number): Promise<void> {
  const plan: DeliveryPlan | null = cx.trigger?.plan ?? null;
  if (plan !== null) await cx.store.deliveries.promise(sessionId, plan, newWebhookId(cx));
}
