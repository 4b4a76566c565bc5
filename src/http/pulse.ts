/** Whether work moves: fed by the work loops themselves, so one that hangs is noticed though timers and others still run. */

export interface Pulse {
  /** From now on exactly these loops are to beat. */
  expect(loops: readonly string[]): void;
  /** A loop's work has moved; null: what all of them wait for. */
  beat(loop: string | null): void;
  ready(): void;
  isReady(): boolean;
  /** Of the loop that has been silent for longest. */
  beatAgeMs(): number;
  isStalled(): boolean;
}

export interface PulseOptions {
  /** Silence longer than this means that a loop hangs. */
  stallMs: number;
  /** Monotonic, ms. */
  now(): number;
}

export function createPulse({ stallMs, now }: PulseOptions): Pulse {
  let startedMs = now();
  let isReady = false;
  const beats = new Map<string, number>();
  const beatAgeMs = (): number => now() - (beats.size === 0 ? startedMs : Math.min(...beats.values()));
  return {
    expect(loops) {
      for (const loop of [...beats.keys()].filter((known) => !loops.includes(known))) beats.delete(loop);
      for (const loop of loops) beats.set(loop, now());
    },
    beat(loop) {
      if (loop !== null) return void (beats.has(loop) && beats.set(loop, now()));
      startedMs = now();
      for (const each of beats.keys()) beats.set(each, now());
    },
    ready() {
      isReady = true;
    },
    isReady: () => isReady,
    beatAgeMs,
    isStalled: () => beatAgeMs() > stallMs,
  };
}
