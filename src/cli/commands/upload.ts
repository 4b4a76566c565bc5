import type { Command } from "commander";
import type { OpenedState } from "../../app.ts";
import { destinationText, redactConfig } from "../../config.ts";
import type { SummaryEvent } from "../../core/events.ts";
import type { Destination, SourceTree } from "../../core/ports.ts";
import type { DryRun } from "../../operations/upload.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { bytes, count, files } from "../format.ts";
import { sessionOf, withPlacesOf } from "../session-argument.ts";

interface UploadFlags {
  dryRun?: boolean;
  skipRetry?: boolean;
  newSession?: boolean;
  join?: string;
}

const shown = [
  "project",
  "include",
  "exclude",
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
  "s3.unsignedPayload",
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
    .addHelpText("after", exitStatusHelp(0, 1, 2, 3, 4, 11, 12, 13, 14, 130, 143))
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
  if (source !== undefined) given.source = source;
  if (destination !== undefined) given.destination = destination;
  const face = await openFace(command, given);
  const app = await import("../../app.ts");
  const closing: (() => Promise<void>)[] = [];
  const { emit, stopping, dropping } = face;
  let { config } = face.loaded;
  let state: OpenedState | null = null;
  const opened = async (): Promise<OpenedState> => {
    const made = await app.openState({ config, emit, stopping, dropping });
    closing.push(() => made.store.close());
    return made;
  };
  try {
    let join: number | null = null;
    if (flags.join !== undefined) {
      state = await opened();
      const session = await sessionOf(state.store, flags.join, config.project);
      join = session.id;
      config = { ...withPlacesOf(session, config), source: config.source ?? session.source };
    }
    const world = { config, emit, stopping, dropping };
    const target = app.requireDestination(config);
    const tree = await app.openSource(config, app.requireSource(config));
    if (target.kind === "folder") {
      const { assertDisjoint } = await import("../../adapters/folder.ts");
      await assertDisjoint(tree.root, target.path);
    }
    const concurrency = await app.openConcurrency(world);
    const bandwidth = await app.openBandwidth(world);
    closing.push(async () => bandwidth.close());
    face.onReload((loaded) => bandwidth.configure(loaded.config.bwlimit));
    const to = await app.openDestination(world, concurrency, bandwidth);
    closing.push(() => to.close());
    const decoding = app.openDecoding(world);
    closing.push(() => decoding.close());
    for (const message of (await to.check(stopping)).notices) {
      emit({ type: "notice", sessionId: null, level: "info", message });
    }
    const prefix = target.kind === "s3" ? target.prefix : "";
    if (flags.dryRun) return await tryOut(face, await app.peekState(world), tree, to, prefix);

    state ??= await opened();
    const { upload } = await import("../../operations/upload.ts");
    const summary = await upload(
      await app.openContext(world, {
        state,
        destination: to,
        source: tree,
        concurrency,
        bandwidth,
        decoding,
        onChange: "fail",
      }),
      {
        work: {
          project: config.project ?? "default",
          source: tree.root,
          destination: { kind: to.kind, identity: to.identity, text: destinationText(target), prefix },
          command: "upload",
        },
        config: redactConfig(config),
        newSession: flags.newSession === true,
        join,
        rounds: flags.skipRetry ? null : { rounds: 3, delayMs: 5_000, includePermanent: false },
        stopSignal: face.stopSignal,
      },
    );
    process.exitCode = summary.exitCode;
  } finally {
    for (const close of closing.reverse()) await close();
    face.close();
  }
}

async function tryOut(
  face: Face,
  state: OpenedState | null,
  source: SourceTree,
  destination: Destination,
  prefix: string,
): Promise<void> {
  const { dryRun } = await import("../../operations/upload.ts");
  const startedMs = performance.now();
  try {
    const destinationId = (await state?.store.destinationId(destination.identity)) ?? null;
    const result = await dryRun(
      { source, destination, stopping: face.stopping, store: state?.store ?? null },
      { destinationId, prefix },
    );
    if (face.stopping.aborted) return;
    if (!face.json) return face.out(dryRunText(result));
    face.out(JSON.stringify({ type: "dryRun", time: new Date().toISOString(), ...result }));
    face.emit(summaryOf(result, performance.now() - startedMs));
  } finally {
    await state?.store.close();
  }
}

/** The last line of every run in JSON, for a run that does nothing. */
const summaryOf = (result: DryRun, durationMs: number): SummaryEvent => ({
  type: "summary",
  sessionId: null,
  status: "dry_run",
  totalFiles: result.files,
  totalBytes: result.bytes,
  filesUploaded: 0,
  filesSkipped: result.safeFiles,
  filesFailed: result.refused,
  filesNotReady: 0,
  filesUndecoded: 0,
  bytesUploaded: 0,
  filesThisRun: 0,
  bytesThisRun: 0,
  durationMs: Math.round(durationMs),
  exitCode: 0,
});

function dryRunText(result: DryRun): string {
  const { excluded, found, changed, refused } = result;
  const others = excluded === 0 ? "" : ` (${count(excluded)} ${excluded === 1 ? "other" : "others"} left out)`;
  return [
    "dry run: nothing was written",
    `  ${files(result.files)}, ${bytes(result.bytes)} selected${others}`,
    `  ${files(result.toSend)}, ${bytes(result.bytesToSend)} would be sent`,
    `  ${files(result.safeFiles)}, ${bytes(result.safeBytes)} already safe`,
    ...(found > 0 ? [`  ${files(found)} in the store already, to be compared`] : []),
    ...(changed > 0 ? [`  ${files(changed)} not as sent before, to be compared`] : []),
    ...(refused > 0 ? [`  ${files(refused)} that cannot be sent: no key is possible`] : []),
  ].join("\n");
}
