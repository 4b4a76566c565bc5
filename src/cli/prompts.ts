/** Questions on a terminal: one line each, the answer that Enter gives in brackets. */
import { createInterface } from "node:readline/promises";
import { UploaderError } from "../core/errors.ts";

export interface Prompts {
  /** Until `read` takes the answer; what it throws is told, and the question asked again. Enter gives `usual`. */
  ask<T>(question: string, usual: string | null, read: (answer: string) => T | Promise<T>): Promise<T>;
  confirm(question: string, usual: boolean): Promise<boolean>;
  close(): void;
}

export interface PromptOptions {
  input: NodeJS.ReadableStream;
  output: NodeJS.WritableStream;
  /** How what was wrong with an answer is told. */
  complain(error: unknown): void;
  signal: AbortSignal;
}

/** The end of the input, or Ctrl-D, ends the questions: `usage`. */
export function openPrompts({ input, output, complain, signal }: PromptOptions): Prompts {
  const lines = createInterface({ input, output });
  const ended = new AbortController();
  lines.once("close", () => ended.abort());
  // The terminal's own Ctrl-C goes to the line editor, not to the process.
  lines.on("SIGINT", () => process.kill(process.pid, "SIGINT"));

  const line = async (text: string): Promise<string> => {
    try {
      return (await lines.question(text, { signal: AbortSignal.any([signal, ended.signal]) })).trim();
    } catch (error) {
      if ((error as Error).name !== "AbortError" && (error as NodeJS.ErrnoException).code !== "ERR_USE_AFTER_CLOSE") {
        throw error;
      }
      output.write("\n");
      throw new UploaderError("usage", "the questions were not answered to the end; nothing was written", {
        cause: error,
      });
    }
  };

  const ask: Prompts["ask"] = async (question, usual, read) => {
    for (;;) {
      const answer = (await line(`${question}${usual ? ` [${usual}]` : ""}: `)) || (usual ?? "");
      try {
        return await read(answer);
      } catch (error) {
        complain(error);
      }
    }
  };

  return {
    ask,
    confirm: (question, usual) =>
      ask(`${question} (y/n)`, usual ? "y" : "n", (answer) => {
        if (/^(y|yes)$/i.test(answer)) return true;
        if (/^(n|no)$/i.test(answer)) return false;
        throw new UploaderError("usage", "answer y or n");
      }),
    close: () => lines.close(),
  };
}
