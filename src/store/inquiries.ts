import type {
  AttemptRow,
  ExpectedObject,
  FileHistory,
  Inquiries,
  MultipartRow,
  ObjectHistory,
  OwnUpload,
  Place,
} from "../core/inquiries.ts";
import { int8Array, textArray } from "./arrays.ts";
import { camel } from "./camel.ts";
import { knownObject, type ObjectColumns } from "./files.ts";
import type { Run } from "./runner.ts";

interface ExpectedColumns extends Omit<ObjectColumns, "proof"> {
  path: string | null;
  /** Null: nothing is remembered of this key. */
  proof: ObjectColumns["proof"] | null;
  part_size_bytes: number | null;
}

const expected = (row: ExpectedColumns): ExpectedObject => ({
  key: row.key,
  path: row.path,
  known: row.proof === null ? null : knownObject({ ...row, proof: row.proof }),
  partSizeBytes: row.part_size_bytes,
});

export function inquiryMethods(run: Run): Inquiries {
  return {
    sessionObjects: async (sessionId, afterKey, max) =>
      (await run<ExpectedColumns>("verify_session", { sessionId, afterKey, max })).map(expected),
    otherObjects: async (sessionId, range, max) =>
      (await run<ExpectedColumns>("verify_others", { sessionId, ...range, max })).map(expected),
    forget: async (destinationId, keys) =>
      (await run("verify_forget", { destinationId, keys: textArray(keys) })).length,
    places: async (project, sessionId) => (await run("explain_places", { project, sessionId })).map(camel<Place>),
    histories: async (project, sessionId, keys, max) =>
      (await run("explain_files", { project, sessionId, keys: textArray(keys), max })).map(camel<FileHistory>),
    historiesByPath: async (project, sessionId, paths, max) =>
      (await run("explain_files_by_path", { project, sessionId, paths: textArray(paths), max })).map(
        camel<FileHistory>,
      ),
    attempts: async (fileIds) =>
      (await run("explain_attempts", { fileIds: int8Array(fileIds) })).map(camel<AttemptRow>),
    multiparts: async (destinationId, keys) =>
      (await run("explain_multiparts", { destinationId, keys: textArray(keys) })).map(camel<MultipartRow>),
    objectHistories: async (destinationIds, keys) =>
      (
        await run<ObjectColumns & { destination_id: number; confirmed_at: Date }>("explain_objects", {
          destinationIds: int8Array(destinationIds),
          keys: textArray(keys),
        })
      ).map(
        (row): ObjectHistory => ({
          ...knownObject(row),
          destinationId: row.destination_id,
          key: row.key,
          confirmedAt: row.confirmed_at,
        }),
      ),
    sessionConfig: async (sessionId) =>
      (await run<{ config: unknown }>("explain_config", { sessionId }))[0]?.config ?? null,
    ownUploads: async (uploadIds) =>
      (await run("gc_uploads", { uploadIds: textArray(uploadIds) })).map(camel<OwnUpload>),
  };
}
