/** Rate and time left over a sliding window: what happened an hour ago says nothing about now. */

const windowMs = 30_000;

export interface Sample {
  atMs: number;
  files: number;
  bytes: number;
}

export interface Pace {
  add(atMs: number, files: number, bytes: number): void;
  filesPerSecond(): number;
  bytesPerSecond(): number;
  /** Whichever is slower decides: many small files are limited by requests, large ones by bytes. */
  leftMs(filesLeft: number, bytesLeft: number): number | null;
}

/** `start` is where counting begins. */
export function createPace(start: Sample = { atMs: 0, files: 0, bytes: 0 }): Pace {
  const samples: Sample[] = [start];
  const rate = (pick: (sample: Sample) => number): number => {
    const [first, last] = [samples[0], samples.at(-1)];
    if (!first || !last || last.atMs <= first.atMs) return 0;
    return Math.max(0, ((pick(last) - pick(first)) * 1000) / (last.atMs - first.atMs));
  };
  const pace: Pace = {
    add(atMs, files, bytes) {
      samples.push({ atMs, files, bytes });
      while (samples.length > 2 && atMs - samples[0]!.atMs > windowMs) samples.shift();
    },
    filesPerSecond: () => rate((sample) => sample.files),
    bytesPerSecond: () => rate((sample) => sample.bytes),
    leftMs(filesLeft, bytesLeft) {
      const [byFiles, byBytes] = [pace.filesPerSecond(), pace.bytesPerSecond()];
      if (byFiles === 0 && byBytes === 0) return null;
      return 1000 * Math.max(byBytes > 0 ? bytesLeft / byBytes : 0, byFiles > 0 ? filesLeft / byFiles : 0);
    },
  };
  return pace;
}
