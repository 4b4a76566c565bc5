/** The door of the decoder: everything outside this folder imports from here. No I/O; errors are `UploaderError`s. */

export {
  type Block,
  type DecodeOptions,
  type DecodeReport,
  type Decoder,
  type DecoderOptions,
  type Gap,
  type OddTick,
  openDecoder,
} from "./decoder.ts";
export { type Description, describeHeader } from "./description.ts";
export type { Note } from "./faults.ts";
export { type Header, headerSize, longHeaderBytes, readHeader } from "./header.ts";
export type { RecordingReport } from "./joining.ts";
export { type Profile, profiles } from "./layout.ts";
export type { Part } from "./passes.ts";
export type { Column } from "./plan.ts";
export { drawOverview } from "./plot/overview.ts";
export { renderPng } from "./plot/png.ts";
export { renderHtml, renderSvg } from "./plot/svg.ts";
export { type Decoded, decode, openRecording, type Recording, type RecordingOptions } from "./recording.ts";
export { groupSessions, type Session } from "./sessions.ts";
export { type TimeSource, timeSources } from "./time-source.ts";
export { writeCsv } from "./write/csv.ts";
export { type JsonOptions, writeJson } from "./write/json.ts";
export { writeMat } from "./write/mat.ts";
export { writeParquet } from "./write/parquet.ts";
export { renderSummary, type Summary, summarise } from "./write/summary.ts";
