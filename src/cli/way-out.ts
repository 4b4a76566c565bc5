import { mendOf } from "../core/errors.ts";
import type { Failures } from "../core/events.ts";
import { count } from "./format.ts";

/** What to do about failed files. Impossible keys are not tried again: the scan finds the renamed file. */
export function wayOut(sessionId: number, failures: readonly Failures[], configFlag: string): string[] {
  const mends = failures.flatMap(({ errorCode, permanent, files: number }) => {
    const mend = permanent ? mendOf(errorCode) : null;
    return mend === null ? [] : [`  mend:  ${count(number)} ${errorCode}: ${mend}`];
  });
  const triable = failures.filter(({ errorCode }) => errorCode !== "key_impossible");
  const all = triable.every(({ permanent }) => permanent) ? " --include-permanent" : "";
  return triable.length === 0 ? mends : [...mends, `  again: uploader retry ${sessionId}${all}${configFlag}`];
}
