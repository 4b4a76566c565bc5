/** The layout `ecg-reports` (design A8, docs/ecg.md): what is planned is remembered before it is told. */
import type { EcgMemory, EcgPlace, KnownKey, KnownUser, UserState } from "../core/ecg.ts";
import { baseName, namesOf, type PlacedReport, planReports } from "../core/ecg-reports.ts";
import { readUsers, type Signup, signupBytes, signupKey } from "../core/ecg-signups.ts";
import type { Zone } from "../core/ecg-stamp.ts";
import { type Layout, type LayoutFile, type Placement, priorities } from "../core/layout.ts";

/** The users file, never sent itself. */
export interface UsersFile {
  /** As rows of sign-ups name it. */
  readonly path: string;
  /** null: there is none, and none was asked for. */
  read(): Promise<{ text: string } | { problem: string } | null>;
}

export interface EcgLayoutOptions {
  /** null: there is no database yet, and nothing may be written. */
  memory: EcgMemory | null;
  /** Nothing is remembered: for a dry run. */
  readOnly: boolean;
  users: UsersFile;
  dateFrom: "recording" | "upload";
  zone: Zone;
}

export function createEcgLayout({ memory, readOnly, users, dateFrom, zone }: EcgLayoutOptions): Layout {
  const mind = readOnly || memory === null ? lookingOnly(memory) : memory;

  async function plan(files: readonly LayoutFile[], question: Parameters<Layout["plan"]>[1]) {
    const { nowMs, isSettled } = question;
    const place: EcgPlace = { destinationId: question.destinationId, prefix: question.prefix };
    const [known, waits, signups] = await Promise.all([
      recall(place, files),
      mind.waits(place),
      planSignups(place, nowMs),
    ]);
    const reports = planReports(files, { known, waits, dateFrom, zone, nowMs, isSettled });
    await mind.wait(place, reports.newWaits, nowMs);
    const stands = await mind.remember(place, reports.decided);
    const adopted = await adopt(place, reports.placed, known);
    const placements = reports.placed.flatMap((report): Placement[] => {
      if (readOnly && adopted.has(report.name)) return [];
      const { key, kind } = stands.get(report.name) ?? report;
      const priority = kind === "package" ? priorities.package : priorities.report;
      const { path, sizeBytes, mtimeNs } = report.file;
      const isBulk = report.type === "recording";
      return [
        { path, sizeBytes, mtimeNs, key, type: report.type, priority: isBulk ? priorities.bulk : priority, body: null },
      ];
    });
    const leftOut = reports.leftOut.map(({ file, key, reason }) => ({ ...file, key, reason }));
    return {
      placements: [...signups.placements, ...placements].sort((a, b) => a.priority - b.priority),
      waiting: reports.waiting,
      leftOut,
      notices: [...signups.notices, ...leftOutNotices(leftOut)],
    };
  }

  /** By name, and by path those whose name may be another file's. */
  async function recall(place: EcgPlace, files: readonly LayoutFile[]): Promise<Map<string, KnownKey>> {
    const names = files.map(namesOf);
    const known = await mind.recall(place, [...new Set(names.map(([name]) => name))]);
    const owners = new Map([...known].map(([name, { path }]) => [name, path]));
    const others = files.flatMap(({ path }, at) => {
      const [name, own] = names[at]!;
      return owners.has(name) && owners.get(name) !== path ? [own] : [];
    });
    for (const [name, key] of await mind.recall(place, others)) known.set(name, key);
    return known;
  }

  /** Files that the older program sent, by its log: from now on the store is known to hold them. */
  async function adopt(place: EcgPlace, placed: readonly PlacedReport[], known: ReadonlyMap<string, KnownKey>) {
    const logged = placed.flatMap(({ name, file: { sizeBytes, mtimeNs } }) => {
      const entry = known.get(name);
      if (!entry || entry.sentAtMs === null || entry.object !== null) return [];
      const isSafe = Number(mtimeNs / 1_000_000n) <= entry.sentAtMs;
      // Of another state nothing is known but that it was ours: no file has its size.
      return [
        { name, isSafe, key: entry.key, ...(isSafe ? { sizeBytes, mtimeNs } : { sizeBytes: -1, mtimeNs: null }) },
      ];
    });
    await mind.adopt(place, logged);
    return new Set(logged.filter(({ isSafe }) => isSafe).map(({ name }) => name));
  }

  async function planSignups(place: EcgPlace, nowMs: number): Promise<{ placements: Placement[]; notices: string[] }> {
    const file = await users.read();
    if (file === null) return { placements: [], notices: [] };
    if ("problem" in file) return { placements: [], notices: [file.problem] };
    const read = readUsers(file.text);
    // It may only be being written: the next look reads it again.
    if (read === null) {
      return { placements: [], notices: [`${users.path} is no JSON object of users: no sign-up is sent`] };
    }
    const states = await mind.users(place, read.signups, nowMs);
    const placements = read.signups.flatMap((signup): Placement[] => {
      const state = states.get(signup.username);
      return state && !state.isSent ? [placementOf(signup, state.firstSeenMs)] : [];
    });
    return { placements, notices: read.problems };
  }

  function placementOf(signup: Signup, firstSeenMs: number): Placement {
    const body = signupBytes(signup, firstSeenMs);
    return {
      path: users.path,
      key: signupKey(signup.username, firstSeenMs, zone),
      sizeBytes: body.length,
      mtimeNs: BigInt(firstSeenMs) * 1_000_000n,
      type: "user_signup",
      priority: priorities.signup,
      body,
    };
  }

  return { takes: "folder", plan };
}

const leftOutWords: Record<string, string> = {
  not_in_layout: "not of the layout ecg-reports",
  package_incomplete: "of a package that is not complete",
};

function leftOutNotices(files: readonly { key: string; reason: string }[]): string[] {
  return Object.entries(leftOutWords).flatMap(([reason, words]) => {
    const some = files.filter((file) => file.reason === reason);
    if (some.length === 0) return [];
    const names = some.slice(0, 3).map(({ key }) => baseName(key));
    const what = some.length === 1 ? "1 file is" : `${some.length} files are`;
    return [`${what} not sent, as ${words} (${names.join(", ")}${some.length > 3 ? " …" : ""})`];
  });
}

/** Answers from the memory, and writes nothing into it. */
function lookingOnly(
  memory: EcgMemory | null,
): Pick<EcgMemory, "recall" | "remember" | "adopt" | "waits" | "wait" | "users"> {
  return {
    // What was left out before is told again.
    recall: async (place, names) =>
      new Map([...((await memory?.recall(place, names)) ?? [])].filter(([, { kind }]) => kind !== "left_out")),
    remember: async () => new Map(),
    adopt: async () => undefined,
    waits: async (place) => (await memory?.waits(place)) ?? new Map(),
    wait: async () => undefined,
    users: async (place, states: readonly UserState[], nowMs) => {
      const known = (await memory?.knownUsers(place, states)) ?? new Map<string, KnownUser>();
      return new Map(
        states.map(({ username }) => [username, known.get(username) ?? { firstSeenMs: nowMs, isSent: false }]),
      );
    },
  };
}
