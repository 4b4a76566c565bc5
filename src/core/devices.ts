/** Who wore which device, and when: the rules, and what the map must remember (docs/devices.md). Pure. */
import { createHmac } from "node:crypto";
import type { RecordingFacts, RecordingPlace } from "./decoding.ts";
import { UploaderError } from "./errors.ts";
import type { StoredObject } from "./ports.ts";

/** A device was worn by a patient `from` (inclusive) `to` (exclusive); null: without that end. */
export interface Period {
  from: Date | null;
  to: Date | null;
}

export interface DeviceEntry extends Period {
  id: number;
  device: string;
  patient: string;
  /** Left; one or several sensors. */
  shimmer1: readonly string[];
  /** Right. */
  shimmer2: readonly string[];
  updatedAt: Date;
}

/** Absent fields stay as they are. */
export interface EntryRequest {
  device: string;
  patient: string;
  from?: Date | null;
  to?: Date | null;
  shimmer1?: readonly string[];
  shimmer2?: readonly string[];
}

export type EntryPlan =
  | { change: "added"; entry: Omit<DeviceEntry, "id" | "updatedAt"> }
  | { change: "changed" | "unchanged"; id: number; entry: Omit<DeviceEntry, "id" | "updatedAt"> };

/** One line of an import; null: the file says nothing of it. */
export interface ImportRow extends Period {
  line: number;
  device: string;
  patient: string;
  shimmer1: readonly string[] | null;
  shimmer2: readonly string[] | null;
}

/** A change of an entry, as the audit trail keeps it: what stood after it, or before a removal. */
export interface HistoryRow extends Period {
  changedAt: Date;
  changedBy: string;
  change: "added" | "changed" | "removed";
  entryId: number;
  device: string;
  patient: string;
  shimmer1: readonly string[];
  shimmer2: readonly string[];
}

/** A device that recordings name and the map does not, at their time. */
export interface UnmappedDevice {
  /** What to map: the phone, else the MAC. */
  device: string;
  deviceMac: string | null;
  sensor: string | null;
  recordings: number;
  firstStartedAt: Date | null;
  lastStartedAt: Date | null;
  /** Recordings that know no time: only an entry without ends can hold for them. */
  undated: number;
}

/** The map. Every change says how many recordings have another patient, slot or group because of it. */
export interface DeviceMap {
  /** Errors: usage, for a period that would overlap another one or is not clear. */
  set(request: EntryRequest, actor: string): Promise<{ plan: EntryPlan; entry: DeviceEntry; recordings: number }>;
  /** Those of the device, oldest first. */
  entries(device: string): Promise<DeviceEntry[]>;
  /** In the order of devices and time; `at`: only those that hold then. */
  page(after: DeviceEntry | null, at: Date | null, max: number): Promise<DeviceEntry[]>;
  remove(device: string, at: Date | null, actor: string): Promise<{ removed: DeviceEntry[]; recordings: number }>;
  history(device: string): Promise<HistoryRow[]>;
  /** All or nothing. `rows` is asked again when the database was lost meanwhile. Errors: usage, naming the line. */
  importRows(
    rows: () => AsyncIterable<readonly ImportRow[]>,
    actor: string,
  ): Promise<{ added: number; changed: number; unchanged: number; recordings: number }>;
  unmapped(): Promise<UnmappedDevice[]>;
  /** Whether any recording has been decoded. */
  hasRecordings(): Promise<boolean>;
}

/** A recording whose summary or tags in the store do not say what the database says. */
export interface DueRecording {
  id: number;
  destinationId: number;
  key: string;
  /** Of the files made of it. */
  madeKeys: readonly string[];
  patient: string | null;
  device: string | null;
  slot: 1 | 2 | null;
  groupId: string | null;
  /** Of the last telling, opaque: another one since then makes ours void. */
  seen: string;
  summaryDue: boolean;
  tagsDue: boolean;
  /** The rest of the row, ready for JSON. */
  facts: Record<string, unknown>;
}

export interface ToldRecording {
  recording: DueRecording;
  /** What was put; `impossible`: no key for it can be, and nothing is due any more; null: it was not due. */
  summary: { key: string; sizeBytes: number; object: StoredObject } | "impossible" | null;
  /** The tags were set, to the patient if `tags`, else to none. */
  tagged: boolean;
  tags: boolean;
}

/** What the database remembers of telling the store. */
export interface RecordingTelling {
  dueRecordings(destinationId: number, tags: boolean, afterId: number, max: number): Promise<DueRecording[]>;
  /** Destinations that are behind. */
  destinationsBehind(tags: boolean): Promise<{ id: number; identity: string; recordings: number }[]>;
  /** False: somebody else told it meanwhile, so nobody knows which of the two the store holds; it stays due. */
  recordingTold(told: ToldRecording): Promise<boolean>;
  pairs(sessionId: number): Promise<PairedRecording[]>;
}

export interface PairedRecording {
  groupId: string | null;
  patient: string | null;
  device: string | null;
  slot: 1 | 2 | null;
  sensor: string | null;
  startedAt: Date | null;
  key: string;
}

/** What a destination can do where objects carry tags. */
export interface ObjectTags {
  /**
   * Sets one tag and leaves the others, or takes it off (null). "refused": not permitted, or this store has no tags.
   * "full": ten others are there already.
   */
  tag(
    key: string,
    name: string,
    value: string | null,
    signal: AbortSignal,
  ): Promise<"tagged" | "refused" | "full" | "absent">;
}

const mac = /^(?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}$/i;
const shimmer = /^shimmer_([0-9a-f]{4})(?:-\d{3,})?$/i;
/** Also what bytes that are no UTF-8 are read as: two names in Latin-1 would become one. */
const unprintable = /[\p{Cc}\p{Cs}\ufffd]/u;

/**
 * One way to write a device: a MAC as `00:06:66:12:AB:CD`, a sensor as `Shimmer_ABCD`, a phone's ANDROID_ID (16 hex
 * digits) in lower case, anything else as it is. null: no name at all.
 */
function spelled(text: string): string | null {
  const name = text.trim().normalize("NFC");
  if (name === "" || name.length > 200 || unprintable.test(name)) return null;
  if (mac.test(name)) return name.replace(/[:-]/g, "").toUpperCase().match(/../g)!.join(":");
  const sensor = shimmer.exec(name);
  if (sensor) return `Shimmer_${sensor[1]!.toUpperCase()}`;
  return /^[0-9a-f]{16}$/i.test(name) ? name.toLowerCase() : name;
}

/** Errors: usage; the message never quotes it, for a patient may stand in its place by mistake. */
export function canonicalDevice(text: string): string {
  const name = spelled(text);
  if (name !== null) return name;
  throw new UploaderError("usage", "what is given is no device", {
    hint: "a device is the id of a phone, the MAC or the name of a sensor (Shimmer_DDD6), or a serial number",
  });
}

/** As devices; four hex digits are those on a Shimmer's label. Errors: usage. */
export const canonicalSensor = (text: string): string =>
  canonicalDevice(/^[0-9a-f]{4}$/i.test(text.trim()) ? `Shimmer_${text.trim()}` : text);

/** Several with commas, semicolons or bars between; an empty text is none. Errors: usage. */
export const sensorList = (text: string): string[] => [
  ...new Set(
    text
      .split(/[,;|]/)
      .filter((each) => each.trim() !== "")
      .map(canonicalSensor),
  ),
];

/** Trimmed, in NFC. Errors: usage; the message never quotes it. */
export function canonicalPatient(text: string): string {
  const patient = text.trim().normalize("NFC");
  if (patient !== "" && patient.length <= 256 && !unprintable.test(patient)) return patient;
  throw new UploaderError(
    "usage",
    "the patient's identifier is empty, longer than 256 characters, not printable, or not UTF-8",
  );
}

const pseudonym = /^pn_[0-9a-f]{32}$/;

/**
 * `pn_` and the first 16 bytes of HMAC-SHA-256 over the identifier in UTF-8, in hex: whoever has the key can make it
 * again, nobody can turn it back. What is one already stays.
 */
export function pseudonymOf(patient: string, key: string): string {
  if (pseudonym.test(patient)) return patient;
  return `pn_${createHmac("sha256", key).update(patient).digest("hex").slice(0, 32)}`;
}

/**
 * What the map may know a recording's device by, surest first: its MAC, what the file's name says (the phone, the
 * sensor), its serial number. A sensor named by the file that the MAC denies (`__wrong.txt`) is another one.
 */
export function deviceNamesOf(
  facts: Pick<RecordingFacts, "deviceMac" | "deviceName">,
  place: RecordingPlace,
): string[] {
  const lastFour = facts.deviceMac.replaceAll(":", "").slice(-4).toUpperCase();
  const own = `Shimmer_${lastFour}`;
  const named = spelled(place.shimmerDevice ?? "");
  const isOther = named !== null && shimmer.test(named) && named !== own;
  const names = [facts.deviceMac, place.phone, isOther ? null : named, own, facts.deviceName, lastFour];
  return [...new Set(names.map((name) => spelled(name ?? "")).filter((name) => name !== null))];
}

const same = (a: Date | null, b: Date | null): boolean => a?.getTime() === b?.getTime();
const startOf = ({ from }: Period): number => from?.getTime() ?? Number.NEGATIVE_INFINITY;
const endOf = ({ to }: Period): number => to?.getTime() ?? Number.POSITIVE_INFINITY;
export const overlap = (a: Period, b: Period): boolean => startOf(a) < endOf(b) && startOf(b) < endOf(a);

const second = (at: Date): string => at.toISOString().replace(/\.000Z$/, "Z");
export const periodText = ({ from, to }: Period): string =>
  from === null && to === null
    ? "always"
    : [from && `from ${second(from)}`, to ? `to ${second(to)}` : "on"].filter(Boolean).join(" ");

/**
 * What a request changes, given the device's entries:
 * 1. neither end given: the device's only entry, else the only one of this patient;
 * 2. an entry with exactly the ends given: it is corrected;
 * 3. one of this patient within the time given: its ends move;
 * 4. else a new entry.
 * Nothing may overlap afterwards. Errors: usage; messages name periods, never patients.
 */
export function planEntry(entries: readonly DeviceEntry[], request: EntryRequest): EntryPlan {
  const { device, patient, from, to } = request;
  const standing = entryMeant(entries, request);
  const entry = {
    device,
    patient,
    from: from === undefined ? (standing?.from ?? null) : from,
    to: to === undefined ? (standing?.to ?? null) : to,
    shimmer1: request.shimmer1 ?? standing?.shimmer1 ?? [],
    shimmer2: request.shimmer2 ?? standing?.shimmer2 ?? [],
  };
  assertEntry(entry);
  const other = entries.find((each) => each !== standing && overlap(each, entry));
  if (other) {
    throw new UploaderError(
      "usage",
      `${device}: the period asked for (${periodText(entry)}) overlaps entry ${other.id} (${periodText(other)})`,
      { hint: `end the earlier one first: uploader map-device set ${device} <its patient> --to <time>` },
    );
  }
  if (standing === null) return { change: "added", entry };
  const isSame =
    standing.patient === patient &&
    same(standing.from, entry.from) &&
    same(standing.to, entry.to) &&
    String(standing.shimmer1) === String(entry.shimmer1) &&
    String(standing.shimmer2) === String(entry.shimmer2);
  return { change: isSame ? "unchanged" : "changed", id: standing.id, entry };
}

function entryMeant(entries: readonly DeviceEntry[], { device, patient, from, to }: EntryRequest): DeviceEntry | null {
  const ofPatient = entries.filter((entry) => entry.patient === patient);
  const hasFrom = from !== undefined;
  const hasTo = to !== undefined;
  if (!hasFrom && !hasTo) {
    if (entries.length <= 1) return entries[0] ?? null;
    if (ofPatient.length === 1) return ofPatient[0]!;
    throw unclear(device, entries);
  }
  const exact = entries.filter((entry) => (!hasFrom || same(entry.from, from)) && (!hasTo || same(entry.to, to)));
  if (exact.length === 1) return exact[0]!;
  const meant = ofPatient.filter((entry) => overlap(entry, { from: from ?? null, to: to ?? null }));
  if (meant.length > 1) throw unclear(device, meant);
  return meant[0] ?? null;
}

const unclear = (device: string, entries: readonly DeviceEntry[]): UploaderError =>
  new UploaderError(
    "usage",
    `${device} has several entries: ${entries.map((entry) => `${entry.id} (${periodText(entry)})`).join(", ")}`,
    { hint: "say which one is meant by its --from and --to; `open` stands for no end" },
  );

/** Errors: usage. */
export function assertEntry(entry: Period & Pick<EntryRequest, "shimmer1" | "shimmer2">): void {
  if (startOf(entry) >= endOf(entry)) {
    throw new UploaderError("usage", `the period ${periodText(entry)} ends before it begins`);
  }
  const both = entry.shimmer1?.find((sensor) => entry.shimmer2?.includes(sensor));
  if (both !== undefined) {
    throw new UploaderError("usage", `the sensor ${both} cannot be shimmer1 (left) and shimmer2 (right) at once`);
  }
}

/**
 * ISO 8601, of a date or a time; without a zone it is UTC. null when it is none, does not exist (30 February), or is
 * outside the years 1 to 9999, which is what a database reads in this form.
 */
export function parseInstant(text: string): Date | null {
  const [, date, time = "00:00", zone = "Z"] =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?))?(Z|[+-]\d\d:?\d\d)?$/i.exec(text.trim()) ?? [];
  if (date === undefined) return null;
  const day = new Date(`${date}T00:00Z`);
  if (Number.isNaN(day.getTime()) || day.toISOString().slice(0, 10) !== date) return null;
  const at = new Date(`${date}T${time}${zone.toUpperCase().replace(/^(.\d\d)(\d\d)$/, "$1:$2")}`);
  return at.getUTCFullYear() >= 1 && at.getUTCFullYear() <= 9999 ? at : null;
}

/** S3 user guide, "Object tagging": letters, digits, blanks and `+ - = . _ : / @`, at most 256 characters. */
export const fitsTag = (value: string): boolean => /^[\p{L}\p{N}\p{Zs}+\-=._:/@]{1,256}$/u.test(value);
