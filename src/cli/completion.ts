/** Completion for shells, made from the tree of commands: a new command or flag completes without being named here. */
import type { Argument, Command, Option } from "commander";
import { fillTree } from "./flags.ts";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

interface Flag {
  /** `--existing`, `-j`. */
  names: string[];
  words: string;
  /** What stands after it: these words, a file (null), or nothing at all. */
  takes: { choices: string[] | null } | null;
}

interface Node {
  /** `config show`; "" is the program itself. */
  path: string;
  words: string;
  children: { name: string; words: string }[];
  flags: Flag[];
  /** Words for arguments; files are offered too where a command takes arguments. */
  arguments: string[];
  takesArguments: boolean;
}

const firstLine = (text: string): string => text.split("\n")[0]!.trim();

/** `<fail|skip|replace>` names its choices; `<n|auto>` one of them. */
function choicesOf(of: Option | Argument): string[] | null {
  if (of.argChoices) return [...of.argChoices];
  const placeholder = "flags" in of ? (/<([^>]*\|[^>]*)>/.exec(of.flags)?.[1] ?? "") : "";
  const words = placeholder.split("|").filter((word) => word.length > 1);
  if (words.length > 0) return words;
  return of.description?.includes("or: latest") ? ["latest"] : null;
}

function flagOf(option: Option): Flag {
  return {
    names: [option.long, option.short].filter((name) => name !== undefined && name !== null),
    words: firstLine(option.description),
    takes: option.required || option.optional ? { choices: choicesOf(option) } : null,
  };
}

/** The tree as a list, parents before children. */
function nodesOf(command: Command, shared: readonly Flag[], path = ""): Node[] {
  const own = command.options.filter((option) => !option.hidden).map(flagOf);
  const isRoot = command.parent === null;
  const flags = [...own, ...(isRoot ? [] : shared), { names: ["--help", "-h"], words: "all about it", takes: null }];
  const children = command.createHelp().visibleCommands(command);
  const args = command.registeredArguments;
  const node: Node = {
    path,
    words: firstLine(command.summary() || command.description()),
    children: children.map((each) => ({ name: each.name(), words: firstLine(each.summary() || each.description()) })),
    flags,
    arguments:
      command.name() === "help" && command.parent?.parent === null
        ? command.parent.commands.map((each) => each.name())
        : args.flatMap((each) => choicesOf(each) ?? []),
    takesArguments: args.length > 0,
  };
  return [
    node,
    ...children.flatMap((child) => nodesOf(child, shared, path === "" ? child.name() : `${path} ${child.name()}`)),
  ];
}

export function completionScript(program: Command, shell: Shell): string {
  const shared = program.options.filter((option) => !option.hidden && option.long !== "--version").map(flagOf);
  return scripts[shell](nodesOf(fillTree(program), shared));
}

const single = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** `case` arms that take the words before the cursor down the tree. */
const paths = (nodes: readonly Node[]): string[] => nodes.map((node) => node.path).filter((path) => path !== "");

function bash(nodes: readonly Node[]): string {
  const valueArms = nodes.flatMap((node) =>
    node.flags.flatMap(({ names, takes }) =>
      takes === null
        ? []
        : [
            `    ${names.map((name) => `'${node.path}:${name}'`).join("|")}) ${
              takes.choices
                ? `COMPREPLY=($(compgen -W ${single(takes.choices.join(" "))} -- "$cur"))`
                : 'COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames'
            }; return ;;`,
          ],
    ),
  );
  const nodeArms = nodes.map((node) => {
    const words = [...node.children.map((child) => child.name), ...node.arguments];
    const flags = node.flags.flatMap(({ names }) => names);
    const isFile = node.takesArguments && node.children.length === 0;
    return `    '${node.path}') words=${single(words.join(" "))}; flags=${single(flags.join(" "))}; files=${isFile ? 1 : 0} ;;`;
  });
  return `# bash completion for uploader: source <(uploader completion bash)
_uploader() {
  local cur prev path='' next word words='' flags='' files=0 i
  cur=\${COMP_WORDS[COMP_CWORD]}
  prev=\${COMP_WORDS[COMP_CWORD-1]}
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    next=\${path:+$path }$word
    case "$next" in
    ${paths(nodes).map(single).join("|")}) path=$next ;;
    esac
  done
  case "$path:$prev" in
${valueArms.join("\n")}
  esac
  case "$path" in
${nodeArms.join("\n")}
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    return
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [[ $files == 1 ]]; then
    COMPREPLY+=($(compgen -f -- "$cur"))
    compopt -o filenames
  fi
}
complete -F _uploader uploader
`;
}

/** Where zsh parts a word from its description. */
const entry = (name: string, words: string): string => single(`${name.replaceAll(":", "\\:")}:${words}`);

function zsh(nodes: readonly Node[]): string {
  const valueArms = nodes.flatMap((node) =>
    node.flags.flatMap(({ names, takes }) =>
      takes === null
        ? []
        : [
            `    ${names.map((name) => `'${node.path}:${name}'`).join("|")}) ${
              takes.choices ? `compadd -- ${takes.choices.map(single).join(" ")}` : "_files"
            }; return ;;`,
          ],
    ),
  );
  const nodeArms = nodes.map((node) => {
    const subjects = [
      ...node.children.map((child) => entry(child.name, child.words)),
      ...node.arguments.map((word) => entry(word, "")),
    ];
    const flags = node.flags.flatMap(({ names, words: about }) => names.map((name) => entry(name, about)));
    const isFile = node.takesArguments && node.children.length === 0;
    return `    '${node.path}') subjects=(${subjects.join(" ")}); flags=(${flags.join(" ")}); files=${isFile ? 1 : 0} ;;`;
  });
  return `#compdef uploader
# zsh completion for uploader: source <(uploader completion zsh), or keep it as _uploader in a folder of $fpath
_uploader() {
  local at='' next word files=0
  local cur=\${words[CURRENT]} prev=\${words[CURRENT-1]}
  local -a before subjects flags
  before=("\${(@)words[2,CURRENT-1]}")
  for word in "\${before[@]}"; do
    next=\${at:+$at }$word
    case "$next" in
    ${paths(nodes).map(single).join("|")}) at=$next ;;
    esac
  done
  case "$at:$prev" in
${valueArms.join("\n")}
  esac
  case "$at" in
${nodeArms.join("\n")}
  esac
  if [[ $cur == -* ]]; then
    _describe -o flag flags
    return
  fi
  (( \${#subjects} )) && _describe command subjects
  (( files )) && _files
  return 0
}
if [[ $funcstack[1] == _uploader ]]; then
  _uploader "$@"
else
  compdef _uploader uploader
fi
`;
}

function fish(nodes: readonly Node[]): string {
  const lines = nodes.flatMap((node) => {
    const at = `-n ${single(`__uploader_at ${single(node.path)}`)}`;
    return [
      ...(node.takesArguments && node.children.length === 0 ? [`complete -c uploader ${at} -F`] : []),
      ...node.children.map((child) => `complete -c uploader ${at} -a ${single(child.name)} -d ${single(child.words)}`),
      ...(node.arguments.length > 0 ? [`complete -c uploader ${at} -a ${single(node.arguments.join(" "))}`] : []),
      ...node.flags.map(({ names, words, takes }) => {
        const spelled = names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
        const value = takes === null ? "" : takes.choices ? ` -x -a ${single(takes.choices.join(" "))}` : " -r -F";
        return `complete -c uploader ${at} ${spelled.join(" ")}${value} -d ${single(words)}`;
      }),
    ];
  });
  return `# fish completion for uploader: uploader completion fish | source
function __uploader_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim -- "$at $word")
    contains -- $next ${paths(nodes).map(single).join(" ")}; and set at $next
  end
  test "$at" = "$argv[1]"
end
complete -c uploader -f
${lines.join("\n")}
`;
}

const scripts: Record<Shell, (nodes: readonly Node[]) => string> = { bash, zsh, fish };
