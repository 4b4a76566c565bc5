import { Argument, type Command } from "commander";
import { completionScript, type Shell, shells } from "../completion.ts";
import { exitStatusHelp } from "../exit-status.ts";

export function defineCompletion(program: Command): void {
  program
    .command("completion")
    .addArgument(new Argument("<shell>", "whose completion").choices(shells))
    .summary("completion for your shell")
    .description("Prints a script that completes commands, flags and their values.")
    .addHelpText(
      "before",
      `Examples:
  source <(uploader completion bash)              this shell; for all of them, into ~/.bashrc
  source <(uploader completion zsh)               after compinit in ~/.zshrc
  uploader completion fish > ~/.config/fish/completions/uploader.fish
`,
    )
    .addHelpText("after", exitStatusHelp(0, 2))
    .action((shell: Shell) => {
      process.stdout.write(completionScript(program, shell));
    });
}
