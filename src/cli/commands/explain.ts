import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import type { AttemptRow, FileHistory, ObjectHistory } from "../../core/inquiries.ts";
import type { SelectionRule, SelectionVerdict } from "../../core/ports.ts";
import type { KeyDerivation, Next, Story } from "../../operations/explain.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags, wholeNumber } from "../flags.ts";
import { bytes, count, duration, fold, instant, name, timeLeft } from "../format.ts";

export function defineExplain(program: Command): void {
  const command = program
    .command("explain")
    .argument("<path-or-key>", "a file of the source, absolute or relative, or a key in the store")
    .summary("the story of one file, and what happens next")
    .description(
      "Which rule chose the file (or left it out), its key, its state, every attempt with its cause, parts in the " +
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
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 13));
  addConfigFlags(command, ["project", "source", "destination", "database.url"]).action(run);
}

async function run(text: string, flags: { session?: number }, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { config } = face.loaded;
  const app = await import("../../app.ts");
  const { explain } = await import("../../operations/explain.ts");
  const world = { config, emit: face.emit, stopping: face.stopping, dropping: face.dropping };
  const { destination } = config;
  try {
    const { store, isAlive } = await app.openState(world);
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
        isAlive,
      });
      const width = process.stdout.isTTY ? process.stdout.columns : undefined;
      if (face.json) {
        const time = new Date().toISOString();
        for (const story of stories) face.out(JSON.stringify({ type: "explain", time, ...publicStory(story) }));
      } else face.out(fold(storiesText(stories, { nowMs: Date.now(), configFlag: face.configFlag }), width));
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

/** What a story is told with: the time, and the flags that its commands need. */
interface Telling {
  nowMs: number;
  configFlag: string;
}

function storiesText([newest, ...older]: readonly Story[], telling: Telling): string {
  const lines = [name(newest!.key ?? newest!.path ?? "")];
  for (const [title, tell] of chapters) {
    for (const [at, line] of tell(newest!, telling).entries())
      lines.push(`  ${(at === 0 ? title : "").padEnd(9)} ${line}`);
  }
  for (const { file } of older) {
    const { sessionId, status, errorCode, reason, source, destination } = file!;
    const why = errorCode ?? reason;
    const isSame = source === newest!.file?.source && destination === newest!.file.destination;
    const [title, of] = isSame ? ["earlier", ""] : ["elsewhere", `, ${source} → ${destination}`];
    lines.push(`  ${title.padEnd(9)} session ${sessionId}${of}: ${status}${why ? ` (${why})` : ""}`);
  }
  return lines.join("\n");
}

type Chapter = (story: Story, telling: Telling) => string[];

const chapters: readonly [title: string, tell: Chapter][] = [
  [
    "session",
    ({ file }) =>
      file
        ? [
            `${file.sessionId} (${file.sessionCommand}, project ${file.project}): ${file.sessionStatus.replaceAll("_", " ")}`,
          ]
        : [],
  ],
  [
    "file",
    ({ file, path }) =>
      file
        ? [`${name(file.localPath)} below ${name(file.source)}, ${bytes(file.fileSize)}`]
        : path === null
          ? []
          : [name(path)],
  ],
  ["rule", ({ selection, path }) => (selection ? [selectionText(selection, path)] : [])],
  ["key", ({ keyFrom }) => (keyFrom ? [derivations[keyFrom]] : [])],
  ["state", ({ file }) => (file ? [stateText(file)] : [])],
  ["attempts", ({ attempts }) => attempts.map(attemptText)],
  ["parts", ({ multipart }) => (multipart ? [multipartText(multipart)] : [])],
  ["store", ({ object }) => (object ? [objectText(object)] : [])],
  ["next", ({ next }, telling) => nextLines(next, telling)],
];

const rules: Readonly<Partial<Record<SelectionRule, string>>> = {
  include: "include pattern",
  kind: "its kind:",
  shimmer_header: "the header of a Shimmer recording",
  never_sent: "names that are never sent:",
  own_file: "our own state or configuration",
  exclude: "exclude pattern",
  no_include: "no include pattern takes it",
  no_shimmer_header: "its kind is not taken by default, and it has no Shimmer header",
};

function selectionText({ selected, rule, detail, at }: SelectionVerdict, path: string | null): string {
  const why = rules[rule] ?? rule.replaceAll("_", " ");
  const what = detail === null ? "" : ` ${name(detail)}`;
  return `${selected ? "chosen by" : "left out:"} ${why}${what}${at === path ? "" : ` (at ${name(at)})`}`;
}

const derivations: Readonly<Record<KeyDerivation, string>> = {
  path: "the prefix and the path",
  nfc: "the prefix and the path in Unicode form NFC; on disk the name is written otherwise",
  kept_own_form: "the prefix and the path as it is: a sibling has its NFC form",
  layout: "by the layout, or from the file it was made of",
};

function stateText(file: FileHistory): string {
  const when = file.uploadedAt ? ` ${instant(file.uploadedAt)}` : "";
  const why =
    file.status === "failed"
      ? `${file.errorCode}${file.permanent ? " (permanent)" : ""}: ${file.errorMessage}`
      : file.reason;
  return `${file.status}${when}${why === null ? "" : `: ${name(why)}`}`;
}

function attemptText(attempt: AttemptRow): string {
  const { errorCode, errorMessage, durationMs, requestId, workerHost, workerPid } = attempt;
  const cause = [errorCode, errorMessage].filter((part) => part !== null).map((part) => `: ${name(part)}`);
  const facts = [
    durationMs === null ? null : duration(durationMs),
    requestId === null ? null : `request ${requestId}`,
    workerHost === null ? null : `process ${workerPid} on ${workerHost}`,
  ].filter((fact) => fact !== null);
  const known = facts.length > 0 ? ` [${facts.join(", ")}]` : "";
  return `${attempt.attempt}. ${attempt.outcome} ${instant(attempt.finishedAt)}${cause.join("")}${known}`;
}

function multipartText({ partsDone, parts, bytesDone, status, createdAt }: NonNullable<Story["multipart"]>): string {
  return `${count(partsDone)} of ${count(parts)} (${bytes(bytesDone)}) in the store, upload ${status}, begun ${instant(createdAt)}`;
}

function objectText({ sizeBytes, checksum, etag, proof, confirmedAt, ours }: ObjectHistory): string {
  const digest = checksum ? `${checksum.algorithm} ${checksum.value} (${checksum.type})` : "no checksum";
  const whose = ours ? "" : ", put there by another program";
  return `holds ${count(sizeBytes)} bytes, ${digest}, ETag ${etag ?? "unknown"}; known by ${proof} since ${instant(confirmedAt)}${whose}`;
}

function nextLines({ what, at, command }: Next, { nowMs, configFlag }: Telling): string[] {
  const leftMs = at === null ? 0 : at.getTime() - nowMs;
  const due = at !== null && leftMs > 0 ? `, not before ${instant(at)} (in ${timeLeft(leftMs)})` : "";
  return [`${what}${due}`, ...(command === null ? [] : [`${command}${configFlag}`])];
}
