import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import type { AttemptRow } from "../../core/inquiries.ts";
import type { Story } from "../../operations/explain.ts";
import { openFace } from "../face.ts";
import { addConfigFlags, addGlobalFlags, givenConfigFlags, wholeNumber } from "../flags.ts";
import { bytes, count, duration, name } from "../format.ts";

export function defineExplain(program: Command): void {
  const command = program
    .command("explain")
    .argument("<path-or-key>", "a file of the source, absolute or relative, or a key in the store")
    .summary("the story of one file, and what happens next")
    .description(
      "Which rule chose the file (or left it out), its key, its state, every attempt with its cause, parts in the\n" +
        "store, what the store is known to hold, and what happens next. Newest session first.",
    )
    .option("--session <n>", "only this session", wholeNumber)
    .addHelpText(
      "before",
      `Examples:
  uploader explain /media/SD01/a/0412.wav
  uploader explain C2/a/0412.wav --session 12
  uploader explain a/0412.wav --json
`,
    );
  addConfigFlags(addGlobalFlags(command), ["project", "source", "destination", "database.url"]).action(run);
}

async function run(text: string, flags: { session?: number }, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { config } = face.loaded;
  const app = await import("../../app.ts");
  const { explain } = await import("../../operations/explain.ts");
  const world = { config, emit: face.emit, stopping: face.stopping, dropping: face.dropping };
  const { destination } = config;
  try {
    const { store } = await app.openState(world);
    try {
      const stories = await explain(store, {
        text,
        absolute: absoluteOf(text),
        project: flags.session === undefined ? config.project : null,
        sessionId: flags.session ?? null,
        configured: {
          source: config.source,
          prefix: destination?.kind === "s3" ? destination.prefix : "",
          include: config.include,
          exclude: config.exclude,
        },
        isMirrored: config.layout === "mirror" && !config.decode.enabled,
        rulesOf: (root, chosen) => app.openRules(config, root, chosen),
      });
      if (face.json) {
        const time = new Date().toISOString();
        for (const story of stories) face.out(JSON.stringify({ type: "explain", time, ...publicStory(story) }));
      } else face.out(storiesText(stories, Date.now()));
    } finally {
      await store.close();
    }
  } finally {
    face.close();
  }
}

/** Links above the file are resolved, as sessions name their source by its real path; the file itself may be a link. */
function absoluteOf(text: string): string {
  const path = resolve(text);
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).code !== "string") throw error;
    return path;
  }
}

const publicStory = ({ file, object, ...story }: Story): Record<string, unknown> => ({
  sessionId: file?.sessionId ?? null,
  ...story,
  file,
  object: object && { ...object, mtimeNs: object.mtimeNs?.toString() ?? null },
});

const at = (date: Date | null): string => (date === null ? "?" : `${date.toISOString().slice(0, 19)}Z`);

function storiesText(stories: readonly Story[], nowMs: number): string {
  const [newest, ...older] = stories;
  const lines = [name(newest!.key ?? newest!.path ?? ""), ...storyLines(newest!, nowMs)];
  for (const { file } of older) {
    const why = file!.errorCode ?? file!.reason;
    lines.push(`  earlier   session ${file!.sessionId}: ${file!.status}${why ? ` (${why})` : ""}`);
  }
  return lines.join("\n");
}

const rules: Readonly<Record<string, string>> = {
  include: "include pattern",
  kind: "its kind:",
  shimmer_header: "the header of a Shimmer recording",
  never_sent: "names that are never sent:",
  own_file: "our own state or configuration",
  exclude: "exclude pattern",
  no_include: "no include pattern takes it",
  no_shimmer_header: "it has no Shimmer header, and its name says nothing",
};

const derivations: Readonly<Record<NonNullable<Story["keyFrom"]>, string>> = {
  path: "the prefix and the path",
  nfc: "the prefix and the path in Unicode form NFC; on disk the name is written otherwise",
  kept_own_form: "the prefix and the path as it is: a sibling has its NFC form",
  layout: "by the layout, or from the file it was made of",
};

function storyLines({ file, path, selection, keyFrom, attempts, multipart, object, next }: Story, nowMs: number) {
  const lines: string[] = [];
  const tell = (what: string, text: string): void => void lines.push(`  ${what.padEnd(9)} ${text}`);
  if (file) {
    tell(
      "session",
      `${file.sessionId} (${file.sessionCommand}, project ${file.project}): ${file.sessionStatus.replaceAll("_", " ")}`,
    );
    tell("file", `${name(file.localPath)} below ${name(file.source)}, ${bytes(file.fileSize)}`);
  } else if (path !== null) tell("file", name(path));
  if (selection) {
    const where = selection.at === path ? "" : ` (at ${name(selection.at)})`;
    const rule = rules[selection.rule] ?? selection.rule.replaceAll("_", " ");
    tell(
      selection.selected ? "chosen by" : "left out",
      `${rule}${selection.detail === null ? "" : ` ${selection.detail}`}${where}`,
    );
  }
  if (keyFrom) tell("key", derivations[keyFrom]);
  if (file) {
    const why =
      file.status === "failed"
        ? `: ${file.errorCode}${file.permanent ? " (permanent)" : ""}: ${name(file.errorMessage ?? "")}`
        : file.reason
          ? `: ${file.reason}`
          : "";
    tell("state", `${file.status}${file.uploadedAt ? ` ${at(file.uploadedAt)}` : ""}${why}`);
  }
  for (const [number, attempt] of attempts.entries()) tell(number === 0 ? "attempts" : "", attemptText(attempt));
  if (multipart) {
    tell(
      "parts",
      `${count(multipart.partsDone)} of ${count(multipart.parts)} (${bytes(multipart.bytesDone)}) in the store, upload ${multipart.status}, begun ${at(multipart.createdAt)}`,
    );
  }
  if (object) {
    const checksum = object.checksum
      ? `${object.checksum.algorithm} ${object.checksum.value} (${object.checksum.type})`
      : "no checksum";
    const whose = object.ours ? "" : ", put there by another program";
    tell(
      "store",
      `holds ${count(object.sizeBytes)} bytes, ${checksum}, ETag ${object.etag ?? "unknown"}; known by ${object.proof} since ${at(object.confirmedAt)}${whose}`,
    );
  }
  const due =
    next.at !== null && next.at.getTime() > nowMs
      ? `, not before ${at(next.at)} (in ${duration(next.at.getTime() - nowMs)})`
      : "";
  tell("next", `${next.what}${due}`);
  if (next.command) tell("", next.command);
  return lines;
}

function attemptText(attempt: AttemptRow): string {
  const cause =
    attempt.errorCode === null
      ? ""
      : `: ${attempt.errorCode}${attempt.errorMessage ? `: ${name(attempt.errorMessage)}` : ""}`;
  const facts = [
    attempt.durationMs === null ? null : duration(attempt.durationMs),
    attempt.requestId === null ? null : `request ${attempt.requestId}`,
    attempt.workerHost === null ? null : `process ${attempt.workerPid} on ${attempt.workerHost}`,
  ].filter((fact) => fact !== null);
  return `${attempt.attempt}. ${attempt.outcome} ${at(attempt.finishedAt)}${cause}${facts.length > 0 ? ` [${facts.join(", ")}]` : ""}`;
}
