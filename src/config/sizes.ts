/** Sizes and durations as people write them. */

const sizeUnits: Record<string, number> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  kb: 1e3,
  m: 2 ** 20,
  mib: 2 ** 20,
  mb: 1e6,
  g: 2 ** 30,
  gib: 2 ** 30,
  gb: 1e9,
  t: 2 ** 40,
  tib: 2 ** 40,
  tb: 1e12,
};

const durationUnits: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * A bare letter is binary, as rclone and dd have it: `200M` is 200 MiB, `1GB` is 10^9. No pattern has a flag, because
 * the published schema cannot carry one.
 */
export const sizePattern = /^\s*(\d+(?:\.\d+)?)\s*([KMGTkmgt][Ii]?[Bb]?|[Bb]|)(?:\/s)?\s*$/;
export const durationPattern = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\s*$/;

/** Whole bytes, or `null` when the text is no size. */
export const parseSize = (text: string): number | null => measure(text, sizePattern, sizeUnits);

/** Milliseconds, or `null` when the text is no duration. A unit is needed. */
export const parseDuration = (text: string): number | null => measure(text, durationPattern, durationUnits);

function measure(text: string, pattern: RegExp, units: Record<string, number>): number | null {
  const [, amount, unit] = pattern.exec(text) ?? [];
  if (amount === undefined || unit === undefined) return null;
  const value = Math.round(Number(amount) * units[unit.toLowerCase()]!);
  return Number.isSafeInteger(value) ? value : null;
}
