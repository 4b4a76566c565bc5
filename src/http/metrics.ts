/**
 * What is told of a daemon in numbers. The state of sources is the database's; what happened per attempt is counted from
 * events of this process. Names of sources and projects are the only names in here: no path, no file, no person.
 */
import { asUploaderError } from "../core/errors.ts";
import type { Event } from "../core/events.ts";
import type { SourceMemory, SourceState } from "../core/sources.ts";
import { alarmKinds } from "../operations/sources.ts";
import { createCounter, createHistogram, expose, type Family, type Labels } from "./exposition.ts";
import type { Pulse } from "./pulse.ts";

export interface MetricsOptions {
  memory: () => Pick<SourceMemory, "sources" | "waitingBytes"> | null;
  /** Of this daemon: others tell of theirs. */
  isOurs(state: SourceState): boolean;
  pulse: Pulse;
  version: string;
  startedAtMs: number;
  /** Monotonic, ms. */
  now(): number;
  residentBytes(): number;
}

export interface Metrics {
  observe(source: string, event: Event): void;
  /** Prometheus' text; a database that is away leaves the last known states, whose ages grow on. */
  text(): Promise<string>;
}

const seconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200];

type Gauge = [name: string, help: string, value: (state: SourceState) => number | null];

/** First what one wakes up for. */
const gauges: readonly Gauge[] = [
  [
    "last_success_age_seconds",
    "Since everything finished was last confirmed in the store; since the source is known when it never was.",
    (state) => state.successAgeSeconds,
  ],
  [
    "last_success_timestamp_seconds",
    "When everything finished was last confirmed in the store.",
    ({ lastSuccessAt }) => (lastSuccessAt === null ? null : lastSuccessAt.getTime() / 1_000),
  ],
  ["silent_seconds", "Since a file last arrived in the store.", (state) => state.silentSeconds],
  ["allowed_silence_seconds", "A longer silence is an alarm: set, or learned.", (state) => state.allowedSeconds],
  ["usual_gap_seconds", "Median of the gaps between arrivals, of the last 30 days.", (state) => state.usualSeconds],
  ["last_pass_age_seconds", "Since a pass over the source last ended.", (state) => state.passAgeSeconds],
  ["backlog_files", "Finished files that are not in the store yet.", (state) => state.filesWaiting],
  ["not_ready_files", "Files that are still being written.", (state) => state.filesNotReady],
  ["failed_files", "Files that failed, and wait for a retry or a person.", (state) => state.filesFailed],
  ["leases", "Live workers on the source's sessions.", (state) => state.leases],
];

const labelsOf = ({ project, name }: SourceState): Labels => ({ project, source: name });

interface Known {
  states: SourceState[];
  bytes: Map<number, number>;
  atMs: number;
}

/** Ages of states that were read a while ago. */
function aged({ states, atMs }: Known, nowMs: number): SourceState[] {
  const by = (nowMs - atMs) / 1_000;
  return states.map((state) => {
    const silentSeconds = state.silentSeconds + by;
    return {
      ...state,
      successAgeSeconds: state.successAgeSeconds + by,
      passAgeSeconds: state.passAgeSeconds + by,
      silentSeconds,
      silent: state.allowedSeconds !== null && silentSeconds > state.allowedSeconds,
    };
  });
}

/** Two scrapers, or somebody who reloads a page, ask the database once. */
const freshMs = 2_000;

export function createMetrics(options: MetricsOptions): Metrics {
  const attempts = createCounter();
  const bytes = createCounter();
  const pauses = createCounter();
  const uploads = createHistogram(seconds);
  const passes = createHistogram(seconds);
  let known: Known | null = null;
  let asking: Promise<boolean> | null = null;

  const ask = async (): Promise<boolean> => {
    if (known && options.now() - known.atMs < freshMs) return true;
    const memory = options.memory();
    if (!memory) return false;
    try {
      const [states, waiting] = await Promise.all([memory.sources(null), memory.waitingBytes(null)]);
      known = { states: states.filter(options.isOurs), bytes: waiting, atMs: options.now() };
      return true;
    } catch (error) {
      if (asUploaderError(error).code !== "database_unreachable") throw error;
      // Its absence is a number of its own.
      return false;
    }
  };

  const families = (isAnswering: boolean): Family[] => {
    const nowMs = options.now();
    const states = known ? aged(known, nowMs) : [];
    const { pulse } = options;
    return [
      ...gauges.map(
        ([name, help, value]): Family => ({
          name: `uploader_source_${name}`,
          type: "gauge",
          help,
          samples: states.flatMap((state) => {
            const number = value(state);
            return number === null ? [] : [{ labels: labelsOf(state), value: number }];
          }),
        }),
      ),
      {
        name: "uploader_source_backlog_bytes",
        type: "gauge",
        help: "Bytes of finished files that are not in the store yet.",
        samples: states.map((state) => ({ labels: labelsOf(state), value: known?.bytes.get(state.id) ?? 0 })),
      },
      {
        name: "uploader_source_alarm",
        type: "gauge",
        help: "1: silent for longer than allowed, unattended (nobody looks), or failing (the last pass did not come through).",
        samples: states.flatMap((state) =>
          alarmKinds.map((kind) => ({ labels: { ...labelsOf(state), kind }, value: state[kind] ? 1 : 0 })),
        ),
      },
      {
        name: "uploader_source_passes_total",
        type: "counter",
        help: "Passes over the source, by whoever made them.",
        samples: states.flatMap((state) => [
          { labels: { ...labelsOf(state), result: "ok" }, value: state.passes - state.passesFailed },
          { labels: { ...labelsOf(state), result: "failed" }, value: state.passesFailed },
        ]),
      },
      {
        name: "uploader_attempts_total",
        type: "counter",
        help: "Attempts of this process by what became of the file, and why.",
        samples: attempts.samples(),
      },
      {
        name: "uploader_uploaded_bytes_total",
        type: "counter",
        help: "Bytes of files that this process had confirmed.",
        samples: bytes.samples(),
      },
      {
        name: "uploader_pauses_total",
        type: "counter",
        help: "How often everything had to wait, by cause.",
        samples: pauses.samples(),
      },
      {
        name: "uploader_upload_duration_seconds",
        type: "histogram",
        help: "Of attempts that sent a file.",
        samples: uploads.samples(),
      },
      { name: "uploader_pass_duration_seconds", type: "histogram", help: "Of passes.", samples: passes.samples() },
      gauge("uploader_ready", "1: the database is migrated and the first scan is queued.", pulse.isReady() ? 1 : 0),
      gauge("uploader_last_beat_age_seconds", "Since work last moved.", pulse.beatAgeMs() / 1_000),
      gauge("uploader_database_up", "1: the database answered just now.", isAnswering ? 1 : 0),
      gauge("uploader_build_info", "Always 1.", 1, { version: options.version, node: process.versions.node }),
      gauge("process_start_time_seconds", "When the process began.", options.startedAtMs / 1_000),
      gauge("process_resident_memory_bytes", "Memory in use.", options.residentBytes()),
    ];
  };

  return {
    observe(source, event) {
      if (event.type === "file") {
        const outcome = event.status === "pending" ? "postponed" : event.status;
        attempts.add({ source, outcome, cause: event.errorCode ?? "" });
        if (event.status === "uploaded") bytes.add({ source }, event.size);
        if (event.durationMs !== null) uploads.observe({ source, outcome }, event.durationMs / 1_000);
      } else if (event.type === "pause") pauses.add({ source, cause: event.cause });
      else if (event.type === "pass") passes.observe({ source }, event.durationMs / 1_000);
    },
    async text() {
      asking ??= ask().finally(() => {
        asking = null;
      });
      return expose(families(await asking));
    },
  };
}

const gauge = (name: string, help: string, value: number, labels: Labels = {}): Family => ({
  name,
  type: "gauge",
  help,
  samples: [{ labels, value }],
});
