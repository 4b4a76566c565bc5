/** Events become a terminal's progress block, plain lines, or JSON lines. The only file that draws. */
import type { Emit, Event, ProgressEvent, SummaryEvent } from "../core/events.ts";
import { bytes, count, duration, files, fold, name, shorten, timeLeft } from "./format.ts";
import { createPace } from "./pace.ts";
import { wayOut } from "./way-out.ts";

export interface Output {
  write(text: string): unknown;
  isTTY?: boolean | undefined;
  columns?: number | undefined;
}

export interface RenderOptions {
  stdout: Output;
  stderr: Output;
  json: boolean;
  quiet: boolean;
  verbose: number;
  progress: boolean;
  color: boolean;
  logFormat: "text" | "json";
  /** `<6>` and the like before each line, as journald reads them (sd-daemon(3)). */
  priorities?: boolean;
  /** The time before each line of text: for a file. */
  stamped?: boolean;
  /** ` --config FILE` when one was given, for the commands that we propose. */
  configFlag: string;
  now(): number;
}

export interface Renderer {
  emit: Emit;
  /** Where the run is, in one line: for somebody who asks by SIGUSR2. */
  status(): void;
  close(): void;
}

const lineEveryMs = 30_000;
const failuresShown = 10;

/** Where progress is redrawn in place (progress-block.ts). */
export interface Block {
  draw(lines: readonly string[]): void;
  /** A line above the block. */
  say(text: string): void;
  close(): void;
}

/** Whether a block may be drawn at all: never into a pipe, a log or JSON. */
export const mayDraw = (options: RenderOptions): boolean =>
  options.progress && options.stderr.isTTY === true && !options.quiet && !options.json && options.logFormat === "text";

export const createRenderer = (options: RenderOptions, block: Block | null): Renderer =>
  options.json ? jsonRenderer(options) : textRenderer(options, block);

function jsonRenderer({ stdout, now }: RenderOptions): Renderer {
  return {
    emit(event) {
      stdout.write(`${JSON.stringify(jsonEvent(event, now()))}\n`);
    },
    // Every line of it is a status.
    status: () => undefined,
    close: () => undefined,
  };
}

export function jsonEvent(event: Event, nowMs: number): Record<string, unknown> {
  const { type, ...rest } = event;
  return { type, time: new Date(nowMs).toISOString(), ...rest };
}

type Level = "info" | "warn" | "error";
const colors: Record<Level, number | null> = { info: null, warn: 33, error: 31 };
/** syslog(3) */
export const priorities: Record<Level, number> = { info: 6, warn: 4, error: 3 };

const widthOf = (output: Output): number | undefined => (output.isTTY ? (output.columns ?? 80) : undefined);

function textRenderer(options: RenderOptions, block: Block | null): Renderer {
  const { stdout, stderr, quiet, verbose, now } = options;
  const pace = createPace();
  let lastLineMs = now();
  let failures = 0;
  let isWatching = false;
  let latest: ProgressEvent | null = null;

  /** What stands in a message may be a file's name: nothing in it reaches the terminal but what can be read. */
  const say = (message: string, level: Level = "info", isPainted = true): void => {
    const text = name(message);
    const priority = options.priorities ? `<${priorities[level]}>` : "";
    if (options.logFormat === "json") {
      stderr.write(`${priority}${JSON.stringify({ time: new Date(now()).toISOString(), level, message: text })}\n`);
      return;
    }
    if (priority !== "" || options.stamped) {
      stderr.write(`${priority}${options.stamped ? `${new Date(now()).toISOString()} ` : ""}${text}\n`);
      return;
    }
    const color = isPainted && options.color ? colors[level] : null;
    const folded = fold(text, widthOf(stderr));
    const painted = color === null ? folded : `\x1b[${color}m${folded}\x1b[0m`;
    if (block) block.say(painted);
    else stderr.write(`${painted}\n`);
  };

  /** On one line of the screen with what became of it; in a pipe it is whole. */
  const short = (path: string): string => shorten(path, (widthOf(stderr) ?? Number.POSITIVE_INFINITY) - 12);

  const on: { [T in Event["type"]]: (event: Extract<Event, { type: T }>) => void } = {
    start(event) {
      const session = `session ${event.sessionId}${event.resumed ? " goes on" : ""}`;
      if (!quiet) say(`${session}: ${event.source} → ${event.destination} (project ${event.project})`);
    },
    progress(event) {
      latest = event;
      pace.add(event.elapsedMs, event.filesThisRun, event.bytesThisRun);
      if (block) {
        block.draw(progressBlock(event, pace, (options.stderr.columns ?? 80) - 1));
      } else if (!quiet && options.progress && now() - lastLineMs >= lineEveryMs) {
        lastLineMs = now();
        say(progressLine(event, pace));
      }
    },
    file(event) {
      if (event.status === "failed") {
        failures++;
        if (verbose > 0 || failures <= failuresShown)
          say(`failed: ${short(event.path)}: ${event.errorMessage}`, "error");
        else if (failures === failuresShown + 1)
          say(`more files failed: uploader files ${event.sessionId} --status failed${options.configFlag}`, "error");
      } else if (verbose > 1 || (verbose > 0 && event.errorCode)) {
        const why = event.errorMessage === null ? "" : `: ${event.errorMessage}`;
        say(`${event.status}: ${short(event.path)} (${bytes(event.size)})${why}`);
      }
    },
    ready({ sources }) {
      isWatching = true;
      if (!quiet) say(`watching ${sources === 1 ? "1 source" : `${sources} sources`}`);
    },
    pass(event) {
      // A single pass has a summary.
      if (!isWatching) return;
      const { filesSeen, filesNotReady, filesThisRun, bytesThisRun, errorCode } = event;
      if (errorCode === null && filesThisRun === 0 ? verbose > 1 : !quiet && filesThisRun > 0) {
        const waiting = filesNotReady === 0 ? "" : `, ${count(filesNotReady)} not ready yet`;
        say(
          `${event.source}: ${files(filesSeen)} seen, ${files(filesThisRun)} sent (${bytes(bytesThisRun)})${waiting}`,
        );
      }
    },
    pause(event) {
      say(`paused: ${event.message}`, "warn");
      if (event.hint) say(`  ${event.hint}`, "warn", false);
      say(`  nothing is lost; trying again by itself, first in ${timeLeft(event.probeAfterMs)}`, "warn", false);
    },
    resume(event) {
      say(`going on after ${duration(event.pausedMs)}`);
    },
    notice(event) {
      if (event.level === "warn") say(event.message, "warn");
      else if (event.level === "info" ? !quiet : verbose > 0) say(event.message);
    },
    error(event) {
      say(`error: ${event.message}`, "error");
      if (event.hint) say(`  ${event.hint}`, "error", false);
    },
    summary(event) {
      block?.close();
      const text = summaryText(event, options.configFlag);
      if (!quiet || event.exitCode !== 0) stdout.write(`${fold(text, widthOf(stdout))}\n`);
    },
  };

  return {
    emit: (event) => (on[event.type] as (event: Event) => void)(event),
    status: () => say(latest ? progressLine(latest, pace) : "nothing is on its way yet"),
    close: () => block?.close(),
  };
}

const phases: Record<ProgressEvent["phase"], string> = {
  scanning: "scanning",
  uploading: "uploading",
  paused: "paused",
  waiting: "waiting to retry",
};

function figures(event: ProgressEvent, pace: ReturnType<typeof createPace>) {
  const filesLeft = event.filesPending;
  const bytesLeft = Math.max(0, event.totalBytes - event.bytesSafe - event.bytesUploaded);
  const doneFiles = event.filesSafe + event.filesUploaded;
  const [done, total] =
    event.totalBytes > 0 ? [event.bytesSafe + event.bytesUploaded, event.totalBytes] : [doneFiles, event.totalFiles];
  // While nothing moves, a time to come would be a lie.
  const leftMs = event.totalsFinal && event.phase !== "paused" ? pace.leftMs(filesLeft, bytesLeft) : null;
  return { filesLeft, percent: total === 0 ? 0 : Math.min(1, done / total) * 100, leftMs };
}

const totalOf = (event: ProgressEvent): string =>
  `${files(event.totalFiles)}, ${bytes(event.totalBytes)}${event.totalsFinal ? "" : " so far"}`;

export function progressLine(event: ProgressEvent, pace: ReturnType<typeof createPace>): string {
  const { percent, leftMs, filesLeft } = figures(event, pace);
  return [
    `${phases[event.phase]} ${percent.toFixed(1)} % of ${totalOf(event)}`,
    `already safe ${count(event.filesSafe)}`,
    `this run ${count(event.filesThisRun)}`,
    `left ${count(filesLeft)}`,
    `failed ${count(event.filesFailed)}`,
    `${bytes(pace.bytesPerSecond())}/s`,
    leftMs === null ? "" : `about ${timeLeft(leftMs)} left`,
  ]
    .filter((part) => part !== "")
    .join(" | ");
}

export function progressBlock(event: ProgressEvent, pace: ReturnType<typeof createPace>, width: number): string[] {
  const { percent, leftMs, filesLeft } = figures(event, pace);
  const barWidth = Math.max(10, Math.min(40, width - 60));
  const filled = Math.round((percent / 100) * barWidth);
  const moving = `${bytes(pace.bytesPerSecond())}/s, ${count(pace.filesPerSecond())} files/s`;
  const rate = event.phase === "paused" ? "" : moving;
  return [
    `${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ${percent.toFixed(1).padStart(5)} %  ${rate}${leftMs === null ? "" : `  ETA ${timeLeft(leftMs)}`}`,
    `${phases[event.phase]}: ${totalOf(event)}`,
    `already safe ${count(event.filesSafe)} | this run ${count(event.filesThisRun)} | left ${count(filesLeft)}`,
    `uploaded ${count(event.filesUploaded)} | skipped ${count(event.filesSkipped - event.filesSafe)} | failed ${count(event.filesFailed)}`,
  ];
}

const verdicts: Record<SummaryEvent["status"], string> = {
  completed: "complete: every selected file is confirmed in the store",
  completed_with_errors: "finished, but some files failed",
  interrupted: "interrupted: the same command goes on from here",
  failed: "stopped: the same command goes on from here once the cause is mended",
  in_progress: "left: others are still working on this session",
  dry_run: "dry run: nothing was written",
};

/** Where the session's state is not the whole answer. */
const exceptions: readonly { applies(event: SummaryEvent, left: number): boolean; says: string }[] = [
  {
    applies: ({ status, filesNotReady }, left) => status === "interrupted" && filesNotReady > 0 && left === 0,
    says: "finished, except files that are still being written: the same command takes them later",
  },
  {
    applies: ({ exitCode, filesFailed }) => exitCode === 3 && filesFailed === 0,
    says: "finished, but some files were kept back: the store holds other bytes under their keys",
  },
  {
    applies: ({ status, exitCode }) => status === "in_progress" && exitCode === 0,
    says: "complete: every selected file is confirmed in the store; a helper is about to leave",
  },
];

export function summaryText(event: SummaryEvent, configFlag = ""): string {
  const { sessionId, totalFiles, filesSafe, filesUploaded, filesSkipped, filesFailed, filesNotReady } = event;
  const left = totalFiles - filesUploaded - filesSkipped - filesFailed - filesNotReady;
  const verdict = exceptions.find(({ applies }) => applies(event, left))?.says ?? verdicts[event.status];
  const parts: [number, string][] = [
    [filesSafe, "safe already"],
    [filesSkipped - filesSafe, "skipped"],
    [filesFailed, "failed"],
    [filesNotReady, "still changing"],
    [left, "left"],
  ];
  const others = parts.filter(([number]) => number > 0).map(([number, what]) => `, ${count(number)} ${what}`);
  const lines = [
    `${sessionId === null ? "" : `session ${sessionId} `}${verdict}`,
    `  ${files(totalFiles)}, ${bytes(event.totalBytes)}: ${count(filesUploaded)} uploaded${others.join("")}`,
    `  this run sent ${files(event.filesThisRun)}, ${bytes(event.bytesThisRun)} in ${duration(event.durationMs)}`,
  ];
  if (event.filesUndecoded > 0) {
    lines.push(`  ${count(event.filesUndecoded)} of them could not be decoded, and went as they are (-v names them)`);
  }
  if (filesFailed > 0 && sessionId !== null) {
    lines.push(`  why:   uploader files ${sessionId} --status failed${configFlag}`);
    if (event.status === "completed_with_errors") lines.push(...wayOut(sessionId, event.failures, configFlag));
  }
  return lines.join("\n");
}
