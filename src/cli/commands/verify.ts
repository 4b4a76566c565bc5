import { type Command, InvalidArgumentError } from "commander";
import type { Finding, Verification } from "../../operations/verify.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { bytes, count, duration, files, fold, name } from "../format.ts";
import { sessionOf, withPlacesOf } from "../session-argument.ts";

/** HEAD requests at one time when nobody says otherwise: what "auto" begins with for uploads. */
const usualConcurrency = 64;

export function defineVerify(program: Command): void {
  const command = program
    .command("verify")
    .argument("<session>", "a session's number, or: latest")
    .summary("ask the store again: every object against what we remember")
    .description(
      "Asks the store for every object of a session (and, if files were safe before it, for what else is remembered " +
        "below its prefix) and compares size, checksum, else ETag. Changes nothing in the store. A folder is read whole anyway.",
    )
    .option("--read-back <percent>", "read so many percent of the objects whole, chosen by chance", percentage, 0)
    .option("--forget", "take what is missing or different no longer for safe: the next upload looks again")
    .addHelpText(
      "before",
      `Examples:
  uploader verify latest
  uploader verify 12 --read-back 5
  uploader verify 12 --json | jq 'select(.verdict == "missing").key'
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 12, 13, 14, 15, 130, 143));
  addConfigFlags(command, [
    "project",
    "destination",
    "concurrency",
    "s3.region",
    "s3.profile",
    "s3.endpoint",
    "database.url",
  ]).action(run);
}

function percentage(text: string): number {
  const value = /^\d{1,3}(\.\d+)?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (!(value <= 100)) throw new InvalidArgumentError("expected a number from 0 to 100.");
  return value;
}

async function run(argument: string, flags: { readBack: number; forget?: boolean }, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { emit, stopping, dropping } = face;
  const app = await import("../../app.ts");
  const { verify } = await import("../../operations/verify.ts");
  const closing: (() => Promise<void>)[] = [];
  try {
    const { store } = await app.openState({ config: face.loaded.config, emit, stopping, dropping });
    closing.push(() => store.close());
    const session = await sessionOf(store, argument, face.loaded.config.project);
    const config = withPlacesOf(session, face.loaded.config);
    const world = { config, emit, stopping, dropping };
    const concurrency = config.concurrency === "auto" ? usualConcurrency : config.concurrency;
    const to = await app.openDestination(world, { ceiling: concurrency, throttled: () => undefined });
    closing.push(() => to.close());
    await to.check(stopping);
    const result = await verify(
      { ...app.surroundings(world), store, destination: to, policy: { attempts: config.attempts } },
      {
        session,
        concurrency,
        readBackPercent: flags.readBack,
        forget: flags.forget === true,
        onFinding: (finding) => report(face, session.id, finding),
        stopSignal: face.stopSignal,
      },
    );
    for (const message of remarks(result)) {
      emit({ type: "notice", sessionId: session.id, level: "info", message });
    }
    if (face.json) face.out(JSON.stringify({ type: "summary", time: new Date().toISOString(), ...result }));
    else if (!face.quiet || result.exitCode !== 0) {
      face.out(fold(summaryText(result, face.configFlag), process.stdout.isTTY ? process.stdout.columns : undefined));
    }
    process.exitCode = result.exitCode;
  } finally {
    for (const close of closing.reverse()) await close();
    face.close();
  }
}

function report(face: Face, sessionId: number, finding: Finding): void {
  if (finding.verdict === "proven" && face.verbose === 0) return;
  if (face.json) {
    face.out(JSON.stringify({ type: "verify", time: new Date().toISOString(), sessionId, ...finding }));
  } else if (finding.verdict !== "unproven" || face.verbose > 0) {
    const why = finding.detail ?? `by ${finding.by}`;
    face.out(`${finding.verdict.padEnd(9)}  ${name(finding.key)}: ${name(why)}`);
  }
}

function remarks(result: Verification): string[] {
  const lines = Object.entries(result.unprovenWhy).map(
    ([why, number]) => `${count(number)} could not be proven either way: ${why}`,
  );
  if (result.filesLeft > 0) {
    lines.push(`the session is not finished: ${files(result.filesLeft)} still to be sent, and not asked about`);
  }
  if (result.filesFailed > 0)
    lines.push(
      `${files(result.filesFailed)} of the session failed, and ${result.filesFailed === 1 ? "was" : "were"} not asked about`,
    );
  return lines;
}

function summaryText(result: Verification, configFlag: string): string {
  const { provenByChecksum, provenByEtag, different, missing, unproven, unknown } = result;
  const bad = different + missing + unknown;
  const head =
    result.objects === 0
      ? "nothing of this session is in the store as far as we know"
      : bad > 0
        ? "the store does not hold what it should"
        : unproven > 0
          ? "no difference found; not all could be proven"
          : "every object is as we remember it";
  const lines = [
    `session ${result.sessionId}: ${head}`,
    `  ${count(result.objects)} objects, ${bytes(result.bytes)} asked about in ${duration(result.durationMs)}: ${count(provenByChecksum)} equal by checksum, ${count(provenByEtag)} by ETag, ${count(different)} different, ${count(missing)} missing, ${count(unproven)} unproven${unknown > 0 ? `, ${count(unknown)} that may not be asked about` : ""}`,
  ];
  if (result.readBack > 0) lines.push(`  ${count(result.readBack)} of them were read back whole`);
  if (result.forgotten > 0) {
    lines.push(`  ${count(result.forgotten)} are no longer taken for safe: the next upload sends what is missing`);
  } else if (different + missing > 0) {
    const again = `uploader verify ${result.sessionId} --forget${configFlag}`;
    lines.push(`  next: ${again}, then the same upload: it looks again and sends what is missing`);
  }
  return lines.join("\n");
}
