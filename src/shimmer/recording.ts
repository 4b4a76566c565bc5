import { UploaderError } from "../core/errors.ts";
import type { Block, DecodeOptions, DecoderOptions } from "./decoder.ts";
import { isoTime } from "./description.ts";
import type { Header } from "./header.ts";
import { assertSameSession, commonTimeSource, joinReports, type RecordingReport } from "./joining.ts";
import type { Profile } from "./layout.ts";
import { deviceLabel } from "./names.ts";
import { decodePart, fileName, isOpen, type Part, survey, within } from "./passes.ts";
import type { Column } from "./plan.ts";
import { chooseColumns } from "./selection.ts";
import type { StartTime } from "./time-source.ts";

export interface RecordingOptions extends DecodeOptions {
  /** Signals or groups of them (`Accel_WR`), any case; all when absent. Time is always among them. */
  channels?: readonly string[];
  /** Only records with `fromMs` ≤ time < `toMs` (Unix ms). */
  fromMs?: number;
  toMs?: number;
}

export interface Recording {
  profile: Profile;
  /** `deviceName`, else `Shimmer_` and the last four digits of the MAC. */
  device: string;
  /** Of the first part. */
  header: Header;
  start: StartTime;
  /** Chosen columns, time first (with `cloud-sync`: in the order of its keys). */
  columns: readonly Column[];
  /** Rows in the chosen time range. */
  count: number;
  timeUnit: "ms" | "s";
  report: RecordingReport;
  /** File names of the parts, without folders. */
  partNames: readonly string[];
  /** One pass over the bytes: blocks of the columns with these indices (of `columns`), all when absent. Blocks are borrowed. */
  blocks(pick?: readonly number[]): Generator<Block>;
  /** All columns of all rows at once, in arrays of `count`. */
  load(): Float64Array[];
}

/**
 * Opens a recording of one file, or of the hourly files of one session in their order (SF 1). Reads every part once
 * for its clock, so gaps, odd ticks, sync line and count are known before the first block.
 *
 * @throws UploaderError `recording_bad` when a part cannot be decoded, parts do not belong together, or the records do
 * not line up with the header; `usage` for a channel that is not there
 */
export function openRecording(parts: readonly Part[], options: RecordingOptions = {}): Recording {
  if (parts.length === 0) throw new UploaderError("usage", "a recording needs at least one file");
  const { fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY } = options;
  const timeSource = commonTimeSource(parts, options);
  const settings: DecodeOptions = { ...options, timeSource };
  const range = { fromMs, toMs };
  const surveys = parts.map((part) => survey(part, settings, range));
  const opened = surveys.map(({ open }) => open);
  const first = opened[0]!;
  for (const other of opened.slice(1)) assertSameSession(first, other);
  const isCloud = options.profile === "cloud-sync";
  const chosen = chooseColumns(first.columns, options.channels);
  const columns = chosen.map((index) => first.columns[index]!);
  const count = surveys.reduce((sum, { rows }) => sum + rows, 0);
  const timeUnit = isCloud ? "s" : "ms";

  function* blocks(pick: readonly number[], store?: DecoderOptions["store"]): Generator<Block> {
    const wanted = pick.map((index) => chosen[index]!);
    let before = 0;
    for (const { part, report, retime } of opened) {
      const more: DecoderOptions = { ...settings, pick: wanted, sync: report.sync, ...retime() };
      const pass = decodePart(part, store === undefined ? more : { ...more, store });
      for (const block of pass) yield* within(block, before, timeUnit === "ms" ? 1 : 1000, range);
      before += report.records;
    }
  }
  const everything = columns.map((_, index) => index);

  return {
    profile: options.profile ?? "vendor",
    device: deviceLabel(first.header, options.deviceName),
    header: first.header,
    start: first.start,
    columns,
    count,
    timeUnit,
    report: withRange(joinReports(opened), count),
    partNames: parts.map(fileName),
    blocks: (pick = everything) => blocks(pick),
    load() {
      const values = columns.map(() => new Float64Array(count));
      let at = 0;
      // Without a range every record is a row, and blocks are decoded where they stay.
      const store = (rows: number) => values.map((column) => column.subarray(at, at + rows));
      for (const block of blocks(everything, isOpen(range) ? store : undefined)) {
        if (!isOpen(range)) for (const [index, column] of block.columns.entries()) values[index]!.set(column, at);
        at += block.count;
      }
      return values;
    },
  };
}

/** A range that holds nothing of the recording is no fault, but is seldom meant. */
function withRange(report: RecordingReport, count: number): RecordingReport {
  if (count > 0 || report.records === 0) return report;
  const [start, end] = [isoTime(report.startMs) ?? "?", isoTime(report.endMs) ?? "?"];
  const message = `no sample lies in the chosen range: the recording runs from ${start} to ${end}`;
  return { ...report, notes: [...report.notes, { code: "range_empty", message }] };
}

/** A recording decoded into memory: one array per column, all of length `count`. */
export interface Decoded {
  recording: Recording;
  columns: readonly (Column & { values: Float64Array })[];
}

/** Whole-buffer decode: `openRecording` over bytes in memory, every block kept. */
export function decode(bytes: Uint8Array, options: RecordingOptions & { name?: string } = {}): Decoded {
  const recording = openRecording([{ name: options.name ?? "recording", chunks: () => [bytes] }], options);
  const values = recording.load();
  return { recording, columns: recording.columns.map((column, index) => ({ ...column, values: values[index]! })) };
}
