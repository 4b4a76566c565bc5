import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { type ConfigInput, type LoadedConfig, loadConfig } from "../../src/config.ts";
import { UploaderError } from "../../src/core/errors.ts";

export interface Workspace {
  root: string;
  write(name: string, content: string | Uint8Array | object): string;
  /** With nothing in the environment but what is given; the root is the working directory. */
  load(input?: Partial<ConfigInput>): LoadedConfig;
  /** The error of a load that must fail. */
  fail(input?: Partial<ConfigInput>): UploaderError;
}

/** A folder of its own for one test. */
export function openWorkspace(): Workspace {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "config-")));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const load = (input: Partial<ConfigInput> = {}): LoadedConfig =>
    loadConfig({ flags: {}, configPath: null, env: { HOME: root }, cwd: root, ...input });
  return {
    root,
    write(name, content) {
      const path = join(root, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(
        path,
        typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content, null, 2),
      );
      return path;
    },
    load,
    fail(input) {
      try {
        load(input);
      } catch (error) {
        if (error instanceof UploaderError) return error;
        throw error;
      }
      throw new Error("the configuration was taken");
    },
  };
}
