import { type Command, InvalidArgumentError } from "commander";
import { parseDuration } from "../../config.ts";
import { asUploaderError, UploaderError } from "../../core/errors.ts";
import type { Sweep, SweptUpload } from "../../operations/gc.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { count, instant, name } from "../format.ts";

interface GcFlags {
  olderThan: number;
  dryRun?: boolean;
  force?: boolean;
}

export function defineGc(program: Command): void {
  const command = program
    .command("gc")
    .summary("abort our own stale multipart uploads")
    .description(
      "Looks for unfinished multipart uploads below the destination's prefix. Those that this database knows and nobody " +
        "will go on with are aborted, so that nobody pays for their parts. Those of others are named, never touched.",
    )
    .option("--older-than <time>", "leave younger ones alone, like 24h, 90m or 7d", time, 86_400_000)
    .option("-n, --dry-run", "say what would be aborted")
    .option("--force", "also those that a file could still go on with: it begins afresh")
    .addHelpText(
      "before",
      `Examples:
  uploader gc --config reef.json --dry-run
  uploader gc --destination s3://reef-recordings/C2 --older-than 7d
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 12, 13, 14, 130, 143));
  command.options.find((option) => option.long === "--older-than")!.defaultValueDescription = "24h";
  addConfigFlags(command, ["destination", "s3.region", "s3.profile", "s3.endpoint", "database.url"]).action(run);
}

function time(text: string): number {
  const valueMs = parseDuration(text);
  if (valueMs === null) throw new InvalidArgumentError("expected a time like 24h, 90m or 7d.");
  return valueMs;
}

async function run(flags: GcFlags, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { config } = face.loaded;
  const world = { config, emit: face.emit, stopping: face.stopping, dropping: face.dropping };
  const app = await import("../../app.ts");
  const { gc } = await import("../../operations/gc.ts");
  const closing: (() => Promise<void>)[] = [];
  try {
    const target = app.requireDestination(config);
    if (target.kind === "folder") {
      face.emit({
        type: "notice",
        sessionId: null,
        level: "info",
        message: "a folder has no multipart uploads; what killed processes left there, the next upload sweeps away",
      });
      return;
    }
    const to = await app.openDestination(world);
    closing.push(() => to.close());
    const { store } = await app.openState(world);
    closing.push(() => store.close());
    const { staleUploads, abortUpload } = to;
    if (!staleUploads || !abortUpload) throw new UploaderError("internal", "this destination lists no uploads");
    const sweep = await gc(
      { ...app.surroundings(world), store, uploads: { staleUploads, abortUpload } },
      {
        prefix: target.prefix,
        olderThanMs: flags.olderThan,
        force: flags.force === true,
        dryRun: flags.dryRun === true,
        onUpload: (upload) => report(face, upload),
      },
    ).catch(explainDenied);
    if (face.json) face.out(JSON.stringify({ type: "summary", time: new Date().toISOString(), ...sweep }));
    else if (!face.quiet) face.out(summaryText(sweep));
  } finally {
    for (const close of closing.reverse()) await close();
    face.close();
  }
}

function explainDenied(error: unknown): never {
  const ours = asUploaderError(error);
  if (ours.code !== "access_denied") throw ours;
  throw new UploaderError("access_denied", ours.message, {
    hint: "gc needs s3:ListBucketMultipartUploads on the bucket and s3:AbortMultipartUpload on the prefix",
    cause: ours,
  });
}

const began = (upload: SweptUpload): string =>
  Number.isNaN(upload.initiatedMs) ? "?" : instant(new Date(upload.initiatedMs));

function report(face: Face, upload: SweptUpload): void {
  if (face.json) {
    const { initiatedMs: _, ...rest } = upload;
    face.out(JSON.stringify({ type: "upload", time: new Date().toISOString(), ...rest, initiatedAt: began(upload) }));
  } else if (!face.quiet) {
    face.out(
      `${upload.fate.replace("_", " ").padEnd(11)}  ${name(upload.key)} (begun ${began(upload)}): ${upload.why}`,
    );
  }
}

function summaryText({ aborted, would_abort, gone, resumable, young, foreign }: Sweep): string {
  if (aborted + would_abort + gone + resumable + young + foreign === 0) return "no unfinished upload is in the store";
  const done = would_abort > 0 ? `${count(would_abort)} would be aborted` : `${count(aborted)} aborted`;
  return [
    done,
    ...(gone > 0 ? [`${count(gone)} were gone already`] : []),
    `${count(resumable)} kept because their file goes on with them`,
    `${count(young)} too young`,
    `${count(foreign)} that this database does not know, not touched`,
  ].join(", ");
}
