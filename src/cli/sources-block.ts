/** Sources with their ages and alarms, for `status` and for whoever asks the daemon by SIGUSR2. */
import type { SourceState } from "../core/sources.ts";
import { alarmsOf, roughly } from "../operations/sources.ts";
import { bytes, count, name, table } from "./format.ts";

const ago = (seconds: number, at: Date | null): string => (at === null ? "never" : `${roughly(seconds)} ago`);

const holderOf = ({ holderHost, holderPid, intervalSeconds, host }: SourceState): string => {
  if (holderPid !== null) return `process ${holderPid} on ${holderHost}`;
  return intervalSeconds === null ? `single passes on ${host}` : `nobody (last: ${host})`;
};

/** A table, and under it one line for each alarm. Empty without sources. */
export function sourcesText(states: readonly SourceState[], waitingBytes: ReadonlyMap<number, number>): string {
  if (states.length === 0) return "";
  const isOne = new Set(states.map(({ project }) => project)).size === 1;
  const head = ["source", "last upload", "all safe", "last pass", "waiting", "failed", "looked after by"];
  const rows = states.map((state) => [
    name(isOne ? state.name : `${state.project}/${state.name}`),
    ago(state.silentSeconds, state.lastUploadAt),
    ago(state.successAgeSeconds, state.lastSuccessAt),
    ago(state.passAgeSeconds, state.lastPassAt),
    state.filesWaiting === 0 ? "0" : `${count(state.filesWaiting)}, ${bytes(waitingBytes.get(state.id) ?? 0)}`,
    state.filesFailed,
    holderOf(state),
  ]);
  const alarms = states.flatMap((state) => alarmsOf(state).map(({ message }) => `  ! ${name(state.name)}: ${message}`));
  return [table(head, rows), ...alarms].join("\n");
}

/** A row as scripts see it: every column, camelCase. */
export const publicSource = (
  state: SourceState,
  waitingBytes: ReadonlyMap<number, number>,
): Record<string, unknown> => ({
  type: "source",
  ...state,
  bytesWaiting: waitingBytes.get(state.id) ?? 0,
  alarms: alarmsOf(state),
});
