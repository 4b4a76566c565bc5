import { UploaderError } from "../core/errors.ts";
import { openSmoothing } from "./cloud-sync.ts";
import type { OddTick } from "./clock.ts";
import { type Block, type DecodeOptions, type Decoder, type DecodeReport, type DecoderOptions, type Gap, openDecoder } from "./decoder.ts";
import { badRecording, type Note } from "./faults.ts";
import { type Header, headerSize, longHeaderBytes } from "./header.ts";
import { deviceLabel } from "./names.ts";
import type { Column } from "./plan.ts";
import { chooseColumns } from "./selection.ts";
import type { StartTime, TimeSource } from "./time-source.ts";

/** One file of a recording; `chunks` starts at its first byte and can be asked for again and again. */
export interface Part {
  name: string;
  chunks(): Iterable<Uint8Array>;
}

export interface RecordingOptions extends DecodeOptions {
  /** Signals or groups of them (`Accel_WR`), any case; all when absent. Time is always among them. */
  channels?: readonly string[];
  /** Only records with `fromMs` ≤ time < `toMs` (Unix ms). */
  fromMs?: number;
  toMs?: number;
}

/** Facts of a recording: all parts, before any choice of channels or time. */
export interface RecordingReport {
  records: number;
  startMs: number | null;
  endMs: number | null;
  /** As listed, at most 10,000 a part; `counts` is complete. Records count through all parts. */
  gaps: readonly Gap[];
  oddTicks: readonly OddTick[];
  counts: DecodeReport["counts"];
  notes: readonly Note[];
  syncMeasurements: number;
}

export interface Recording {
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
  partNames: readonly string[];
  /** One pass over the bytes: blocks of the columns with these indices (of `columns`), all when absent. Blocks are borrowed. */
  blocks(pick?: readonly number[]): Generator<Block>;
  /** All columns of all rows at once, in arrays of `count`. */
  load(): Float64Array[];
}

interface OpenPart {
  part: Part;
  report: DecodeReport;
  columns: readonly Column[];
  header: Header;
  start: StartTime;
  retime: () => Partial<DecoderOptions>;
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
    device: deviceLabel(first.header, options.deviceName),
    header: first.header,
    start: first.start,
    columns,
    count,
    timeUnit,
    report: joinReports(opened),
    partNames: parts.map(({ name }) => name),
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

/** Blocks of one file, and at the end what its decoder met. */
function* decodePart({ name, chunks }: Part, options: DecoderOptions): Generator<Block, { decoder: Decoder; report: DecodeReport }> {
  let head: Uint8Array = new Uint8Array(0);
  let decoder: Decoder | null = null;
  for (const chunk of chunks()) {
    if (decoder !== null) {
      yield* decoder.push(chunk);
      continue;
    }
    head = head.length === 0 ? chunk : concatenate(head, chunk);
    if (head.length < (headerSize(head) ?? longHeaderBytes)) continue;
    decoder = openDecoder(head, { ...options, name });
    yield* decoder.push(head.subarray(decoder.header.sizeBytes));
  }
  // A file that ends inside the header, or no header at all: the reader of headers has the sentence for it.
  decoder ??= openDecoder(head, { ...options, name });
  return { decoder, report: decoder.finish() };
}

function concatenate(left: Uint8Array, right: Uint8Array): Uint8Array {
  const whole = new Uint8Array(left.length + right.length);
  whole.set(left);
  whole.set(right, left.length);
  return whole;
}

interface TimeRange {
  fromMs: number;
  toMs: number;
}

function isOpen({ fromMs, toMs }: TimeRange): boolean {
  return fromMs === Number.NEGATIVE_INFINITY && toMs === Number.POSITIVE_INFINITY;
}

/** First pass: the clock alone. */
function survey(part: Part, settings: DecodeOptions, range: TimeRange): { open: OpenPart; rows: number } {
  const probe = onePass(part, settings, null, range);
  const { sync } = probe.report;
  const isCloud = settings.profile === "cloud-sync";
  assertLinedUp(part.name, probe.decoder, probe.report);
  const retime = (): Partial<DecoderOptions> => {
    if (!isCloud) return {};
    const { startMs, endMs, records } = probe.report;
    return { retime: openSmoothing(records < 2 ? 0 : (endMs! - startMs!) / 1000 / (records - 1)) };
  };
  // Synchronised or smoothed time is known only now, and with it the column names and the rows in range.
  const settled = sync === null && !isCloud ? probe : onePass(part, settings, { sync, ...retime() }, range);
  const { decoder } = settled;
  const report = { ...settled.report, sync };
  return { open: { part, report, columns: decoder.layout.columns, header: decoder.header, start: decoder.start, retime }, rows: settled.rows };
}

function onePass(part: Part, settings: DecodeOptions, more: DecoderOptions | null, range: TimeRange) {
  const { fromMs, toMs } = range;
  const pass = decodePart(part, { ...settings, ...more, pick: [] });
  const factor = settings.profile === "cloud-sync" ? 1000 : 1;
  let rows = 0;
  for (;;) {
    const { done, value } = pass.next();
    if (done) return { ...value, rows };
    if (isOpen(range)) rows += value.count;
    else for (const time of value.time) if (time * factor >= fromMs && time * factor < toMs) rows++;
  }
}

/** The rows of a block that lie in the range, as runs; a block that lies in it whole goes through as it is. */
function* within(block: Block, before: number, factor: number, range: TimeRange): Generator<Block> {
  const { fromMs, toMs } = range;
  if (isOpen(range)) return yield { ...block, firstRecord: before + block.firstRecord };
  const isIn = (row: number) => block.time[row]! * factor >= fromMs && block.time[row]! * factor < toMs;
  let row = 0;
  while (row < block.count) {
    while (row < block.count && !isIn(row)) row++;
    const from = row;
    while (row < block.count && isIn(row)) row++;
    if (row === from) return;
    const cut = (values: Float64Array) => (row - from === block.count ? values : values.subarray(from, row));
    yield { firstRecord: before + block.firstRecord + from, count: row - from, time: cut(block.time), columns: block.columns.map(cut) };
  }
}

/** Records that do not follow each other in time mean a wrong record length: every value would be noise (SF 4.4). */
function assertLinedUp(name: string, { header, layout }: Decoder, { steps }: DecodeReport): void {
  if (steps.irregular < 8 || steps.irregular <= steps.regular) return;
  throw badRecording(name, {
    offset: header.sizeBytes,
    field: "records",
    expected: `time stamps about ${header.dividerTicks} ticks apart every ${layout.recordBytes} bytes`,
    found: `${steps.irregular} of ${steps.irregular + steps.regular} steps far from that`,
    hint: "The header does not describe these records: wrong header, or bytes lost on the way.",
  });
}

/** Parts must agree on where time comes from; if one is unsure, device time serves all. */
function commonTimeSource(parts: readonly Part[], options: RecordingOptions): TimeSource {
  const wanted = options.timeSource ?? "auto";
  if (wanted !== "auto" || parts.length === 1 || options.profile === "cloud-sync") return wanted;
  const sources = parts.map((part) => {
    const pass = decodePart({ name: part.name, chunks: () => firstBytes(part) }, { ...options, pick: [] });
    for (;;) {
      const { done, value } = pass.next();
      if (done) return value.decoder.start.source;
    }
  });
  return sources.includes("device") ? "device" : wanted;
}

function* firstBytes(part: Part): Generator<Uint8Array> {
  let seen = 0;
  for (const chunk of part.chunks()) {
    yield chunk.subarray(0, longHeaderBytes - seen);
    seen += chunk.length;
    if (seen >= longHeaderBytes) return;
  }
}

/** What all parts of a session have in common (SF 1): field and its offset in the header. */
const sessionFields: readonly { field: string; offset: number; of: (header: Header) => string }[] = [
  { field: "MAC", offset: 24, of: ({ mac }) => mac },
  { field: "sampling divider", offset: 0, of: ({ dividerTicks }) => String(dividerTicks) },
  { field: "enabled sensors", offset: 3, of: ({ enabled }) => Buffer.from(enabled).toString("hex") },
  { field: "channel list", offset: 314, of: ({ channelIds }) => Buffer.from(channelIds).toString("hex") },
  { field: "trial id", offset: 32, of: ({ trialId }) => String(trialId) },
];

function assertSameSession(first: OpenPart, other: OpenPart): void {
  const odd = sessionFields.find(({ of }) => of(first.header) !== of(other.header));
  const columnNames = ({ columns }: OpenPart) => columns.map(({ name, unit }) => `${name} ${unit}`).join(", ");
  const fault = (offset: number, field: string, expected: string, found: string) =>
    badRecording(other.part.name, { offset, field, expected: `${expected} as in ${first.part.name}`, found, hint: "These files are not one session; decode them one by one." });
  if (odd !== undefined) throw fault(odd.offset, odd.field, odd.of(first.header), odd.of(other.header));
  if (columnNames(first) !== columnNames(other)) throw fault(0, "columns", columnNames(first), columnNames(other));
}

function joinReports(parts: readonly OpenPart[]): RecordingReport {
  const counts = { gaps: 0, rollovers: 0, backward: 0, duplicate: 0, zero: 0 };
  const gaps: Gap[] = [];
  const oddTicks: OddTick[] = [];
  const notes: Note[] = [];
  let records = 0;
  let syncMeasurements = 0;
  let lastMs: number | null = null;
  for (const { part, report, header } of parts) {
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += report.counts[key];
    const pauseMs = lastMs === null || report.startMs === null ? 0 : report.startMs - lastMs;
    if (pauseMs > (10_000 * header.dividerTicks) / 32768) {
      counts.gaps++;
      gaps.push({ record: records, startMs: lastMs!, durationMs: pauseMs });
    }
    if (pauseMs < 0) notes.push({ code: "parts_overlap", message: `${part.name} begins ${-pauseMs} ms before the end of the part before it` });
    for (const gap of report.gaps) gaps.push({ ...gap, record: gap.record + records });
    for (const odd of report.oddTicks) oddTicks.push({ ...odd, record: odd.record + records });
    for (const note of report.notes) if (!notes.some(({ message }) => message === note.message)) notes.push(note);
    if (report.gaps.length < report.counts.gaps) notes.push({ code: "list_cut", message: `only the first ${report.gaps.length} gaps are listed` });
    records += report.records;
    syncMeasurements += report.sync?.measurements ?? 0;
    lastMs = report.endMs ?? lastMs;
  }
  const startMs = parts.find(({ report }) => report.startMs !== null)?.report.startMs ?? null;
  return { records, startMs, endMs: lastMs, gaps, oddTicks, counts, notes, syncMeasurements };
}
