/** The completion scripts in real shells, as far as they are installed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { completionScript, type Shell, shells } from "../../src/cli/completion.ts";
import { buildProgram } from "../../src/cli/program.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "uploader-completion-"));
  for (const shell of shells) writeFileSync(join(folder, shell), completionScript(buildProgram(), shell));
  writeFileSync(join(folder, "reef.json"), "{}");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isThere = (shell: Shell): boolean => spawnSync(shell, ["-c", "exit 0"]).status === 0;

function shellSays(command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: "utf8", timeout: 60_000 });
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr}`);
  expect(stderr).toBe("");
  return stdout;
}

/** What each shell offers after a line; the last word may be begun. */
const offers: Record<Shell, (line: string) => string[]> = {
  bash(line) {
    const parts = line.split(" ");
    const script = `compopt() { :; }; source ./bash
      COMP_WORDS=(${parts.map((part) => `'${part}'`).join(" ")}); COMP_CWORD=${parts.length - 1}
      _uploader; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return shellSays("bash", ["--norc", "-c", script]).split("\n").filter(Boolean);
  },
  fish(line) {
    const script = `source ./fish; complete -C '${line}'`;
    return shellSays("fish", ["--no-config", "-c", script])
      .split("\n")
      .filter(Boolean)
      .map((offer) => offer.split("\t")[0]!);
  },
  /** zsh completes only on a terminal, so it gets one of its own, and lists what it would insert. */
  zsh(line) {
    const script = `
      zmodload zsh/zpty
      zpty shell 'zsh -f -i'
      zpty -w shell 'PS1=; stty cols 200; autoload -Uz compinit; compinit -u -d ${folder}/dump; source ${folder}/zsh'
      zpty -w shell 'zstyle ":completion:*" list-separator "#"; LISTMAX=1000; cd ${folder}; bindkey "^I" list-choices'
      # Not before the line editor has the terminal: until then ^U would wipe out what is typed.
      zpty -w shell 'zle-line-init() { print -n REA""DY }; zle -N zle-line-init'
      zpty -r shell out '*READY*'
      # What is typed after the Tab is read when the list has been shown.
      zpty -w -n shell '${line}'$'\\t'$'\\x15'"print D''ONE"$'\\n'
      zpty -r shell out '*DONE*'
      print -r -- $out
      zpty -d shell`;
    return shellSays("zsh", ["-f", "-c", script])
      .replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "")
      .split(/[\r\n]+| {2,}/)
      .map((offer) => offer.split("#")[0]!.trim())
      .filter(Boolean);
  },
};

describe.each(shells)("%s", (shell) => {
  const run = isThere(shell) ? it : it.skip;

  run("completes commands, and those below them", () => {
    expect(offers[shell]("uploader ")).toEqual(expect.arrayContaining(["upload", "status", "completion"]));
    expect(offers[shell]("uploader config ")).toEqual(expect.arrayContaining(["show", "schema"]));
  });

  run("completes flags of the command that stands there, and of no other", () => {
    const flags = offers[shell]("uploader retry --");
    expect(flags).toEqual(expect.arrayContaining(["--rounds", "--include-permanent"]));
    expect(flags).not.toContain("--dry-run");
  });

  run("completes the values a flag takes, and files", () => {
    expect(offers[shell]("uploader upload --existing ")).toEqual(expect.arrayContaining(["checksum", "size"]));
    expect(offers[shell]("uploader upload --config ree")).toEqual(expect.arrayContaining(["reef.json"]));
    expect(offers[shell]("uploader status ")).toContain("latest");
  });
});
