import type { Command } from "commander";
import { defineCompletion } from "./commands/completion.ts";
import { defineConfigCommands } from "./commands/config.ts";
import { defineDecode } from "./commands/decode.ts";
import { defineDoctor } from "./commands/doctor.ts";
import { defineExplain } from "./commands/explain.ts";
import { defineGc } from "./commands/gc.ts";
import { defineHelp } from "./commands/help.ts";
import { defineImportLog } from "./commands/import-log.ts";
import { defineInit } from "./commands/init.ts";
import { defineMapDevice } from "./commands/map-device.ts";
import { defineRetry } from "./commands/retry.ts";
import { defineService } from "./commands/service.ts";
import { defineStatusCommands } from "./commands/status.ts";
import { defineSync } from "./commands/sync.ts";
import { defineTrigger } from "./commands/trigger.ts";
import { defineUpload } from "./commands/upload.ts";
import { defineVerify } from "./commands/verify.ts";

/** In the order of `uploader --help`. */
export const commands: readonly ((program: Command) => void)[] = [
  defineInit,
  defineUpload,
  defineRetry,
  defineSync,
  defineTrigger,
  defineStatusCommands,
  defineExplain,
  defineVerify,
  defineDecode,
  defineMapDevice,
  defineDoctor,
  defineConfigCommands,
  defineService,
  defineImportLog,
  defineGc,
  defineCompletion,
  defineHelp,
];
