import { mostListed } from "./clock.ts";
import type { DecodeOptions, DecodeReport, Gap, OddTick } from "./decoder.ts";
import { badRecording, type Note } from "./faults.ts";
import { type Header, longHeaderBytes } from "./header.ts";
import { decodePart, fileName, type OpenPart, type Part } from "./passes.ts";
import type { TimeSource } from "./time-source.ts";

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

/** Parts must agree on where time comes from; if one is unsure, device time serves all. */
export function commonTimeSource(parts: readonly Part[], options: DecodeOptions): TimeSource {
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

export function assertSameSession(first: OpenPart, other: OpenPart): void {
  const odd = sessionFields.find(({ of }) => of(first.header) !== of(other.header));
  // The first one is time, whose name tells whether a part could be synchronised: a note, not a fault.
  const columnNames = ({ columns }: OpenPart) =>
    columns
      .slice(1)
      .map(({ name, unit }) => `${name} ${unit}`)
      .join(", ");
  const fault = (offset: number, field: string, expected: string, found: string) =>
    badRecording(other.part.name, {
      offset,
      field,
      expected: `${expected} as in ${first.part.name}`,
      found,
      hint: "these files are not one session; decode them one by one",
    });
  if (odd !== undefined) throw fault(odd.offset, odd.field, odd.of(first.header), odd.of(other.header));
  if (columnNames(first) !== columnNames(other)) throw fault(0, "columns", columnNames(first), columnNames(other));
}

export function joinReports(parts: readonly OpenPart[]): RecordingReport {
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
    if (pauseMs < 0) notes.push(overlap(fileName(part), -pauseMs));
    if ((report.sync === null) !== (parts[0]!.report.sync === null))
      notes.push(unevenSync(fileName(part), report.sync !== null));
    for (const gap of report.gaps) gaps.push({ ...gap, record: gap.record + records });
    for (const odd of report.oddTicks) oddTicks.push({ ...odd, record: odd.record + records });
    for (const note of report.notes) if (!notes.some(({ message }) => message === note.message)) notes.push(note);
    if (report.gaps.length < report.counts.gaps) notes.push(cutList("gaps", report.gaps.length));
    if (report.oddTicks.length === mostListed) notes.push(cutList("odd ticks", mostListed));
    records += report.records;
    syncMeasurements += report.sync?.measurements ?? 0;
    lastMs = report.endMs ?? lastMs;
  }
  const startMs = parts.find(({ report }) => report.startMs !== null)?.report.startMs ?? null;
  return { records, startMs, endMs: lastMs, gaps, oddTicks, counts, notes, syncMeasurements };
}

function overlap(name: string, ms: number): Note {
  return { code: "parts_overlap", message: `${name} begins ${ms} ms before the end of the part before it` };
}

function unevenSync(name: string, isSynced: boolean): Note {
  const message = `${name} is ${isSynced ? "on the master's clock" : "on its own clock"}, unlike the first part`;
  return { code: "sync_uneven", message };
}

function cutList(what: string, length: number): Note {
  return { code: "list_cut", message: `only the first ${length} ${what} are listed` };
}
