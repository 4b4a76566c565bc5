import {
  type DeviceEntry,
  type DeviceMap,
  type DueRecording,
  type HistoryRow,
  type ImportRow,
  type PairedRecording,
  type Period,
  periodText,
  planEntry,
  type RecordingTelling,
  type UnmappedDevice,
} from "../core/devices.ts";
import { UploaderError } from "../core/errors.ts";
import { groupIdOf, groupPairs } from "../core/pairs.ts";
import { int4Array, int8Array, textArray } from "./arrays.ts";
import type { Database, Query, Row } from "./database.ts";
import { createRunner, type Run } from "./runner.ts";
import { camel } from "./sessions.ts";
import { loadStatements } from "./statements.ts";

interface Attributed {
  id: number;
  destination_id: number;
  was: string | null;
  patient: string | null;
  phone: string;
  started_at: Date | null;
}

interface RunMember {
  id: number;
  started_at: Date;
  slot: 1 | 2;
  group_id: string | null;
  run: string;
}

/** Above so many, whole patients are looked at instead of the time around each recording. */
const seedsAtMost = 500;

const isoOf = (at: Date | null): string | null => at?.toISOString() ?? null;

/**
 * Gives recordings the patient, slot and group that the map has for them, and says how many that changed. Within a
 * transaction that holds the map's lock: a recording decoded at this moment, and a change of the map, see each other.
 */
async function attribute(
  run: Run,
  query: Query,
  of: { ids: readonly number[] | null; devices: readonly string[] | null },
): Promise<number> {
  const changed = await run<Attributed>(
    "recordings_attribute",
    { ids: of.ids && int8Array(of.ids), devices: of.devices && textArray(of.devices) },
    query,
  );
  const seeds = changed.flatMap(({ destination_id, was, patient, phone, started_at }) =>
    [was, patient].flatMap((each) =>
      each === null || started_at === null
        ? []
        : [{ destination: destination_id, patient: each, phone, at: started_at }],
    ),
  );
  const regrouped = await regroup(run, query, seeds);
  return new Set([...changed.map(({ id }) => id), ...regrouped]).size;
}

interface Seed {
  destination: number;
  patient: string;
  phone: string;
  at: Date;
}

async function regroup(run: Run, query: Query, seeds: readonly Seed[]): Promise<number[]> {
  if (seeds.length === 0) return [];
  const isMany = seeds.length > seedsAtMost;
  const members = await run<RunMember>(
    "recordings_runs",
    {
      destinationIds: int8Array(seeds.map(({ destination }) => destination)),
      patients: textArray(seeds.map(({ patient }) => patient)),
      phones: textArray(seeds.map(({ phone }) => phone)),
      times: seeds.map(({ at }) => (isMany ? null : at.toISOString())),
    },
    query,
  );
  const runs = new Map<string, RunMember[]>();
  for (const member of members) {
    const known = runs.get(member.run);
    if (known) known.push(member);
    else runs.set(member.run, [member]);
  }
  const groups = [...runs.values()].flatMap((inRun) =>
    groupPairs(inRun.map((member) => ({ ...member, startedAtMs: member.started_at.getTime() }))),
  );
  const moved = groups.flatMap((group) =>
    group.flatMap(({ id, group_id }) => (group_id === groupIdOf(group) ? [] : [{ id, groupId: groupIdOf(group) }])),
  );
  if (moved.length === 0) return [];
  const ids = await run<{ id: number }>(
    "recordings_group",
    { ids: int8Array(moved.map(({ id }) => id)), groups: textArray(moved.map(({ groupId }) => groupId)) },
    query,
  );
  return ids.map(({ id }) => id);
}

/** What the map says of a recording that has just been decoded; within the transaction that remembers it. */
export async function attributeDecoded(
  run: Run,
  query: Query,
  recording: { fileId: number; names: readonly string[]; madeKeys: readonly string[] },
): Promise<void> {
  await run("devices_lock", {}, query);
  const { fileId, names, madeKeys } = recording;
  const rows = await run<{ id: number }>(
    "recordings_names",
    { fileId, names: textArray(names), madeKeys: textArray(madeKeys) },
    query,
  );
  await attribute(run, query, { ids: rows.map(({ id }) => id), devices: null });
}

export function openDeviceMap(database: Database, schema: string): DeviceMap {
  const run = createRunner(database, loadStatements(schema));

  const change = <T>(actor: string, work: (query: Query) => Promise<T>): Promise<T> =>
    database.transaction(async (query) => {
      await run("devices_actor", { actor }, query);
      await run("devices_lock", {}, query);
      return work(query);
    });
  const entriesOf = async (device: string, query?: Query): Promise<DeviceEntry[]> =>
    (await run("devices_entries", { device }, query)).map(camel<DeviceEntry>);

  return {
    entries: (device) => entriesOf(device),

    set: (request, actor) =>
      change(actor, async (query) => {
        const plan = planEntry(await entriesOf(request.device, query), request);
        const { entry } = plan;
        const values = {
          device: entry.device,
          patient: entry.patient,
          shimmer1: textArray(entry.shimmer1),
          shimmer2: textArray(entry.shimmer2),
          from: isoOf(entry.from),
          to: isoOf(entry.to),
        };
        const id =
          plan.change === "added" ? (await run<{ id: number }>("devices_insert", values, query))[0]!.id : plan.id;
        if (plan.change === "changed") await run("devices_update", { id, ...values }, query);
        const recordings =
          plan.change === "unchanged" ? 0 : await attribute(run, query, { ids: null, devices: [request.device] });
        const stands = (await entriesOf(request.device, query)).find((each) => each.id === id)!;
        return { plan, entry: stands, recordings };
      }),

    page: async (after, at, max) =>
      (
        await run("devices_page", {
          afterDevice: after?.device ?? null,
          afterId: after?.id ?? null,
          at: isoOf(at),
          max,
        })
      ).map(camel<DeviceEntry>),

    remove: (device, at, actor) =>
      change(actor, async (query) => {
        const removed = (await entriesOf(device, query)).filter((entry) => at === null || holdsAt(entry, at));
        if (removed.length === 0) return { removed, recordings: 0 };
        await run("devices_delete", { ids: int8Array(removed.map(({ id }) => id)) }, query);
        return { removed, recordings: await attribute(run, query, { ids: null, devices: [device] }) };
      }),

    history: async (device) => (await run("devices_history", { device })).map(camel<HistoryRow>),

    importRows: (rows, actor) =>
      change(actor, async (query) => {
        await run("devices_stage", {}, query);
        for await (const batch of rows()) await run("devices_stage_add", staged(batch), query);
        await run("devices_stage_ready", {}, query);
        await refuseClashes(run, query);
        const [merged] = await run<{ added: number; changed: number; rows: number }>("devices_stage_merge", {}, query);
        const { added, changed, rows: all } = merged!;
        const recordings = added + changed === 0 ? 0 : await attribute(run, query, { ids: null, devices: null });
        return { added, changed, unchanged: all - added - changed, recordings };
      }),

    hasRecordings: async () => (await run<{ are_any: boolean }>("recordings_any", {}))[0]!.are_any,

    unmapped: async () => (await run("devices_unmapped", {})).map(camel<UnmappedDevice>),
  };
}

const holdsAt = ({ from, to }: Period, at: Date): boolean => (from === null || from <= at) && (to === null || at < to);

const staged = (rows: readonly ImportRow[]) => ({
  lines: int4Array(rows.map(({ line }) => line)),
  devices: textArray(rows.map(({ device }) => device)),
  patients: textArray(rows.map(({ patient }) => patient)),
  shimmer1: textArray(rows.map(({ shimmer1 }) => shimmer1?.join(",") ?? null)),
  shimmer2: textArray(rows.map(({ shimmer2 }) => shimmer2?.join(",") ?? null)),
  froms: textArray(rows.map(({ from }) => isoOf(from))),
  tos: textArray(rows.map(({ to }) => isoOf(to))),
});

interface ClashColumns {
  line: number;
  other: number;
  entry_id: number;
  device: string;
  from: Date | null;
  to: Date | null;
  other_from: Date | null;
  other_to: Date | null;
}

async function refuseClashes(run: Run, query: Query): Promise<void> {
  const refuse = (clash: ClashColumns, other: string, verb: string): never => {
    const theirs = periodText({ from: clash.other_from, to: clash.other_to });
    const what = `${clash.device}, ${periodText(clash)}, ${verb} ${other} (${theirs})`;
    throw new UploaderError("usage", `line ${clash.line}, columns "from" and "to": ${what}`, {
      hint: "nothing was imported; end one of the two before the other begins",
    });
  };
  const [within] = await run<ClashColumns>("devices_stage_clash", {}, query);
  if (within) {
    const isSame = periodText(within) === periodText({ from: within.other_from, to: within.other_to });
    refuse(within, `line ${within.other}`, isSame ? "is there twice: see" : "overlaps");
  }
  const [standing] = await run<ClashColumns>("devices_stage_overlap", {}, query);
  if (standing) refuse(standing, `entry ${standing.entry_id}`, "overlaps");
  const [sided] = await run<{ line: number }>("devices_stage_sensors", {}, query);
  if (sided) {
    throw new UploaderError(
      "usage",
      `line ${sided.line}, columns "shimmer1" and "shimmer2": one sensor would be both`,
      {
        hint: "nothing was imported; name both sensors in the file",
      },
    );
  }
}

interface DueColumns extends Row {
  id: number;
  destination_id: number;
  key: string;
  made_keys: string[];
  patient: string | null;
  device: string | null;
  slot: 1 | 2 | null;
  group_id: string | null;
  seen: string;
  summary_due: boolean;
  tags_due: boolean;
}

/** Columns of a recording that its summary shows, in this order. */
const shown = [
  "key",
  "patient",
  "device",
  "slot",
  "group_id",
  "phone",
  "experiment",
  "shimmer_device",
  "shimmer_day",
  "part",
  "device_name",
  "device_mac",
  "model",
  "firmware",
  "sampling_rate_hz",
  "channels",
  "started_at",
  "ended_at",
  "duration_s",
  "samples",
  "gaps",
  "odd_ticks",
  "battery_min_mv",
  "battery_max_mv",
  "accel_wr_mean",
  "accel_wr_max",
  "accel_wr_range",
] as const;

export function tellingMethods(database: Database, run: Run): RecordingTelling {
  return {
    dueRecordings: async (destinationId, tags, afterId, max) =>
      (await run<DueColumns>("recordings_due", { destinationId, tags, afterId, max })).map(
        (row): DueRecording => ({
          id: row.id,
          destinationId: row.destination_id,
          key: row.key,
          madeKeys: row.made_keys,
          patient: row.patient,
          device: row.device,
          slot: row.slot,
          groupId: row.group_id,
          seen: row.seen,
          summaryDue: row.summary_due,
          tagsDue: row.tags_due,
          facts: camel(Object.fromEntries(shown.map((column) => [column, row[column]]))),
        }),
      ),

    destinationsBehind: (tags) => run("recordings_behind", { tags }),

    recordingTold: ({ recording, summary, tagged, tags }) =>
      database.transaction(async (query) => {
        const { id, destinationId, seen, patient, device, slot, groupId } = recording;
        if (summary && summary !== "impossible") {
          const { key, sizeBytes, object } = summary;
          const { checksum, etag, versionId, proof } = object;
          await run(
            "objects_note",
            {
              destinationId,
              key,
              sizeBytes,
              checksumAlgorithm: checksum?.algorithm ?? null,
              checksumType: checksum?.type ?? null,
              checksum: checksum?.value ?? null,
              etag,
              versionId,
              proof,
            },
            query,
          );
        }
        const told = await run<{ id: number }>(
          "recordings_told",
          {
            id,
            seen,
            hasSummary: summary !== null,
            patient,
            device,
            slot,
            groupId,
            hasTags: tagged,
            tagged: tags ? patient : null,
          },
          query,
        );
        if (told.length === 0) await run("recordings_untold", { id, hasTags: tagged }, query);
        return told.length > 0;
      }),

    pairs: async (sessionId) => (await run("recordings_pairs", { sessionId })).map(camel<PairedRecording>),
  };
}
