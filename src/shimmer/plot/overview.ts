import { describeHeader, isoTime } from "../description.ts";
import { type Envelope, envelopeOf } from "../envelope.ts";
import type { Column } from "../plan.ts";
import type { Recording } from "../recording.ts";
import { counted, grouped } from "../words.ts";
import { drawTimeAxis, ticks, timeAxis } from "./axes.ts";
import { gapBands, gapLabels, oddTickMarks } from "./marks.ts";
import { page, plotRight, plotWidth, stackOf } from "./page.ts";
import { type Color, line, lineColors, rect, type Scene, type Shape, text } from "./scene.ts";

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
  const { height, panelHeight, topOf, floor } = stackOf(panels.length);
  const title = titleOf(recording, envelope);
  const shapes: Shape[] = [
    text(page.margin, 26, title, "start", "ink", "large"),
    text(page.margin, 44, subtitleOf(recording), "start", "faint"),
  ];
  const scene = (pageHeight: number): Scene => {
    const paper = rect(0, 0, page.width, pageHeight, "paper");
    return { width: page.width, height: pageHeight, title, shapes: [paper, ...shapes] };
  };
  if (envelope === null) {
    shapes.push(text(page.left, page.top + 30, "no records", "start", "ink", "large"));
    return scene(140);
  }
  const axis = timeAxis(envelope.startMs, envelope.endMs, describeHeader(recording).start !== null);
  shapes.push(...gapBands(recording, axis, floor), ...drawTimeAxis(axis, floor));
  panels.forEach((panel, row) => {
    shapes.push(...drawPanel(panel, envelope, topOf(row), panelHeight));
  });
  shapes.push(...gapLabels(recording, axis), ...oddTickMarks(recording, axis));
  return scene(height);
}

/** What is drawn, which `--from` and `--to` may have made shorter than the recording. */
function titleOf(recording: Recording, envelope: Envelope | null): string {
  const { device, start } = describeHeader(recording);
  if (envelope === null) return device;
  if (start === null) return `${device}, no absolute time`;
  const [from, to] = [envelope.startMs, envelope.endMs].map((ms) => isoTime(ms)?.slice(0, 19).replace("T", " ") ?? "?");
  return `${device} · ${from} to ${to} UTC`;
}

const longestFileName = 60;

function subtitleOf(recording: Recording): string {
  const { model, firmware, rateHz, samples, mac, parts } = describeHeader(recording);
  const { gaps, backward, duplicate, zero } = recording.report.counts;
  const all = counted(samples, "sample");
  const [first = "", ...more] = parts;
  const file = first.length > longestFileName ? `${first.slice(0, longestFileName)}...` : first;
  return [
    more.length === 0 ? file : `${file} and ${counted(more.length, "more file")}`,
    mac,
    model,
    firmware,
    `${Number(rateHz.toFixed(3))} Hz`,
    recording.count === samples ? all : `${grouped(recording.count)} of ${all}`,
    counted(gaps, "gap"),
    counted(backward + duplicate + zero, "odd tick"),
  ].join(" · ");
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

function drawPanel(panel: Panel, envelope: Envelope, top: number, height: number): Shape[] {
  const bottom = top + height;
  const letters = panel.lines.filter(({ letter }) => letter !== "");
  const unitX = page.margin + 14 * letters.length + (letters.length > 0 ? 4 : 0);
  const shapes: Shape[] = [
    text(page.margin, top + 12, panel.label, "start", "ink"),
    ...letters.map(({ letter, color }, order) => text(page.margin + 14 * order, top + 27, letter, "start", color)),
    text(unitX, top + 27, panel.unit === "no_units" ? "" : panel.unit, "start", "faint"),
    line([page.left, top, page.left, bottom, plotRight, bottom], "faint"),
  ];
  const [low, high] = rangeOf(panel, envelope);
  if (low > high) return [...shapes, text(page.left + 8, top + 20, "no finite value", "start", "faint")];

  const yOf = (value: number) => bottom - ((value - low) / (high - low)) * height;
  for (const { value, label } of ticks(low, high, height < 60 ? 4 : 5)) {
    const y = yOf(value);
    shapes.push(line([page.left, y, plotRight, y], "grid"));
    shapes.push(text(page.left - 4, Math.min(bottom, Math.max(top + 7, y + 3)), label, "end", "faint"));
  }
  // The widest band first: one that is drawn later hides less of it.
  const behindFirst = panel.lines.toSorted((a, b) => areaOf(envelope, b.index) - areaOf(envelope, a.index));
  for (const { index, color } of behindFirst) {
    shapes.push(line(band(envelope.min[index]!, envelope.max[index]!, yOf), color));
  }
  return shapes;
}

function areaOf({ min, max }: Envelope, index: number): number {
  return max[index]!.reduce((sum, value, column) => sum + (value - min[index]![column]! || 0), 0);
}

/**
 * The line of one channel: in each pixel column from least to greatest, joined to the column before it where there is
 * one at most a few pixels back; a pause longer than that lifts the pen. A lone sample is a short dash.
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
    if (before < 0 || column - before > 3 * spacing) points.push(Number.NaN, Number.NaN, x - 1, yOf(low));
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

/** Least and greatest value of a panel's lines, and some air; low > high where there is none. */
function rangeOf({ lines }: Panel, { min, max }: Envelope): [low: number, high: number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const { index } of lines) {
    // NaN, where a column holds no sample, compares false.
    for (const value of min[index]!) if (value < low) low = value;
    for (const value of max[index]!) if (value > high) high = value;
  }
  const margin = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return low > high ? [low, high] : [low - margin, high + margin];
}
