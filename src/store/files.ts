import { priorities } from "../core/layout.ts";
import type { ObjectType } from "../core/object-metadata.ts";
import type { Checksum, ChecksumAlgorithm, Proof } from "../core/ports.ts";
import type { Candidate, ClaimedFile, Ending, KnownObject, NextDue, ObjectFact, Store } from "../core/store.ts";
import { boolArray, byteaArray, int4Array, int8Array, textArray } from "./arrays.ts";
import type { Run } from "./runner.ts";

type FileMethods = Pick<
  Store,
  | "untouched"
  | "judge"
  | "register"
  | "refuse"
  | "renew"
  | "claim"
  | "settle"
  | "releaseOthers"
  | "requeue"
  | "condemn"
  | "nextDue"
  | "known"
>;

type EndingOf<M extends Ending["move"]> = Extract<Ending, { move: M }>;

const facets = (files: readonly Candidate[]) => ({
  keys: textArray(files.map((file) => file.key)),
  sizes: int8Array(files.map((file) => file.sizeBytes)),
  mtimes: int8Array(files.map((file) => file.mtimeNs)),
});

/** A file as statements take it, by position. */
export const columns = (files: readonly Candidate[]) => ({
  paths: textArray(files.map((file) => file.path)),
  ...facets(files),
});

/** What a layout says beside the key; null: the usual, which the statement knows. */
const placed = (files: readonly Candidate[]) => ({
  types: textArray(files.map(({ type }) => (type === "recording" ? null : (type ?? null)))),
  priorities: int4Array(files.map(({ priority }) => (priority === priorities.bulk ? null : (priority ?? null)))),
  bodies: byteaArray(files.map(({ body }) => body ?? null)),
});

const facts = (objects: readonly (ObjectFact | null)[]) => ({
  algorithms: textArray(objects.map((object) => object?.checksum?.algorithm ?? null)),
  types: textArray(objects.map((object) => object?.checksum?.type ?? null)),
  checksums: textArray(objects.map((object) => object?.checksum?.value ?? null)),
  etags: textArray(objects.map((object) => object?.etag ?? null)),
  versions: textArray(objects.map((object) => object?.versionId ?? null)),
  proofs: textArray(objects.map((object) => object?.proof ?? null)),
  ours: boolArray(objects.map((object) => object?.ours ?? false)),
  sizes: int8Array(objects.map((object) => object?.sizeBytes ?? null)),
  mtimes: int8Array(objects.map((object) => object?.mtimeNs ?? null)),
});

/** One statement per move; each returns the ids of the rows that moved. */
const moves: {
  [M in Ending["move"]]: (
    run: Run,
    workerId: number,
    endings: EndingOf<M>[],
    ageMs: number,
  ) => Promise<{ id: number }[]>;
} = {
  async settle(run, _worker, endings, ageMs) {
    const told = {
      ids: int8Array(endings.map((ending) => ending.file.id)),
      requestIds: textArray(endings.map((ending) => ending.requestId)),
      durations: int4Array(endings.map((ending) => ending.durationMs)),
    };
    const moved = await run<{ id: number }>("files_settle", {
      ...told,
      ...facts(endings.map((ending) => ending.object)),
      ageMs,
    });
    if (moved.length === endings.length) return moved;
    return [...moved, ...(await run<{ id: number }>("files_settled", told))];
  },
  skip: (run, workerId, endings) =>
    run("files_skip", {
      workerId,
      ids: int8Array(endings.map((ending) => ending.file.id)),
      reasons: textArray(endings.map((ending) => ending.reason)),
      ...facts(endings.map((ending) => ending.object)),
    }),
  postpone: (run, workerId, endings) =>
    run("files_postpone", {
      workerId,
      ids: int8Array(endings.map((ending) => ending.file.id)),
      attempts: int4Array(endings.map((ending) => ending.file.attempts)),
      codes: textArray(endings.map((ending) => ending.code)),
      messages: textArray(endings.map((ending) => ending.message)),
      delaysMs: int8Array(endings.map((ending) => Math.round(ending.delayMs))),
      requestIds: textArray(endings.map((ending) => ending.requestId)),
      durations: int4Array(endings.map((ending) => ending.durationMs)),
    }),
  revise: (run, workerId, endings) =>
    run("files_revise", {
      workerId,
      ids: int8Array(endings.map((ending) => ending.file.id)),
      looks: int4Array(endings.map((ending) => ending.file.looks)),
      sizes: int8Array(endings.map((ending) => ending.sizeBytes)),
      mtimes: int8Array(endings.map((ending) => ending.mtimeNs)),
      reasons: textArray(endings.map((ending) => ending.reason)),
      delaysMs: int8Array(endings.map((ending) => Math.round(ending.delayMs))),
    }),
  release: (run, workerId, endings) =>
    run("files_release", { workerId, ids: int8Array(endings.map((ending) => ending.file.id)) }),
  give_up: (run, workerId, endings) =>
    run("files_give_up", {
      workerId,
      ids: int8Array(endings.map((ending) => ending.file.id)),
      codes: textArray(endings.map((ending) => ending.code)),
      messages: textArray(endings.map((ending) => ending.message)),
      permanents: boolArray(endings.map((ending) => ending.permanent)),
      requestIds: textArray(endings.map((ending) => ending.requestId)),
      durations: int4Array(endings.map((ending) => ending.durationMs)),
    }),
};

export interface ObjectColumns {
  key: string;
  size_bytes: number;
  mtime_ns: string | null;
  checksum_algorithm: ChecksumAlgorithm | null;
  checksum_type: Checksum["type"] | null;
  checksum: string | null;
  etag: string | null;
  version_id: string | null;
  proof: Proof;
  ours: boolean;
}

export const knownObject = (row: ObjectColumns): KnownObject => ({
  sizeBytes: row.size_bytes,
  mtimeNs: row.mtime_ns === null ? null : BigInt(row.mtime_ns),
  checksum:
    row.checksum === null || row.checksum_algorithm === null
      ? null
      : { algorithm: row.checksum_algorithm, type: row.checksum_type ?? "full", value: row.checksum },
  etag: row.etag,
  versionId: row.version_id,
  proof: row.proof,
  ours: row.ours,
});

export function fileMethods(run: Run): FileMethods {
  return {
    async untouched(sessionId, destinationId, keyStart) {
      // U+10FFFF is above every character that a key may hold.
      const range = { keyStart, keyEnd: `${keyStart}\u{10ffff}` };
      const [row] = await run<{ untouched: boolean }>("files_untouched", { sessionId, destinationId, ...range });
      return row!.untouched;
    },

    async judge(sessionId, destinationId, files) {
      const [row] = await run<{
        safe_files: number;
        safe_bytes: number;
        fresh: number[];
        known: number[];
        renewed: number[];
      }>("files_judge", { sessionId, destinationId, ...facets(files) });
      const at = (positions: number[]) => positions.map((position) => files[position - 1]!);
      return {
        safeFiles: row!.safe_files,
        safeBytes: row!.safe_bytes,
        fresh: at(row!.fresh),
        known: at(row!.known),
        renewed: at(row!.renewed),
      };
    },

    async register(sessionId, destinationId, files, expect) {
      if (files.length === 0) return { registered: 0, busy: [] };
      const scanned = { sessionId, destinationId, ...columns(files), ...placed(files), expect };
      const insert = async (): Promise<number> =>
        (await run<{ registered: number }>("files_register", scanned))[0]!.registered;
      let registered = await insert();
      if (registered === files.length) return { registered, busy: [] };
      const { keys } = scanned;
      // Inserted again whatever it says: its answer may have been lost, and a file that makes no row is never sent.
      await run("files_displace", { destinationId, keys, sessionId });
      registered += await insert();
      const byKey = new Map(files.map((file) => [file.key, file]));
      const holders = await run<{ s3_key: string; session_id: number }>("files_holders", {
        destinationId,
        keys,
        sessionId,
      });
      // A holder may have finished between the two.
      if (registered + holders.length < files.length) registered += await insert();
      return {
        registered,
        busy: holders.map((row) => ({ file: byKey.get(row.s3_key)!, sessionId: row.session_id })),
      };
    },

    async refuse(sessionId, destinationId, files) {
      if (files.length === 0) return;
      await run("files_refuse", {
        sessionId,
        destinationId,
        ...columns(files),
        codes: textArray(files.map((file) => file.code)),
        messages: textArray(files.map((file) => file.message)),
        permanents: boolArray(files.map((file) => file.permanent)),
      });
    },

    async renew(sessionId, destinationId, files) {
      if (files.length === 0) return 0;
      return (await run("files_renew", { sessionId, destinationId, ...columns(files), ...placed(files) })).length;
    },

    async claim(sessionId, workerId, afterId, max, maxLooks) {
      const rows = await run<{
        id: number;
        local_path: string;
        s3_key: string;
        file_size: number;
        mtime_ns: string | null;
        attempts: number;
        expect: ClaimedFile["expect"];
        looks: number;
        derived_from: number | null;
        object_type: ObjectType;
        priority: number;
        body: Buffer | null;
      }>("files_claim", { sessionId, workerId, afterId, max, maxLooks });
      return rows
        .map((row) => ({
          id: row.id,
          path: row.local_path,
          key: row.s3_key,
          sizeBytes: row.file_size,
          mtimeNs: BigInt(row.mtime_ns ?? 0),
          attempts: row.attempts,
          expect: row.expect,
          looks: row.looks,
          derivedFrom: row.derived_from,
          type: row.object_type,
          priority: row.priority,
          body: row.body,
        }))
        .sort((a, b) => a.priority - b.priority || a.id - b.id);
    },

    async settle(workerId, endings, ageMs = 0) {
      const stayed: ClaimedFile[] = [];
      const byMove = new Map<Ending["move"], Ending[]>();
      for (const ending of endings) {
        const group = byMove.get(ending.move);
        if (group) group.push(ending);
        else byMove.set(ending.move, [ending]);
      }
      for (const [move, group] of byMove) {
        const statement = moves[move] as (
          run: Run,
          workerId: number,
          endings: Ending[],
          ageMs: number,
        ) => Promise<{ id: number }[]>;
        const moved = new Set((await statement(run, workerId, group, ageMs)).map((row) => row.id));
        for (const ending of group) if (!moved.has(ending.file.id)) stayed.push(ending.file);
      }
      return stayed;
    },

    async releaseOthers(workerId, keep) {
      const rows = await run("files_release_others", { workerId, keep: int8Array([...keep]) });
      return rows.length;
    },

    requeue: async (sessionId, includePermanent) =>
      (await run("files_requeue", { sessionId, includePermanent })).length,

    condemn: async (sessionId) => (await run("files_condemn", { sessionId })).length,

    async nextDue(sessionId, workerId, maxLooks): Promise<NextDue> {
      const [row] = await run<{ delay_ms: number | null; not_ready: number; elsewhere: number }>("files_next_due", {
        sessionId,
        workerId,
        maxLooks,
      });
      return { delayMs: row!.delay_ms, notReady: row!.not_ready, elsewhere: row!.elsewhere };
    },

    async known(destinationId, keys) {
      const rows = await run<ObjectColumns>("objects_get", { destinationId, keys: textArray(keys) });
      return new Map(rows.map((row) => [row.key, knownObject(row)]));
    },
  };
}
