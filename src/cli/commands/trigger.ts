import { type Command, InvalidArgumentError, Option } from "commander";
import { flagOf } from "../../config.ts";
import { type DeliveryAttemptRow, type DeliveryRow, deliveryFormats } from "../../core/deliveries.ts";
import type { SessionRow } from "../../core/store.ts";
import type { Told } from "../../operations/trigger.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, type GivenFlags, givenConfigFlags, wholeNumber } from "../flags.ts";
import { count, duration, files, fold, instant, name } from "../format.ts";
import { sessionOf } from "../session-argument.ts";

interface TriggerFlags {
  url?: string;
  format?: string;
  listFiles?: boolean;
  jobName?: string;
  functionName?: string;
  moduleName?: string;
  sqsQueue?: string;
  sqsRegion?: string;
  wait?: number;
  history?: boolean;
  replay?: boolean | string;
  force?: boolean;
}

/** The command's own short names of the configuration's keys. */
const keys = {
  url: "trigger.url",
  format: "trigger.format",
  listFiles: "trigger.listFiles",
  jobName: "trigger.jobName",
  functionName: "trigger.functionName",
  moduleName: "trigger.moduleName",
  sqsQueue: "trigger.sqsQueue",
  sqsRegion: "trigger.sqsRegion",
  wait: "trigger.waitSeconds",
} as const satisfies Partial<Record<keyof TriggerFlags, string>>;

export function defineTrigger(program: Command): void {
  const command = program
    .command("trigger")
    .argument("<session>", "a session's number, or: latest")
    .summary("tell another system of a session: signed, retried, recorded")
    .description(
      "Sends one signed POST (Standard Webhooks) that names the session, and keeps the answer. What cannot be " +
        "delivered stays due, and goes out with the next upload, retry, sync or trigger of the project. An upload " +
        "with trigger.url does this by itself.",
    )
    .option("--url <url>", "whom to tell, instead of trigger.url")
    .addOption(new Option("--format <format>", "body of the message").choices(deliveryFormats))
    .option("--list-files", "name every uploaded file instead of the prefix")
    .option("--job-name <name>", "job format: name of the job (default: session_<id>_<function>)")
    .option("--function-name <name>", "job format: function to run")
    .option("--module-name <name>", "job format: module of the function")
    .option("--sqs-queue <queue>", "job format: queue")
    .option("--sqs-region <region>", "job format: region of the queue")
    .option("--wait <seconds>", "how long to try before it is left due (default: 120)", wholeNumber)
    .option("--force", "although the session runs, has failed files, or was told already")
    .option("--history", "only show what was sent for this session, and what was answered")
    .option("--replay [delivery]", "send a delivery again, same id and same bytes; the newest unless one is named")
    .addHelpText(
      "before",
      `Examples:
  uploader trigger latest --url https://example.org/hook
  uploader trigger 12 --format job --list-files
  uploader trigger 12 --history
  uploader trigger 12 --replay
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 13, 16, 130, 143))
    .addHelpText(
      "after",
      `
Secrets come from the environment: UPLOADER_TRIGGER_SECRET (whsec_ and base64;
several with commas between: all sign), UPLOADER_TRIGGER_API_KEY (job format),
or …_FILE for a file that holds one.`,
    );
  addConfigFlags(command, ["project", "trigger.timeoutMs", "trigger.allowLinkLocal", "database.url"]).action(run);
}

function givenFlags(flags: TriggerFlags, command: Command): GivenFlags {
  const given = givenConfigFlags(command);
  for (const [flag, path] of Object.entries(keys)) {
    const value = flags[flag as keyof typeof keys];
    if (value !== undefined) given[`flag ${flagOf(flag)} ${path}`] = value;
  }
  return given;
}

function deliveryNumber(replay: boolean | string): number | null {
  if (typeof replay === "boolean") return null;
  if (!/^\d{1,15}$/.test(replay)) throw new InvalidArgumentError(`"${replay}" is no delivery: give its number`);
  return Number(replay);
}

async function run(argument: string, flags: TriggerFlags, command: Command): Promise<void> {
  const deliveryId = flags.replay === undefined ? null : deliveryNumber(flags.replay);
  const face = await openFace(command, givenFlags(flags, command));
  const { emit, stopping, dropping } = face;
  const { config } = face.loaded;
  const app = await import("../../app.ts");
  try {
    const world = { config, emit, stopping, dropping };
    const { store, database, me } = await app.openState(world);
    try {
      const session = await sessionOf(store, argument, config.project);
      if (flags.history) {
        return showHistory(
          face,
          await store.deliveries.history(session.id),
          await store.deliveries.attempts(session.id),
        );
      }
      const { openTrigger } = await import("../../app/trigger.ts");
      const { trigger } = await import("../../operations/trigger.ts");
      const means = await openTrigger(config);
      database.setPatience(config.maxOutageMinutes * 60_000);
      const told = await trigger(
        { ...app.surroundings(world), store, me, trigger: means },
        {
          session,
          // A replay goes where it went before, unless another place is named here.
          plan: flags.replay !== undefined && flags.url === undefined ? null : means.plan,
          ...(flags.replay !== undefined && { replay: { deliveryId } }),
          force: flags.force === true,
          waitMs: means.waitMs,
          stopSignal: face.stopSignal,
        },
      );
      show(face, session, told);
      process.exitCode = told.exitCode;
    } finally {
      await store.close();
    }
  } finally {
    face.close();
  }
}

function show(face: Face, session: SessionRow, { delivery, already, othersDue, exitCode }: Told): void {
  if (face.json) {
    const time = new Date().toISOString();
    face.out(JSON.stringify({ type: "delivery", time, ...delivery, already, othersDue, exitCode }));
    return;
  }
  if (othersDue > 0 && !face.quiet) {
    const message = `${count(othersDue)} other ${othersDue === 1 ? "delivery" : "deliveries"} of project ${session.project} still due`;
    face.emit({ type: "notice", sessionId: session.id, level: "info", message });
  }
  if (face.quiet && exitCode === 0) return;
  say(face, toldText(session, delivery, already, face.configFlag));
}

const ends: Record<DeliveryRow["status"], string> = {
  delivered: "told",
  due: "not told yet: it stays due",
  refused: "not told: the endpoint refused it",
  gone: "not told: the endpoint is gone",
  held: "not told yet: the session is not complete",
  dropped: "not told: a newer delivery says it instead",
};

function toldText(session: SessionRow, delivery: DeliveryRow, already: boolean, configFlag: string): string {
  const { id, status, webhookId, httpStatus, jobId, attempts, errorMessage } = delivery;
  const bytesSaid = `${delivery.format} format, ${files(delivery.files ?? 0)}, ${count(delivery.bodyBytes ?? 0)} bytes`;
  const lines = [
    `session ${session.id} ${already ? `was told already, on ${instant(delivery.finishedAt ?? delivery.createdAt)}` : ends[status]}`,
    `  delivery ${id} (${webhookId}): ${bytesSaid}`,
    `  to ${name(delivery.url)}: ${httpStatus === null ? "no answer" : `HTTP ${httpStatus}`}, ${attempts} ${attempts === 1 ? "attempt" : "attempts"}${jobId === null ? "" : `, job ${name(jobId)}`}`,
  ];
  if (status !== "delivered" && errorMessage !== null) lines.push(`  why:   ${name(errorMessage)}`);
  if (already)
    lines.push(`  again: uploader trigger ${session.id} --replay (same id) or --force (a new one)${configFlag}`);
  else if (status === "due") lines.push(`  again: uploader trigger ${session.id}${configFlag}`);
  else if (status !== "delivered") lines.push(`  again: uploader trigger ${session.id} --replay ${id}${configFlag}`);
  return lines.join("\n");
}

function showHistory(face: Face, deliveries: readonly DeliveryRow[], attempts: readonly DeliveryAttemptRow[]): void {
  if (face.json) {
    for (const delivery of deliveries) {
      const own = attempts.filter(({ deliveryId }) => deliveryId === delivery.id);
      face.out(JSON.stringify({ ...delivery, history: own.map(({ deliveryId: _, ...attempt }) => attempt) }));
    }
    return;
  }
  if (deliveries.length === 0) {
    face.out("nobody was told of this session, and nobody is to be");
    return;
  }
  for (const delivery of deliveries) {
    const own = attempts.filter(({ deliveryId }) => deliveryId === delivery.id);
    say(face, historyText(delivery, own));
  }
}

/** A delivery and its attempts: columns of URLs and answers would be wider than any screen. */
function historyText(delivery: DeliveryRow, attempts: readonly DeliveryAttemptRow[]): string {
  const { id, status, format, createdAt, jobId, url } = delivery;
  const sent = `${format} format${delivery.files === null ? "" : `, ${files(delivery.files)}`}`;
  return [
    `delivery ${id} ${status}: made ${instant(createdAt)}, ${sent}${jobId === null ? "" : `, job ${name(jobId)}`}`,
    `  to ${name(url)}`,
    ...attempts.map((attempt) => {
      const took = attempt.durationMs === null ? "" : ` [${duration(attempt.durationMs)}]`;
      const said = answerText(attempt);
      return `  ${attempt.attempt}. ${instant(attempt.startedAt)}${took} ${attempt.verdict ?? "not recorded"}${said === "" ? "" : `: ${said}`}`;
    }),
  ].join("\n");
}

const say = (face: Face, text: string): void =>
  face.out(fold(text, process.stdout.isTTY ? process.stdout.columns : undefined));

/** In one line. */
function answerText({ httpStatus, errorMessage, answer }: DeliveryAttemptRow): string {
  const said = httpStatus === null ? (errorMessage ?? "") : `HTTP ${httpStatus} ${answer ?? ""}`;
  const line = name(said.replace(/\s+/g, " ").trim());
  return line.length > 80 ? `${line.slice(0, 79)}…` : line;
}
