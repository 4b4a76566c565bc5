/** The tree of commands, read as help and completion read it: what is added to it is held to the same. */
import { type Command, CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { completionScript, shells } from "../../src/cli/completion.ts";
import { fillTree } from "../../src/cli/flags.ts";
import { buildProgram } from "../../src/cli/program.ts";

const pathOf = (command: Command): string =>
  command.parent === null ? "" : `${pathOf(command.parent)} ${command.name()}`.trim();

const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

/** The command lines of a help text's examples: up to a comment, a pipe, or the end of `$(…)`. */
function examplesOf(command: Command): string[] {
  const [, block = ""] = /^Examples:\n((?: {2}.*\n)+)/.exec(helpOf(command)) ?? [];
  return block
    .split("\n")
    .flatMap((line) => /uploader (?:[^|>)"]|"[^"]*")*/.exec(line)?.[0] ?? [])
    .map((line) =>
      line
        .replace(/ {3,}.*$/, "")
        .replace(/ 2$/, "")
        .trim(),
    );
}

/** As a shell parts words, as far as examples need it. */
const words = (line: string): string[] =>
  [...line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replaceAll(/['"]/g, ""));

const commands = all(fillTree(buildProgram()));

/** Parses without running anything. */
async function parse(line: string): Promise<string> {
  const program = buildProgram();
  let reached = "";
  for (const command of all(program)) {
    command.exitOverride();
    if (command.commands.length === 0) {
      command.action(() => {
        reached = pathOf(command);
      });
    }
  }
  await program.parseAsync(words(line).slice(1), { from: "user" });
  return reached;
}

describe("every command", () => {
  it.each(commands.map((command) => [pathOf(command), command] as const))(
    "uploader %s: has examples, which parse",
    async (path, command) => {
      const examples = examplesOf(command);
      expect(examples, helpOf(command)).not.toEqual([]);
      const reached = [];
      for (const example of examples) {
        reached.push(
          await parse(example).catch((error: unknown) => {
            throw new Error(`${example}: ${error instanceof CommanderError ? error.message : String(error)}`);
          }),
        );
      }
      // Some may be those of its children, or of what belongs with it.
      expect(reached.map((each) => `${each} `)).toContainEqual(
        expect.stringMatching(`^${path === "" ? "." : `${path} `}`),
      );
    },
  );

  it.each(commands.map((command) => [pathOf(command), command] as const))(
    "uploader %s: says what it is about, and fits a wide terminal",
    (_path, command) => {
      expect(command.summary() || command.description()).not.toBe("");
      for (const line of helpOf(command).split("\n")) expect(line.length, line).toBeLessThanOrEqual(110);
    },
  );

  it("a wrong example would be noticed", async () => {
    await expect(parse("uploader upload --exsiting checksum")).rejects.toThrow(/unknown option/);
    await expect(parse("uploader uplaod")).rejects.toThrow(/unknown command|too many|excess/);
  });

  it.each(shells)("is in the completion of %s, with its flags", (shell) => {
    const script = completionScript(buildProgram(), shell);
    for (const command of commands) {
      expect(script).toContain(command.parent === null ? "uploader" : command.name());
      for (const option of command.options.filter(({ hidden }) => !hidden)) {
        expect(script, pathOf(command)).toContain(shell === "fish" ? `-l ${option.long!.slice(2)}` : option.long);
      }
    }
  });
});
