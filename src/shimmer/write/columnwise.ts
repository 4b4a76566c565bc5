import type { Recording } from "../recording.ts";

/** One column of a recording, all rows, in pieces that are valid until the next one is asked for. */
export interface ColumnPieces {
  index: number;
  pieces: Iterable<Float64Array>;
}

/**
 * Rows come in blocks, some formats want columns one after the other. Memory stays within `budgetBytes` whatever the
 * length: as many columns as fit are gathered in one pass over the file; where not even two fit, each column is a pass
 * of its own and goes straight through.
 */
export function* columnwise(recording: Recording, budgetBytes = 48 * 2 ** 20): Generator<ColumnPieces> {
  const { columns, count } = recording;
  const together = Math.floor(budgetBytes / Math.max(1, count * 8));
  if (together < 2) {
    for (const index of columns.keys()) yield { index, pieces: pass(recording, index) };
    return;
  }
  for (let first = 0; first < columns.length; first += together) {
    const picked = [...columns.keys()].slice(first, first + together);
    const values = picked.map(() => new Float64Array(count));
    let at = 0;
    for (const block of recording.blocks(picked)) {
      for (const [position, column] of block.columns.entries()) values[position]!.set(column, at);
      at += block.count;
    }
    for (const [position, index] of picked.entries()) yield { index, pieces: [values[position]!] };
  }
}

function* pass(recording: Recording, index: number): Generator<Float64Array> {
  for (const block of recording.blocks([index])) yield block.columns[0]!;
}
