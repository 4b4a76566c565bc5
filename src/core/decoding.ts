/** Decoding as operations know it: recordings in, files and facts out. The bytes are the adapter's business. */
import { kindOf } from "./file-kinds.ts";
import type { Body } from "./ports.ts";
import type { Candidate, ClaimedFile } from "./store.ts";

export const decodedFormats = ["json", "csv", "mat", "parquet"] as const;
export type DecodedFormat = (typeof decodedFormats)[number];

export const plotFormats = ["png", "svg", "html"] as const;
export type PlotFormat = (typeof plotFormats)[number];

/** What becomes of a recording's values (design A7). */
export interface DecodeSettings {
  profile: "vendor" | "consensys" | "cloud-sync";
  timeSource: "auto" | "header" | "phone" | "device";
  /** Signals, or groups of them; all when absent. */
  channels?: readonly string[];
  /** Only records with `fromMs` ≤ time < `toMs`, Unix ms. */
  fromMs?: number;
  toMs?: number;
}

export interface DecodeJob {
  /** Files of one recording, in their order; `name` is for messages. */
  parts: readonly { name: string; path: string }[];
  settings: DecodeSettings;
  /** Made exclusively, flushed to disk; removing them is the caller's, whatever becomes of the job. */
  outputs: readonly { format: DecodedFormat | PlotFormat; path: string }[];
  /** A text of the summary for so many columns; `null`: none. */
  screen: { width: number; sparklines: boolean } | null;
}

export interface DecodeResult {
  facts: RecordingFacts;
  /** The decoder's whole summary, ready for JSON. */
  summary: object;
  screen: string | null;
  /** Of the outputs, in their order. */
  outputBytes: readonly number[];
  /** Of the parts, as they were from the first byte read to the last. */
  sources: readonly { sizeBytes: number; mtimeNs: bigint }[];
}

export interface DecodeLimits {
  signal: AbortSignal;
  /** Wall time after which a recording counts as one that cannot be decoded; `null`: as long as it takes. */
  timeMs: number | null;
}

/** Decodes aside, one recording at a time in each thread: nothing that a recording holds can stop or end this process. */
export interface RecordingDecoder {
  /**
   * Errors: recording_bad (also for one that takes too long or too much memory), usage (a channel that is not there),
   * file_gone, file_forbidden, file_unreadable, not_ready (it changed while it was read), disk_full.
   */
  decode(job: DecodeJob, limits: DecodeLimits): Promise<DecodeResult>;
  close(): Promise<void>;
}

/** Recordings on disk, and the folder that `decode` writes to. */
export interface RecordingFiles {
  /** Errors: source_missing. */
  isFolder(path: string): boolean;
  /** Recordings below a folder, relative to it. Errors: source_missing, source_unreadable. */
  find(folder: string, signal: AbortSignal): Promise<string[]>;
}

export interface OutputFolder {
  /** A path that is nobody's, in the folder. */
  temporary(): string;
  /**
   * Gives a finished file its name. `same`: a file with this content was there already. A file with other content is
   * replaced only if asked for, one of the sources never. Errors: usage.
   */
  publish(temporary: string, name: string, replace: boolean): Promise<"written" | "replaced" | "same">;
  discard(temporary: string): Promise<void>;
  close(): void;
}

/** A recording's row in `decoded_recordings`. */
export interface RecordingFacts {
  /** The user's name for it, else `Shimmer_` and the last four digits of its MAC. */
  deviceName: string;
  deviceMac: string;
  model: string;
  firmware: string;
  samplingRateHz: number;
  channels: readonly string[];
  /** ISO 8601, UTC; null where the recording knows no absolute time. */
  startedAt: string | null;
  endedAt: string | null;
  durationSeconds: number | null;
  samples: number;
  gaps: number;
  oddTicks: number;
  batteryMinMv: number | null;
  batteryMaxMv: number | null;
  /** Of the length of the wide-range acceleration, m/s²; `range` (max − min) is what the older service called Accel_WR_VAR. */
  accelWrMean: number | null;
  accelWrMax: number | null;
  accelWrRange: number | null;
}

/** What `upload --decode` needs: files made of a recording, kept until they are sent. */
export interface Decoding {
  /** False: recordings met are not decoded, but files registered by an earlier run can be made again. */
  readonly enabled: boolean;
  readonly formats: readonly DecodedFormat[];
  /** In words; what was decoded under other settings is decoded again. */
  readonly settings: string;
  /** By its header; false when it cannot be read. */
  isRecording(path: string): Promise<boolean>;
  /**
   * The same bytes from the same source and settings. Waits while files made before fill their share of the disk, so a
   * caller must not hold any. Errors: those of RecordingDecoder.
   */
  make(
    path: string,
    how: { settings: string; formats: readonly DecodedFormat[] },
    signal: AbortSignal,
  ): Promise<MadeRecording>;
  close(): Promise<void>;
}

export interface MadeRecording {
  facts: RecordingFacts;
  source: { sizeBytes: number; mtimeNs: bigint };
  files: readonly { format: DecodedFormat; body: Extract<Body, { kind: "file" }> }[];
  /** Removes the files. */
  discard(): Promise<void>;
}

/** What the database remembers of decoding. */
export interface DecodingMemory {
  /**
   * Registers the files made of a row in this worker's hands; their rows are in its hands too. A row that stands there
   * already is brought up to date and left to the next claim; `taken` names keys that another source file has.
   */
  derive(
    sourceId: number,
    workerId: number,
    files: readonly { key: string; sizeBytes: number }[],
  ): Promise<{ claimed: ClaimedFile[]; taken: string[] }>;
  rememberDecoding(sourceId: number, decoding: RememberedDecoding): Promise<void>;
  /** How the recording of this row was decoded last; null: it was not. */
  decodingSettings(sourceId: number): Promise<string | null>;
  /** Those of the candidates that are safe in the store but were never decoded under these settings, without a row. */
  undecoded(
    sessionId: number,
    destinationId: number,
    files: readonly Candidate[],
    settings: string,
  ): Promise<Candidate[]>;
  /** Recordings of the session that could not be decoded. */
  undecodable(sessionId: number): Promise<number>;
}

export type RememberedDecoding = { settings: string; place: RecordingPlace } & (
  | { facts: RecordingFacts; madeKeys: readonly string[] }
  | { error: { code: string; message: string } }
);

/** As `Decoding` and `decoded_recordings` name them. */
export const settingsText = ({ profile, timeSource }: DecodeSettings, formats: readonly DecodedFormat[]): string =>
  `${profile} ${timeSource} ${formats.join(",")}`;

export function settingsOfText(text: string): DecodeSettings {
  const [profile, timeSource] = text.split(" ") as [DecodeSettings["profile"], DecodeSettings["timeSource"]];
  return { profile, timeSource };
}

/** Files of other kinds are known by their names; what a Shimmer wrote only by its header. */
export const mayBeRecording = (path: string): boolean => kindOf(path) === null;

/** What a recording's path says about it. */
export interface RecordingPlace {
  /** The phone that fetched it from the sensor. */
  phone: string | null;
  experiment: string | null;
  /** `Shimmer_DDD6`. */
  shimmerDevice: string | null;
  /** Number of the session's folder on the card. */
  shimmerDay: string | null;
  part: string | null;
}

const phoneName = /^([^_]+)__\d{8}_\d{6}__(.*?)__(?:([^_]+_.+?)-(\d+)|)__(\d+)(?:__wrong)?\.txt$/;
const olderName = /^(.+)_\d{8}_\d{6}_(\d+)\.txt$/;
const cardFolder = /^(.+)-(\d{3,})$/;

/**
 * The phone app's flat names (originals 1.2): `<phone>__<yyyymmdd_HHMMSS>__<experiment>__<Shimmer_XXXX-NNN>__<part>.txt`,
 * with `__wrong` when the sensor's name is not its MAC's; before August 2025 `<phone>_<yyyymmdd>_<HHMMSS>_<part>.txt`, and
 * before July with the user's name in the phone's place. `user` stands for a phone that is not known. On the card
 * `<experiment>/<Shimmer_XXXX-NNN>/<part>`.
 */
export function recordingPlace(path: string): RecordingPlace {
  const segments = path.split("/");
  const name = segments.at(-1)!;
  const phone = phoneName.exec(name);
  if (phone) {
    const [, id, experiment, device, day, part] = phone;
    return {
      phone: knownPhone(id!),
      experiment: experiment || null,
      shimmerDevice: device ?? null,
      shimmerDay: day ?? null,
      part: part!,
    };
  }
  const older = olderName.exec(name);
  if (older) {
    const none = { experiment: null, shimmerDevice: null, shimmerDay: null };
    return { phone: knownPhone(older[1]!), ...none, part: older[2]! };
  }
  const folder = cardFolder.exec(segments.at(-2) ?? "");
  if (folder && /^\d{3,}$/.test(name)) {
    const [, device, day] = folder;
    return { phone: null, experiment: segments.at(-3) ?? null, shimmerDevice: device!, shimmerDay: day!, part: name };
  }
  return { phone: null, experiment: null, shimmerDevice: null, shimmerDay: null, part: null };
}

const knownPhone = (id: string): string | null => (id === "user" ? null : id);
