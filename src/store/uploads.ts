import type { ChecksumAlgorithm, OpenUpload } from "../core/ports.ts";
import type { Store } from "../core/store.ts";
import { int8Array } from "./arrays.ts";
import type { Run } from "./runner.ts";

/** Parts of files on their way, remembered so that any process can continue them. */
export function uploadMemory(run: Run): Store["uploads"] {
  const findAll = async (fileIds: readonly number[]): Promise<Map<number, OpenUpload>> => {
    const rows = await run<{
      file_id: number;
      upload_id: string;
      key: string;
      part_size_bytes: number;
      size_bytes: number;
      mtime_ns: string;
      checksum_algorithm: ChecksumAlgorithm | null;
      part_number: number | null;
      part_bytes: number;
      etag: string;
      checksum: string | null;
    }>("uploads_find", { fileIds: int8Array(fileIds) });
    const found = new Map<number, OpenUpload>();
    for (const row of rows) {
      const upload = found.get(row.file_id) ?? {
        uploadId: row.upload_id,
        key: row.key,
        partSizeBytes: row.part_size_bytes,
        sizeBytes: row.size_bytes,
        mtimeNs: BigInt(row.mtime_ns),
        checksumAlgorithm: row.checksum_algorithm,
        parts: [],
      };
      found.set(row.file_id, upload);
      if (row.part_number === null) continue;
      const { part_number: partNumber, part_bytes: sizeBytes, etag, checksum } = row;
      upload.parts.push({ partNumber, sizeBytes, etag, checksum });
    }
    return found;
  };
  return {
    findAll,
    find: async (fileId) => (await findAll([fileId])).get(fileId) ?? null,
    async begin(fileId, upload, ageMs = 0) {
      await run("uploads_begin", { fileId, ...upload, mtimeNs: upload.mtimeNs.toString(), ageMs });
    },
    async part(uploadId, part) {
      await run("uploads_part", { uploadId, ...part });
    },
    async end(uploadId, status) {
      await run("uploads_end", { uploadId, status });
    },
  };
}
