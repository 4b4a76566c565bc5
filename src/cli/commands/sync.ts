import type { Command } from "commander";
import type { Config } from "../../config.ts";
import { asUploaderError } from "../../core/errors.ts";
import type { Emit } from "../../core/events.ts";
import type { Bandwidth } from "../../core/ports.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
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
  "http",
  "logFile",
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
A file that is not ready yet is a pending row with its reason (uploader files
latest --status pending); exit 4 says that there are some. A watch waits for a
store or database that is away, for as long as it takes, and for a source that
is not there. What is in the store is never deleted. More: docs/sync.md`,
    );
  addConfigFlags(command, shown).action(run);
}

async function run(source: string | undefined, destination: string | undefined, flags: SyncFlags, command: Command) {
  const given = givenConfigFlags(command);
  if (source !== undefined) given["argument source"] = source;
  if (destination !== undefined) given["argument destination"] = destination;
  const face = await openFace(command, given);
  try {
    await work(face, flags);
  } catch (error) {
    // Who reads the log later shall find there what ended it, too.
    if (face.loaded.config.logFile !== null && !face.json) {
      const { code, exitCode, message, hint } = asUploaderError(error);
      face.emit({ type: "error", sessionId: null, code, exitCode, message, hint: hint ?? null });
    }
    throw error;
  } finally {
    face.close();
  }
}

/** Everything but the bandwidth limit, which changes without anything being begun anew. */
const essence = (config: Config): string => JSON.stringify({ ...config, bwlimit: null });

async function work(face: Face, { only = [], watch = false, skipTrigger = false }: SyncFlags): Promise<void> {
  const { runSync, sourcesOf } = await import("../../app/sync.ts");
  const { requireDestination, requireSource } = await import("../../app.ts");
  const { stopping, dropping, stopSignal } = face;
  let { config } = face.loaded;
  let bandwidth: Bandwidth | null = null;
  let reloading = new AbortController();
  /** The newest one that came as far as READY. */
  let usable: Config | null = null;
  const daemon = watch ? await (await import("../daemon.ts")).openDaemon(face, config) : null;
  face.onReload((loaded) => {
    // One that says nothing of what to send where leaves everything as it was.
    for (const { config: own } of sourcesOf(loaded.config, only)) {
      requireSource(own);
      requireDestination(own);
    }
    bandwidth?.configure(loaded.config.bwlimit);
    const isOther = essence(loaded.config) !== essence(config);
    config = loaded.config;
    if (isOther && watch) reloading.abort();
  });
  const emit: Emit = daemon?.emit ?? face.emit;
  try {
    for (;;) {
      const running = config;
      const sources = sourcesOf(running, only);
      daemon?.watch(sources.map(({ name, config: own }) => ({ name, project: own.project ?? "default" })));
      const code = await runSync({
        config: running,
        only,
        watch,
        skipTrigger,
        emit(event) {
          if (event.type === "ready") usable = running;
          emit(event);
        },
        ...(daemon && { emitFor: daemon.emitFor, onBeat: daemon.onBeat, onState: daemon.onState }),
        stopping,
        dropping,
        stopSignal,
        reloading: reloading.signal,
        onBandwidth: (opened) => {
          bandwidth = opened;
        },
      }).catch((error: unknown) => {
        const { code, message } = asUploaderError(error);
        // Read again and found wanting: the one before goes on.
        if (usable === null || running === usable || code === "internal" || stopping.aborted) throw error;
        if (config === running) config = usable;
        face.emit({
          type: "notice",
          sessionId: null,
          level: "warn",
          message: `the configuration stays as it was: ${message}`,
        });
        return "reload" as const;
      });
      if (code !== "reload") {
        process.exitCode = code;
        return;
      }
      daemon?.reloading();
      reloading = new AbortController();
    }
  } finally {
    await daemon?.close();
  }
}
