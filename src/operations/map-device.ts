/** The verbs of the map of devices and patients: texts in, the map's answer out. */
import { readDeviceFile } from "../core/device-file.ts";
import {
  canonicalDevice,
  canonicalPatient,
  canonicalSensor,
  type DeviceEntry,
  type DeviceMap,
  type EntryPlan,
  type HistoryRow,
  type ImportRow,
  parseInstant,
  pseudonymOf,
} from "../core/devices.ts";
import { asUploaderError, UploaderError } from "../core/errors.ts";

export interface MapContext {
  map: DeviceMap;
  /** null: patients are kept as they are given. */
  pseudonymKey: string | null;
  /** Who changes it, for the audit trail. */
  actor: string;
  now(): Date;
}

export interface SetInput {
  device: string;
  patient: string;
  /** `open`: without that end. */
  from?: string | undefined;
  to?: string | undefined;
  /** An empty list takes all off. */
  shimmer1?: readonly string[] | undefined;
  shimmer2?: readonly string[] | undefined;
}

export interface SetResult {
  change: EntryPlan["change"];
  entry: DeviceEntry;
  /** Whose wearer, slot or group is another one now. */
  recordings: number;
}

const keptPatient = (cx: MapContext, text: string): string => {
  const patient = canonicalPatient(text);
  return cx.pseudonymKey === null ? patient : pseudonymOf(patient, cx.pseudonymKey);
};

/** Errors: usage. */
export async function setDevice(cx: MapContext, input: SetInput): Promise<SetResult> {
  const { plan, entry, recordings } = await cx.map.set(
    {
      device: canonicalDevice(input.device),
      patient: keptPatient(cx, input.patient),
      ...(input.from !== undefined && { from: boundOf("--from", input.from) }),
      ...(input.to !== undefined && { to: boundOf("--to", input.to) }),
      ...(input.shimmer1 && { shimmer1: [...new Set(input.shimmer1.map(canonicalSensor))] }),
      ...(input.shimmer2 && { shimmer2: [...new Set(input.shimmer2.map(canonicalSensor))] }),
    },
    cx.actor,
  );
  return { change: plan.change, entry, recordings };
}

const boundOf = (flag: string, text: string): Date | null => (text.trim() === "open" ? null : instantOf(flag, text));

/** Errors: usage. */
export function instantOf(flag: string, text: string): Date {
  const at = parseInstant(text);
  if (at) return at;
  throw new UploaderError("usage", `${flag}: ${JSON.stringify(text)} is no date or time`, {
    hint: "like 2026-03-01 or 2026-03-01T08:00:00+01:00; without a zone it is UTC",
  });
}

/** The entry that holds at that time. Errors: device_unknown, usage. */
export async function getDevice(cx: MapContext, text: string, atText: string | undefined): Promise<DeviceEntry> {
  const device = canonicalDevice(text);
  const at = atText === undefined ? cx.now() : instantOf("--at", atText);
  const entries = await cx.map.entries(device);
  const entry = entries.find(({ from, to }) => (from === null || from <= at) && (to === null || at < to));
  if (entry) return entry;
  if (entries.length === 0) throw unknownDevice(device);
  throw new UploaderError("device_unknown", `nobody is known to have worn ${device} at ${at.toISOString()}`, {
    hint: `it has entries for other times: uploader map-device history ${device}`,
  });
}

const unknownDevice = (device: string): UploaderError =>
  new UploaderError("device_unknown", `the map has no device ${device}`, {
    hint: "see: uploader map-device list; for devices of recordings: uploader map-device unmapped",
  });

/** Errors: device_unknown, usage. */
export async function removeDevice(
  cx: MapContext,
  text: string,
  atText: string | undefined,
): Promise<{ removed: DeviceEntry[]; recordings: number }> {
  const device = canonicalDevice(text);
  const at = atText === undefined ? null : instantOf("--at", atText);
  const result = await cx.map.remove(device, at, cx.actor);
  if (result.removed.length === 0) throw unknownDevice(device);
  return result;
}

/** Errors: device_unknown, usage. */
export async function historyOf(cx: MapContext, text: string): Promise<HistoryRow[]> {
  const device = canonicalDevice(text);
  const rows = await cx.map.history(device);
  if (rows.length === 0) throw unknownDevice(device);
  return rows;
}

const pageSize = 5_000;

/** In pages: there may be a million. */
export async function* listDevices(cx: MapContext, at: Date | null): AsyncGenerator<DeviceEntry[]> {
  for (let after: DeviceEntry | null = null; ; ) {
    const page: DeviceEntry[] = await cx.map.page(after, at, pageSize);
    if (page.length > 0) yield page;
    if (page.length < pageSize) return;
    after = page.at(-1)!;
  }
}

/** `read` opens the file anew each time it is called. Errors: usage, naming the file, the line and the column. */
export async function importDevices(
  cx: MapContext,
  name: string,
  read: () => AsyncIterable<string>,
): ReturnType<DeviceMap["importRows"]> {
  async function* rows(): AsyncGenerator<ImportRow[]> {
    for await (const batch of readDeviceFile(read())) {
      yield batch.map((row) => ({ ...row, patient: keptPatient(cx, row.patient) }));
    }
  }
  try {
    return await cx.map.importRows(rows, cx.actor);
  } catch (error) {
    const { code, message, hint } = asUploaderError(error);
    if (code !== "usage") throw error;
    throw new UploaderError("usage", `${name}: ${message}`, { ...(hint && { hint }), cause: error });
  }
}
