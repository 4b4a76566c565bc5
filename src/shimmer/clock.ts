import { ticksPerSecond } from "./time-source.ts";

/**
 * How a step of the record's tick counter is read (SF 6.2).
 * `true`: a small step back is a step back. `naive`: any decrease is a rollover, as Consensys has it (its bogus 512 s
 * jump). `half`: a decrease of more than half the range is one, as the older service has it.
 */
export type ClockRule = "true" | "naive" | "half";

/** A step of more than ten periods. Record numbers count from 0 in the file. */
export interface TickGap {
  /** First record after the gap. */
  record: number;
  /** Elapsed ticks of the record before it. */
  fromTicks: number;
  ticks: number;
}

export interface TickOddity {
  kind: "backward" | "duplicate" | "zero";
  record: number;
  /** Elapsed ticks the record was given. */
  atTicks: number;
  /** Signed step in ticks; 0 for a duplicate. A `zero` tick did not move the clock. */
  stepTicks: number;
}

export interface ClockReport {
  /** At most `mostListed` are listed; `counts` is complete. */
  gaps: readonly TickGap[];
  oddTicks: readonly TickOddity[];
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
/**
 * A forward step this close to a whole turn is a step back: 10 s of 24-bit ticks, an eighth of a turn at most, and less
 * where the period itself comes near a turn (2-byte ticks below 1 Hz).
 */
const backwardWindowTicks = 10 * ticksPerSecond;
/** Most gaps and most odd ticks that are listed one by one. */
export const mostListed = 10_000;

/** Unwraps the tick counter. Every record keeps its place; nothing is smoothed, whatever is odd is reported. */
export function openClock({ tickBytes, dividerTicks, rule, startTicks, anchor }: ClockOptions): Clock {
  const turn = 2 ** (8 * tickBytes);
  const mask = turn - 1;
  const isWide = tickBytes === 3;
  const backFrom = turn - Math.min(backwardWindowTicks, turn / 8, Math.max(0, turn - 2 * dividerTicks));
  const gapFrom = gapPeriods * dividerTicks;
  const gaps: TickGap[] = [];
  const oddTicks: TickOddity[] = [];
  const counts = { gaps: 0, rollovers: 0, backward: 0, duplicate: 0, zero: 0 };
  const steps = { regular: 0, irregular: 0 };
  const startLow = startTicks % turn;
  const startIsFarFromZero = Math.min(startLow, turn - startLow) > turn - backFrom;
  let records = 0;
  let previous = -1;
  let elapsed = 0;

  const note = (kind: TickOddity["kind"], record: number, stepTicks: number) => {
    counts[kind]++;
    if (oddTicks.length < mostListed) oddTicks.push({ kind, record, atTicks: elapsed, stepTicks });
  };

  /** The first record of the file that has a believable tick. */
  const begin = (tick: number) => {
    const ahead = (tick - startLow + turn) % turn;
    if (anchor === "nearest") elapsed = ahead < turn / 2 ? ahead : ahead - turn;
    previous = tick;
  };

  /** Everything but the plain step forward. */
  const oddRecord = (tick: number, record: number, bytes: Uint8Array, at: number, stride: number) => {
    if (previous < 0) {
      if (rule === "true" && tick === 0 && startIsFarFromZero) note("zero", record, 0);
      else begin(tick);
      return;
    }
    const step = (tick - previous) & mask;
    const isBack =
      rule === "half" ? tick < previous && previous - tick <= turn / 2 : rule === "true" && step >= backFrom;
    // Firmware 1.00 to 1.01.003 writes tick 0 when the card is slow; blank records come from a cut power. Shortly before
    // or after a rollover 0 may be a true tick: there only a blank record tells.
    const isZero = rule === "true" && tick === 0 && step > gapFrom;
    if (isZero && ((step > turn - backFrom && !isBack) || isBlankRecord(bytes, at, stride))) {
      note("zero", record, 0);
      return;
    }
    if (step === 0) note("duplicate", record, 0);
    else if (isBack) {
      elapsed += step - turn;
      note("backward", record, step - turn);
    } else {
      if (tick < previous) counts.rollovers++;
      takeForward(step, record);
    }
    previous = tick;
  };

  const takeForward = (step: number, record: number) => {
    if (step <= gapFrom) steps.regular++;
    else {
      steps.irregular++;
      counts.gaps++;
      if (gaps.length < mostListed) gaps.push({ record, fromTicks: elapsed, ticks: step });
    }
    elapsed += step;
  };

  return {
    read(bytes, stride, count, out) {
      // Locals: a captured number that changes is boxed anew at every step (measured: four times slower).
      let last = previous;
      let sum = elapsed;
      let regular = 0;
      for (let i = 0, p = 0; i < count; i++, p += stride) {
        const tick = bytes[p]! | (bytes[p + 1]! << 8) | (isWide ? bytes[p + 2]! << 16 : 0);
        const step = tick - last;
        if (step > 0 && step <= gapFrom && last >= 0) {
          sum += step;
          last = tick;
          regular++;
        } else {
          previous = last;
          elapsed = sum;
          oddRecord(tick, records + i, bytes, p, stride);
          last = previous;
          sum = elapsed;
        }
        out[i] = sum;
      }
      previous = last;
      elapsed = sum;
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
