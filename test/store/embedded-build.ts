import { type ChildProcess, spawn } from "node:child_process";
import { statSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** URL of a built module, for programs of their own: Node cannot run the sources. `npm test` builds; else a stale one is named. */
export function built(module: string): string {
  const program = new URL(`../../build/store/${module}.js`, import.meta.url);
  const source = new URL(`../../src/store/${module}.ts`, import.meta.url);
  const builtMs = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (builtMs < statSync(source).mtimeMs) throw new Error(`${fileURLToPath(program)} is stale: npm run build`);
  return program.href;
}

export interface Program {
  child: ChildProcess;
  /** The next line of its output; rejects when there is none. */
  line(): Promise<string>;
}

/** Runs a module's text in a Node of its own, as another user and with nothing but this environment where given. */
export function runProgram(text: string, as: { uid?: number; env?: NodeJS.ProcessEnv } = {}): Program {
  const child = spawn(process.execPath, ["--input-type=module", "-e", text], {
    stdio: ["pipe", "pipe", "inherit"],
    cwd: "/",
    ...(as.uid === undefined ? {} : { uid: as.uid, gid: as.uid }),
    ...(as.env === undefined ? {} : { env: { PATH: process.env.PATH, ...as.env } }),
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    child,
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error("The program ended without an answer.");
      return value;
    },
  };
}
