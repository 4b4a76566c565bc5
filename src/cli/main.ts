/** Parses, runs one command, sets the exit code. The only file that prints an error or ends the process. */
import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";
import { asUploaderError } from "../core/errors.ts";
import { commands } from "./commands.ts";
import { jsonEvent } from "./render.ts";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

function buildProgram(): Command {
  const program = new Command("uploader")
    .description("Uploads recordings to S3 or a folder, exactly once and provably, remembered in Postgres.")
    .version(version)
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .addHelpText(
      "before",
      `Examples:
  uploader upload /media/SD01 s3://reef-recordings/C2      the whole card, again and again until all is safe
  uploader upload --config reef.json --dry-run             what would be sent
  uploader status latest --follow                          what is known, live
  uploader retry latest                                    failed files again
`,
    )
    .addHelpText(
      "after",
      `
Exit status: 0 all confirmed · 2 usage or configuration · 3 some files failed · 4 some not ready · 10 doctor found a fault
  11 held by another run · 12 credentials · 13 database · 14 store · 15 verification · 16 trigger · 130/143 interrupted`,
    );
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
// A reader that goes away (`| head`) is not an error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}
// Node would open its inspector on SIGUSR1.
process.on("SIGUSR1", () => undefined);

async function main(): Promise<void> {
  const program = buildProgram();
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    const ours = asUploaderError(error);
    const json = process.argv.includes("--json");
    const { code, exitCode, message, hint } = ours;
    if (json) {
      const event = { type: "error", sessionId: null, code, exitCode, message, hint: hint ?? null } as const;
      process.stdout.write(`${JSON.stringify(jsonEvent(event, Date.now()))}\n`);
    } else {
      process.stderr.write(`error: ${message}\n${hint ? `  ${hint}\n` : ""}`);
      const verbose = process.argv.some((argument) => /^-v+$|^--verbose$/.test(argument));
      if (code === "internal" && verbose) process.stderr.write(`${stackOf(ours.cause ?? ours)}\n`);
      else if (code === "internal") process.stderr.write("  this is a bug; -v shows where\n");
    }
    process.exitCode = exitCode;
  } finally {
    finished = true;
  }
}

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

await main();
