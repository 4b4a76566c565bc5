import { basename } from "node:path";
import { type Command, Option } from "commander";
import type { OpenedState } from "../../app.ts";
import { type FileStatus, fileStates } from "../../core/states.ts";
import type { CauseRow, FileRow, SessionRow, Store, WorkerRow } from "../../core/store.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags, wholeNumber } from "../flags.ts";
import { bytes, count, duration, files, fold, instant, name, shorten, table, timeLeft } from "../format.ts";
import { createPace, type Pace } from "../pace.ts";
import { sessionOf } from "../session-argument.ts";
import { publicSource, sourcesText } from "../sources-block.ts";
import { wayOut } from "../way-out.ts";

const shown = ["project", "database.url", "database.schema"];

export function defineStatusCommands(program: Command): void {
  const status = program
    .command("status")
    .argument("[session]", "a session's number, or: latest; absent: the sources of sync, and the latest")
    .summary("what is known of sources and sessions")
    .description(
      "Of a session: state, counts, who works on it, what failed and why, and what happens next. " +
        "Of every source of sync: when a file last arrived, when all was last safe, who looks after it, and whether " +
        "the silence is longer than usual. Works from any machine.",
    )
    .option("-f, --follow", "until the session is no longer in progress")
    .option("--pairs", "the recordings of two sensors that one patient wore at one time")
    .addHelpText(
      "before",
      "Examples:\n  uploader status\n  uploader status 12 --follow\n  uploader status latest --json\n",
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 13, 130, 143));
  addConfigFlags(status, shown).action(runStatus);

  const sessions = program
    .command("sessions")
    .summary("list sessions, newest first")
    .option("--limit <n>", "at most so many", wholeNumber, 20)
    .option("--all", "of all projects")
    .addHelpText("before", "Examples:\n  uploader sessions --all --limit 100\n")
    .addHelpText("after", exitStatusHelp(0, 1, 2, 13));
  addConfigFlags(sessions, shown).action(runSessions);

  const list = program
    .command("files")
    .argument("[session]", "a session's number, or: latest", "latest")
    .summary("list a session's files with their state and cause")
    .addOption(new Option("--status <status>", "only files in this state").choices(fileStates))
    .option("--limit <n>", "at most so many (0: all)", wholeNumber, 0)
    .addHelpText(
      "before",
      "Examples:\n  uploader files latest --status failed\n  uploader files 12 --json | jq .path\n",
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 13, 130, 143));
  addConfigFlags(list, shown).action(runFiles);
}

type IsAlive = OpenedState["isAlive"];

async function withStore(
  command: Command,
  work: (store: Store, face: Face, isAlive: IsAlive) => Promise<void>,
): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { openState } = await import("../../app.ts");
  const { config } = face.loaded;
  try {
    const { emit, stopping, dropping } = face;
    const { store, isAlive } = await openState({ config, emit, stopping, dropping });
    try {
      await work(store, face, isAlive);
    } finally {
      await store.close();
    }
  } finally {
    face.close();
  }
}

const followEveryMs = 1_000;

/** False: there are none. */
async function showSources(store: Store, face: Face): Promise<boolean> {
  const project = chosenProject(face);
  const states = await store.sources(project);
  const waiting = await store.waitingBytes(project);
  if (face.json) for (const state of states) face.out(JSON.stringify(publicSource(state, waiting)));
  else if (states.length > 0) face.out(`${sourcesText(states, waiting)}\n`);
  return states.length > 0;
}

interface StatusFlags {
  follow?: boolean;
  pairs?: boolean;
}

async function runStatus(argument: string | undefined, flags: StatusFlags, command: Command): Promise<void> {
  await withStore(command, async (store, face, isAlive) => {
    const { project } = face.loaded.config;
    if (flags.pairs) {
      const { id } = await sessionOf(store, argument ?? "latest", project);
      return (await import("./pairs.ts")).tellPairs(store, face, id);
    }
    if (argument === undefined && (await showSources(store, face)) && (await store.sessions(project, 1)).length === 0)
      return;
    let row = await sessionOf(store, argument ?? "latest", project);
    const { id } = row;
    let drawn = 0;
    let pace: Pace | null = null;
    for (;;) {
      const sample = { atMs: Date.now(), files: row.filesUploaded, bytes: row.bytesUploaded };
      const seen: Pace | null = pace;
      seen?.add(sample.atMs, sample.files, sample.bytes);
      pace ??= createPace(sample);
      // One after the other: another connection takes longer than a short question.
      const workers = await store.workers(id);
      const causes = await store.causes(id);
      // Its lease may still run; that its process is gone is known at once on the same machine.
      for (const worker of workers) worker.live &&= isAlive(worker) !== false;
      if (face.json) {
        face.out(JSON.stringify({ ...publicSession(row), workers: workers.map(publicWorker), causes }));
      } else {
        const width = process.stdout.isTTY ? process.stdout.columns : undefined;
        const text = fold(
          statusText({ row, workers, causes, pace: seen, nowMs: sample.atMs, configFlag: face.configFlag }),
          width,
        );
        if (drawn > 0) process.stdout.write(width === undefined ? "\n" : `\x1b[${drawn}A\x1b[J`);
        drawn = heightOf(text, width);
        face.out(text);
      }
      if (!flags.follow || row.status !== "in_progress" || face.stopping.aborted) return;
      if (!(await pause(followEveryMs, face.stopping))) return;
      row = (await store.session(id))!;
    }
  });
}

/** Lines on the screen; one without blanks may be broken by the terminal. */
const heightOf = (text: string, width = Number.POSITIVE_INFINITY): number =>
  text.split("\n").reduce((height, line) => height + Math.max(1, Math.ceil(line.length / width)), 0);

function pause(delayMs: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), delayMs);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve(false);
      },
      { once: true },
    );
  });
}

/** A row as scripts see it: every column, camelCase. */
const publicSession = (row: SessionRow): Record<string, unknown> => ({ ...row, sessionId: row.id });
const publicWorker = ({ id, host, pid, joined, live, startedAt, leaseUntil, concurrency, filesInHand }: WorkerRow) => ({
  id,
  host,
  pid,
  joined,
  live,
  startedAt,
  leaseUntil,
  concurrency,
  filesInHand,
});

interface Known {
  row: SessionRow;
  workers: WorkerRow[];
  causes: CauseRow[];
  /** null at the first look. */
  pace: Pace | null;
  nowMs: number;
  configFlag: string;
}

function statusText({ row, workers, causes, pace, nowMs, configFlag }: Known): string {
  const left = row.filesPending + row.filesUploading;
  const total = `${files(row.totalFiles)}, ${bytes(row.totalSizeBytes)}${row.scanFinishedAt === null ? " so far (scan not finished)" : ""}`;
  const endMs = row.completedAt?.getTime() ?? (row.status === "in_progress" ? nowMs : null);
  const lasted = endMs === null ? "" : ` (${duration(endMs - row.startedAt.getTime())})`;
  const completed = row.completedAt ? `, completed ${instant(row.completedAt)}` : "";
  const lines = [
    `session ${row.id} (${row.command}, project ${row.project}): ${row.status.replaceAll("_", " ")}`,
    `  from      ${name(row.source)}`,
    `  to        ${name(row.destination)}`,
    `  started   ${instant(row.startedAt)}${completed}${lasted}`,
    `  selected  ${total}`,
    `  already safe ${count(row.filesSafe)} | uploaded ${count(row.filesUploaded)} (${bytes(row.bytesUploaded)}) | skipped ${count(row.filesSkipped - row.filesSafe)} | failed ${count(row.filesFailed)} | left ${count(left)}`,
  ];
  if (pace && row.status === "in_progress") lines.push(`  rate      ${rateText(row, pace)}`);
  if (row.errorMessage) lines.push(`  stopped by ${row.errorCode}: ${name(row.errorMessage)}`);
  for (const worker of workers) {
    lines.push(
      `  worker ${worker.id}: process ${worker.pid} on ${worker.host}, ${files(worker.filesInHand)} in hand, ${
        worker.live ? "alive" : "gone: its files go to the next who looks"
      }`,
    );
  }
  const shownCauses = causes.filter((cause) => cause.errorCode !== null || cause.reason !== null);
  if (shownCauses.length > 0) {
    lines.push("  causes:");
    for (const cause of shownCauses.slice(0, 10)) {
      const what = cause.errorCode ?? cause.reason;
      const next =
        cause.status === "pending" && cause.nextAttemptAt.getTime() > nowMs
          ? `, next try ${instant(cause.nextAttemptAt)}`
          : cause.permanent
            ? ", no attempt can help"
            : "";
      lines.push(
        `    ${count(cause.files)} ${cause.status} (${what}${next})${cause.errorMessage ? `: ${exampleOf(cause)}` : ""}`,
      );
    }
  }
  const unfinished = ["in_progress", "interrupted", "failed"].includes(row.status);
  if (unfinished && !workers.some((worker) => worker.live)) {
    lines.push(
      row.command === "sync"
        ? "  next: what is left is looked at by the next pass of sync"
        : "  next: nobody works on it; the same upload command goes on from here",
    );
  } else if (row.filesFailed > 0) {
    lines.push(`  list:  uploader files ${row.id} --status failed${configFlag}`);
    lines.push(
      ...wayOut(
        row.id,
        causes.filter(({ status }) => status === "failed"),
        configFlag,
      ),
    );
  }
  return lines.join("\n");
}

function rateText(row: SessionRow, pace: Pace): string {
  const bytesLeft = row.totalSizeBytes - row.bytesSafe - row.bytesUploaded;
  const leftMs = row.scanFinishedAt === null ? null : pace.leftMs(row.filesPending + row.filesUploading, bytesLeft);
  const rate = `${bytes(pace.bytesPerSecond())}/s, ${count(pace.filesPerSecond())} files/s`;
  return leftMs === null ? rate : `${rate}, about ${timeLeft(leftMs)} left`;
}

/** Several files may share a cause; the message is that of one of them, and does not always name it. */
function exampleOf({ files: number, errorMessage, exampleKey }: CauseRow): string {
  const named = errorMessage!.includes(basename(exampleKey)) ? errorMessage! : `${exampleKey}: ${errorMessage}`;
  return name(number === 1 ? named : `for example ${named}`);
}

/** The project's name is a filter only when somebody chose it; a default from the destination is no choice. */
const chosenProject = ({ loaded: { config, origins } }: Face): string | null =>
  origins.get("project") === "default" ? null : config.project;

async function runSessions(flags: { limit: number; all?: boolean }, command: Command): Promise<void> {
  await withStore(command, async (store, face) => {
    const rows = await store.sessions(flags.all ? null : chosenProject(face), flags.limit);
    if (face.json) {
      for (const row of rows) face.out(JSON.stringify(publicSession(row)));
      return;
    }
    if (rows.length === 0) return face.out("no sessions yet");
    face.out(
      table(
        ["session", "started (UTC)", "project", "status", "files", "uploaded", "failed"],
        rows.map((row) => [
          row.id,
          row.startedAt.toISOString().slice(0, 16).replace("T", " "),
          row.project,
          row.status.replaceAll("_", " "),
          row.totalFiles,
          row.filesUploaded,
          row.filesFailed,
        ]),
      ),
    );
  });
}

const pageSize = 1000;

async function runFiles(
  argument: string,
  flags: { status?: FileStatus; limit: number },
  command: Command,
): Promise<void> {
  await withStore(command, async (store, face) => {
    const session = await sessionOf(store, argument, face.loaded.config.project);
    const width = process.stdout.isTTY ? (process.stdout.columns ?? 80) : Number.POSITIVE_INFINITY;
    let after = 0;
    let printed = 0;
    for (;;) {
      const room = flags.limit > 0 ? Math.min(pageSize, flags.limit - printed) : pageSize;
      const rows = room > 0 ? await store.files(session.id, flags.status ?? null, after, room) : [];
      for (const row of rows) face.out(face.json ? JSON.stringify(publicFile(row)) : fileLine(row, width));
      printed += rows.length;
      after = rows.at(-1)?.id ?? after;
      // A reader like `head` may have gone.
      if (rows.length < pageSize || process.stdout.errored || face.stopping.aborted) break;
    }
    if (face.json || face.quiet) return;
    const safe =
      session.filesSafe > 0 && !flags.status ? `${files(session.filesSafe)} already safe, without a row` : "";
    if (printed === 0) process.stderr.write(`session ${session.id} has no ${flags.status ?? "listed"} files\n`);
    if (safe !== "") process.stderr.write(`${safe}\n`);
  });
}

const publicFile = (row: FileRow): Record<string, unknown> => ({
  ...row,
  path: row.localPath,
  key: row.s3Key,
  size: row.fileSize,
});

function fileLine(row: FileRow, width: number): string {
  const why = row.errorCode ? `${row.errorCode}: ${row.errorMessage ?? ""}` : (row.reason ?? "");
  const permanent = row.permanent ? " (permanent)" : "";
  const attempts = row.attempts > 0 ? `, ${row.attempts} ${row.attempts === 1 ? "attempt" : "attempts"}` : "";
  const head = `${row.status.padEnd(9)} ${bytes(row.fileSize).padStart(10)}  `;
  const tail = why === "" ? "" : `  [${name(why)}${permanent}${attempts}]`;
  return `${head}${shorten(name(row.localPath), Math.max(20, width - head.length - tail.length))}${tail}`;
}
