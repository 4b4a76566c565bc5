import type { Recording } from "../recording.ts";
import type { TimeAxis } from "./axes.ts";
import { page, plotRight } from "./page.ts";
import { letterWidth, line, rect, type Shape, text } from "./scene.ts";

const strip = { top: page.top - 6, bottom: page.top - 1 } as const;

/** Gaps as bands behind all panels, each with a dark end at the top that shows however short it is. */
export function gapBands({ report }: Recording, axis: TimeAxis, floor: number): Shape[] {
  const bands: { from: number; to: number }[] = [];
  for (const { startMs, durationMs } of report.gaps) {
    if (startMs + durationMs <= axis.startMs || startMs >= axis.endMs) continue;
    const from = axis.xOf(startMs);
    const to = Math.max(from + 1, axis.xOf(startMs + durationMs));
    const last = bands.at(-1);
    // Many in one place are one band: a drawing must not grow with their number.
    if (last !== undefined && from >= last.from && from < last.to + 0.5) last.to = Math.max(last.to, to);
    else bands.push({ from, to });
  }
  return bands.flatMap(({ from, to }) => [
    rect(from, page.top, to - from, floor - 8 - page.top, "gap"),
    rect(from, strip.top, to - from, strip.bottom - strip.top, "gapMark"),
  ]);
}

/** How long gaps are; where they stand too close for words, the longest ones say it. */
export function gapLabels({ report }: Recording, axis: TimeAxis): Shape[] {
  const shown = report.gaps.filter((gap) => gap.startMs + gap.durationMs > axis.startMs && gap.startMs < axis.endMs);
  const taken: { from: number; to: number }[] = [];
  const shapes: Shape[] = [];
  for (const { startMs, durationMs } of shown.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, 1000)) {
    const words = `gap ${lengthText(durationMs)}`;
    const width = (words.length + 1) * letterWidth;
    const from = Math.min(axis.xOf(startMs), plotRight - width + letterWidth);
    if (taken.some((other) => from < other.to && other.from < from + width)) continue;
    taken.push({ from, to: from + width });
    shapes.push(text(from, strip.top - 3, words, "start", "gapMark"));
  }
  return shapes;
}

const lengthUnits = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
] as const;

function lengthText(ms: number): string {
  const seconds = ms / 1000;
  const [size, unit] = lengthUnits.find(([length]) => seconds >= 2 * length) ?? lengthUnits[3];
  return `${Number((seconds / size).toPrecision(3))} ${unit}`;
}

/** When records had odd ticks: small marks above the panels, and at the page's edge what they mean. */
export function oddTickMarks({ report }: Recording, { startMs, endMs, xOf }: TimeAxis): Shape[] {
  const drawn = report.oddTicks.filter(({ timeMs }) => timeMs >= startMs && timeMs <= endMs);
  const places = new Set(drawn.map(({ timeMs }) => Math.round(xOf(timeMs))));
  if (places.size === 0) return [];
  const meaning = "odd tick";
  const x = plotRight - (meaning.length + 1) * letterWidth;
  return [
    ...[...places].map((place) => mark(place, strip.top)),
    mark(x, 38),
    text(plotRight, 44, meaning, "end", "faint"),
  ];
}

function mark(x: number, y: number): Shape {
  return line([x - 3, y, x, y + 5, x + 3, y], "ink");
}
