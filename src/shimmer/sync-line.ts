/** The straight line through a file's synchronisation measurements: offset ticks = `atStart` + `slope` · elapsed ticks. */
export interface SyncLine {
  measurements: number;
  atStartTicks: number;
  slope: number;
}

/**
 * Ordinary least squares of offset against own time, all measurements of the file (SF 5; 0.0 ms from Consensys, a
 * piecewise interpolation 0.34 ms). Running means, so large ticks lose no digits. One measurement: a constant.
 */
export function openSyncFit(): { add(elapsedTicks: number, offsetTicks: number): void; line(): SyncLine | null } {
  let count = 0;
  let meanX = 0;
  let meanY = 0;
  let sxx = 0;
  let sxy = 0;
  return {
    add(x, y) {
      count++;
      const dx = x - meanX;
      meanX += dx / count;
      meanY += (y - meanY) / count;
      sxx += dx * (x - meanX);
      sxy += dx * (y - meanY);
    },
    line() {
      if (count === 0) return null;
      const slope = sxx === 0 ? 0 : sxy / sxx;
      return { measurements: count, atStartTicks: meanY - slope * meanX, slope };
    },
  };
}
