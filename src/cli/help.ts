/** How `--help` is laid out: one column for names, one for words, within 80 columns and no wider than 100. */
import type { Help, HelpConfiguration } from "commander";

const wordsAt = 33;

export const helpLayout: HelpConfiguration = {
  showGlobalOptions: true,
  // Long enough for a table, short enough for a line to be read.
  helpWidth: Math.min(process.stdout.columns ?? 80, 100),
  padWidth: () => wordsAt,
  subcommandTerm: (command) =>
    [
      command.name(),
      ...command.registeredArguments.map((each) => (each.required ? `<${each.name()}>` : `[${each.name()}]`)),
    ].join(" "),
  formatItem(term: string, _width: number, description: string, helper: Help) {
    const words = helper.boxWrap(description, (helper.helpWidth ?? 80) - wordsAt).split("\n");
    const head = `  ${term}`;
    // A name too long for its column has a line of its own.
    const first = head.length + 2 <= wordsAt ? `${head.padEnd(wordsAt)}${words.shift() ?? ""}` : head;
    return [first, ...words.map((line) => `${" ".repeat(wordsAt)}${line}`)].join("\n");
  },
};
