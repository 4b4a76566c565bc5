import { describeHeader, isoTime } from "../description.ts";
import { type Envelope, envelopeOf } from "../envelope.ts";
import type { Column } from "../plan.ts";
import type { Recording } from "../recording.ts";
import type { Color, Scene, Shape, textSizes } from "./scene.ts";

const page = { width: 1200, margin: 12, left: 176, right: 24, top: 66, bottom: 34, panel: 92, between: 14 } as const;
const plotWidth = page.width - page.left - page.right;
const lineColors: readonly Color[] = ["first", "second", "third"];

/** Channels drawn over each other: those that differ only in the last letter and share the unit. */
interface Panel {
  label: string;
  unit: string;
  lines: { index: number; letter: string; color: Color }[];
}

/**
 * One page with every chosen channel over time, gaps shaded, odd ticks marked. Each line is the band between least and
 * greatest value of its pixel column, so a spike of one sample is drawn however long the recording is.
 */
export function drawOverview(recording: Recording): Scene {
  const envelope = envelopeOf(recording, plotWidth);
  const panels = panelsOf(recording.columns);
  const height = page.top + panels.length * (page.panel + page.between) + page.bottom;
  const title = titleOf(recording, envelope);
  const shapes: Shape[] = [
    { kind: "rect", x: 0, y: 0, width: page.width, height, color: "paper" },
    text(page.margin, 26, title, "start", "ink", "large"),
    text(page.margin, 44, subtitleOf(recording), "start", "faint"),
  ];
  if (envelope === null) {
    shapes.push(text(page.left, page.top + 30, "no records", "start", "ink", "large"));
    return { width: page.width, height: Math.max(height, 140), title, shapes };
  }
  const xOf = timeAxis(envelope);
  shapes.push(...gapBands(recording, xOf, height));
  panels.forEach((panel, row) => {
    shapes.push(...drawPanel(panel, envelope, page.top + row * (page.panel + page.between)));
  });
  shapes.push(...timeLabels(recording, envelope, height - page.bottom), ...oddTickMarks(recording, envelope, xOf));
  return { width: page.width, height, title, shapes };
}

/** What is drawn, which `--from` and `--to` may have made shorter than the recording. */
function titleOf(recording: Recording, envelope: Envelope | null): string {
  const { device, start } = describeHeader(recording);
  if (start === null || envelope === null) return start === null ? `${device}, no absolute time` : device;
  const [from, to] = [envelope.startMs, envelope.endMs].map((ms) => isoTime(ms)?.slice(0, 19).replace("T", " ") ?? "?");
  return `${device}   ${from} to ${to} UTC`;
}

function subtitleOf(recording: Recording): string {
  const { model, firmware, rateHz, samples, mac } = describeHeader(recording);
  const { gaps, backward, duplicate, zero } = recording.report.counts;
  const drawn = recording.count === samples ? `${samples}` : `${recording.count} of ${samples}`;
  return `${mac}   ${model}   ${firmware}   ${Number(rateHz.toFixed(3))} Hz   ${drawn} samples   ${gaps} gaps   ${backward + duplicate + zero} odd ticks`;
}

function panelsOf(columns: readonly Column[]): Panel[] {
  const panels: Panel[] = [];
  for (const [index, { signal, unit }] of columns.entries()) {
    if (/^timestamp/i.test(signal)) continue;
    const [, stem, letter] = /^(.*)_([WXYZ])(?:_cal)?$/.exec(signal) ?? [];
    const last = panels.at(-1);
    const isMore =
      letter !== undefined && last?.label === stem && last?.unit === unit && last.lines.length < lineColors.length;
    const panel = isMore ? last! : { label: stem ?? signal, unit, lines: [] };
    if (!isMore) panels.push(panel);
    panel.lines.push({ index, letter: letter ?? "", color: lineColors[panel.lines.length]! });
  }
  return panels;
}

function drawPanel(panel: Panel, envelope: Envelope, top: number): Shape[] {
  const bottom = top + page.panel;
  const finite = panel.lines.flatMap(({ index }) =>
    [...envelope.min[index]!, ...envelope.max[index]!].filter(Number.isFinite),
  );
  const shapes: Shape[] = [
    text(page.margin, top + 12, panel.label, "start", "ink"),
    text(page.margin, top + 26, panel.unit === "no_units" ? "" : panel.unit, "start", "faint"),
  ];
  panel.lines.forEach(({ letter, color }, order) => {
    shapes.push(text(page.margin + 14 * order, top + 40, letter, "start", color));
  });
  if (finite.length === 0) return [...shapes, text(page.left + 8, top + 20, "no finite value", "start", "faint")];

  const [low, high] = range(finite);
  const yOf = (value: number) => bottom - ((value - low) / (high - low)) * page.panel;
  for (const value of ticks(low, high)) {
    shapes.push(line([page.left, yOf(value), page.left + plotWidth, yOf(value)], "grid"));
    shapes.push(text(page.left - 4, Math.min(bottom, Math.max(top + 7, yOf(value) + 3)), label(value), "end", "faint"));
  }
  const frame = [page.left, top, page.left, bottom, page.left + plotWidth, bottom];
  shapes.push(line(frame, "faint"));
  for (const { index, color } of panel.lines) {
    shapes.push(line(band(envelope.min[index]!, envelope.max[index]!, yOf), color));
  }
  return shapes;
}

/**
 * The line of one channel: in each pixel column from least to greatest, joined to the column before it where there is
 * one at most a few pixels back; a pause longer than that lifts the pen.
 */
function band(min: Float64Array, max: Float64Array, yOf: (value: number) => number): number[] {
  const points: number[] = [];
  const spacing = medianSpacing(min);
  let before = -1;
  for (let column = 0; column < min.length; column++) {
    const low = min[column]!;
    const high = max[column]!;
    if (Number.isNaN(low)) continue;
    const x = page.left + column + 0.5;
    if (before < 0 || column - before > 3 * spacing) points.push(Number.NaN, Number.NaN, x, yOf(low));
    // The end nearer to the column before it comes first, so the joining piece stays short.
    const isRising = before >= 0 && low + high >= min[before]! + max[before]!;
    points.push(x, yOf(isRising ? low : high), x, yOf(isRising ? high : low));
    if (low === high) points.push(x + 0.5, yOf(low));
    before = column;
  }
  return points;
}

/** How many pixel columns lie between two that hold samples, typically: more than 1 at low rates. */
function medianSpacing(min: Float64Array): number {
  const used = [...min.keys()].filter((column) => !Number.isNaN(min[column]!));
  const steps = used.slice(1).map((column, index) => column - used[index]!);
  steps.sort((a, b) => a - b);
  return steps[steps.length >> 1] ?? 1;
}

function range(values: readonly number[]): [low: number, high: number] {
  const low = values.reduce((least, value) => Math.min(least, value));
  const high = values.reduce((most, value) => Math.max(most, value));
  const margin = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return [low - margin, high + margin];
}

/** Two to five round values within a range. */
function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 4;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((candidate) => candidate >= rough)!;
  const values: number[] = [];
  for (let value = Math.ceil(low / step) * step; value <= high && values.length < 6; value += step) values.push(value);
  return values;
}

function label(value: number): string {
  const plain = Number(value.toPrecision(6));
  return Math.abs(plain) >= 1e6 || (plain !== 0 && Math.abs(plain) < 1e-4) ? plain.toExponential(1) : String(plain);
}

function timeAxis({ startMs, endMs }: Envelope): (ms: number) => number {
  const perMs = plotWidth / Math.max(endMs - startMs, Number.MIN_VALUE);
  return (ms) => page.left + Math.min(plotWidth, Math.max(0, (ms - startMs) * perMs));
}

function gapBands(recording: Recording, xOf: (ms: number) => number, height: number): Shape[] {
  const shapes: Shape[] = [];
  let lastLabelEnd = 0;
  for (const { startMs, durationMs } of recording.report.gaps) {
    const from = xOf(startMs);
    const to = Math.max(from + 1, xOf(startMs + durationMs));
    if (to <= page.left || from >= page.left + plotWidth) continue;
    shapes.push({
      kind: "rect",
      x: from,
      y: page.top - 6,
      width: to - from,
      height: height - page.bottom - page.top + 6,
      color: "gap",
    });
    const words = `gap ${Number((durationMs / 1000).toPrecision(3))} s`;
    if (from < lastLabelEnd) continue;
    shapes.push(text(from, page.top - 9, words, "start", "faint"));
    lastLabelEnd = from + words.length * 7;
  }
  return shapes;
}

/** When records had odd ticks: small marks above the panels. */
function oddTickMarks({ report }: Recording, { startMs, endMs }: Envelope, xOf: (ms: number) => number): Shape[] {
  const drawn = report.oddTicks.filter(({ timeMs }) => timeMs >= startMs && timeMs <= endMs);
  const places = new Set(drawn.map(({ timeMs }) => Math.round(xOf(timeMs))));
  return [...places].map((x) => line([x - 3, page.top - 6, x, page.top - 1, x + 3, page.top - 6], "second"));
}

/** Steps of the time axis, in seconds. */
const timeSteps = [
  0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
];
const mostTimeLabels = 8;

function timeLabels(recording: Recording, { startMs, endMs }: Envelope, y: number): Shape[] {
  const isDated = describeHeader(recording).start !== null;
  const span = endMs - startMs;
  const stepMs =
    1000 * (timeSteps.find((step) => span / 1000 / step <= mostTimeLabels) ?? span / 1000 / mostTimeLabels);
  // Dated recordings have round times of day, others round seconds since their start.
  const firstMs = isDated ? Math.ceil(startMs / stepMs) * stepMs : startMs;
  const shapes: Shape[] = [];
  for (let ms = firstMs; ms <= endMs && shapes.length < 4 * mostTimeLabels; ms += stepMs) {
    const x = page.left + ((ms - startMs) / Math.max(span, Number.MIN_VALUE)) * plotWidth;
    const words = isDated ? clockText(ms, stepMs) : `${Number(((ms - startMs) / 1000).toFixed(3))} s`;
    shapes.push(line([x, y - page.between, x, y - page.between + 5], "faint"), text(x, y + 6, words, "middle", "ink"));
  }
  return shapes;
}

function clockText(ms: number, stepMs: number): string {
  return (isoTime(ms) ?? "").slice(11, stepMs < 1000 ? 23 : stepMs < 60_000 ? 19 : 16);
}

function line(points: readonly number[], color: Color): Shape {
  return { kind: "line", points, color };
}

function text(
  x: number,
  y: number,
  words: string,
  anchor: "start" | "middle" | "end",
  color: Color,
  size: keyof typeof textSizes = "small",
): Shape {
  return { kind: "text", x, y, text: words, anchor, color, size };
}
