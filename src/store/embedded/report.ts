import { readFileSync } from "node:fs";
import type { ErrorCode } from "../../core/errors.ts";

/** What a keeper tells the process that started it: one JSON text on its descriptor 3, which it then closes. */
export type KeeperReport =
  | { kind: "ready" }
  /** Another keeper has the lock. */
  | { kind: "lost" }
  /** It was killed or crashed, and so reported nothing. */
  | { kind: "died"; log: string }
  | { kind: "failed"; code: ErrorCode; message: string; hint: string | null; log: string };

/** The end of what the log has gained since it had `fromBytes`: at most 20 lines. */
export function logTail(path: string, fromBytes: number): string {
  const log = readFileSync(path).subarray(fromBytes).toString("utf8");
  return log.trimEnd().split("\n").slice(-20).join("\n");
}
