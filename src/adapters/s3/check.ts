/** What can be known about the bucket without writing: reachability, credentials, region, clock, permissions. */

import type { DestinationReport } from "../../core/ports.ts";
import { listObjects } from "./calls.ts";
import type { Client } from "./client.ts";

/** Worth a notice; the store refuses requests from 15 minutes on. */
const noticeableSkewMs = 60_000;

export async function checkBucket(
  client: Client,
  bucket: string,
  where: string,
  now: () => number,
  signal: AbortSignal,
): Promise<DestinationReport> {
  const notices: string[] = [];
  // Answers to HEAD have no body: whatever stands in the way is named by the listing, which says why.
  const { answer } = await client.call({
    method: "HEAD",
    key: null,
    accept: [400, 403, 404],
    subject: `looking for the bucket ${bucket}`,
    signal,
  });
  const skewMs = now() - Date.parse(answer.headers.date ?? "");
  if (Math.abs(skewMs) > noticeableSkewMs) {
    notices.push(`this machine's clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? "ahead" : "behind"}`);
  }
  const listed = await listObjects(client, { maxKeys: 1 }, signal);
  // A policy with s3:PutObject alone is enough to upload, so 403 proves nothing.
  if (listed === null) {
    notices.push("the bucket may not be listed (403): the first upload will show whether writing is permitted");
  }
  return { description: `bucket ${bucket} at ${where}, region ${client.region()}`, canList: listed !== null, notices };
}
