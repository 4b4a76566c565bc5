/** Parses, runs one command, sets the exit code. The only file that prints an error or ends the process. */
import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";
import { asUploaderError, UploaderError } from "../core/errors.ts";
import { commands } from "./commands.ts";
import { exitStatusHelp } from "./exit-status.ts";
import { addGlobalFlags } from "./flags.ts";
import { fold } from "./format.ts";
import { helpLayout } from "./help.ts";
import { jsonEvent } from "./render.ts";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

function buildProgram(): Command {
  const program = new Command("uploader")
    .description("Uploads recordings to S3 or a folder, exactly once and provably, remembered in Postgres.")
    .version(version)
    .exitOverride()
    // What is wrong with the arguments is told like every other error.
    .configureOutput({ outputError: () => undefined })
    .configureHelp(helpLayout)
    .addHelpText(
      "before",
      `Examples:
  uploader upload /media/SD01 s3://reef-recordings/C2    the whole card, again and again until all is safe
  uploader upload --config reef.json --dry-run           what would be sent
  uploader status latest --follow                        what is known, live
  uploader retry latest                                  failed files again
`,
    )
    .addHelpText("after", exitStatusHelp());
  addGlobalFlags(program);
  for (const define of commands) define(program);
  return program;
}

/** Work that is not finished when nothing is left to wait for must not look like success. */
let finished = false;
process.once("beforeExit", () => {
  if (finished) return;
  process.exitCode = 1;
  process.stderr.write("error: the program ended before its work did; please report this\n");
});
// A reader that goes away (`| head`, a closed terminal) is not an error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
  });
}
// Node would open its inspector on SIGUSR1.
process.on("SIGUSR1", () => undefined);

async function main(): Promise<void> {
  const program = buildProgram();
  const given = process.argv.slice(2);
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError && (error.exitCode === 0 || error.code === "commander.help")) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
    } else if (process.exitCode !== 130 && process.exitCode !== 143) {
      // After a signal, what failed because of it is no news.
      report(error instanceof CommanderError ? usageError(error, program, given) : asUploaderError(error), given);
    }
  } finally {
    finished = true;
  }
}

/** Its message is `error: what\n(Did you mean this?)`. */
function usageError(error: CommanderError, program: Command, given: readonly string[]): UploaderError {
  const [what = "", suggestion] = error.message.split("\n");
  const command = program.commands.find((each) => given.includes(each.name()));
  const help = `${["uploader", command?.name()].filter(Boolean).join(" ")} --help`;
  const meant = suggestion?.replace(/^\(D(.*)\)$/, "d$1");
  return new UploaderError("usage", what.replace(/^error: /, ""), { hint: meant ?? `see: ${help}` });
}

function report(error: UploaderError, given: readonly string[]): void {
  const { code, exitCode, message, hint } = error;
  process.exitCode = exitCode;
  if (given.includes("--json")) {
    const event = { type: "error", sessionId: null, code, exitCode, message, hint: hint ?? null } as const;
    process.stdout.write(`${JSON.stringify(jsonEvent(event, Date.now()))}\n`);
    return;
  }
  const width = process.stderr.isTTY ? process.stderr.columns : undefined;
  const say = (text: string): boolean => process.stderr.write(`${fold(text, width)}\n`);
  say(`error: ${message}`);
  if (hint) say(`  ${hint}`);
  if (code !== "internal") return;
  if (given.some((argument) => /^-v+$|^--verbose$/.test(argument))) say(stackOf(error.cause ?? error));
  else say("  this is a bug; -v shows where");
}

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

await main();
