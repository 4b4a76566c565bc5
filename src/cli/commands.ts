import type { Command } from "commander";
import { defineConfigCommands } from "./commands/config.ts";
import { defineDoctor } from "./commands/doctor.ts";
import { defineRetry } from "./commands/retry.ts";
import { defineStatusCommands } from "./commands/status.ts";
import { defineUpload } from "./commands/upload.ts";

/** In the order of `uploader --help`. */
export const commands: readonly ((program: Command) => void)[] = [
  defineUpload,
  defineRetry,
  defineStatusCommands,
  defineDoctor,
  defineConfigCommands,
];
