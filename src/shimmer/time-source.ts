import { UploaderError } from "../core/errors.ts";
import type { Note } from "./faults.ts";
import { type Header, headerAt } from "./header.ts";

/** `header`: start + RTC difference. `phone`: the stamp of the phone app (SF 7). `device`: time since the sensor's boot. */
export const timeSources = ["auto", "header", "phone", "device"] as const;
export type TimeSource = (typeof timeSources)[number];

export const ticksPerSecond = 32768;

/** Where the first record stands in time. */
export interface StartTime {
  source: Exclude<TimeSource, "auto">;
  /** Device ticks of the start, as in the header. */
  deviceTicks: number;
  /** Ticks to add to device ticks to get Unix time in ticks; 0 for `device`. Sums stay below 2^53, so they are exact. */
  toUnixTicks: number;
  notes: readonly Note[];
}

const secondsPerYear = 31_556_952;
const year2010 = 1_262_304_000;
const year2020 = 1_577_836_800;
const year2070 = 3_155_760_000;
const year2100 = 4_102_444_800;

/**
 * Start time by the chosen source (SF 6.1, 7). With `auto` the two dialects of header bytes 44-55 are told apart;
 * where neither or both fit, nothing is guessed: device time, and a note. `nowMs` bounds the phone's stamp (default 2100).
 *
 * @throws UploaderError `usage` for `phone` on a Shimmer3R, which no phone app stamps
 */
export function startTime(header: Header, wanted: TimeSource, nowMs?: number): StartTime {
  const { bytes } = header;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const low40 = bytes[headerAt.startTicks]! * 2 ** 32 + view.getUint32(headerAt.startTicks + 1, true);
  if (header.generation === "shimmer3r") {
    if (wanted === "phone")
      throw new UploaderError("usage", "a Shimmer3R recording carries no phone time", {
        hint: "use --time-source header",
      });
    // Bits 56-63, 48-55 and 40-47 stand in bytes 44, 45, 46: no RTC difference on this hardware.
    const high24 = (bytes[44]! << 16) | (bytes[45]! << 8) | bytes[46]!;
    const ticks = high24 * 2 ** 40 + low40;
    return wanted === "device"
      ? { source: "device", deviceTicks: ticks, toUnixTicks: 0, notes: [] }
      : { source: "header", deviceTicks: ticks, toUnixTicks: 0, notes: clockNotes(ticks) };
  }

  const rtcDifference = Number(view.getBigInt64(headerAt.rtcDifference));
  const phoneSeconds = view.getUint32(headerAt.configTime, true);
  const phoneTicks = Number(view.getBigUint64(headerAt.rtcDifference, true) & 0xff_ffff_ffffn);
  const toUnixTicks = { header: rtcDifference, phone: phoneSeconds * ticksPerSecond - phoneTicks, device: 0 };
  const source = wanted === "auto" ? dialect(header, low40, rtcDifference, nowMs) : wanted;
  const notes = source === "header" ? clockNotes(low40 + rtcDifference) : source === null ? [unsure] : [];
  return { source: source ?? "device", deviceTicks: low40, toUnixTicks: toUnixTicks[source ?? "device"], notes };
}

const unsure: Note = {
  code: "time_source_unsure",
  message:
    "bytes 44-55 fit neither or both of a plain header and a phone's stamp: device time is given; choose with --time-source header|phone|device",
};

/** Separates all known real files (SF 7); `null` when unsure. */
function dialect(header: Header, startTicks: number, rtcDifference: number, nowMs?: number): "header" | "phone" | null {
  const { bytes } = header;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const stamp = view.getUint32(headerAt.configTime, true);
  const latestStamp = nowMs === undefined ? year2100 : nowMs / 1000 + 86_400;
  const differenceSeconds = rtcDifference / ticksPerSecond;
  const startSeconds = startTicks / ticksPerSecond + differenceSeconds;

  const isStamped =
    bytes[49] === 0 &&
    bytes[50] === 0 &&
    bytes[51] === 0 &&
    stamp >= year2020 &&
    stamp <= latestStamp &&
    Number(view.getBigUint64(headerAt.rtcDifference, true)) >= startTicks &&
    Math.abs(differenceSeconds) > 1e11;
  const isPlain =
    rtcDifference === 0 ||
    Math.abs(differenceSeconds) < 10 * secondsPerYear ||
    (startSeconds >= year2010 && startSeconds <= year2100);
  if (isStamped === isPlain) return null;
  return isStamped ? "phone" : "header";
}

function clockNotes(startTicks: number): Note[] {
  const seconds = startTicks / ticksPerSecond;
  if (seconds >= year2010 && seconds < year2070) return [];
  const message = "the sensor's clock was never set: times count from its start (or its default date), not from 1970";
  return [{ code: "clock_unset", message }];
}
