/** An S3 bucket as a destination: the lanes, the lookups and the check, wired together. */
import { setMaxListeners } from "node:events";
import { UploaderError } from "../../core/errors.ts";
import { keyProblem } from "../../core/key.ts";
import { multipartFromBytes } from "../../core/part-size.ts";
import type { PutJob } from "../../core/ports.ts";
import { identityOf } from "./address.ts";
import { createBufferPool } from "./buffers.ts";
import { abortUpload, headObject, listUploads } from "./calls.ts";
import { checkBucket } from "./check.ts";
import { openClient } from "./client.ts";
import type { Context } from "./context.ts";
import { putLarge } from "./large.ts";
import { createListing } from "./listing.ts";
import type { S3Destination, S3Options } from "./options.ts";
import { profileRegion } from "./profile.ts";
import { judge } from "./proof.ts";
import { readBack } from "./read.ts";
import { createReader } from "./reading.ts";
import { putSmall } from "./small.ts";
import { bodySizeBytes, openSource } from "./source.ts";
import { tagObject } from "./tags.ts";
import { fingerprintOfFile } from "./upload.ts";

export async function openS3Destination(given: S3Options): Promise<S3Destination> {
  const options = await withProfile(given);
  const client = openClient(options);
  const told = new Set<string>();
  const context: Context = {
    client,
    options,
    buffers: createBufferPool(options.bytesInFlight),
    reader: createReader(),
    algorithm: options.checksum === "auto" ? "crc32" : options.checksum,
    traits: { checksums: "unknown", conditions: "unknown", quotedEtags: true, multipart: "full", mayHead: true },
    noticeOnce(message) {
      if (told.has(message)) return;
      told.add(message);
      options.onNotice(message);
    },
  };
  const listing = createListing(client, options.now);

  return {
    kind: "s3",
    identity: identityOf(options.bucket, options.endpoint),
    check: (signal) => checkBucket(client, options.bucket, options.endpoint ?? "AWS", options.now, signal),
    find: (keys, signal) => listing.find(keys, signal),
    head: (key, signal) => headObject(client, key, signal),
    async compare(body, found, signal) {
      if (found.sizeBytes !== bodySizeBytes(body)) return "different";
      const source = await openSource(body);
      try {
        const verdict = await judge(found, fingerprintOfFile(context, source, null, signal));
        if ((await source.moved()) !== null) return "unknown";
        return verdict === "checksum_head" || verdict === "etag_md5" ? "equal" : verdict;
      } finally {
        source.close();
      }
    },
    async put(job, hooks) {
      // Every request under way listens for the abort; more than ten are no leak.
      setMaxListeners(0, hooks.signal);
      refuseImpossible(job);
      listing.forget();
      return await (bodySizeBytes(job.body) < multipartFromBytes ? putSmall : putLarge)(context, job, hooks);
    },
    readBack: (key, digest, signal) => readBack(client, key, digest, signal),
    async *staleUploads(prefix, signal) {
      let after: { key: string; uploadId: string } | null = null;
      do {
        const page: Awaited<ReturnType<typeof listUploads>> = await listUploads(client, prefix, after, signal);
        yield* page.uploads;
        after = page.next;
      } while (after !== null);
    },
    tag: (key, name, value, signal) => tagObject(client, key, name, value, signal),
    abortUpload: (key, uploadId, signal) => abortUpload(client, key, uploadId, signal),
    async close() {
      client.close();
      context.reader.close();
    },
  };
}

/** A named profile must exist; the region it names counts where nothing nearer names one. */
async function withProfile(options: S3Options): Promise<S3Options> {
  const { env, profile } = options;
  const region = options.region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? null;
  if (region !== null && profile === null && !env.AWS_PROFILE) return options;
  const named = await profileRegion(profile, env);
  return { ...options, region: region ?? named };
}

/** What no server should be asked: an empty key would be the bucket itself, and a line break would end a header. */
function refuseImpossible(job: PutJob): void {
  const problem = keyProblem(job.key);
  if (problem !== null) {
    throw new UploaderError("key_impossible", `${JSON.stringify(job.key)} cannot be an S3 key: ${problem}`, {
      hint: "rename the file",
    });
  }
  const values = `${Object.keys(job.metadata).join("")}${Object.values(job.metadata).join("")}${job.contentType ?? ""}`;
  if (!/^[\x20-\x7e]*$/.test(values)) {
    throw new UploaderError("internal", `${job.key}: its metadata or content type is not printable ASCII`);
  }
}
