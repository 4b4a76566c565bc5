import type { Command } from "commander";
import { exitStatusHelp } from "../exit-status.ts";
import { openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";

interface SyncFlags {
  watch?: boolean;
  only?: string[];
  skipTrigger?: boolean;
}

const shown = [
  "project",
  "include",
  "exclude",
  "layout",
  "sync.intervalSeconds",
  "sync.settleSeconds",
  "concurrency",
  "bwlimit",
  "onConflict",
  "onChange",
  "decode.enabled",
  "s3.profile",
  "trigger.url",
  "database.url",
];

export function defineSync(program: Command): void {
  const command = program
    .command("sync")
    .argument("[source]", "folder to look after; symlinks are not followed, nothing in it is ever changed")
    .argument("[destination]", "s3://bucket/prefix, or a folder")
    .summary("send what is new and finished, once or for as long as it runs")
    .description(
      "Sends files that are finished: at rest for --settle seconds, whole by their kind, open for nobody's writing. " +
        "A file that changed is sent again. One pass for cron; with --watch a pass every --interval seconds, and " +
        "sooner when something moves.",
    )
    .option("-w, --watch", "stay, and look again and again")
    .option("--only <name...>", "of the configuration's sources only these")
    .option("--skip-trigger", "tell nobody of what was sent, and send nothing that is due")
    .addHelpText(
      "before",
      `Examples:
  uploader sync --watch /srv/recordings s3://reef-recordings/dock
  uploader sync --config clinic.json            one pass over every source, for cron
  uploader sync --config clinic.json --watch --only ecg
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 3, 4, 11, 12, 13, 14, 16, 130, 143))
    .addHelpText(
      "after",
      `
A file that is not ready yet is a pending row with its reason (uploader files latest
--status pending); exit 4 says that there are some. A watch waits for a store or
database that is away, for as long as it takes, and for a source that is not
there. What is in the store is never deleted. More: docs/sync.md`,
    );
  addConfigFlags(command, shown).action(run);
}

async function run(source: string | undefined, destination: string | undefined, flags: SyncFlags, command: Command) {
  const given = givenConfigFlags(command);
  if (source !== undefined) given["argument source"] = source;
  if (destination !== undefined) given["argument destination"] = destination;
  const face = await openFace(command, given);
  const { emit, stopping, dropping, stopSignal } = face;
  const { runSync } = await import("../../app/sync.ts");
  try {
    const code = await runSync({
      config: face.loaded.config,
      only: flags.only ?? [],
      watch: flags.watch === true,
      skipTrigger: flags.skipTrigger === true,
      emit,
      stopping,
      dropping,
      stopSignal,
      onBandwidth: (bandwidth) => face.onReload((loaded) => bandwidth.configure(loaded.config.bwlimit)),
    });
    if (code !== "reload") process.exitCode = code;
  } finally {
    face.close();
  }
}
