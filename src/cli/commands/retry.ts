import type { Command } from "commander";
import { redactConfig, withRememberedStore } from "../../config.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags, wholeNumber } from "../flags.ts";
import { sessionOf, withPlacesOf } from "../session-argument.ts";

interface RetryFlags {
  rounds: number;
  delay: number;
  includePermanent?: boolean;
  skipTrigger?: boolean;
}

export function defineRetry(program: Command): void {
  const command = program
    .command("retry")
    .argument("<session>", "a session's number, or: latest")
    .summary("put failed files back and upload them")
    .description(
      "Puts a session's failed files back, attempts reset, and uploads them in parallel, in rounds. " +
        "The session knows its source, its destination and its s3 settings.",
    )
    .option("--rounds <n>", "rounds at most", wholeNumber, 3)
    .option("--delay <seconds>", "pause before the second round; doubled for every one after it", wholeNumber, 5)
    .option("--include-permanent", "also files that no attempt could help before")
    .option("--skip-trigger", "tell nobody now; what was promised stays so")
    .addHelpText(
      "before",
      `Examples:
  uploader retry latest
  uploader retry 12 --include-permanent --rounds 1
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 3, 4, 11, 12, 13, 14, 16, 130, 143));
  addConfigFlags(command, ["project", "concurrency", "bwlimit", "attempts", "s3.profile", "database.url"]).action(run);
}

async function run(argument: string, flags: RetryFlags, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { emit, stopping, dropping } = face;
  const app = await import("../../app.ts");
  const { retry } = await import("../../operations/retry.ts");
  const closing: (() => Promise<void>)[] = [];
  try {
    const state = await app.openState({ config: face.loaded.config, emit, stopping, dropping });
    closing.push(() => state.store.close());
    const session = await sessionOf(state.store, argument, face.loaded.config.project);
    const remembered = withRememberedStore(face.loaded, await state.store.sessionConfig(session.id));
    if (remembered.restored.length > 0) {
      const message = `as the session had it: ${remembered.restored.join(", ")}`;
      emit({ type: "notice", sessionId: session.id, level: "info", message });
    }
    const config = withPlacesOf(session, remembered.config);
    const world = { config, emit, stopping, dropping };
    const tree = await app.openSource(config, session.source);
    const concurrency = await app.openConcurrency(world);
    const bandwidth = await app.openBandwidth(world);
    closing.push(async () => bandwidth.close());
    face.onReload((loaded) => bandwidth.configure(loaded.config.bwlimit));
    const to = await app.openDestination(world, concurrency, bandwidth);
    closing.push(() => to.close());
    const decoding = app.openDecoding(world);
    closing.push(() => decoding.close());
    const { openTrigger } = await import("../../app/trigger.ts");
    const trigger = flags.skipTrigger ? null : await openTrigger(config);
    await to.check(stopping);
    const summary = await retry(
      await app.openContext(world, {
        state,
        destination: to,
        source: tree,
        concurrency,
        bandwidth,
        decoding,
        ...(trigger && { trigger }),
        onChange: session.command === "sync" ? "replace" : "fail",
      }),
      {
        session,
        config: redactConfig(config),
        rounds: {
          rounds: Math.max(1, flags.rounds),
          delayMs: flags.delay * 1000,
          includePermanent: flags.includePermanent === true,
        },
        stopSignal: face.stopSignal,
      },
    );
    process.exitCode = summary.exitCode;
  } finally {
    for (const close of closing.reverse()) await close();
    face.close();
  }
}
