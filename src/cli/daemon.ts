/** What surrounds `sync --watch`: the service manager, the HTTP face, alarms, and whoever asks by a signal. */
import { setFlagsFromString } from "node:v8";
import { openNotifier } from "../adapters/notify.ts";
import type { OpenedState } from "../app.ts";
import type { Config } from "../config.ts";
import { asUploaderError } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import { watchdogSeconds } from "../core/service-unit.ts";
import type { SourceState } from "../core/sources.ts";
import { createMetrics } from "../http/metrics.ts";
import { createPulse } from "../http/pulse.ts";
import { versionOf } from "../installed.ts";
import { alarmsOf, watchAlarms } from "../operations/sources.ts";
import type { Face } from "./face.ts";
import { count, files } from "./format.ts";
import { sourcesText } from "./sources-block.ts";

/** A source by what the database knows it by. */
export interface DaemonSource {
  project: string;
  name: string;
}

export interface Daemon {
  emit: Emit;
  emitFor(name: string): Emit;
  onBeat(name: string | null): void;
  onState(state: OpenedState): void;
  /** These are looked after from now on. */
  watch(sources: readonly DaemonSource[]): void;
  reloading(): void;
  close(): Promise<void>;
}

/** The database is asked for ages and alarms at most this often. */
const lookEveryMs = 15_000;

const version = versionOf();

/** Errors: config_invalid when the address of `http` cannot be had. */
export async function openDaemon(face: Face, config: Pick<Config, "http" | "httpAllowRemote">): Promise<Daemon> {
  // A daemon is alone with its memory for a year: V8 collects early (first look at 300,000 files: 188 -> 107 MB, 7 -> 9.6 s CPU).
  setFlagsFromString("--optimize-for-size");
  const now = (): number => performance.now();
  const say = (message: string, level: "info" | "warn" = "info"): void =>
    face.emit({ type: "notice", sessionId: null, level, message });
  const notifier = openNotifier({
    env: process.env,
    pid: process.pid,
    now: () => Number(process.hrtime.bigint()) / 1e6,
    onFailure: (message) => say(message, "warn"),
  });
  const pulse = createPulse({ stallMs: (notifier.watchdogMs ?? watchdogSeconds * 1_000) / 2, now });
  const alarms = watchAlarms();
  let sources: readonly DaemonSource[] = [];
  let state: OpenedState | null = null;
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> = Promise.resolve();

  const isOurs = ({ project, name }: SourceState): boolean =>
    sources.some((each) => each.project === project && each.name === name);
  const metrics = createMetrics({
    memory: () => state?.hasty ?? null,
    isOurs,
    pulse,
    version,
    startedAtMs: Date.now() - process.uptime() * 1_000,
    now,
    residentBytes: () => process.memoryUsage.rss(),
  });

  const statusOf = (states: readonly SourceState[]): string => {
    const waiting = states.reduce((sum, { filesWaiting }) => sum + filesWaiting, 0);
    const wrong = states.flatMap((each) => alarmsOf(each).map(({ message }) => `${each.name}: ${message}`));
    const many = `${sources.length} ${sources.length === 1 ? "source" : "sources"}`;
    return [`${many}, ${files(waiting)} waiting`, ...wrong].join("; ");
  };

  const look = async (): Promise<void> => {
    try {
      const states = ((await state?.hasty.sources(null)) ?? []).filter(isOurs);
      for (const { message, began } of alarms.look(states)) say(message, began ? "warn" : "info");
      if (states.length > 0) notifier.status(statusOf(states));
    } catch (error) {
      const { code, message } = asUploaderError(error);
      // A database that is away is told by its own connection.
      if (code !== "database_unreachable") say(`the alarms could not be looked at: ${message}`, "warn");
    }
  };

  const tellStatus = async (): Promise<void> => {
    if (!state) return say("starting: the database is not there yet");
    try {
      const [states, bytes] = await Promise.all([state.hasty.sources(null), state.hasty.waitingBytes(null)]);
      for (const line of sourcesText(states.filter(isOurs), bytes).split("\n")) say(line);
    } catch (error) {
      say(asUploaderError(error).message);
    }
  };

  const http = config.http === null ? null : await openFaceForMachines(config.http, config.httpAllowRemote);
  async function openFaceForMachines(address: string, allowRemote: boolean) {
    const { parseListen } = await import("../http/address.ts");
    const { openHttp } = await import("../http/server.ts");
    const opened = await openHttp({ listen: parseListen(address, allowRemote), pulse, metrics });
    say(`health and metrics: ${opened.address}`);
    return opened;
  }

  face.onStatus(() => void tellStatus());
  const onStopping = (): void => notifier.stopping("stopping: what is in hand is finished");
  face.stopping.addEventListener("abort", onStopping, { once: true });

  const emit: Emit = (event) => {
    if (event.type === "ready") {
      pulse.ready();
      notifier.ready(`${count(event.sources)} ${event.sources === 1 ? "source" : "sources"} looked after`);
    }
    face.emit(event);
  };

  return {
    emit,
    emitFor: (name) => (event) => {
      metrics.observe(name, event);
      emit(event);
      if (event.type !== "pass" || now() - lookedAtMs < lookEveryMs) return;
      lookedAtMs = now();
      looking = look();
    },
    onBeat(name) {
      pulse.beat(name);
      // Fed by work: while one loop hangs, the others feed nothing.
      if (!pulse.isStalled()) notifier.beat();
    },
    onState(opened) {
      state = opened;
    },
    watch(watched) {
      sources = watched;
      pulse.expect(watched.map(({ name }) => name));
    },
    reloading() {
      state = null;
      notifier.reloading();
    },
    async close() {
      face.stopping.removeEventListener("abort", onStopping);
      await looking;
      await http?.close();
      await notifier.close();
    },
  };
}
