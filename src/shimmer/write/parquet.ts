import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { describeHeader } from "../description.ts";
import type { Recording } from "../recording.ts";

/** 32 Ki rows of sixteen columns are 4 MiB; the library's buffers hold them several times over. */
const rowsPerGroup = 2 ** 15;
/** More than the header of one data page takes. */
const pageHeaderBytes = 256;
const pieceBytes = 2 ** 18;

/**
 * Parquet: one required DOUBLE column per signal, row groups of 32,768, PLAIN, not compressed (columns of measured
 * doubles shrink little and cost much). Key-value metadata: `units` ({ column: unit }), `header` and `gaps`, as JSON.
 * Yields byte chunks that are the caller's to keep.
 */
export function* writeParquet(recording: Recording): Generator<Uint8Array> {
  const { columns, report } = recording;
  // As large as a row group from the start: a buffer that doubles would end twice as large and leave its halves behind.
  const bytes = new ByteWriter(columns.length * (rowsPerGroup * 8 + pageHeaderBytes));
  const units = Object.fromEntries(columns.map(({ name, unit }) => [name, unit]));
  const writer = new ParquetWriter({
    writer: bytes,
    schema: [
      { name: "schema", num_children: columns.length },
      ...columns.map(({ name }) => ({ name, type: "DOUBLE" as const, repetition_type: "REQUIRED" as const })),
    ],
    codec: "UNCOMPRESSED",
    kvMetadata: [
      { key: "units", value: JSON.stringify(units) },
      { key: "header", value: JSON.stringify(describeHeader(recording)) },
      { key: "gaps", value: JSON.stringify(report.gaps) },
    ],
    createdBy: "uploader",
  });
  // In pieces: large buffers that come and go leave the process's memory in holes.
  function* take() {
    const written = bytes.getBytes();
    for (let at = 0; at < written.length; at += pieceBytes) yield written.slice(at, at + pieceBytes);
    bytes.index = 0;
  }

  const group = columns.map(() => new Float64Array(rowsPerGroup));
  let rows = 0;
  function* flush() {
    const columnData = columns.map(({ name }, index) => ({
      name,
      data: group[index]!.subarray(0, rows),
      encoding: "PLAIN" as const,
      offsetIndex: false,
      // Least and greatest let a reader skip row groups by time; for the signals they would cost a third of the writing.
      statistics: index === 0,
    }));
    writer.write({ columnData, rowGroupSize: rows, pageSize: 0 });
    // No indexes are written, but the library keeps a note for each column of each group until the end.
    writer.pendingIndexes.length = 0;
    rows = 0;
    yield* take();
  }
  for (const block of recording.blocks()) {
    for (let from = 0; from < block.count; ) {
      const to = Math.min(block.count, from + rowsPerGroup - rows);
      for (const [index, column] of block.columns.entries()) group[index]!.set(column.subarray(from, to), rows);
      rows += to - from;
      from = to;
      if (rows === rowsPerGroup) yield* flush();
    }
  }
  if (rows > 0) yield* flush();
  writer.finish();
  yield* take();
}
