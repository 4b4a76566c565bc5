import type { ClockRule } from "./clock.ts";
import { cloudSyncLayout } from "./cloud-sync.ts";
import type { Header } from "./header.ts";
import { deviceLabel } from "./names.ts";
import { type Layout, planRecord, type Values } from "./plan.ts";
import type { TimeSource } from "./time-source.ts";

/**
 * `vendor`: names, units and values of Consensys, true time. `consensys`: the same with its bogus jump at a backward
 * tick. `cloud-sync`: keys, values and time treatment of the older service (design A7, SF 10 and 11).
 */
export const profiles = ["vendor", "consensys", "cloud-sync"] as const;
export type Profile = (typeof profiles)[number];

export const clockRules: Readonly<Record<Profile, ClockRule>> = {
  vendor: "true",
  consensys: "naive",
  "cloud-sync": "half",
};

export interface LayoutOptions {
  profile: Profile;
  values: Values;
  /** Replaces `Shimmer_<last four MAC digits>` in names. */
  deviceName: string | undefined;
  timeSource: Exclude<TimeSource, "auto">;
  isSynced: boolean;
}

/** Header → the columns of the result, in output order. */
export function layoutOf(header: Header, options: LayoutOptions, name: string): Layout {
  return options.profile === "cloud-sync" ? cloudSyncLayout(header) : vendorLayout(header, options, name);
}

/** Signals that Consensys does not write. */
const ours: ReadonlySet<string> = new Set(["GSR_Open"]);

/** Time first, then by signal name (SF 10). */
function vendorLayout(header: Header, options: LayoutOptions, name: string): Layout {
  const plan = planRecord(header, options.values, name);
  const device = deviceLabel(header, options.deviceName);
  const columns = plan.steps.flatMap(({ signals }, step) =>
    signals.map((signal, column) => ({
      name: `${device}_${signal.name}_${signal.isCalibrated ? "CAL" : "UNCAL"}`,
      signal: signal.name,
      unit: signal.unit,
      isCalibrated: signal.isCalibrated,
      source: { step, column },
    })),
  );
  const wanted = columns.filter(({ signal }) => options.profile === "vendor" || !ours.has(signal));
  wanted.sort((a, b) => (a.signal < b.signal ? -1 : a.signal > b.signal ? 1 : 0));
  const time = timeSignal(options);
  const timeColumn = {
    name: `${device}_${time}_CAL`,
    signal: time,
    unit: "ms",
    isCalibrated: true,
    source: "time" as const,
  };
  return {
    recordBytes: plan.recordBytes,
    steps: plan.steps,
    columns: [timeColumn, ...wanted],
    timeUnit: "ms",
    notes: plan.notes,
  };
}

function timeSignal({ timeSource, isSynced }: LayoutOptions): string {
  if (isSynced) return "TimestampSync_Unix";
  return timeSource === "device" ? "Timestamp_Device" : "Timestamp_Unix";
}
