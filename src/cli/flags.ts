/** Flags that every command shares, and the way from a flag to the configuration key it names. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { describeFlags, type FlagSpec } from "../config.ts";

/** On the program they count before and after a command's name. */
export function addGlobalFlags(command: Command): Command {
  return command
    .option("-c, --config <file>", "configuration file (JSON)")
    .option("--json", "answer in JSON on stdout, one object per line")
    .option("-q, --quiet", "say nothing but errors and the end of a run that did not succeed")
    .option("-v, --verbose", "say more; twice names every file", (_value, before: number) => before + 1, 0)
    .option("--no-progress", "no progress display")
    .option("--no-color", "no colour")
    .addOption(new Option("--log-format <format>", "what is written to stderr").choices(["text", "json"]));
}

const attribute = (flag: string): string =>
  flag.replace(/^--/, "").replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

const group = "Settings, here, in the file, or as UPLOADER_… variables:";

/** As commander begins its own: in lower case, unless the word is a name. */
const begun = (sentence: string): string => sentence.replace(/^[A-Z](?=[a-z-]* )/, (letter) => letter.toLowerCase());

let read: FlagSpec[] | null = null;
/** The same for every command, and reading them from the schema takes 3 ms. */
const specs = (): readonly FlagSpec[] => (read ??= describeFlags());

/** What each command shows of the configuration's flags, until somebody needs to know them all. */
const pending = new WeakMap<Command, readonly string[]>();

/**
 * Every configuration key as a flag; those of `shown` stand in the command's help, the rest (and `--no-…`) work too.
 * They are made by `fillFlags`, for the one command that runs: for all of them it takes 50 ms.
 */
export function addConfigFlags(command: Command, shown: readonly string[]): Command {
  pending.set(command, shown);
  return command;
}

/** For who reads the whole tree. */
export function fillTree(command: Command): Command {
  for (const child of command.commands) fillTree(child);
  return fillFlags(command);
}

/** The command with all its flags. */
export function fillFlags(command: Command): Command {
  const shown = pending.get(command);
  if (shown === undefined) return command;
  pending.delete(command);
  for (const spec of specs()) {
    const long = spec.flag.split(" ")[0]!;
    const option = new Option([...spec.aliases, spec.flag].join(", "), begun(spec.description)).helpGroup(group);
    option.hidden = !shown.includes(spec.path) || long.startsWith("--no-");
    if (spec.repeatable) option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
    if (!command.options.some((known) => known.long === long)) command.addOption(option);
  }
  return command;
}

/** The configuration flags that were given, by their dotted path. */
export type GivenFlags = Record<string, string | boolean | number | readonly string[]>;

export function givenConfigFlags(command: Command): GivenFlags {
  const given: GivenFlags = {};
  for (const spec of specs()) {
    const name = attribute(spec.flag.split(" ")[0]!.replace(/^--no-/, "--"));
    if (command.getOptionValueSource(name) === "cli") given[spec.path] = command.getOptionValue(name);
  }
  return given;
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("expected a whole number.");
  return Number(text);
}
