/** The map of devices as people and scripts read it. */
import { type DeviceEntry, type HistoryRow, periodText, type UnmappedDevice } from "../../core/devices.ts";
import type { SetResult } from "../../operations/map-device.ts";
import { type Cell, instant, name, table } from "../format.ts";

const when = (at: Date | null): string => (at === null ? "" : instant(at));
const sensors = (list: readonly string[]): string => name(list.join(", "));

/** As scripts see it. */
export const entryRow = ({ id, device, patient, shimmer1, shimmer2, from, to, updatedAt }: DeviceEntry) => ({
  id,
  device,
  patient,
  shimmer1,
  shimmer2,
  from,
  to,
  updatedAt,
});

const cellsOf = (row: Pick<DeviceEntry, "device" | "patient" | "shimmer1" | "shimmer2" | "from" | "to">): Cell[] => [
  name(row.device),
  name(row.patient),
  sensors(row.shimmer1),
  sensors(row.shimmer2),
  when(row.from),
  when(row.to),
];

const head = ["device", "patient", "shimmer1 (left)", "shimmer2 (right)", "from", "to"];

export const entryTable = (entries: readonly DeviceEntry[]): string => table(head, entries.map(cellsOf));

export const historyTable = (rows: readonly HistoryRow[]): string =>
  table(
    ["changed", "by", "", "entry", ...head.slice(1)],
    rows.map((row) => [
      when(row.changedAt),
      name(row.changedBy),
      row.change,
      `${row.entryId}`,
      ...cellsOf(row).slice(1),
    ]),
  );

export const unmappedTable = (rows: readonly UnmappedDevice[]): string =>
  table(
    ["device", "MAC", "sensor", "recordings", "first", "last"],
    rows.map((row) => [
      name(row.device),
      row.deviceMac,
      row.sensor && name(row.sensor),
      row.recordings,
      when(row.firstStartedAt),
      when(row.lastStartedAt),
    ]),
  );

export function changeText({ change, entry }: SetResult): string {
  const worn = [
    ...(entry.shimmer1.length > 0 ? [`left ${sensors(entry.shimmer1)}`] : []),
    ...(entry.shimmer2.length > 0 ? [`right ${sensors(entry.shimmer2)}`] : []),
  ].join(", ");
  const words = { added: "added", changed: "changed", unchanged: "is so already" }[change];
  return `entry ${entry.id} ${words}: ${name(entry.device)} is ${name(entry.patient)}'s, ${periodText(entry)}${worn && ` (${worn})`}`;
}
