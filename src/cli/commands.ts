import type { Command } from "commander";
import { defineConfigCommands } from "./commands/config.ts";
import { defineDecode } from "./commands/decode.ts";
import { defineDoctor } from "./commands/doctor.ts";
import { defineExplain } from "./commands/explain.ts";
import { defineGc } from "./commands/gc.ts";
import { defineRetry } from "./commands/retry.ts";
import { defineStatusCommands } from "./commands/status.ts";
import { defineUpload } from "./commands/upload.ts";
import { defineVerify } from "./commands/verify.ts";

/** In the order of `uploader --help`. */
export const commands: readonly ((program: Command) => void)[] = [
  defineUpload,
  defineRetry,
  defineStatusCommands,
  defineExplain,
  defineVerify,
  defineDecode,
  defineDoctor,
  defineConfigCommands,
  defineGc,
];
