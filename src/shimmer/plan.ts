import { type Word, words } from "./bytes.ts";
import { type Convert, type Converter, converterOf, rawConverter, type Signal } from "./conversions.ts";
import { badRecording, type Note } from "./faults.ts";
import { prefixBytes, recordsPerBlock } from "./frames.ts";
import { type Header, headerAt } from "./header.ts";
import { type Flag, type Sensor, sensors } from "./sensors.ts";

/** One read of a step: the word at `offset` of each record goes into the step's column `column`. */
export interface Read {
  word: Word;
  offset: number;
  column: number;
}

/** Columns that belong together: read raw, then converted in place. */
export interface Step {
  signals: readonly Signal[];
  reads: readonly Read[];
  convert: Convert | null;
}

/** What a header means for the bytes that follow: where each channel stands and what becomes of it. */
export interface Plan {
  recordBytes: number;
  steps: readonly Step[];
  notes: readonly Note[];
}

/** One column of the result. */
export interface Column {
  /** As Consensys writes it, `Shimmer_E169_Accel_LN_X_CAL`; with `cloud-sync` the older service's key. */
  name: string;
  /** The name without device and CAL: `Accel_LN_X`. */
  signal: string;
  unit: string;
  isCalibrated: boolean;
}

/** Where a column's values come from. */
export type Source = "time" | { step: number; column: number };

export interface Layout {
  recordBytes: number;
  steps: readonly Step[];
  columns: readonly (Column & { source: Source })[];
  /** Time columns count in these. */
  timeUnit: "ms" | "s";
  notes: readonly Note[];
}

export type Values = "calibrated" | "raw";

/** A sensor with the places of its signals in the record. */
export interface Placed {
  sensor: Sensor;
  reads: readonly Read[];
}

/**
 * Header → columns with offsets (SF 4). Shimmer3 files follow the fixed walk over the enabled bits, Shimmer3R files the
 * header's id list.
 *
 * @throws UploaderError `recording_bad` for an unknown or repeated channel id, or records too long for sync blocks
 */
export function planRecord(header: Header, values: Values, name: string): Plan {
  const { placed, recordBytes, notes } =
    header.generation === "shimmer3r" ? placeByList(header, name) : placeByBits(header);
  if (header.hasSyncPrefix && recordsPerBlock(recordBytes) === 0) {
    const expected = `records of at most ${512 - prefixBytes} bytes (synchronised logs)`;
    throw badRecording(name, {
      offset: headerAt.channelCount,
      field: "channel list",
      expected,
      found: `${recordBytes} bytes`,
    });
  }
  const steps = placed.map(({ sensor, reads }) => {
    const isWhole = reads.length === sensor.signals.length;
    const converter: Converter =
      values === "raw" || !isWhole ? rawConverter(header, sensor) : converterOf(header, sensor);
    notes.push(...converter.notes);
    if (!isWhole) notes.push(partial(sensor, reads.length));
    return isWhole ? { ...converter, reads } : onlyRead(converter, reads);
  });
  return { recordBytes, steps, notes };
}

function placeByBits(header: Header): { placed: Placed[]; recordBytes: number; notes: Note[] } {
  let offset: number = header.tickBytes;
  const placed: Placed[] = [];
  for (const sensor of sensors) {
    if (sensor.shimmer3 === undefined || !isEnabled(header, sensor)) continue;
    const places = "old" in sensor.shimmer3 ? sensor.shimmer3[header.board === "new" ? "new" : "old"] : sensor.shimmer3;
    const reads: Read[] = [];
    for (const [column, word] of places) {
      reads.push({ word, offset, column });
      offset += words[word].size;
    }
    placed.push({ sensor, reads });
  }
  return { placed, recordBytes: offset, notes: [] };
}

/** Channel id → its sensor, signal and word. The first row wins: both ExG widths share the status byte's id. */
const channelsById = new Map(
  sensors
    .flatMap((sensor) => (sensor.shimmer3r ?? []).map(([id, word], column) => [id, { sensor, word, column }] as const))
    .reverse(),
);
const statusIds: ReadonlySet<number> = new Set([0x1d, 0x20]);

function placeByList(header: Header, name: string): { placed: Placed[]; recordBytes: number; notes: Note[] } {
  const reads = new Map<Sensor, Read[]>();
  const seen = new Set<number>();
  let offset: number = header.tickBytes;
  header.channelIds.forEach((id, index) => {
    const channel = channelsById.get(id);
    const at = headerAt.channelIds + index;
    const found = `0x${id.toString(16).padStart(2, "0")}`;
    if (channel === undefined) {
      const hint = "Its width is unknown, so no record after it could be found. A newer release may know it.";
      throw badRecording(name, { offset: at, field: "channel id", expected: "0x00 to 0x28", found, hint });
    }
    if (seen.has(id))
      throw badRecording(name, { offset: at, field: "channel id", expected: "each id once", found: `${found} again` });
    seen.add(id);
    const sensor = statusIds.has(id) ? exgOfStatus(channel.sensor, header) : channel.sensor;
    const read = { word: channel.word, offset, column: channel.column };
    reads.set(sensor, [...(reads.get(sensor) ?? []), read]);
    offset += words[channel.word].size;
  });
  const placed = [...reads].map(([sensor, list]) => ({ sensor, reads: list }));
  const notes: Note[] = [];
  const missing = sensors.filter((sensor) => sensor.shimmer3r && isEnabled(header, sensor) && !reads.has(sensor));
  const extra = placed.filter(({ sensor }) => !isEnabled(header, sensor));
  if (missing.length + extra.length > 0) {
    const keys = [
      ...missing.map(({ key }) => `${key} enabled, not listed`),
      ...extra.map(({ sensor }) => `${sensor.key} listed, not enabled`),
    ];
    notes.push({
      code: "channels_disagree",
      message: `channel list (byte 314) and enabled sensors (byte 3) differ: ${keys.join(", ")}; the list was used`,
    });
  }
  return { placed, recordBytes: offset, notes };
}

/** The row of the 16-bit samples when only those are listed. */
function exgOfStatus(wide: Sensor, header: Header): Sensor {
  const narrow = sensors.find(({ key }) => key === wide.key.replace("24", "16"))!;
  const listed = (sensor: Sensor) => sensor.shimmer3r!.slice(1).some(([id]) => header.channelIds.includes(id));
  return !listed(wide) && listed(narrow) ? narrow : wide;
}

function isEnabled(header: Header, { on, unless }: Sensor): boolean {
  return isSet(header, on) && (unless === undefined || !isSet(header, unless));
}

function isSet(header: Header, [byte, mask]: Flag): boolean {
  return (header.enabled[byte - headerAt.enabled]! & mask) !== 0;
}

function partial({ key, signals }: Sensor, present: number): Note {
  const message = `${key}: ${present} of ${signals.length} channels are listed, which cannot be calibrated: left uncalibrated`;
  return { code: "sensor_partial", message };
}

/** Keeps the signals that are really in the record. */
function onlyRead(converter: Converter, reads: readonly Read[]): Step {
  const kept = [...reads].sort((a, b) => a.column - b.column);
  return {
    signals: kept.map(({ column }) => converter.signals[column]!),
    reads: kept.map((read, column) => ({ ...read, column })),
    convert: null,
  };
}

/** Keys of the sensors in the record. */
export function recordedSensors(header: Header, name: string): string[] {
  const { placed } = header.generation === "shimmer3r" ? placeByList(header, name) : placeByBits(header);
  return placed.map(({ sensor }) => sensor.key);
}
