/** `trigger`: tells another system of one session, now. */
import type { DeliveryFormat, DeliveryPlan, DeliveryRow, DeliverySecrets, Trigger } from "../core/deliveries.ts";
import { missingSecret } from "../core/delivery-message.ts";
import { UploaderError } from "../core/errors.ts";
import { exitCodeOf } from "../core/exit-codes.ts";
import type { SessionRow } from "../core/store.ts";
import { type DeliveryContext, newWebhookId, sendDue } from "./deliveries.ts";

export interface TriggerInput {
  session: SessionRow;
  /** null: only for a replay, or what is due, to where it went before. */
  plan: DeliveryPlan | null;
  /** Sends a delivery again, with the same id and bytes: this one, or the session's newest (null). Absent: no replay. */
  replay?: { deliveryId: number | null };
  /** Although the session runs, has failed files, has uploaded nothing, or was told already. */
  force: boolean;
  waitMs: number;
  stopSignal(): "SIGINT" | "SIGTERM" | null;
}

export interface Told {
  delivery: DeliveryRow;
  /** It was delivered before, and nothing was sent. */
  already: boolean;
  /** Of the project, other than this one. */
  othersDue: number;
  exitCode: number;
}

type Cx = DeliveryContext & { trigger: Trigger };

/** Errors: usage (the session is not in a state to tell of), config_invalid (nobody to tell, or no secret). */
export async function trigger(cx: Cx, input: TriggerInput): Promise<Told> {
  const { session } = input;
  const { deliveries } = cx.store;
  const replay = input.replay ?? (input.plan === null ? await leftDue(cx, session) : null);
  const { id, already } = replay
    ? { id: await replayed(cx, input, replay.deliveryId), already: false }
    : await said(cx, input);
  const { due } = already
    ? { due: 0 }
    : await sendDue(cx, { project: session.project, sessionId: session.id, waitMs: input.waitMs, first: id });
  const delivery = (await deliveries.delivery(id))!;
  const isDue = delivery.status === "due";
  return {
    delivery,
    already,
    othersDue: due - (isDue ? 1 : 0),
    exitCode: exitCodeOf({
      fault: null,
      signal: input.stopSignal(),
      filesFailed: 0,
      filesConflicting: 0,
      filesNotReady: 0,
      triggerDue: delivery.status !== "delivered",
    }),
  };
}

/** Without a URL, what is due for the session goes where it was to go. */
async function leftDue(cx: DeliveryContext, session: SessionRow): Promise<TriggerInput["replay"]> {
  const due = (await cx.store.deliveries.history(session.id)).findLast(({ status }) => status === "due");
  return due && { deliveryId: due.id };
}

async function said(
  cx: DeliveryContext,
  { session, plan, force }: TriggerInput,
): Promise<{ id: number; already: boolean }> {
  if (plan === null) throw nobody();
  if (!force) await assertTellable(cx, session);
  const options = { webhookId: newWebhookId(cx), force };
  const { deliveryId, told } = await cx.store.deliveries.tell(session.id, plan, options);
  return { id: deliveryId, already: told };
}

async function replayed(cx: Cx, { session, plan }: TriggerInput, wanted: number | null): Promise<number> {
  const { deliveries } = cx.store;
  const frozen = (await deliveries.history(session.id)).filter(({ status }) => status !== "held");
  const found = wanted === null ? frozen.at(-1) : frozen.find(({ id }) => id === wanted);
  if (!found) {
    const which = wanted === null ? "no delivery yet" : `no delivery ${wanted} that could be sent`;
    throw new UploaderError("usage", `session ${session.id} has ${which}`, {
      hint: `see: uploader trigger ${session.id} --history`,
    });
  }
  assertSecrets(found.format, cx.trigger.secrets);
  if (plan === null && found.urlHidden && cx.trigger.plan?.shownUrl !== found.url) {
    throw new UploaderError(
      "config_invalid",
      `delivery ${found.id} went to ${found.url}, and the rest of this URL is not known here`,
      {
        hint: "give it whole with --url, or as trigger.url",
      },
    );
  }
  await deliveries.replay(found, plan);
  return found.id;
}

export const nobody = (): UploaderError =>
  new UploaderError("config_invalid", "nobody is named to be told", {
    hint: 'give --url, or "trigger": { "url": "https://…" } in the configuration',
  });

/** For every process that is to tell: better before the first file than after the last. Errors: config_invalid. */
export function assertSecrets(format: DeliveryFormat, secrets: DeliverySecrets): void {
  const missing = missingSecret[format](secrets);
  if (missing === null) return;
  const why = format === "job" ? "the job format wants an API key" : "there is no secret to sign with";
  const hint =
    format === "job"
      ? `set ${missing}, or ${missing}_FILE to a file that holds it`
      : `set ${missing} (or ${missing}_FILE) to one that the receiver knows; make one with: echo "whsec_$(openssl rand -base64 24)"`;
  throw new UploaderError("config_invalid", `nobody can be told: ${why}`, { hint });
}

async function assertTellable(cx: DeliveryContext, session: SessionRow): Promise<void> {
  const workers = (await cx.store.workers(session.id)).filter(({ live }) => live);
  const all = "tell of it all the same with --force";
  const refusals: [boolean, string, string][] = [
    [
      workers.length > 0,
      `session ${session.id} is still being worked on (${session.filesUploaded} of ${session.totalFiles} files so far)`,
      `wait for its end, or ${all}`,
    ],
    [
      session.scanFinishedAt === null || session.filesPending + session.filesUploading > 0,
      `session ${session.id} is not finished: ${session.status.replaceAll("_", " ")}, ${session.filesPending + session.filesUploading} files left`,
      `run its upload command again, or ${all}`,
    ],
    [
      session.filesFailed > 0,
      `session ${session.id} has ${session.filesFailed} failed ${session.filesFailed === 1 ? "file" : "files"}`,
      `bring them in with uploader retry ${session.id}, or ${all}`,
    ],
    [
      session.filesUploaded === 0,
      `session ${session.id} uploaded nothing`,
      `name the session that did (uploader sessions), or ${all}`,
    ],
  ];
  const refusal = refusals.find(([applies]) => applies);
  if (refusal) throw new UploaderError("usage", refusal[1], { hint: refusal[2] });
}
