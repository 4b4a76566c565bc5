import type { Recording } from "../recording.ts";
import { longestNumber, writeNumber } from "./number-text.ts";

const tab = 9;
const carriageReturn = 13;
const lineFeed = 10;

/**
 * CSV as Consensys writes it (SF 10): a separator hint, names, units, then rows; tabs, a trailing separator on every
 * line, CRLF. Numbers with round-trip digits. Yields byte chunks of about 1 MiB, the caller's to keep.
 */
export function* writeCsv(recording: Recording): Generator<Uint8Array> {
  const { columns } = recording;
  const line = (cells: readonly string[]) => `${cells.map((cell) => `${cell}\t`).join("")}\r\n`;
  const head = `"sep=\t"\r\n${line(columns.map(({ name }) => name))}${line(columns.map(({ unit }) => unit))}`;
  yield new TextEncoder().encode(head);

  const rowBytes = columns.length * (longestNumber + 1) + 2;
  const out = new Uint8Array(2 ** 20 + rowBytes);
  let end = 0;
  for (const block of recording.blocks()) {
    for (let row = 0; row < block.count; ) {
      const rows = Math.min(block.count - row, Math.ceil((2 ** 20 - end) / rowBytes));
      end = writeRows(block.columns, row, row + rows, out, end);
      row += rows;
      if (end + rowBytes > 2 ** 20) {
        yield out.slice(0, end);
        end = 0;
      }
    }
  }
  if (end > 0) yield out.slice(0, end);
}

function writeRows(columns: readonly Float64Array[], from: number, to: number, out: Uint8Array, at: number): number {
  let end = at;
  for (let row = from; row < to; row++) {
    for (let column = 0; column < columns.length; column++) {
      end = writeNumber(columns[column]![row]!, out, end);
      out[end++] = tab;
    }
    out[end++] = carriageReturn;
    out[end++] = lineFeed;
  }
  return end;
}
