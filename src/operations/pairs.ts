/** The pairs of a session: recordings of two sensors that one patient wore at one time (core/pairs.ts has the rule). */
import type { PairedRecording } from "../core/devices.ts";
import type { Store } from "../core/store.ts";

export interface Pair {
  groupId: string;
  patient: string | null;
  device: string | null;
  startedAt: Date | null;
  /** Left; null: nothing of it was recorded, or has arrived. */
  shimmer1: PairedRecording | null;
  /** Right. */
  shimmer2: PairedRecording | null;
}

export interface Pairs {
  groups: Pair[];
  /** Recordings of no group: nobody is known to have worn them, or they know no time. */
  unworn: number;
  undated: number;
}

export async function pairsOf(store: Pick<Store, "pairs">, sessionId: number): Promise<Pairs> {
  const recordings = await store.pairs(sessionId);
  const groups = new Map<string, Pair>();
  for (const recording of recordings) {
    const { groupId, patient, device, startedAt, slot } = recording;
    if (groupId === null) continue;
    const pair = groups.get(groupId) ?? { groupId, patient, device, startedAt, shimmer1: null, shimmer2: null };
    groups.set(groupId, { ...pair, [slot === 2 ? "shimmer2" : "shimmer1"]: recording });
  }
  return {
    groups: [...groups.values()],
    unworn: recordings.filter(({ groupId, patient }) => groupId === null && patient === null).length,
    undated: recordings.filter(({ groupId, patient }) => groupId === null && patient !== null).length,
  };
}
