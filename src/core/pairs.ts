/** Two sensors' recordings of one walk: the rule of originals 1.10. Pure. */

export interface Pairable {
  id: number;
  startedAtMs: number;
  slot: 1 | 2;
}

/** How far apart two recordings of a pair begin at most. */
export const pairWindowMs = 15_000;

/**
 * Groups of one or two, given the recordings of one patient and phone in the order of their starts: a recording joins
 * the group before it when it begins within 15 s of the previous one and its slot is free, else it begins a new one.
 */
export function groupPairs<R extends Pairable>(recordings: readonly R[]): R[][] {
  const groups: R[][] = [];
  for (const recording of recordings) {
    const group = groups.at(-1);
    const previous = group?.at(-1);
    const isNear = previous !== undefined && recording.startedAtMs - previous.startedAtMs <= pairWindowMs;
    if (isNear && group!.every(({ slot }) => slot !== recording.slot)) group!.push(recording);
    else groups.push([recording]);
  }
  return groups;
}

/** Unique in the database: named after the group's first recording. */
export const groupIdOf = (group: readonly Pairable[]): string => `g${group[0]!.id}`;
