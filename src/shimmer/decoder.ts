import { words } from "./bytes.ts";
import { type ClockReport, openClock, type TickOddity } from "./clock.ts";
import { assertCloudReadable } from "./cloud-sync.ts";
import type { Note } from "./faults.ts";
import { openFrames, type SyncMark } from "./frames.ts";
import { type Header, readHeader } from "./header.ts";
import { clockRules, layoutOf, type Profile } from "./layout.ts";
import type { Column, Layout, Step, Values } from "./plan.ts";
import { openSyncFit, type SyncLine } from "./sync-line.ts";
import { type StartTime, startTime, type TimeSource, ticksPerSecond } from "./time-source.ts";
import { counted } from "./words.ts";

export interface DecodeOptions {
  profile?: Profile;
  /** `raw`: channels as stored, time still in ms. Not for `cloud-sync`, which has both. */
  values?: Values;
  timeSource?: TimeSource;
  /** Upper bound for a believable phone stamp. */
  nowMs?: number;
  /** Where the first record stands: at the header's time (as everybody has it), or the nearest time that fits its tick. */
  anchor?: "pinned" | "nearest";
  deviceName?: string;
}

export interface DecoderOptions extends DecodeOptions {
  /** For messages. */
  name?: string;
  /** Indices of the columns to decode; all when absent. Time is always worked out. */
  pick?: readonly number[];
  /** Line of an earlier pass over the same file: with it, time is that of the master clock. */
  sync?: SyncLine | null;
  /** Last word on a run's times (in the layout's unit), in place. */
  retime?: (times: Float64Array, count: number) => void;
  /** Where the picked columns of the next `count` records go; absent: buffers of the decoder, used again for every block. */
  store?: (count: number) => readonly Float64Array[];
}

/** Columns of some consecutive records. Borrowed: valid until the next block is asked for. */
export interface Block {
  firstRecord: number;
  count: number;
  /** Time of each record in the layout's unit, whether picked or not. */
  time: Float64Array;
  /** The picked columns, each of length `count`. */
  columns: readonly Float64Array[];
}

/** A pause in the recording; nothing was recorded in it, and nothing is made up. */
export interface Gap {
  /** First record after it. */
  record: number;
  /** Time of the record before it. */
  startMs: number;
  durationMs: number;
}

export interface OddTick extends Omit<TickOddity, "atTicks"> {
  /** Time the record was given. */
  timeMs: number;
}

export interface DecodeReport extends Omit<ClockReport, "gaps" | "oddTicks"> {
  gaps: readonly Gap[];
  oddTicks: readonly OddTick[];
  records: number;
  /** Unix ms (device ms with source `device`) of the first and last record; `null` without records. */
  startMs: number | null;
  endMs: number | null;
  /** Line through the sync measurements met on this pass. */
  sync: SyncLine | null;
  notes: readonly Note[];
}

export interface Decoder {
  header: Header;
  start: StartTime;
  layout: Layout;
  /** The picked columns. */
  columns: readonly Column[];
  /** Bytes after the header, in any portions; the chunk is not kept. */
  push(chunk: Uint8Array): Generator<Block>;
  /** What was met on the way; call it after the last chunk. */
  finish(): DecodeReport;
}

/** Most records in one block: sixteen columns of it stay within a core's own cache. */
export const blockRecords = 2048;

/**
 * Decodes one file piece by piece in constant memory.
 *
 * @param headerBytes the file's first 256 bytes (384 on Shimmer3R); more does no harm
 * @throws UploaderError `recording_bad` when the header is none of ours or its records cannot be laid out
 */
export function openDecoder(headerBytes: Uint8Array, options: DecoderOptions = {}): Decoder {
  const { profile = "vendor", values = "calibrated", name = "recording", sync = null, anchor = "pinned" } = options;
  const isCloud = profile === "cloud-sync";
  const header = readHeader(headerBytes, name);
  if (isCloud) assertCloudReadable(header, name);
  const start = startTime(header, isCloud ? "phone" : (options.timeSource ?? "auto"), options.nowMs);
  const { deviceName } = options;
  const layout = layoutOf(
    header,
    { profile, values, deviceName, timeSource: start.source, isSynced: sync !== null },
    name,
  );
  const tickBytes = isCloud ? 3 : header.tickBytes;
  const hasSyncPrefix = header.hasSyncPrefix && !isCloud;
  const { recordBytes } = layout;
  const clock = openClock({
    tickBytes,
    dividerTicks: header.dividerTicks,
    rule: clockRules[profile],
    startTicks: start.deviceTicks,
    anchor,
  });
  const frames = openFrames({ recordBytes, hasSyncPrefix, runRecords: blockRecords });
  const fit = openSyncFit();
  const pick = options.pick ?? layout.columns.map((_, index) => index);
  const stage = openStage(layout, pick, options.store);
  let records = 0;
  let isEnded = false;
  let first: number | null = null;
  let last: number | null = null;
  let marks: SyncMark[] = [];

  const toTime = timeScale(start, sync, layout.timeUnit);

  const fitMarks = (elapsed: Float64Array, count: number) => {
    marks.push(...frames.takeMarks());
    const here = marks.filter(({ record }) => record < records + count);
    for (const { record, offsetTicks } of here) fit.add(elapsed[record - records]!, offsetTicks);
    marks = marks.slice(here.length);
  };

  // Not in the generator below: loops inside one are compiled much worse.
  const decodeRun = (bytes: Uint8Array, count: number): Block => {
    const { time, columns, targets } = stage(count);
    clock.read(bytes, recordBytes, count, time);
    if (hasSyncPrefix) fitMarks(time, count);
    toTime(time, count);
    options.retime?.(time, count);
    for (const [index, step] of targets) readStep(layout.steps[index]!, bytes, recordBytes, count, step);
    first ??= time[0]!;
    last = time[count - 1]!;
    records += count;
    return { firstRecord: records - count, count, time, columns };
  };

  return {
    header,
    start,
    layout,
    columns: pick.map((index) => layout.columns[index]!),
    *push(chunk) {
      for (const run of isEnded ? [] : frames.push(chunk)) {
        const count = isCloud ? recordsBeforeBlank(run.bytes, recordBytes, run.count) : run.count;
        if (count > 0) yield decodeRun(run.bytes, count);
        // The older service takes a record of zeros for the end.
        isEnded = count < run.count;
        if (isEnded) return;
      }
    },
    finish() {
      const clockReport = clock.report();
      const msPerUnit = layout.timeUnit === "ms" ? 1 : 1000;
      const msAt = (ticks: number) => {
        const one = Float64Array.of(ticks);
        toTime(one, 1);
        return one[0]! * msPerUnit;
      };
      const gaps = clockReport.gaps.map(({ record, fromTicks, ticks }) => {
        const startMs = msAt(fromTicks);
        return { record, startMs, durationMs: msAt(fromTicks + ticks) - startMs };
      });
      const oddTicks = clockReport.oddTicks.map(({ atTicks, ...odd }) => ({ ...odd, timeMs: msAt(atTicks) }));
      const trailing = frames.trailingBytes();
      const notes = [...start.notes, ...layout.notes, ...headerNotes(header), ...tickNotes(clockReport)];
      if (trailing > 0 && !isEnded) {
        const message = `the file ends ${counted(trailing, "byte")} into a record of ${recordBytes}, which was left out`;
        notes.push({ code: "partial_record", message });
      }
      if (records === 0) notes.push({ code: "no_records", message: "the file holds a header and no record" });
      const startMs = first === null ? null : first * msPerUnit;
      const endMs = last === null ? null : last * msPerUnit;
      return { ...clockReport, gaps, oddTicks, records, startMs, endMs, sync: fit.line(), notes };
    },
  };
}

/**
 * Elapsed device ticks → time, in place: (start + elapsed − sync line) / 32768, in ms or s (SF 6.1). Division by a
 * power of two is exact, so there is one rounding.
 */
function timeScale({ deviceTicks, toUnixTicks }: StartTime, sync: SyncLine | null, unit: "ms" | "s") {
  const origin = deviceTicks + toUnixTicks - (sync?.atStartTicks ?? 0);
  const slope = sync?.slope ?? 0;
  const unitsPerSecond = unit === "ms" ? 1000 : 1;
  return (ticks: Float64Array, count: number) => {
    for (let row = 0; row < count; row++) {
      const elapsed = ticks[row]!;
      ticks[row] = ((origin + elapsed - slope * elapsed) / ticksPerSecond) * unitsPerSecond;
    }
  };
}

/** Hands out the arrays of a run: those of the caller or our own, and scratch for what a step makes besides. */
function openStage(layout: Layout, pick: readonly number[], store: DecoderOptions["store"]) {
  const needed = [...new Set(pick.flatMap((index) => sourceStep(layout, index)))].sort((a, b) => a - b);
  // Buffers grow to the largest run met, so a short file costs little.
  let room = 0;
  let ownTime = new Float64Array(0);
  let scratch = new Map<number, Float64Array[]>();
  const grow = (count: number) => {
    room = count;
    ownTime = new Float64Array(room);
    scratch = new Map(needed.map((step) => [step, layout.steps[step]!.signals.map(() => new Float64Array(room))]));
  };
  return (count: number) => {
    if (count > room) grow(count);
    const given = store?.(count);
    const timeAt = pick.findIndex((index) => layout.columns[index]!.source === "time");
    const time = given?.[timeAt] ?? ownTime.subarray(0, count);
    const byStep = new Map(needed.map((step) => [step, [...scratch.get(step)!]]));
    const columns = pick.map((index, position) => {
      const { source } = layout.columns[index]!;
      if (source === "time") return time;
      const columnsOfStep = byStep.get(source.step)!;
      const column = given?.[position] ?? columnsOfStep[source.column]!.subarray(0, count);
      columnsOfStep[source.column] = column;
      return column;
    });
    return { time, columns, targets: byStep };
  };
}

function sourceStep(layout: Layout, index: number): number[] {
  const { source } = layout.columns[index]!;
  return source === "time" ? [] : [source.step];
}

function readStep(
  { reads, convert }: Step,
  bytes: Uint8Array,
  recordBytes: number,
  count: number,
  columns: Float64Array[],
) {
  for (const { word, offset, column } of reads)
    words[word].read(bytes, offset, recordBytes, count, columns[column]!, 0);
  convert?.(columns, 0, count);
}

function recordsBeforeBlank(bytes: Uint8Array, recordBytes: number, count: number): number {
  for (let record = 0; record < count; record++) {
    const at = record * recordBytes;
    if (bytes[at] === 0 && bytes.subarray(at, at + recordBytes).every((byte) => byte === 0)) return record;
  }
  return count;
}

function headerNotes(header: Header): Note[] {
  if (!header.hasTcxo) return [];
  const message =
    "samples were timed by the temperature-compensated crystal (byte 17); 32768 Hz is assumed, no recording is known to check it";
  return [{ code: "tcxo", message }];
}

/** What each kind of odd tick means, in words. */
const tickMeanings = {
  backward: "back in time, kept in place and not taken for a rollover",
  duplicate: "with the tick of the one before",
  zero: "with tick 0 out of turn (slow card or cut power): channels not to be trusted, time of the one before",
} as const;

function tickNotes({ counts }: ClockReport): Note[] {
  const kinds = Object.entries(tickMeanings) as [keyof typeof tickMeanings, string][];
  return kinds
    .filter(([kind]) => counts[kind] > 0)
    .map(([kind, meaning]) => ({ code: `tick_${kind}`, message: `${counted(counts[kind], "record")} ${meaning}` }));
}
