/** Whether work moves: fed by the work loop itself, so a loop that hangs goes silent though timers still run. */

export interface Pulse {
  /** Work has moved. */
  beat(): void;
  ready(): void;
  isReady(): boolean;
  beatAgeMs(): number;
  isStalled(): boolean;
}

export interface PulseOptions {
  /** Silence longer than this means that the loop hangs. */
  stallMs: number;
  /** Monotonic, ms. */
  now(): number;
}

export function createPulse({ stallMs, now }: PulseOptions): Pulse {
  let beatAtMs = now();
  let isReady = false;
  const beatAgeMs = (): number => now() - beatAtMs;
  return {
    beat() {
      beatAtMs = now();
    },
    ready() {
      isReady = true;
    },
    isReady: () => isReady,
    beatAgeMs,
    isStalled: () => beatAgeMs() > stallMs,
  };
}
