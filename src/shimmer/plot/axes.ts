import { isoTime } from "../description.ts";
import { page, plotWidth } from "./page.ts";
import { letterWidth, line, type Shape, text } from "./scene.ts";

/** Steps between ticks, times a power of ten, and how many digits further right their last digit stands. */
const roundSteps = [
  { factor: 1, digits: 0 },
  { factor: 2, digits: 0 },
  { factor: 2.5, digits: 1 },
  { factor: 5, digits: 0 },
  { factor: 10, digits: -1 },
] as const;

/** Two to `most` round values, or one more, within a range, with as many digits as tell one from the next. */
export function ticks(low: number, high: number, most: number): { value: number; label: string }[] {
  const rough = (high - low) / most;
  const power = Math.floor(Math.log10(rough));
  const round = roundSteps.find(({ factor }) => factor * 10 ** power >= rough) ?? roundSteps[4];
  const step = round.factor * 10 ** power;
  const lastDigit = power - round.digits;
  const isPlain = Math.max(Math.abs(low), Math.abs(high)) < 1e6 && lastDigit >= -6;
  const found = [];
  // Whole multiples: added up, steps of a tenth would drift.
  for (let multiple = Math.ceil(low / step); multiple * step <= high && found.length <= most; multiple++) {
    const value = multiple * step;
    const label = isPlain ? value.toFixed(Math.max(0, -lastDigit)) : exponential(value, lastDigit);
    found.push({ value, label: multiple === 0 ? "0" : label });
  }
  return found;
}

function exponential(value: number, lastDigit: number): string {
  const firstDigit = Math.floor(Math.log10(Math.abs(value)) + 1e-9);
  return value.toExponential(Math.min(15, Math.max(0, firstDigit - lastDigit)));
}

export interface TimeAxis {
  startMs: number;
  endMs: number;
  /** Times are those of the calendar; else only what passed since `startMs` is known. */
  isDated: boolean;
  xOf(ms: number): number;
}

export function timeAxis(startMs: number, endMs: number, isDated: boolean): TimeAxis {
  const perMs = endMs > startMs ? plotWidth / (endMs - startMs) : 0;
  const xOf = (ms: number) => page.left + Math.min(plotWidth, Math.max(0, (ms - startMs) * perMs));
  return { startMs, endMs, isDated, xOf };
}

/** Steps of the time axis, in seconds. */
const timeSteps = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];
const mostTimeTicks = 12;

/** Lines up through all panels, the time below, and the day where a new one begins. */
export function drawTimeAxis({ startMs, endMs, isDated, xOf }: TimeAxis, floor: number): Shape[] {
  const seconds = (endMs - startMs) / 1000;
  const stepMs = 1000 * (timeSteps.find((step) => seconds / step <= mostTimeTicks) ?? seconds / mostTimeTicks);
  const inSeconds = stepMs < 60_000;
  const caption = isDated ? "time, UTC" : `from first sample, ${inSeconds ? "s" : "h:min"}`;
  const shapes = [text(page.margin, floor + 8, caption, "start", "faint")];
  // A lone sample has no span to hold a round time.
  const originMs = isDated && seconds > 0 ? 0 : startMs;
  let day = "";
  const first = Math.ceil((startMs - originMs) / stepMs);
  // Counted, not until the end is met: far from 1970 a step may be lost in the number's last digit.
  for (let count = 0; count <= mostTimeTicks; count++) {
    const ms = originMs + (first + count) * stepMs;
    if (!(ms <= endMs)) break;
    const x = xOf(ms);
    const label = isDated ? clockText(ms, stepMs) : passedText(ms - startMs, inSeconds);
    shapes.push(line([x, page.top, x, floor], "grid"), line([x, floor - 8, x, floor - 3], "faint"));
    shapes.push(text(x, floor + 8, label, "middle", "ink"));
    const today = isDated ? (isoTime(ms) ?? "").slice(0, 10) : "";
    if (today !== day) shapes.push(within(x, floor + 21, today));
    day = today;
  }
  return shapes;
}

/** Centred on x as far as the page's edge lets it. */
function within(x: number, y: number, words: string): Shape {
  const half = (words.length * letterWidth) / 2;
  return text(Math.min(x, page.width - 4 - half), y, words, "middle", "faint");
}

function clockText(ms: number, stepMs: number): string {
  return (isoTime(ms) ?? "").slice(11, stepMs < 1000 ? 23 : stepMs < 60_000 ? 19 : 16);
}

function passedText(ms: number, inSeconds: boolean): string {
  const seconds = Number((ms / 1000).toFixed(3));
  const minutes = Math.round(seconds / 60);
  return inSeconds ? `${seconds}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}
