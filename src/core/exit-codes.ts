import { type ErrorCode, errorCodes } from "./errors.ts";

/** The first that applies wins (design A9). */
const precedence = [1, 2, 130, 143, 13, 12, 14, 11, 15, 3, 16, 4, 10, 0] as const;

export interface Outcome {
  fault: ErrorCode | null;
  signal: StopSignal | null;
  filesFailed: number;
  filesConflicting: number;
  filesNotReady: number;
  triggerDue: boolean;
}

/** Of several runs: the one that says most. */
export const exitCodeOfAll = (codes: readonly number[]): number =>
  precedence.find((code) => codes.includes(code)) ?? (codes.length === 0 ? 0 : 1);

export type StopSignal = "SIGINT" | "SIGTERM";
export const exitCodeOfSignal = (signal: StopSignal): number => (signal === "SIGTERM" ? 143 : 130);

export function exitCodeOf(outcome: Outcome): number {
  const applies = new Set<number>([0]);
  if (outcome.fault) applies.add(errorCodes[outcome.fault].exit);
  if (outcome.signal) applies.add(exitCodeOfSignal(outcome.signal));
  if (outcome.filesFailed > 0 || outcome.filesConflicting > 0) applies.add(3);
  if (outcome.filesNotReady > 0) applies.add(4);
  if (outcome.triggerDue) applies.add(16);
  return precedence.find((code) => applies.has(code)) ?? 1;
}
