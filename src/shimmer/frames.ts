/**
 * From file bytes to whole records. With synchronisation on, blocks of `9 + n · record` bytes carry a 9-byte prefix
 * (SF 5); it is taken out here, so whatever reads records sees them one after the other.
 */
export interface SyncMark {
  /** Record the measurement belongs to, counted from 0 in the file. */
  record: number;
  /** Own clock minus master clock, ticks. */
  offsetTicks: number;
}

/** Borrowed: valid until the next one is asked for. */
export interface Run {
  bytes: Uint8Array;
  count: number;
}

export interface Frames {
  push(chunk: Uint8Array): Generator<Run>;
  /** Measurements since the last call, in file order. */
  takeMarks(): SyncMark[];
  /** Bytes at the end that make no whole record (prefix bytes included). */
  trailingBytes(): number;
}

export const prefixBytes = 9;
const blockBytes = 512;

/** Records in one block between two prefixes; 0 when not even one fits. */
export function recordsPerBlock(recordBytes: number): number {
  return Math.floor((blockBytes - prefixBytes) / recordBytes);
}

/** `runRecords`: most records handed on at once. */
export function openFrames(options: { recordBytes: number; hasSyncPrefix: boolean; runRecords: number }): Frames {
  const { recordBytes, hasSyncPrefix, runRecords } = options;
  let run = new Uint8Array(0);
  const prefix = new Uint8Array(prefixBytes);
  const bodyBytes = hasSyncPrefix ? recordsPerBlock(recordBytes) * recordBytes : Number.POSITIVE_INFINITY;
  let marks: SyncMark[] = [];
  let filled = 0;
  let prefixFilled = hasSyncPrefix ? 0 : prefixBytes;
  let bodyLeft = bodyBytes;
  let recordsBefore = 0;

  const readPrefix = () => {
    const mark = syncOffset(prefix);
    if (mark !== null) marks.push({ record: recordsBefore + filled / recordBytes, offsetTicks: mark });
  };

  /** Room for a whole chunk, up to the longest run: a short file costs little. */
  const grow = (chunkBytes: number) => {
    const records = Math.min(runRecords, Math.ceil((filled + chunkBytes) / recordBytes));
    if (records * recordBytes <= run.length) return;
    const grown = new Uint8Array(records * recordBytes);
    grown.set(run.subarray(0, filled));
    run = grown;
  };

  return {
    *push(chunk) {
      grow(chunk.length);
      let at = 0;
      while (at < chunk.length) {
        if (prefixFilled < prefixBytes) {
          const taken = Math.min(prefixBytes - prefixFilled, chunk.length - at);
          prefix.set(chunk.subarray(at, at + taken), prefixFilled);
          prefixFilled += taken;
          at += taken;
          if (prefixFilled === prefixBytes) readPrefix();
          continue;
        }
        const taken = Math.min(run.length - filled, bodyLeft, chunk.length - at);
        run.set(chunk.subarray(at, at + taken), filled);
        filled += taken;
        bodyLeft -= taken;
        at += taken;
        if (bodyLeft === 0) {
          prefixFilled = 0;
          bodyLeft = bodyBytes;
        }
        if (filled === run.length) {
          const count = filled / recordBytes;
          yield { bytes: run, count };
          recordsBefore += count;
          filled = 0;
        }
      }
      const count = Math.floor(filled / recordBytes);
      if (count === 0) return;
      yield { bytes: run, count };
      recordsBefore += count;
      run.copyWithin(0, count * recordBytes, filled);
      filled -= count * recordBytes;
    },
    takeMarks() {
      const taken = marks;
      marks = [];
      return taken;
    },
    trailingBytes: () => filled + (hasSyncPrefix && bodyLeft === bodyBytes ? prefixFilled : 0),
  };
}

/** Byte 0 sign, bytes 1-8 magnitude u64 LE; `null` for nine FF (no measurement) and for anything that cannot be one. */
function syncOffset(prefix: Uint8Array): number | null {
  const sign = prefix[0]!;
  if (sign > 1) return null;
  const magnitude = new DataView(prefix.buffer, 1, 8).getBigUint64(0, true);
  if (magnitude > BigInt(Number.MAX_SAFE_INTEGER)) return null;
  return sign === 0 ? Number(magnitude) : -Number(magnitude);
}
