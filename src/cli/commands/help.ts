import type { Command } from "commander";
import { UploaderError } from "../../core/errors.ts";
import { fillFlags } from "../flags.ts";

export function defineHelp(program: Command): void {
  program
    .command("help")
    .argument("[command...]", "a command, like: upload, or: config show")
    .summary("all about a command")
    .description("The same as --help after the command.")
    .addHelpText("before", "Examples:\n  uploader help upload\n  uploader help config show\n")
    .action((path: string[]) => fillFlags(commandAt(program, path)).outputHelp());
}

/** Throws `usage` when there is no such command. */
function commandAt(program: Command, path: readonly string[]): Command {
  let at = program;
  for (const name of path) {
    const next = at.commands.find((each) => each.name() === name || each.aliases().includes(name));
    if (!next) {
      throw new UploaderError("usage", `there is no command "${path.join(" ")}"`, {
        hint: `there are: ${at.commands.map((each) => each.name()).join(", ")}`,
      });
    }
    at = next;
  }
  return at;
}
