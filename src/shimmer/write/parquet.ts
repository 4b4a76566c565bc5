import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { describeHeader } from "../description.ts";
import type { Recording } from "../recording.ts";

/** 32 Ki rows of sixteen columns are 4 MiB; the library's buffers hold them several times over. */
const rowsPerGroup = 2 ** 15;

/**
 * Parquet: one required DOUBLE column per signal, row groups of 32,768, PLAIN, not compressed (columns of measured
 * doubles shrink little and cost much). Key-value metadata: `units` ({ column: unit }), `header` and `gaps`, as JSON.
 * Yields byte chunks that are the caller's to keep.
 */
export function* writeParquet(recording: Recording): Generator<Uint8Array> {
  const { columns, report } = recording;
  const bytes = new ByteWriter();
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
  const take = () => {
    const chunk = bytes.getBytes().slice();
    bytes.index = 0;
    return chunk;
  };

  const group = columns.map(() => new Float64Array(rowsPerGroup));
  let rows = 0;
  const flush = () => {
    const columnData = columns.map(({ name }, index) => ({
      name,
      data: group[index]!.subarray(0, rows),
      encoding: "PLAIN" as const,
      offsetIndex: false,
      // Least and greatest let a reader skip row groups by time; for the signals they would cost a third of the writing.
      statistics: index === 0,
    }));
    writer.write({ columnData, rowGroupSize: rows, pageSize: 0 });
    rows = 0;
    return take();
  };
  for (const block of recording.blocks()) {
    for (let from = 0; from < block.count; ) {
      const to = Math.min(block.count, from + rowsPerGroup - rows);
      for (const [index, column] of block.columns.entries()) group[index]!.set(column.subarray(from, to), rows);
      rows += to - from;
      from = to;
      if (rows === rowsPerGroup) yield flush();
    }
  }
  if (rows > 0) yield flush();
  writer.finish();
  yield take();
}
