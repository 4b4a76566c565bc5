import { ticksPerSecond } from "./time-source.ts";

/**
 * How a step of the record's tick counter is read (SF 6.2).
 * `true`: a small step back is a step back. `naive`: any decrease is a rollover, as Consensys has it (its bogus 512 s
 * jump). `half`: a decrease of more than half the range is one, as the older service has it.
 */
export type ClockRule = "true" | "naive" | "half";

/** Record numbers count from 0 in the file. */
export interface Gap {
  /** First record after the gap. */
  record: number;
  seconds: number;
}

export interface OddTick {
  kind: "backward" | "duplicate" | "zero";
  record: number;
  /** Signed step in ticks; 0 for a duplicate. A `zero` tick did not move the clock. */
  stepTicks: number;
}

export interface ClockReport {
  /** At most `mostListed` are listed; `counts` is complete. */
  gaps: readonly Gap[];
  oddTicks: readonly OddTick[];
  counts: { gaps: number; rollovers: number; backward: number; duplicate: number; zero: number };
  /** Steps of at most ten periods, and all others: a wrong record length shows here (SF 4.4). */
  steps: { regular: number; irregular: number };
}

export interface ClockOptions {
  tickBytes: 2 | 3;
  dividerTicks: number;
  rule: ClockRule;
  /** Device ticks of the start by the header. */
  startTicks: number;
  /** `pinned`: the first record has the header's time. `nearest`: the time nearest to it whose low bits are its tick. */
  anchor: "pinned" | "nearest";
}

export interface Clock {
  /** Writes device ticks since the header's start for `count` records of `stride` bytes. */
  read(bytes: Uint8Array, stride: number, count: number, out: Float64Array): void;
  report(): ClockReport;
}

/** A gap is a step of more than this many periods. */
const gapPeriods = 10;
/** A forward step this close to a whole turn is a step back: 10 s of 24-bit ticks, an eighth of a turn at most. */
const backwardWindowTicks = 10 * ticksPerSecond;
const mostListed = 10_000;

/** Unwraps the tick counter. Every record keeps its place; nothing is smoothed, whatever is odd is reported. */
export function openClock({ tickBytes, dividerTicks, rule, startTicks, anchor }: ClockOptions): Clock {
  const turn = 2 ** (8 * tickBytes);
  const mask = turn - 1;
  const backFrom = turn - Math.min(backwardWindowTicks, turn / 8);
  const gapFrom = gapPeriods * dividerTicks;
  const gaps: Gap[] = [];
  const oddTicks: OddTick[] = [];
  const counts = { gaps: 0, rollovers: 0, backward: 0, duplicate: 0, zero: 0 };
  const steps = { regular: 0, irregular: 0 };
  const startLow = startTicks % turn;
  const startIsFarFromZero = Math.min(startLow, turn - startLow) > turn - backFrom;
  let records = 0;
  let previous = -1;
  let elapsed = 0;

  const note = (kind: OddTick["kind"], record: number, stepTicks: number) => {
    counts[kind]++;
    if (oddTicks.length < mostListed) oddTicks.push({ kind, record, stepTicks });
  };

  /** The first record of the file that has a believable tick. */
  const begin = (tick: number) => {
    const ahead = (tick - startLow + turn) % turn;
    if (anchor === "nearest") elapsed = ahead < turn / 2 ? ahead : ahead - turn;
    previous = tick;
  };

  /** Everything but the plain step forward; returns whether the tick counts as seen. */
  const oddStep = (tick: number, step: number, record: number, isBlank: boolean): boolean => {
    if (step === 0) {
      note("duplicate", record, 0);
      return true;
    }
    if (rule === "naive") {
      if (tick < previous) counts.rollovers++;
      takeForward(step, record);
      return true;
    }
    const isBack = rule === "half" ? tick < previous && previous - tick <= turn / 2 : step >= backFrom;
    // Firmware 1.00 to 1.01.003 writes tick 0 when the card is slow; blank records come from a cut power.
    if (rule === "true" && tick === 0 && (isBlank || !isBack) && step > turn - backFrom) {
      note("zero", record, 0);
      return false;
    }
    if (isBack) {
      note("backward", record, step - turn);
      elapsed += step - turn;
      return true;
    }
    if (tick < previous) counts.rollovers++;
    takeForward(step, record);
    return true;
  };

  const takeForward = (step: number, record: number) => {
    elapsed += step;
    if (step <= gapFrom) {
      steps.regular++;
      return;
    }
    steps.irregular++;
    counts.gaps++;
    if (gaps.length < mostListed) gaps.push({ record, seconds: step / ticksPerSecond });
  };

  return {
    read(bytes, stride, count, out) {
      let regular = 0;
      for (let i = 0, p = 0; i < count; i++, p += stride) {
        const tick = tickBytes === 3 ? bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) : bytes[p]! | (bytes[p + 1]! << 8);
        const step = (tick - previous) & mask;
        if (tick > previous && step <= gapFrom && previous >= 0) {
          elapsed += step;
          regular++;
          previous = tick;
        } else if (previous < 0) {
          if (rule === "true" && tick === 0 && startIsFarFromZero) note("zero", records + i, 0);
          else begin(tick);
        } else if (oddStep(tick, step, records + i, tick === 0 && isBlankRecord(bytes, p, stride))) {
          previous = tick;
        }
        out[i] = elapsed;
      }
      steps.regular += regular;
      records += count;
    },
    report: () => ({ gaps, oddTicks, counts: { ...counts }, steps: { ...steps } }),
  };
}

function isBlankRecord(bytes: Uint8Array, at: number, stride: number): boolean {
  for (let i = at; i < at + stride; i++) if (bytes[i] !== 0) return false;
  return true;
}
