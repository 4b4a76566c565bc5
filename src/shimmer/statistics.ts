/** Least, greatest, mean and standard deviation (n − 1) of a column; `null` without finite values. */
export interface Statistics {
  values: number;
  min: number | null;
  mean: number | null;
  max: number | null;
  sd: number | null;
}

export interface StatisticsGatherer {
  add(values: Float64Array): void;
  result(): Statistics;
}

/** Gathers block by block: exact sums within a block, blocks joined as Chan does, so long recordings lose no digits. */
export function openStatistics(): StatisticsGatherer {
  let count = 0;
  let mean = 0;
  let squares = 0;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  return {
    add(values) {
      const block = ofBlock(values);
      if (block.count === 0) return;
      const total = count + block.count;
      const apart = block.mean - mean;
      mean += (apart * block.count) / total;
      squares += block.squares + (apart * apart * count * block.count) / total;
      count = total;
      min = Math.min(min, block.min);
      max = Math.max(max, block.max);
    },
    result() {
      if (count === 0) return { values: 0, min: null, mean: null, max: null, sd: null };
      // A constant column's squares hold nothing but rounding.
      const variance = min === max ? 0 : squares / (count - 1);
      return { values: count, min, mean, max, sd: count < 2 ? null : Math.sqrt(variance) };
    },
  };
}

function ofBlock(values: Float64Array) {
  let count = 0;
  let sum = 0;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) continue;
    count++;
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const apart = values[i]! - mean;
    if (Number.isFinite(apart)) squares += apart * apart;
  }
  return { count, mean, squares, min, max };
}
