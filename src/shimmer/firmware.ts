/** What firmware can do since when (SF 2, 5, 9.4). Versions compare part by part. */
export type FirmwareKind = "SDLog" | "LogAndStream";
export type Version = readonly [major: number, minor: number, internal: number];

/** Header bytes 34-35. The others (1 BtStream, GQ, StroKare …) write no log we know. */
export const firmwareKinds: Readonly<Record<number, FirmwareKind>> = { 2: "SDLog", 3: "LogAndStream" };

const never: Version = [Number.POSITIVE_INFINITY, 0, 0];
const always: Version = [0, 0, 0];

/** Oldest Shimmer3 firmware with the feature; Shimmer3R has all of them. */
export const since = {
  supported: { SDLog: [0, 8, 69], LogAndStream: [0, 5, 0] },
  threeByteTicks: { SDLog: [0, 11, 5], LogAndStream: [0, 5, 4] },
  daughterCard: { SDLog: [0, 12, 4], LogAndStream: [0, 6, 13] },
  lateDerivedBits: { SDLog: [0, 13, 1], LogAndStream: [0, 7, 1] },
  syncPrefix: { SDLog: always, LogAndStream: [0, 16, 11] },
  mplChannels: { SDLog: always, LogAndStream: never },
  /** BMP581 is read as such from here on, on the boards that carry one. */
  bmp581: { SDLog: [1, 1, 6], LogAndStream: [1, 1, 6] },
} as const satisfies Record<string, Record<FirmwareKind, Version>>;

export function isAtLeast(version: Version, oldest: Version): boolean {
  for (let i = 0; i < 3; i++) {
    if (version[i]! !== oldest[i]!) return version[i]! > oldest[i]!;
  }
  return true;
}
