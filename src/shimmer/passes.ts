import { openSmoothing } from "./cloud-sync.ts";
import {
  type Block,
  type DecodeOptions,
  type DecodeReport,
  type Decoder,
  type DecoderOptions,
  openDecoder,
} from "./decoder.ts";
import { badRecording } from "./faults.ts";
import { type Header, headerSize, longHeaderBytes } from "./header.ts";
import type { Column } from "./plan.ts";
import type { StartTime } from "./time-source.ts";

/** One file of a recording; `chunks` starts at its first byte and can be asked for again and again. */
export interface Part {
  name: string;
  chunks(): Iterable<Uint8Array>;
}

/** Last segment of a part's name: a result must not tell on which disk the recording lay, and is the same from any. */
export function fileName({ name }: Part): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** A part whose clock has been read. */
export interface OpenPart {
  part: Part;
  report: DecodeReport;
  columns: readonly Column[];
  header: Header;
  start: StartTime;
  retime: () => Partial<DecoderOptions>;
}

/** Blocks of one file, and at the end what its decoder met. */
export function* decodePart(
  { name, chunks }: Part,
  options: DecoderOptions,
): Generator<Block, { decoder: Decoder; report: DecodeReport }> {
  let head: Uint8Array = new Uint8Array(0);
  let decoder: Decoder | null = null;
  for (const chunk of chunks()) {
    if (decoder !== null) {
      yield* decoder.push(chunk);
      continue;
    }
    // A chunk is borrowed: it is copied unless it is used up at once.
    head = head.length === 0 && chunk.length >= longHeaderBytes ? chunk : concatenate(head, chunk);
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

export interface TimeRange {
  fromMs: number;
  toMs: number;
}

export function isOpen({ fromMs, toMs }: TimeRange): boolean {
  return fromMs === Number.NEGATIVE_INFINITY && toMs === Number.POSITIVE_INFINITY;
}

/** First pass: the clock alone. */
export function survey(part: Part, settings: DecodeOptions, range: TimeRange): { open: OpenPart; rows: number } {
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
  return {
    open: { part, report, columns: decoder.layout.columns, header: decoder.header, start: decoder.start, retime },
    rows: settled.rows,
  };
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
export function* within(block: Block, before: number, factor: number, range: TimeRange): Generator<Block> {
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
    yield {
      firstRecord: before + block.firstRecord + from,
      count: row - from,
      time: cut(block.time),
      columns: block.columns.map(cut),
    };
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
    hint: "the header does not describe these records: wrong header, or bytes lost on the way",
  });
}
