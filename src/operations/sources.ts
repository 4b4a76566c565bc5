/** Silence alarms: what is wrong with a source, in one sentence each, wherever it is asked (design A9, issue 5). */
import type { SourceState } from "../core/sources.ts";

export const alarmKinds = ["silent", "unattended", "failing"] as const;
export type AlarmKind = (typeof alarmKinds)[number];

export interface Alarm {
  kind: AlarmKind;
  message: string;
}

const units: readonly (readonly [seconds: number, name: string])[] = [
  [86_400, "days"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** One number in the largest unit that makes it at least two: `26 h`, `15 min`. */
export function roughly(seconds: number): string {
  const [unit, name] = units.find(([unit]) => seconds >= 2 * unit) ?? units.at(-1)!;
  return `${Math.round(seconds / unit)} ${name}`;
}

const sentences: Record<AlarmKind, (state: SourceState) => string> = {
  silent(state) {
    const { lastUploadAt, silentSeconds, expectEverySeconds, usualSeconds } = state;
    const usual =
      expectEverySeconds !== null
        ? `expected every ${roughly(expectEverySeconds)}`
        : `usually every ${roughly(usualSeconds ?? 0)}`;
    return `nothing ${lastUploadAt === null ? "ever, watched " : ""}for ${roughly(silentSeconds)}, ${usual}`;
  },
  unattended: ({ passAgeSeconds, intervalSeconds, host }) =>
    `nobody has looked for ${roughly(passAgeSeconds)}, expected every ${roughly(intervalSeconds ?? 0)} (last: ${host})`,
  failing: ({ errorCode, failingSince, lastPassAt }) =>
    `fails (${errorCode}) for ${roughly((lastPassAt.getTime() - (failingSince ?? lastPassAt).getTime()) / 1000)}`,
};

/** Which alarms hold is the database's answer; here they get their words. */
export const alarmsOf = (state: SourceState): Alarm[] =>
  alarmKinds.filter((kind) => state[kind]).map((kind) => ({ kind, message: sentences[kind](state) }));

export interface AlarmWatch {
  /** The sentences to tell now: alarms that began, and those that are over. */
  look(states: readonly SourceState[]): { message: string; began: boolean }[];
}

/** An alarm is told when it begins and when it is over, however often one looks. */
export function watchAlarms(): AlarmWatch {
  const told = new Set<string>();
  return {
    look: (states) =>
      states.flatMap((state) => {
        const alarms = alarmsOf(state);
        return alarmKinds.flatMap((kind): { message: string; began: boolean }[] => {
          const id = `${state.id} ${kind}`;
          const alarm = alarms.find((each) => each.kind === kind);
          if ((alarm !== undefined) === told.has(id)) return [];
          if (alarm) {
            told.add(id);
            return [{ message: `source ${state.name}: ${alarm.message}`, began: true }];
          }
          told.delete(id);
          return [{ message: `source ${state.name}: ${endings[kind]}`, began: false }];
        });
      }),
  };
}

const endings: Record<AlarmKind, string> = {
  silent: "files arrive again",
  unattended: "it is watched again",
  failing: "passes come through again",
};
