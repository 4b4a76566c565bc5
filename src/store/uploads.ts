import type { ChecksumAlgorithm, UploadMemory } from "../core/ports.ts";
import type { Run } from "./runner.ts";

/** Parts of files on their way, remembered so that any process can continue them. */
export function uploadMemory(run: Run): UploadMemory {
  return {
    async find(fileId) {
      const rows = await run<{
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
      }>("uploads_find", { fileId });
      const first = rows[0];
      if (!first) return null;
      return {
        uploadId: first.upload_id,
        key: first.key,
        partSizeBytes: first.part_size_bytes,
        sizeBytes: first.size_bytes,
        mtimeNs: BigInt(first.mtime_ns),
        checksumAlgorithm: first.checksum_algorithm,
        parts: rows
          .filter((row) => row.part_number !== null)
          .map((row) => ({
            partNumber: row.part_number!,
            sizeBytes: row.part_bytes,
            etag: row.etag,
            checksum: row.checksum,
          })),
      };
    },
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
