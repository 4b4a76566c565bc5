/** Parses, runs one command, sets the exit code. The only file that prints an error or ends the process. */
import { CommanderError } from "commander";
import { asUploaderError, errorCodes, UploaderError } from "../core/errors.ts";
import { summaryWithoutSession } from "../core/events.ts";
import { fold } from "./format.ts";
import { isJournal } from "./log.ts";
import { buildProgram } from "./program.ts";
import { jsonEvent, priorities } from "./render.ts";

/** Work that is not finished when nothing is left to wait for must not look like success. */
let finished = false;
process.once("beforeExit", () => {
  if (finished) return;
  process.exitCode = 1;
  process.stderr.write("error: the program ended before its work did; please report this\n");
});
/** An answer could not be written. The work goes on: an upload is not its report. */
let isUnwritten = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that goes away (`| head`, a closed terminal) is not an error.
  if (error.code === "EPIPE" || error.code === "EIO" || isUnwritten) return;
  if (error.code === undefined) throw error;
  isUnwritten = true;
  const why = error.code === "ENOSPC" ? "no space is left where it goes" : error.code;
  process.stderr.write(`error: standard output cannot be written: ${why}\n`);
  process.once("exit", () => {
    process.exitCode ||= errorCodes.disk_full.exit;
  });
});
// There is nowhere to tell it.
process.stderr.on("error", () => undefined);
// Node would open its inspector on SIGUSR1.
process.on("SIGUSR1", () => undefined);

/** The command that was asked for: a word among the arguments may only look like one (`explain upload`). */
let asked: string | null = null;

async function main(): Promise<void> {
  const program = buildProgram().hook("preSubcommand", (_, child) => {
    asked = child.name();
    child.hook("preSubcommand", (_, grandchild) => {
      asked = `${child.name()} ${grandchild.name()}`;
    });
  });
  const given = process.argv.slice(2);
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError && (error.exitCode === 0 || error.code === "commander.help")) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
    } else if (process.exitCode !== 130 && process.exitCode !== 143) {
      // After a signal, what failed because of it is no news.
      report(error instanceof CommanderError ? usageError(error) : asUploaderError(error), given);
    }
  } finally {
    finished = true;
  }
}

/** Its message is `error: what\n(Did you mean this?)`. */
function usageError(error: CommanderError): UploaderError {
  const [what = "", suggestion] = error.message.split("\n");
  const help = `${["uploader", asked].filter(Boolean).join(" ")} --help`;
  const meant = suggestion?.replace(/^\(D(.*)\)$/, "d$1");
  return new UploaderError("usage", what.replace(/^error: /, ""), { hint: meant ?? `see: ${help}` });
}

/** Commands whose last line in JSON is a summary, also when they were refused before there was a session. */
const runs = new Set(["upload", "retry", "sync"]);

function report(error: UploaderError, given: readonly string[]): void {
  const { code, exitCode, message, hint } = error;
  process.exitCode = exitCode;
  if (given.includes("--json")) {
    const event = { type: "error", sessionId: null, code, exitCode, message, hint: hint ?? null } as const;
    process.stdout.write(`${JSON.stringify(jsonEvent(event, Date.now()))}\n`);
    if (asked !== null && runs.has(asked)) {
      process.stdout.write(
        `${JSON.stringify(jsonEvent(summaryWithoutSession({ status: "failed", exitCode }), Date.now()))}\n`,
      );
    }
    return;
  }
  const width = process.stderr.isTTY ? process.stderr.columns : undefined;
  const priority = isJournal(process.env) ? `<${priorities.error}>` : "";
  const say = (text: string): boolean => process.stderr.write(`${priority}${fold(text, width)}\n`);
  say(`error: ${message}`);
  if (hint) say(`  ${hint}`);
  if (code !== "internal") return;
  if (given.some((argument) => /^-v+$|^--verbose$/.test(argument))) say(stackOf(error.cause ?? error));
  else say("  this is a bug; -v shows where");
}

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

await main();
