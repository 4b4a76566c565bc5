/** When to try again. Pure: chance is a parameter. */

export interface BackoffPlan {
  baseMs: number;
  capMs: number;
}

/** Between attempts of one file; stored in the row as next_attempt_at, so it survives the process. */
export const fileBackoff: BackoffPlan = { baseMs: 1_000, capMs: 5 * 60_000 };

/** Between probes while a cause stops everything. */
export const probeBackoff: BackoffPlan = { baseMs: 1_000, capMs: 30_000 };

/**
 * Exponential with jitter over the upper half: attempt 1 waits base/2..base, attempt n up to base * 2^(n-1).
 * `random` is in [0, 1). A server's Retry-After is a lower bound.
 */
export function backoffMs(plan: BackoffPlan, attempt: number, random: number, retryAfterMs = 0): number {
  const ceilingMs = Math.min(plan.capMs, plan.baseMs * 2 ** Math.min(Math.max(attempt, 1) - 1, 30));
  return Math.max(Math.round(ceilingMs * (0.5 + random / 2)), retryAfterMs);
}
