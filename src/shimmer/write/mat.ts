import { UploaderError } from "../../core/errors.ts";
import type { Recording } from "../recording.ts";
import { columnwise } from "./columnwise.ts";

/** Data element types and array class of the MAT-file format, level 5. */
const mi = { int8: 1, int32: 5, uint32: 6, double: 9, matrix: 14 } as const;
const mxDouble = 6;
/** A variable of 2 GiB and more cannot be read back from this version of the format. */
const mostBytes = 2 ** 31 - 1;
const longestName = 63;

/**
 * MATLAB 5 file, little-endian, uncompressed: one float64 column vector (n × 1) per signal, named as in the CSV
 * (characters that no MATLAB name may have become `_`). Chunks are the caller's to keep.
 *
 * @throws UploaderError `usage` when a column is too long for the format
 */
export function* writeMat(recording: Recording): Generator<Uint8Array> {
  const { columns, count } = recording;
  if (count * 8 + 256 > mostBytes) {
    throw new UploaderError(
      "usage",
      `a MATLAB 5 variable holds at most ${Math.floor((mostBytes - 256) / 8)} values, not ${count}`,
      {
        hint: "choose a shorter range with --from and --to, or another format",
      },
    );
  }
  yield fileHeader();
  const names = matlabNames(columns.map(({ name }) => name));
  for (const { index, pieces } of columnwise(recording)) {
    yield variableHeader(names[index]!, count);
    for (const values of pieces) yield littleEndian(values);
  }
}

/** 116 characters of text, 8 bytes unused, version 0x0100, and the byte-order mark `IM`. */
function fileHeader(): Uint8Array {
  const header = new Uint8Array(128).fill(32, 0, 116);
  header.set(new TextEncoder().encode("MATLAB 5.0 MAT-file, written by uploader"));
  header.set([0x00, 0x01, 0x49, 0x4d], 124);
  return header;
}

/** Everything of a matrix element up to its values; 8-byte aligned, as are n doubles. */
function variableHeader(name: string, count: number): Uint8Array {
  const nameBytes = new TextEncoder().encode(name);
  const paddedName = Math.ceil(nameBytes.length / 8) * 8;
  const bytes = new Uint8Array(8 + 16 + 16 + 8 + paddedName + 8);
  const view = new DataView(bytes.buffer);
  let at = 0;
  const put = (...numbers: number[]) => {
    for (const number of numbers) {
      view.setUint32(at, number, true);
      at += 4;
    }
  };
  put(mi.matrix, bytes.length - 8 + count * 8);
  put(mi.uint32, 8, mxDouble, 0);
  put(mi.int32, 8, count, 1);
  put(mi.int8, nameBytes.length);
  bytes.set(nameBytes, at);
  at += paddedName;
  put(mi.double, count * 8);
  return bytes;
}

/** Letters, digits and `_`, beginning with a letter, at most 63, each once. */
export function matlabNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const plain = name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=[^A-Za-z])/, "S");
    let unique = plain.slice(0, longestName);
    for (let number = 2; taken.has(unique); number++) unique = `${plain.slice(0, longestName - 4)}_${number}`;
    taken.add(unique);
    return unique;
  });
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function littleEndian(values: Float64Array): Uint8Array {
  const bytes = Buffer.from(values.slice().buffer);
  return isLittleEndian ? bytes : bytes.swap64();
}
