/** The tree of commands. Help, completion and the tests read it: what stands here is known everywhere. */

import { Command } from "commander";
import { versionOf } from "../installed.ts";
import { commands } from "./commands.ts";
import { exitStatusHelp } from "./exit-status.ts";
import { addGlobalFlags, fillFlags } from "./flags.ts";
import { helpLayout } from "./help.ts";

export function buildProgram(): Command {
  const program = new Command("uploader")
    .description("Uploads recordings to S3 or a folder, exactly once and provably, remembered in Postgres.")
    .version(versionOf())
    .exitOverride()
    // What is wrong with the arguments is told like every other error.
    .configureOutput({ outputError: () => undefined })
    .configureHelp(helpLayout)
    .helpCommand(false)
    .addHelpText(
      "before",
      `Examples:
  uploader init                                          asks, and writes a configuration
  uploader upload /media/SD01 s3://reef-recordings/C2    its recordings, again and again until all are safe
  uploader upload --config reef.json --dry-run           what would be sent
  uploader status latest --follow                        what is known, live
  uploader retry latest                                  failed files again
  uploader help upload                                   all about one command
`,
    )
    .addHelpText("after", exitStatusHelp());
  addGlobalFlags(program);
  for (const define of commands) define(program);
  fillOnTheWay(program);
  return program;
}

/** A command that is about to read its arguments knows all its flags by then. */
function fillOnTheWay(command: Command): void {
  if (command.commands.length > 0) command.hook("preSubcommand", (_, child) => void fillFlags(child));
  for (const child of command.commands) fillOnTheWay(child);
}
