import type { Command } from "commander";
import { destinationText, redactConfig } from "../../config.ts";
import type { DryRun } from "../../operations/upload.ts";
import { openFace } from "../face.ts";
import { addConfigFlags, addGlobalFlags, givenConfigFlags, wholeNumber } from "../flags.ts";
import { bytes, count, files } from "../format.ts";

interface UploadFlags {
  dryRun?: boolean;
  skipRetry?: boolean;
  newSession?: boolean;
  join?: number;
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
      "Checks access, scans, skips what is already safe, uploads in parallel, retries, and closes the session.\n" +
        "Run it again after any interruption: it goes on where it was.",
    )
    .option("-n, --dry-run", "say what would be done; write nothing anywhere")
    .option("--skip-retry", "no retry rounds for files that used up their attempts")
    .option("--new-session", "leave an unfinished session behind instead of resuming it")
    .option("--join <session>", "help with a session that another process or machine registered", wholeNumber)
    .addHelpText(
      "before",
      `Examples:
  uploader upload /media/SD01 s3://reef-recordings/C2
  uploader upload --config reef.json -j 128
  uploader upload ./card ./archive --include '**/*.wav' --dry-run
  uploader upload --config reef.json --join 12
`,
    )
    .addHelpText(
      "after",
      `
--bwlimit counts for each process: two that work on one session send twice as much. Change it while they run, for all of
them in the session's row (sync_sessions.bandwidth_limit, bytes/s; null: the configuration's), or for one by SIGHUP, which
reads its configuration file again.`,
    );
  addConfigFlags(addGlobalFlags(command), shown).action(run);
}

async function run(source: string | undefined, destination: string | undefined, flags: UploadFlags, command: Command) {
  const given = givenConfigFlags(command);
  if (source !== undefined) given.source = source;
  if (destination !== undefined) given.destination = destination;
  const face = await openFace(command, given);
  const { config } = face.loaded;
  const world = { config, emit: face.emit, stopping: face.stopping, dropping: face.dropping };
  const app = await import("../../app.ts");
  const { upload, dryRun } = await import("../../operations/upload.ts");
  const closing: (() => Promise<void>)[] = [];
  try {
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
    for (const message of (await to.check(face.stopping)).notices) {
      face.emit({ type: "notice", sessionId: null, level: "info", message });
    }
    const prefix = target.kind === "s3" ? target.prefix : "";

    if (flags.dryRun) {
      const state = await app.peekState(world);
      if (state) closing.push(() => state.store.close());
      const destinationId = (await state?.store.destinationId(to.identity)) ?? null;
      const result = await dryRun(
        { source: tree, destination: to, stopping: face.stopping, store: state?.store ?? null },
        { destinationId, prefix },
      );
      face.out(
        face.json ? JSON.stringify({ type: "dryRun", time: new Date().toISOString(), ...result }) : dryRunText(result),
      );
      const signal = face.stopSignal();
      process.exitCode = signal ? (signal === "SIGINT" ? 130 : 143) : 0;
      return;
    }

    const state = await app.openState(world);
    closing.push(() => state.store.close());
    const summary = await upload(
      await app.openContext(world, { state, destination: to, source: tree, concurrency, bandwidth, onChange: "fail" }),
      {
        work: {
          project: config.project ?? "default",
          source: tree.root,
          destination: { kind: to.kind, identity: to.identity, text: destinationText(target), prefix },
          command: "upload",
        },
        config: redactConfig(config),
        newSession: flags.newSession === true,
        join: flags.join ?? null,
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

function dryRunText(result: DryRun): string {
  return [
    "dry run: nothing was written",
    `  ${files(result.files)}, ${bytes(result.bytes)} selected (${count(result.excluded)} others left out)`,
    `  ${files(result.toSend)}, ${bytes(result.bytesToSend)} would be sent`,
    `  ${files(result.safeFiles)}, ${bytes(result.safeBytes)} already safe`,
    ...(result.found > 0 ? [`  ${files(result.found)} are in the store already and would be compared`] : []),
    ...(result.changed > 0
      ? [`  ${files(result.changed)} differ from what was sent before and would be compared`]
      : []),
    ...(result.refused > 0 ? [`  ${files(result.refused)} cannot be sent: no key is possible`] : []),
  ].join("\n");
}
