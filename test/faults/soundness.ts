/** What must hold after any fault, and what must hold when all is done. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { S3Server } from "../support/s3-server/server.ts";

export type Sql = <R = Record<string, unknown>>(text: string, values?: unknown[]) => Promise<R[]>;

/** Sessions whose counters are not what their rows say: none, at any moment. */
export const untrueCounters = (sql: Sql) =>
  sql(`select s.id from :"schema".sync_sessions s
    left join (
      select session_id, count(*) n, sum(file_size) bytes,
        count(*) filter (where status = 'pending') pending, count(*) filter (where status = 'uploading') uploading,
        count(*) filter (where status = 'uploaded') uploaded, count(*) filter (where status = 'failed') failed,
        count(*) filter (where status = 'skipped') skipped,
        coalesce(sum(file_size) filter (where status = 'uploaded'), 0) sent
      from :"schema".file_uploads group by session_id) f on f.session_id = s.id
    where (s.files_registered, s.bytes_registered, s.files_pending, s.files_uploading, s.files_uploaded, s.files_failed,
        s.rows_skipped, s.bytes_uploaded)
      is distinct from (coalesce(n, 0), coalesce(bytes, 0), coalesce(pending, 0), coalesce(uploading, 0),
        coalesce(uploaded, 0), coalesce(failed, 0), coalesce(skipped, 0), coalesce(sent, 0))`);

export interface Place {
  sql: Sql;
  s3: S3Server;
  bucket: string;
  prefix: string;
  /** See `partsSentTwice`. */
  runStarts?: readonly number[];
}

/** Holds at every moment, also right after a kill. */
export async function expectSound({ sql, s3, bucket, runStarts }: Place, when: string): Promise<void> {
  const [tables] = await sql(`select to_regclass(':"schema".sync_sessions') is not null as there`);
  if (!tables?.there) return expect(s3.keys(bucket), when).toEqual([]);
  expect(await untrueCounters(sql), `counters ${when}`).toEqual([]);
  const claimed = await sql<{ s3_key: string; file_size: number }>(
    `select s3_key, file_size from :"schema".file_uploads where status = 'uploaded'`,
  );
  const lies = claimed.filter((row) => s3.object(bucket, row.s3_key)?.sizeBytes !== row.file_size);
  expect(lies, `rows that say uploaded, and are not in the bucket ${when}`).toEqual([]);
  expect(writtenTwice(s3, bucket), `objects written twice ${when}`).toEqual([]);
  expect(partsSentTwice(s3, runStarts), `parts sent twice ${when}`).toEqual([]);
}

export const writtenTwice = (s3: S3Server, bucket: string): string[] =>
  s3.keys(bucket).filter((key) => (s3.object(bucket, key)?.writes ?? 0) > 1);

/**
 * Parts that were sent once more, in the same upload or another, although the store had taken them and said so as far as
 * it knows. With `runStarts`, where in the log runs began: although it had done so in an earlier run. Within one, a program
 * whose deadline ran out before the answer reached it sends again, and a slow test machine may be the reason.
 */
export function partsSentTwice(s3: S3Server, runStarts?: readonly number[]): string[] {
  const finished = new Set<string>();
  const starts = new Set(runStarts);
  const again: string[] = [];
  let taken: string[] = [];
  s3.log.forEach(({ operation, key, partNumber, status, fault }, at) => {
    if (runStarts === undefined || starts.has(at)) {
      for (const part of taken) finished.add(part);
      taken = [];
    }
    if (operation !== "UploadPart") return;
    const part = `${key} part ${partNumber}`;
    if (finished.has(part)) again.push(part);
    if (status === 200 && fault === null) taken.push(part);
  });
  return again;
}

/** The end of a run in which nothing was to fail: bucket, database and disk say the same. */
export async function expectComplete(place: Place, root: string, paths: readonly string[]): Promise<void> {
  const { sql, s3, bucket, prefix } = place;
  await expectSound(place, "at the end");
  const keys = paths.map((path) => `${prefix}/${path}`).sort();
  expect([...s3.keys(bucket)].sort()).toEqual(keys);
  const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  for (const path of paths) {
    expect(s3.object(bucket, `${prefix}/${path}`)?.sha256(), path).toBe(sha256(readFileSync(join(root, path))));
  }
  const rows = await sql<{ s3_key: string; status: string; n: number }>(
    `select s3_key, status, count(*)::int as n from :"schema".file_uploads group by 1, 2`,
  );
  expect(rows.sort((a, b) => (a.s3_key < b.s3_key ? -1 : 1))).toEqual(
    keys.map((s3_key) => ({ s3_key, status: "uploaded", n: 1 })),
  );
  expect(await sql(`select distinct status from :"schema".sync_sessions`)).toEqual([{ status: "completed" }]);
  expect(await sql(`select upload_id from :"schema".multipart_uploads where status = 'open'`)).toEqual([]);
}
