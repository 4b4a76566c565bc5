/** What can be known about the bucket without writing: reachability, credentials, region, clock, permissions. */

import { UploaderError } from "../../core/errors.ts";
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
  // 403 proves nothing: a policy with s3:PutObject alone is enough to upload.
  const { answer } = await client.call({
    method: "HEAD",
    key: null,
    accept: [403],
    subject: `looking for the bucket ${bucket}`,
    signal,
  });
  const skewMs = now() - Date.parse(answer.headers.date ?? "");
  if (Math.abs(skewMs) > noticeableSkewMs) {
    notices.push(`this machine's clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? "ahead" : "behind"}`);
  }
  const listed = await listObjects(client, { maxKeys: 1 }, signal).catch((error: unknown) => {
    if (error instanceof UploaderError && error.code === "access_denied") return null;
    throw error;
  });
  if (answer.status === 403 && listed === null) {
    notices.push("the bucket may not be looked at (403): the first upload will show whether writing is permitted");
  } else if (listed === null) {
    notices.push("listing is not permitted: objects that others uploaded are noticed one by one");
  }
  return { description: `bucket ${bucket} at ${where}, region ${client.region()}`, canList: listed !== null, notices };
}
