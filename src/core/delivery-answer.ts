/** What an answer to a delivery means, and when to try again. Pure. */
import type { BackoffPlan } from "./backoff.ts";
import type { DeliveryVerdict } from "./deliveries.ts";

interface StatusRow {
  from: number;
  to: number;
  verdict: DeliveryVerdict;
  hint?: string;
}

const settingsHint = "check trigger.url, UPLOADER_TRIGGER_SECRET and UPLOADER_TRIGGER_API_KEY";
const bodyHint =
  "the endpoint does not take this body: check trigger.format; uploader trigger SESSION --replay sends it again";

/** The narrowest rows first. 400 is what many receivers say to a signature that does not hold: a matter of settings. */
const statuses: readonly StatusRow[] = [
  { from: 200, to: 202, verdict: "delivered" },
  { from: 204, to: 204, verdict: "delivered" },
  { from: 408, to: 408, verdict: "again" },
  { from: 425, to: 425, verdict: "again" },
  { from: 429, to: 429, verdict: "again" },
  { from: 410, to: 410, verdict: "gone", hint: "nothing more is sent there; name another trigger.url" },
  { from: 300, to: 399, verdict: "later", hint: "redirects are not followed: name the URL it points to" },
  { from: 405, to: 406, verdict: "refused", hint: bodyHint },
  { from: 409, to: 409, verdict: "refused", hint: bodyHint },
  { from: 411, to: 415, verdict: "refused", hint: bodyHint },
  { from: 422, to: 422, verdict: "refused", hint: bodyHint },
  { from: 400, to: 499, verdict: "later", hint: settingsHint },
  { from: 500, to: 599, verdict: "again" },
];

export const verdictOf = (status: number): { verdict: DeliveryVerdict; hint: string | null } => {
  const row = statuses.find(({ from, to }) => status >= from && status <= to);
  return { verdict: row?.verdict ?? "later", hint: row?.hint ?? null };
};

/** Between attempts of one delivery; stored in the row as next_attempt_at. */
export const deliveryBackoff: BackoffPlan = { baseMs: 1_000, capMs: 5 * 60_000 };
/** After `later`: longer than a run waits. */
export const laterBackoff: BackoffPlan = { baseMs: 10 * 60_000, capMs: 10 * 60_000 };

const longestRetryAfterMs = 24 * 3_600_000;

/** Seconds, or a date (RFC 9110, 10.2.3); at most a day. Null when it says nothing that can be understood. */
export function retryAfterMs(text: string | null, nowMs: number): number | null {
  if (text === null) return null;
  const ms = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), longestRetryAfterMs) : null;
}

const answerKept = 2_000;

/**
 * What is kept of an answer: its beginning as text that a database takes, without the secrets that an endpoint may echo,
 * and the job's id where it names one.
 */
export function readAnswer(text: string, secrets: readonly string[]): { answer: string | null; jobId: string | null } {
  const open = secrets.reduce((shown, secret) => (secret === "" ? shown : shown.replaceAll(secret, "***")), text);
  // A cut may fall within a character of two halves; half of one is no UTF-8.
  const kept = open
    .replaceAll("\0", "")
    .trim()
    .slice(0, answerKept)
    .replace(/[\ud800-\udbff]$/, "");
  return { answer: kept === "" ? null : kept, jobId: jobIdOf(open) };
}

function jobIdOf(text: string): string | null {
  if (!/^\s*\{/.test(text)) return null;
  try {
    const { job_id: id } = JSON.parse(text) as { job_id?: unknown };
    // A number above 2^53 is another one when JSON has read it.
    if (typeof id === "number" && !Number.isSafeInteger(id))
      return /"job_id"\s*:\s*([-+.\dEe]+)/.exec(text)?.[1] ?? null;
    return typeof id === "string" || typeof id === "number" ? String(id).replaceAll("\0", "").slice(0, 200) : null;
  } catch (error) {
    // HTML, or cut off: an answer without a job.
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
