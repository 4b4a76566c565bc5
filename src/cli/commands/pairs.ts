/** `status --pairs`. */
import type { Store } from "../../core/store.ts";
import { pairsOf } from "../../operations/pairs.ts";
import type { Face } from "../face.ts";
import { count, instant, name, table } from "../format.ts";

export async function tellPairs(store: Store, face: Face, sessionId: number): Promise<void> {
  const { groups, unworn, undated } = await pairsOf(store, sessionId);
  if (face.json) {
    for (const group of groups) face.out(JSON.stringify({ sessionId, ...group }));
    return;
  }
  if (groups.length > 0) {
    face.out(
      table(
        ["group", "patient", "device", "start", "shimmer1 (left)", "shimmer2 (right)"],
        groups.map(({ groupId, patient, device, startedAt, shimmer1, shimmer2 }) => [
          groupId,
          patient && name(patient),
          device && name(device),
          startedAt && instant(startedAt),
          name(shimmer1?.key ?? ""),
          name(shimmer2?.key ?? ""),
        ]),
      ),
    );
  }
  const whole = groups.filter(({ shimmer1, shimmer2 }) => shimmer1 !== null && shimmer2 !== null).length;
  const recordings = (number: number): string => `${count(number)} ${number === 1 ? "recording" : "recordings"}`;
  face.out(
    [
      `session ${sessionId}: ${count(whole)} ${whole === 1 ? "pair" : "pairs"}, ${count(groups.length - whole)} of one sensor alone`,
      ...(unworn > 0 ? [`${recordings(unworn)} of devices without a wearer (uploader map-device unmapped)`] : []),
      ...(undated > 0 ? [`${recordings(undated)} without a time`] : []),
    ].join("; "),
  );
}
