import type { Command } from "commander";
import { type SummaryEvent, summaryWithoutSession } from "../../core/events.ts";
import type { DryRun } from "../../operations/upload.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { bytes, count, files } from "../format.ts";
import { sessionOf, withPlacesOf } from "../session-argument.ts";

interface UploadFlags {
  dryRun?: boolean;
  skipRetry?: boolean;
  skipTrigger?: boolean;
  newSession?: boolean;
  join?: string;
}

const shown = [
  "project",
  "include",
  "exclude",
  "layout",
  "dateFrom",
  "usersFile",
  "concurrency",
  "bytesInFlight",
  "bwlimit",
  "attempts",
  "maxOutageMinutes",
  "existing",
  "onConflict",
  "onChange",
  "checksum",
  "decode.enabled",
  "decode.formats",
  "decode.profile",
  "s3.region",
  "s3.profile",
  "s3.endpoint",
  "s3.forcePathStyle",
  "s3.storageClass",
  "s3.serverSideEncryption",
  "s3.kmsKeyId",
  "s3.expectedBucketOwner",
  "s3.connectTimeoutSeconds",
  "s3.idleTimeoutSeconds",
  "s3.unsignedPayload",
  "trigger.url",
  "database.url",
  "database.schema",
];

export function defineUpload(program: Command): void {
  const command = program
    .command("upload")
    .argument("[source]", "folder to send; symlinks are not followed, nothing in it is ever changed")
    .argument("[destination]", "s3://bucket/prefix, or a folder")
    .summary("send everything new and confirm it")
    .description(
      "Checks access, scans, skips what is already safe, uploads in parallel, retries, and closes the session. " +
        "Run it again after any interruption: it goes on where it was.",
    )
    .option("-n, --dry-run", "say what would be done; write nothing anywhere")
    .option("--skip-retry", "no retry rounds for files that used up their attempts")
    .option("--skip-trigger", "tell nobody of this session, and send nothing that is due")
    .option("--new-session", "leave an unfinished session behind instead of resuming it")
    .option("--join <session>", "help with a session that another process or machine works on")
    .addHelpText(
      "before",
      `Examples:
  uploader upload /media/SD01 s3://reef-recordings/C2
  uploader upload --config reef.json -j 128
  uploader upload ./card ./archive --include '**/*.wav' --dry-run
  uploader upload --join 12
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 3, 4, 11, 12, 13, 14, 16, 130, 143))
    .addHelpText(
      "after",
      `
--bwlimit counts for each process: two that work on one session send twice as
much. Change it while they run, for all of them in the session's row
(sync_sessions.bandwidth_limit, bytes/s; null: the configuration's), or for one
by SIGHUP, which reads its configuration file again.`,
    );
  addConfigFlags(command, shown).action(run);
}

async function run(source: string | undefined, destination: string | undefined, flags: UploadFlags, command: Command) {
  const given = givenConfigFlags(command);
  if (source !== undefined) given["argument source"] = source;
  if (destination !== undefined) given["argument destination"] = destination;
  const face = await openFace(command, given);
  const { emit, stopping, dropping } = face;
  const world = { config: face.loaded.config, emit, stopping, dropping };
  const { runUpload, tryUpload } = await import("../../app/upload.ts");
  try {
    const isOff = !world.config.cloudUploadEnabled;
    if (flags.dryRun || isOff) {
      const startedMs = performance.now();
      const result = await tryUpload(world);
      if (face.stopping.aborted) return;
      // Without being asked for, a run that sends nothing must not look as if everything were sent.
      const exitCode = !flags.dryRun && leftToDo(result) ? 4 : 0;
      process.exitCode = exitCode;
      if (isOff) emit({ type: "notice", sessionId: null, level: "info", message: switchedOff });
      if (!face.json) return face.out(dryRunText(result));
      face.out(JSON.stringify({ type: "dryRun", time: new Date().toISOString(), ...result }));
      return face.emit(summaryOf(result, performance.now() - startedMs, exitCode));
    }
    const named = flags.join;
    const summary = await runUpload(world, {
      newSession: flags.newSession === true,
      skipRetry: flags.skipRetry === true,
      skipTrigger: flags.skipTrigger === true,
      stopSignal: face.stopSignal,
      onBandwidth: (bandwidth) => face.onReload((loaded) => bandwidth.configure(loaded.config.bwlimit)),
      ...(named !== undefined && {
        async join(store, config) {
          const session = await sessionOf(store, named, config.project);
          return { session, config: withPlacesOf(session, config) };
        },
      }),
    });
    process.exitCode = summary.exitCode;
  } finally {
    face.close();
  }
}

const switchedOff = "CLOUD_UPLOAD_ENABLED is not true: files are looked at, nothing is sent";

const leftToDo = ({ toSend, changed, found, waiting, refused }: DryRun): boolean =>
  toSend + changed + found + waiting + refused > 0;

/** The last line of every run in JSON, for a run that does nothing. */
const summaryOf = (result: DryRun, durationMs: number, exitCode: number): SummaryEvent =>
  summaryWithoutSession({
    status: "dry_run",
    totalFiles: result.files,
    totalBytes: result.bytes,
    filesSafe: result.safeFiles,
    filesSkipped: result.safeFiles + result.leftOut,
    filesFailed: result.refused,
    filesNotReady: result.waiting,
    durationMs: Math.round(durationMs),
    exitCode,
  });

function dryRunText(result: DryRun): string {
  const { excluded, found, changed, waiting, leftOut, refused } = result;
  const others = excluded === 0 ? "" : ` (${count(excluded)} ${excluded === 1 ? "other" : "others"} left out)`;
  return [
    "dry run: nothing was written",
    `  ${files(result.files)}, ${bytes(result.bytes)} selected${others}`,
    `  ${files(result.toSend)}, ${bytes(result.bytesToSend)} would be sent`,
    `  ${files(result.safeFiles)}, ${bytes(result.safeBytes)} already safe`,
    ...(found > 0 ? [`  ${files(found)} in the store already, to be compared`] : []),
    ...(changed > 0 ? [`  ${files(changed)} not as sent before, to be compared`] : []),
    ...(waiting > 0 ? [`  ${files(waiting)} not ready: packages that are not complete yet`] : []),
    ...(leftOut > 0 ? [`  ${files(leftOut)} not sent by this layout`] : []),
    ...(refused > 0 ? [`  ${files(refused)} that cannot be sent: no key is possible`] : []),
  ].join("\n");
}
