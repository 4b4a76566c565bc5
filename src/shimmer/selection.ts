import { UploaderError } from "../core/errors.ts";
import type { Column } from "./plan.ts";

/** Signals a recording is never without. */
const timeSignals = /^(Timestamp|timestampCal)/;

/**
 * Indices of the wanted columns, in the order of `columns`: a word picks the signal of that name, else the group
 * that begins with it and `_`; any case; full names too. Time is always among them.
 *
 * @throws UploaderError `usage` naming the word and what there is
 */
export function chooseColumns(columns: readonly Column[], words: readonly string[] | undefined): number[] {
  const all = columns.map((_, index) => index);
  if (words === undefined) return all;
  const wanted = new Set(all.filter((index) => timeSignals.test(columns[index]!.signal)));
  for (const word of words) {
    const low = word.toLowerCase();
    const exact = all.filter((index) =>
      [columns[index]!.signal, columns[index]!.name].some((name) => name.toLowerCase() === low),
    );
    const found =
      exact.length > 0 ? exact : all.filter((index) => columns[index]!.signal.toLowerCase().startsWith(`${low}_`));
    if (found.length === 0) {
      const hint = `The recording has ${columns.map(({ signal }) => signal).join(", ")}.`;
      throw new UploaderError("usage", `no channel ${JSON.stringify(word)} in this recording`, { hint });
    }
    for (const index of found) wanted.add(index);
  }
  return all.filter((index) => wanted.has(index));
}
