/** What every command has of its user: the configuration, where to write, and when to stop. */
import { setMaxListeners } from "node:events";
import type { Worker } from "node:worker_threads";
import type { Command } from "commander";
import { type LoadedConfig, loadConfig } from "../config.ts";
import { asUploaderError } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import { exitCodeOfSignal, type StopSignal } from "../core/exit-codes.ts";
import type { GivenFlags } from "./flags.ts";
import { openLog } from "./log.ts";
import { createRenderer, mayDraw, type Renderer, type RenderOptions } from "./render.ts";

/** How long work in hand may go on after the first signal. */
const graceMs = 5_000;

/** Commands whose words go into the log file: what one asks at a terminal is answered there. */
const logged = new Set(["upload", "retry", "sync"]);

export interface Face {
  loaded: LoadedConfig;
  json: boolean;
  quiet: boolean;
  verbose: number;
  /** ` --config FILE` when one was given, for the commands that we propose. */
  configFlag: string;
  emit: Emit;
  out(text: string): void;
  stopping: AbortSignal;
  dropping: AbortSignal;
  stopSignal(): StopSignal | null;
  /** From now on SIGHUP reads the configuration again; one that cannot be understood changes nothing. */
  onReload(listener: (loaded: LoadedConfig) => void): void;
  /** What SIGUSR2 asks for, instead of the last progress. */
  onStatus(listener: () => void): void;
  close(): void;
}

export interface GlobalFlags {
  config?: string;
  json?: boolean;
  quiet?: boolean;
  verbose?: number;
  progress?: boolean;
  color?: boolean;
  logFormat?: "text" | "json";
}

/** Flags that are no configuration keys; everything else a command accepts goes to the configuration by its path. */
export async function openFace(command: Command, flags: GivenFlags = {}): Promise<Face> {
  const options = command.optsWithGlobals<GlobalFlags>();
  const load = (): LoadedConfig =>
    loadConfig({ flags, configPath: options.config ?? null, env: process.env, cwd: process.cwd() });
  const loaded = load();
  const log = openLog(
    { ...loaded.config, ...(logged.has(command.name()) ? {} : { logFile: null }) },
    process.stderr,
    process.env,
  );
  const render: RenderOptions = {
    stdout: process.stdout,
    stderr: log.output,
    priorities: log.priorities,
    stamped: log.stamped,
    json: options.json === true,
    quiet: options.quiet === true,
    verbose: options.verbose ?? 0,
    progress: options.progress !== false,
    color: colorWanted(options, process.env),
    logFormat: options.logFormat ?? loaded.config.logFormat,
    configFlag: options.config === undefined ? "" : ` --config ${options.config}`,
    now: Date.now,
  };
  const block = mayDraw(render) ? (await import("./progress-block.ts")).openProgressBlock(process.stderr) : null;
  const renderer: Renderer = createRenderer(render, block);
  for (const message of loaded.notices) renderer.emit({ type: "notice", sessionId: null, level: "info", message });
  const stop = listen(renderer.emit);
  const reload = listenForReload(renderer.emit, load, log.reopen);
  let status = renderer.status;
  // Left alone it would end the process.
  const onStatus = (): void => status();
  process.on("SIGUSR2", onStatus);
  return {
    loaded,
    json: render.json,
    quiet: render.quiet,
    verbose: render.verbose,
    configFlag: render.configFlag,
    emit: renderer.emit,
    out: (text) => process.stdout.write(`${text}\n`),
    stopping: stop.stopping,
    dropping: stop.dropping,
    stopSignal: stop.signal,
    onReload: reload.add,
    onStatus(listener) {
      status = listener;
    },
    close() {
      process.off("SIGUSR2", onStatus);
      stop.end();
      reload.end();
      renderer.close();
      log.close();
      const signal = stop.signal();
      if (signal) process.exitCode ??= exitCodeOfSignal(signal);
    },
  };
}

function colorWanted(options: GlobalFlags, env: NodeJS.ProcessEnv): boolean {
  if (options.color === false || env.NO_COLOR) return false;
  if (env.FORCE_COLOR && env.FORCE_COLOR !== "0") return true;
  return process.stderr.isTTY === true && env.TERM !== "dumb";
}

/** What Node waits for when it exits: threads that may be stuck in the kernel, on a dead mount or a silent name server. */
const mayBeStuck = /^(FSReq|GetAddrInfo|GetNameInfo|MessagePort|Worker)/;

/** So long threads have to come back from what they are at. */
const threadsMs = 300;

/** With the signal's exit code; while threads do not come back by the signal itself, which no thread can hold up. */
function endAtOnce(signal: StopSignal, threads: ReadonlySet<Worker>): void {
  const isHeldUp = (): boolean =>
    threads.size > 0 || process.getActiveResourcesInfo().some((name) => mayBeStuck.test(name));
  const end = (): never => process.exit(exitCodeOfSignal(signal));
  if (!isHeldUp()) end();
  for (const thread of threads) void thread.terminate();
  const untilMs = performance.now() + threadsMs;
  setInterval(() => {
    if (!isHeldUp()) end();
    if (performance.now() < untilMs) return;
    process.once("exit", () => {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    });
    end();
  }, 10);
}

/** First signal: take no more work, let what runs finish for a moment. Second: at once; the state is safe anyway. */
function listen(emit: Emit) {
  const stopping = new AbortController();
  const dropping = new AbortController();
  // Every request on its way listens; Node warns of a leak at eleven.
  setMaxListeners(0, stopping.signal, dropping.signal);
  let caught: StopSignal | null = null;
  let grace: NodeJS.Timeout | null = null;
  const say = (message: string): void => emit({ type: "notice", sessionId: null, level: "info", message });
  const onSignal = (name: NodeJS.Signals): void => {
    if (caught) {
      say("stopped at once; the same command goes on from here");
      endAtOnce(caught, threads);
      return;
    }
    caught = name === "SIGTERM" ? "SIGTERM" : "SIGINT";
    say("stopping cleanly; once more stops at once");
    stopping.abort();
    grace = setTimeout(() => dropping.abort(), graceMs);
  };
  const threads = new Set<Worker>();
  const onThread = (thread: Worker): void => {
    threads.add(thread);
    thread.once("exit", () => threads.delete(thread));
  };
  process.on("worker", onThread);
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    stopping: stopping.signal,
    dropping: dropping.signal,
    signal: () => caught,
    end() {
      if (grace) clearTimeout(grace);
      process.off("worker", onThread);
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}

function listenForReload(emit: Emit, load: () => LoadedConfig, reopenLog: () => void) {
  const listeners: ((loaded: LoadedConfig) => void)[] = [];
  const say = (message: string): void => emit({ type: "notice", sessionId: null, level: "info", message });
  const onHangup = (): void => {
    reopenLog();
    try {
      const loaded = load();
      for (const listener of listeners) listener(loaded);
      say("the configuration has been read again");
    } catch (error) {
      say(`the configuration stays as it was: ${asUploaderError(error).message}`);
    }
  };
  return {
    add(listener: (loaded: LoadedConfig) => void) {
      if (listeners.length === 0) process.on("SIGHUP", onHangup);
      listeners.push(listener);
    },
    end: () => process.off("SIGHUP", onHangup),
  };
}
