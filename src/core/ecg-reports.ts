/** Which file of an ECG program's folder goes where, what waits, and what is left out (design A8). Pure. */
import { createHash } from "node:crypto";
import type { DecidedKey, KnownKey } from "./ecg.ts";
import { dateFolder, stampIn, type Zone } from "./ecg-stamp.ts";
import type { LayoutFile, Waiting } from "./layout.ts";
import type { ObjectType } from "./object-metadata.ts";

type Part = "report" | "twin" | "details" | "data";

const parts: readonly { part: Part; pattern: RegExp; type: ObjectType }[] = [
  { part: "report", pattern: /^ECG_Report_.*\.pdf$/is, type: "ecg_report_pdf" },
  { part: "twin", pattern: /^ECG_Report_.*\.json$/is, type: "ecg_report_json" },
  { part: "details", pattern: /^patient_details_/is, type: "patient_details" },
  { part: "data", pattern: /^ecg_data_/is, type: "ecg_12lead_data" },
];

const partOf = (name: string): (typeof parts)[number] | null => parts.find(({ pattern }) => pattern.test(name)) ?? null;

export const ecgTypeOf = (name: string): ObjectType => partOf(name)?.type ?? "recording";

export const ecgRoot = "ecg-reports";

/** How long a package waits for the rest of it. */
export const packageWaitMs = 10 * 60_000;

export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** What a file may be known by: its own name, or its path where another file has that name. */
export const namesOf = ({ key }: LayoutFile): [name: string, path: string] => [baseName(key), `./${key}`];

export interface ReportsQuestion {
  known: ReadonlyMap<string, KnownKey>;
  /** Unix time, ms, by subject. */
  waits: ReadonlyMap<string, number>;
  dateFrom: "recording" | "upload";
  zone: Zone;
  nowMs: number;
  isSettled(file: LayoutFile): boolean;
}

export interface PlacedReport extends DecidedKey {
  file: LayoutFile;
  path: string;
  type: ObjectType;
}

export interface ReportsPlan {
  placed: PlacedReport[];
  waiting: Waiting[];
  /** Named once: what was left out before is not told again. */
  leftOut: (PlacedReport & { reason: string })[];
  /** Decisions that the memory does not hold yet, or with another path. */
  decided: DecidedKey[];
  /** Waits that begin now. */
  newWaits: string[];
}

interface Item {
  file: LayoutFile;
  name: string;
  fileName: string;
  part: Part | null;
  type: ObjectType;
  stamp: string | null;
  entry: KnownKey | null;
}

type Fate =
  | { fate: "package"; folder: string }
  | { fate: "simple" }
  /** All is there, and some of it is still written. */
  | { fate: "settling" }
  /** `rest`: the report need not wait, as no patient details are there. */
  | { fate: "waiting"; untilMs: number; parts: "all" | "rest" };

const isDecided = ({ entry }: Item): boolean => entry !== null && entry.kind !== "left_out";

export function planReports(files: readonly LayoutFile[], question: ReportsQuestion): ReportsPlan {
  const { zone, dateFrom, nowMs, isSettled } = question;
  const plan: ReportsPlan = { placed: [], waiting: [], leftOut: [], decided: [], newWaits: [] };
  const nowStamp = zone.stampOf(nowMs);

  const decide = (item: Item, key: string, kind: DecidedKey["kind"]): PlacedReport => {
    const { name, file, type, entry } = item;
    const decided: DecidedKey = { name, path: file.path, key, kind };
    if (entry?.path !== file.path || entry.kind !== kind) plan.decided.push(decided);
    return { ...decided, path: file.path, file, type };
  };
  const place = (item: Item, key: string, kind: "simple" | "package") => plan.placed.push(decide(item, key, kind));
  const hold = (item: Item, key: string, reason: string, untilMs: number | null = null) =>
    plan.waiting.push({ ...item.file, key, reason, untilMs });
  const leaveSettled = (item: Item, key: string, reason: string): void => {
    if (item.entry !== null) return;
    if (isSettled(item.file)) plan.leftOut.push({ ...decide(item, key, "left_out"), reason });
    else hold(item, key, "report_settling");
  };
  const placeSettled = (item: Item, key: string, kind: "simple" | "package"): void => {
    if (isSettled(item.file)) place(item, key, kind);
    else hold(item, key, "report_settling");
  };

  const within = (folder: string, { name, fileName, file }: Item): string =>
    name === fileName ? `${folder}/${fileName}` : `${folder}/${pathMark(file.path)}/${fileName}`;
  const simpleKey = (item: Item): string => {
    const own = item.stamp ?? zone.stampOf(Number(item.file.mtimeNs / 1_000_000n));
    return within(`${ecgRoot}/${dateFolder(dateFrom === "upload" ? nowStamp : own)}`, item);
  };
  const folders = packageFolders(question);

  /** What becomes of the files of one stamp that have no key yet. */
  const fateOf = (stamp: string, items: readonly Item[]): Fate => {
    const of = (part: Part) => items.filter((item) => item.part === part);
    const isRested = ({ file }: Item): boolean => isSettled(file);
    const reports = of("report");
    const sent = reports.filter(isDecided);
    const inPackage = sent.find(({ entry }) => entry!.kind === "package");
    if (inPackage) return { fate: "package", folder: folderOf(inPackage.entry!.key, inPackage) };
    // The report has gone by itself, or goes now: the rest comes too late.
    if (sent.length > 0) return { fate: "simple" };
    const [hasDetails, hasData] = [of("details").length > 0, of("data").length > 0];
    if (!hasDetails && (!hasData || (reports.length > 0 && reports.every(isRested)))) return { fate: "simple" };
    if (hasDetails && hasData && reports.length > 0) {
      return items.every(isRested) ? { fate: "package", folder: folders.next(stamp) } : { fate: "settling" };
    }
    const subject = reports.length > 0 ? stamp : `${stamp} without report`;
    const sinceMs = question.waits.get(subject);
    const untilMs = Math.min(sinceMs ?? nowMs, nowMs) + packageWaitMs;
    if (untilMs <= nowMs) return { fate: "simple" };
    if (sinceMs === undefined) plan.newWaits.push(subject);
    return { fate: "waiting", untilMs, parts: hasDetails ? "all" : "rest" };
  };

  const planGroup = (stamp: string, items: readonly Item[]): void => {
    const open = items.filter((item) => !isDecided(item));
    if (open.length === 0) return;
    const fate = fateOf(stamp, items);
    for (const item of open) {
      const isRest = item.part === "details" || item.part === "data";
      const waits = fate.fate === "settling" || (fate.fate === "waiting" && (isRest || fate.parts === "all"));
      if (fate.fate === "package") placeSettled(item, within(fate.folder, item), "package");
      else if (waits && (fate.fate === "settling" || !isSettled(item.file)))
        hold(item, simpleKey(item), "report_settling");
      else if (waits) hold(item, simpleKey(item), "package_incomplete", fate.untilMs);
      else if (isRest) leaveSettled(item, simpleKey(item), "package_incomplete");
      else placeSettled(item, simpleKey(item), "simple");
    }
  };

  const groups = new Map<string, Item[]>();
  for (const item of identify(files, question.known)) {
    if (item.part !== null && item.stamp !== null) {
      const group = groups.get(item.stamp);
      if (group) group.push(item);
      else groups.set(item.stamp, [item]);
    }
    // Settled or not: whether it has changed at all is not known here.
    if (isDecided(item)) place(item, item.entry!.key, item.entry!.kind === "package" ? "package" : "simple");
    else if (item.part === null) leaveSettled(item, simpleKey(item), "not_in_layout");
    else if (item.stamp !== null) continue;
    // Without a stamp nothing says what it belongs to.
    else if (item.part === "report" || item.part === "twin") placeSettled(item, simpleKey(item), "simple");
    else leaveSettled(item, simpleKey(item), "package_incomplete");
  }
  for (const [stamp, items] of groups) planGroup(stamp, items);
  return plan;
}

/** The folder of the package that a sent file lies in. */
function folderOf(key: string, { name, fileName }: Item): string {
  const folder = key.slice(0, key.lastIndexOf("/"));
  return name === fileName ? folder : folder.slice(0, folder.lastIndexOf("/"));
}

/** Folders of packages. By the date of upload, two packages of one second must not share one. */
function packageFolders({ known, dateFrom, nowMs, zone }: ReportsQuestion): { next(stamp: string): string } {
  const of = (stamp: string): string => `${ecgRoot}/${dateFolder(stamp)}/${stamp}`;
  if (dateFrom === "recording") return { next: of };
  const taken = new Set(
    [...known.values()].filter(({ kind }) => kind === "package").map(({ key }) => key.split("/").slice(0, 5).join("/")),
  );
  let atMs = nowMs;
  return {
    next() {
      let folder = of(zone.stampOf(atMs));
      for (; taken.has(folder); folder = of(zone.stampOf(atMs))) atMs += 1000;
      taken.add(folder);
      return folder;
    },
  };
}

/** In a key instead of the folders, whose names may be those of patients. */
const pathMark = (path: string): string => createHash("sha256").update(path).digest("hex").slice(0, 12);

/**
 * Who is who: a name belongs to the file that had it first, and to that file wherever it is moved; another one of that
 * name is known by its path. What a log named has no path yet: the file nearest the root takes it.
 */
function* identify(files: readonly LayoutFile[], known: ReadonlyMap<string, KnownKey>): Generator<Item> {
  const depth = ({ key }: LayoutFile): number => key.split("/").length;
  const sorted = files
    .map((file) => ({ file, depth: depth(file) }))
    .sort((a, b) => a.depth - b.depth || (a.file.path < b.file.path ? -1 : 1));
  const here = new Set(files.map(({ path }) => path));
  const taken = new Set<string>();
  for (const { file } of sorted) {
    const [name, path] = namesOf(file);
    const entry = known.get(name);
    const isOurs = (): boolean => {
      if (taken.has(name) || known.has(path)) return false;
      if (!entry || entry.path === null || entry.path === file.path) return true;
      if (here.has(entry.path)) return false;
      const { object } = entry;
      return object === null || (object.sizeBytes === file.sizeBytes && object.mtimeNs === file.mtimeNs);
    };
    const own = isOurs() ? name : path;
    taken.add(own);
    const found = partOf(name);
    const { part, type } = found ?? { part: null, type: "recording" as const };
    yield { file, name: own, fileName: name, part, type, stamp: stampIn(name), entry: known.get(own) ?? null };
  }
}
