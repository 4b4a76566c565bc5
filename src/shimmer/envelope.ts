import type { Recording } from "./recording.ts";

/** Least and greatest value of each column in equal slices of time, so a spike of one sample is never lost. */
export interface Envelope {
  /** Unix ms (device ms) of the earliest and the latest row: the first slice's start and the last one's end. */
  startMs: number;
  endMs: number;
  slices: number;
  /** Per column; NaN where a slice holds no sample. */
  min: readonly Float64Array[];
  max: readonly Float64Array[];
  mean: readonly Float64Array[];
}

/** One pass over the recording (its chosen columns and range). `null` without rows. */
export function envelopeOf(recording: Recording, slices: number): Envelope | null {
  const span = timeSpan(recording);
  if (span === null) return null;
  const [startMs, endMs] = span;
  const filled = (value: number) => recording.columns.map(() => new Float64Array(slices).fill(value));
  const min = filled(Number.NaN);
  const max = filled(Number.NaN);
  const mean = filled(0);
  const counts = recording.columns.map(() => new Uint32Array(slices));
  const scale = recording.timeUnit === "s" ? 1000 : 1;
  const slice = new Uint32Array(4096);
  for (const { time, columns, count } of recording.blocks()) {
    sliceOf(time, count, scale, startMs, slices / Math.max(endMs - startMs, Number.MIN_VALUE), slices, slice);
    for (const [index, values] of columns.entries()) {
      gather(values, count, slice, min[index]!, max[index]!, mean[index]!, counts[index]!);
    }
  }
  for (const [index, sums] of mean.entries()) for (let i = 0; i < slices; i++) sums[i]! /= counts[index]![i]!;
  return { startMs, endMs, slices, min, max, mean };
}

function timeSpan(recording: Recording): readonly [number, number] | null {
  const { startMs, endMs, oddTicks } = recording.report;
  const scale = recording.timeUnit === "s" ? 1000 : 1;
  if (recording.count === 0 || startMs === null || endMs === null) return null;
  if (recording.count === recording.report.records && oddTicks.length === 0 && recording.partNames.length === 1)
    return [startMs, endMs];
  // A range, steps back in time, parts that overlap: look.
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const { time } of recording.blocks([])) {
    for (const value of time) {
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  }
  return [least * scale, most * scale];
}

function sliceOf(
  time: Float64Array,
  count: number,
  scale: number,
  startMs: number,
  perMs: number,
  slices: number,
  out: Uint32Array,
) {
  for (let row = 0; row < count; row++) {
    out[row] = Math.max(0, Math.min(slices - 1, Math.floor((time[row]! * scale - startMs) * perMs)));
  }
}

function gather(
  values: Float64Array,
  count: number,
  slice: Uint32Array,
  min: Float64Array,
  max: Float64Array,
  sum: Float64Array,
  counts: Uint32Array,
) {
  for (let row = 0; row < count; row++) {
    const value = values[row]!;
    if (!Number.isFinite(value)) continue;
    const at = slice[row]!;
    // NaN compares false, so the first value of a slice is taken.
    if (!(min[at]! <= value)) min[at] = value;
    if (!(max[at]! >= value)) max[at] = value;
    sum[at]! += value;
    counts[at]!++;
  }
}
