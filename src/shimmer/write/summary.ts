import { lengthOf } from "../cloud-sync.ts";
import { type Description, describeHeader, isoTime } from "../description.ts";
import { type Envelope, envelopeOf } from "../envelope.ts";
import type { Note } from "../faults.ts";
import type { RecordingReport } from "../joining.ts";
import type { Recording } from "../recording.ts";
import { openStatistics, type Statistics } from "../statistics.ts";
import { counted } from "../words.ts";

export interface ChannelSummary extends Statistics {
  name: string;
  signal: string;
  unit: string;
}

/** What is worth knowing about a recording without opening it: rows of `decoded_recordings`, and the screen. */
export interface Summary {
  recording: Description;
  /** Rows in the chosen range; `recording.samples` counts all. */
  rows: number;
  gaps: RecordingReport["gaps"];
  oddTicks: RecordingReport["counts"];
  batteryMillivolts: { min: number; max: number } | null;
  /** Of √(x² + y² + z²) of the wide-range accelerometer; `variation` is what the service called Accel_WR_VAR: max − min. */
  accelWr: { min: number; mean: number; max: number; sd: number | null; variation: number } | null;
  channels: ChannelSummary[];
  notes: readonly Note[];
}

const sparkSlices = 48;

/** Two passes over the recording. `envelope` holds 48 slices, for the sparklines. */
export function summarise(recording: Recording): { summary: Summary; envelope: Envelope | null } {
  const { columns, report } = recording;
  const gatherers = columns.map(openStatistics);
  const length = openStatistics();
  const wideRange = wideRangeAxes(recording);
  const scratch = new Float64Array(4096);
  for (const block of recording.blocks()) {
    for (const [index, values] of block.columns.entries()) gatherers[index]!.add(values);
    if (wideRange === null) continue;
    const [x, y, z] = wideRange.map((index) => block.columns[index]!) as [Float64Array, Float64Array, Float64Array];
    lengthOf(x, y, z, scratch, 0, block.count);
    length.add(scratch.subarray(0, block.count));
  }
  const channels = columns.map(({ name, signal, unit }, index) => ({
    name,
    signal,
    unit,
    ...gatherers[index]!.result(),
  }));
  const battery = channels.find(({ signal, unit }) => /^(Battery|VSenseBatt_cal)$/.test(signal) && unit === "mV");
  const { min, mean, max, sd } = length.result();
  const summary: Summary = {
    recording: describeHeader(recording),
    rows: recording.count,
    gaps: report.gaps,
    oddTicks: report.counts,
    batteryMillivolts: battery?.min == null || battery.max === null ? null : { min: battery.min, max: battery.max },
    accelWr: min === null || mean === null || max === null ? null : { min, mean, max, sd, variation: max - min },
    channels,
    notes: report.notes,
  };
  return { summary, envelope: envelopeOf(recording, sparkSlices) };
}

/** Columns of the calibrated wide-range accelerometer, under any of its names. */
function wideRangeAxes({ columns }: Recording): readonly number[] | null {
  const axes = ["X", "Y", "Z"].map((axis) =>
    columns.findIndex(
      ({ signal, isCalibrated }) =>
        isCalibrated && new RegExp(`^(Accel_WR_${axis}(_cal)?|LIS2DW12_ACC_${axis})$`).test(signal),
    ),
  );
  return axes.every((index) => index >= 0) ? axes : null;
}

/** One readable screen; `width` in characters bounds the lines. */
export function renderSummary({ summary, envelope }: ReturnType<typeof summarise>, width = 100): string {
  const { recording, rows, gaps, oddTicks, batteryMillivolts, accelWr, channels, notes } = summary;
  const chosen = rows === recording.samples ? "" : `, ${rows} in the chosen range`;
  const when = recording.start === null ? "no absolute time" : `${recording.start}  to  ${recording.end}`;
  const facts: [string, string][] = [
    [
      "device",
      `${recording.device}  ${recording.mac}  ${recording.model} (${recording.board} board)  ${recording.firmware}`,
    ],
    ["time", `${when}  (${recording.timeSource}${recording.synchronised ? ", synchronised" : ""})`],
    [
      "samples",
      `${recording.samples} at ${round(recording.rateHz)} Hz, ${duration(recording.durationSeconds)}${chosen}`,
    ],
    [
      "gaps",
      gaps.length === 0
        ? "none"
        : `${oddTicks.gaps}: ${gaps.slice(0, 3).map(gapText(recording.start)).join("; ")}${gaps.length > 3 ? " …" : ""}`,
    ],
    [
      "odd ticks",
      `${oddTicks.backward} backward, ${oddTicks.duplicate} duplicate, ${oddTicks.zero} zero; ${counted(oddTicks.rollovers, "rollover")}`,
    ],
  ];
  if (batteryMillivolts !== null)
    facts.push(["battery", `${round(batteryMillivolts.min)} to ${round(batteryMillivolts.max)} mV`]);
  if (accelWr !== null)
    facts.push([
      "Accel_WR",
      `length ${round(accelWr.min)} to ${round(accelWr.max)}, mean ${round(accelWr.mean)}; Accel_WR_VAR ${round(accelWr.variation)} m/(s^2)`,
    ]);
  const lines = facts.flatMap(([label, text]) => wrapped(label.padEnd(10), text, width));

  const shown = channels
    .map((channel, index) => ({ channel, index }))
    .filter(({ index }) => index > 0 && !/^timestamp/i.test(channels[index]!.signal));
  const figures = shown.map(({ channel: { min, mean, max, sd } }) =>
    [min, mean, max, sd].map((value) => (value === null ? "-" : round(value))),
  );
  const figureWidth = Math.max(10, ...figures.flat().map(({ length }) => length));
  const nameWidth = Math.max(7, ...shown.map(({ channel }) => channel.signal.length));
  const columnsWide = 4 * (figureWidth + 1);
  const unitWidth = Math.max(4, ...shown.map(({ channel }) => channel.unit.length));
  const sparkWidth = Math.max(8, Math.min(sparkSlices, width - nameWidth - columnsWide - unitWidth - 3));
  const cells = (values: readonly string[]) => values.map((value) => value.padStart(figureWidth)).join(" ");
  const curve = (text: string) => (envelope === null ? "" : `${text.padEnd(sparkWidth)} `);
  lines.push("", `${"channel".padEnd(nameWidth)} ${cells(["min", "mean", "max", "SD"])}  ${curve("")}unit`);
  for (const [row, { channel, index }] of shown.entries()) {
    const spark =
      envelope === null ? "" : sparkline(envelope.min[index]!, envelope.max[index]!, envelope.mean[index]!, sparkWidth);
    lines.push(`${channel.signal.padEnd(nameWidth)} ${cells(figures[row]!)}  ${curve(spark)}${channel.unit}`);
  }
  if (notes.length > 0) lines.push("", ...notes.flatMap(({ message }) => wrapped("note".padEnd(10), message, width)));
  return `${lines.join("\n")}\n`;
}

/** A label and its text, broken between words, continued below the text. */
function wrapped(label: string, text: string, width: number): string[] {
  const lines = [label];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(`${" ".repeat(label.length)} ${word}`);
  }
  return lines;
}

const bars = "▁▂▃▄▅▆▇█";

/** Each character shows the value farthest from the mean of its slices, so a short spike stays visible; blank where nothing was recorded. */
export function sparkline(min: Float64Array, max: Float64Array, mean: Float64Array, width: number): string {
  const known = (values: Float64Array) => Array.from(values).filter(Number.isFinite);
  const low = Math.min(...known(min));
  const high = Math.max(...known(max));
  const means = known(mean);
  const middle = means.reduce((sum, value) => sum + value, 0) / Math.max(1, means.length);
  return Array.from({ length: width }, (_, cell) => {
    const from = Math.floor((cell * min.length) / width);
    const to = Math.max(from + 1, Math.floor(((cell + 1) * min.length) / width));
    const ends = [...known(min.subarray(from, to)), ...known(max.subarray(from, to))];
    if (ends.length === 0) return " ";
    const shown = ends.reduce((far, value) => (Math.abs(value - middle) > Math.abs(far - middle) ? value : far));
    return bars[high > low ? Math.min(7, Math.floor(((shown - low) / (high - low)) * 8)) : 3]!;
  }).join("");
}

function round(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  return Number(value.toPrecision(6)).toString();
}

/** With the day where it is not the one the recording began on. */
function gapText(start: string | null) {
  return ({ startMs, durationMs, record }: RecordingReport["gaps"][number]): string => {
    const at = isoTime(startMs) ?? "?";
    const isSameDay = start === null || at.slice(0, 10) === start.slice(0, 10);
    const when = isSameDay ? at.slice(11, 23) : at.slice(0, 23).replace("T", " ");
    return `${round(durationMs / 1000)} s at ${when} (record ${record})`;
  };
}

function duration(seconds: number | null): string {
  if (seconds === null) return "no records";
  const whole = Math.floor(Math.abs(seconds));
  const clock = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
  return `${seconds < 0 ? "-" : ""}${clock} (${round(seconds)} s)`;
}
