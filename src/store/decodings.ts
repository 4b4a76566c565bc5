import type { DecodingMemory, RecordingFacts } from "../core/decoding.ts";
import { deviceNamesOf } from "../core/devices.ts";
import type { ClaimedFile } from "../core/store.ts";
import { int8Array, textArray } from "./arrays.ts";
import type { Database } from "./database.ts";
import { attributeDecoded } from "./devices.ts";
import type { Run } from "./runner.ts";

/** The columns of a recording that could not be decoded. */
const nothing: Record<keyof RecordingFacts, null> = {
  deviceName: null,
  deviceMac: null,
  model: null,
  firmware: null,
  samplingRateHz: null,
  channels: null,
  startedAt: null,
  endedAt: null,
  durationSeconds: null,
  samples: null,
  gaps: null,
  oddTicks: null,
  batteryMinMv: null,
  batteryMaxMv: null,
  accelWrMean: null,
  accelWrMax: null,
  accelWrRange: null,
};

interface DerivedColumns {
  key: string;
  /** null: nothing was registered. */
  id: number | null;
  local_path: string;
  file_size: number;
  mtime_ns: string | null;
  expect: ClaimedFile["expect"];
  derived_from: number;
  claimed: boolean;
  standing: boolean;
  taken: boolean;
}

export function decodingMethods(database: Database, run: Run): DecodingMemory {
  const derive = (
    sourceId: number,
    workerId: number,
    files: readonly { key: string; sizeBytes: number }[],
  ): Promise<DerivedColumns[]> =>
    run("files_derive", {
      sourceId,
      workerId,
      keys: textArray(files.map(({ key }) => key)),
      sizes: int8Array(files.map(({ sizeBytes }) => sizeBytes)),
    });

  return {
    async derive(sourceId, workerId, files) {
      const rows = await derive(sourceId, workerId, files);
      // Somebody registered it in the same moment: what he made of it can be seen now.
      const missed = new Set(rows.filter((row) => row.id === null && !row.standing).map((row) => row.key));
      if (missed.size > 0) {
        rows.push(
          ...(await derive(
            sourceId,
            workerId,
            files.filter(({ key }) => missed.has(key)),
          )),
        );
      }
      return {
        claimed: rows
          .filter((row) => row.claimed)
          .map((row) => ({
            id: row.id!,
            path: row.local_path,
            key: row.key,
            sizeBytes: row.file_size,
            mtimeNs: BigInt(row.mtime_ns ?? 0),
            attempts: 0,
            expect: row.expect,
            looks: 0,
            derivedFrom: row.derived_from,
          })),
        taken: rows.filter((row) => row.taken).map((row) => row.key),
      };
    },

    async rememberDecoding(sourceId, { settings, place, ...outcome }) {
      const facts = "facts" in outcome ? { ...outcome.facts, channels: textArray(outcome.facts.channels) } : nothing;
      const error = "error" in outcome ? outcome.error : { code: null, message: null };
      const row = {
        sourceId,
        settings,
        status: "facts" in outcome ? "decoded" : "undecodable",
        errorCode: error.code,
        errorMessage: error.message,
        ...place,
        ...facts,
      };
      if (!("facts" in outcome)) {
        await run("decoded_remember", row);
        return;
      }
      const { madeKeys } = outcome;
      const names = deviceNamesOf(outcome.facts, place);
      await database.transaction(async (query) => {
        await run("decoded_remember", row, query);
        await attributeDecoded(run, query, { fileId: sourceId, names, madeKeys });
      });
    },

    decodingSettings: async (sourceId) =>
      (await run<{ settings: string }>("decoded_settings", { sourceId }))[0]?.settings ?? null,

    async undecoded(sessionId, destinationId, files, settings) {
      if (files.length === 0) return [];
      const rows = await run<{ n: number }>("decoded_wanting", {
        sessionId,
        destinationId,
        keys: textArray(files.map(({ key }) => key)),
        sizes: int8Array(files.map(({ sizeBytes }) => sizeBytes)),
        mtimes: int8Array(files.map(({ mtimeNs }) => mtimeNs)),
        settings,
      });
      return rows.map(({ n }) => files[n - 1]!);
    },

    undecodable: async (sessionId) => (await run<{ files: number }>("decoded_undecodable", { sessionId }))[0]!.files,
  };
}
