import { createHash } from "node:crypto";
import { appendFileSync, utimesSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checksumOf } from "../../src/core/checksum.ts";
import { checksumAlgorithms, type PutHooks } from "../../src/core/ports.ts";
import type { FaultRule } from "../support/s3-server/faults.ts";
import { bucket, type Fixture, MiB, noise, openFixture } from "./s3-fixture.ts";

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});
afterEach(() => fixture.close());

const failing = (code: string) => expect.objectContaining({ code });
const always = Number.POSITIVE_INFINITY;
/** Three parts: 8, 8 and 4 MiB. */
const large = noise(20 * MiB + 12_345);
const crc32 = checksumOf("crc32", large);

const hooks = (changes: Partial<PutHooks> = {}): PutHooks => ({
  signal: new AbortController().signal,
  uploads: fixture.memory,
  onBytes: () => undefined,
  ...changes,
});

const partsSent = () =>
  fixture.s3.log.filter((entry) => entry.operation === "UploadPart" && entry.status === 200).map((e) => e.partNumber);
const stored = () => fixture.s3.object(bucket, "big.wav")!;
const isWhole = () => stored().bytes().equals(large);

describe("a large file", () => {
  it("goes in parts, each remembered, and is proven by the checksum of the whole object", async () => {
    let sentBytes = 0;
    const job = fixture.job("big.wav", fixture.file("big.wav", large), { metadata: { type: "recording" } });
    const onBytes = (count: number) => {
      sentBytes += count;
    };
    const outcome = await fixture.put(job, { onBytes });
    expect(outcome).toMatchObject({
      outcome: "stored",
      object: {
        sizeBytes: large.length,
        proof: "checksum_echoed",
        checksum: { algorithm: "crc32", type: "full", value: crc32 },
        etag: stored().etag,
      },
    });
    expect(isWhole()).toBe(true);
    expect(stored()).toMatchObject({ parts: 3, writes: 1, metadata: { type: "recording" } });
    expect(sentBytes).toBe(large.length);
    expect(fixture.memory.ended).toEqual([{ uploadId: expect.any(String), state: "completed" }]);
    expect(fixture.s3.uploads(bucket)).toEqual([]);
  });

  it.each(checksumAlgorithms)("is proven with %s", async (checksum) => {
    const destination = await fixture.open({ checksum });
    const outcome = await destination.put(fixture.job("big.wav", fixture.file("big.wav", large)), hooks());
    expect(outcome).toMatchObject({
      object: {
        proof: "checksum_echoed",
        checksum:
          checksum === "sha256"
            ? { algorithm: "sha256", type: "composite", value: expect.stringMatching(/-3$/) }
            : { algorithm: checksum, type: "full", value: checksumOf(checksum, large) },
      },
    });
    expect(isWhole()).toBe(true);
  });

  it("made by us in memory goes the same way", async () => {
    const outcome = await fixture.put(fixture.job("big.wav", { kind: "bytes", bytes: large }));
    expect(outcome).toMatchObject({ outcome: "stored", object: { proof: "checksum_echoed" } });
    expect(isWhole()).toBe(true);
  });

  it("keeps its part in flight within the budget, over all files together", async () => {
    const destination = await fixture.open({ bytesInFlight: 17 * MiB, connections: 8 });
    const bodies = [1, 2, 3].map((at) => fixture.file(`big-${at}`, large));
    await Promise.all(bodies.map((body, at) => destination.put(fixture.job(`big-${at}`, body), hooks())));
    expect(fixture.s3.peakInFlight).toBeLessThanOrEqual(3);
    for (const at of [0, 1, 2]) expect(fixture.s3.object(bucket, `big-${at}`)!.bytes().equals(large)).toBe(true);
  });

  it("falls back to composite checksums, then to none, where the endpoint refuses", async () => {
    fixture.s3.faults.push({
      match: {
        operation: "CreateMultipartUpload",
        where: (call) => call.headers["x-amz-checksum-type"] === "FULL_OBJECT",
      },
      action: { kind: "error", code: "InvalidRequest" },
      times: always,
    });
    const body = fixture.file("big.wav", large);
    expect(await fixture.put(fixture.job("big.wav", body))).toMatchObject({
      object: { proof: "checksum_echoed", checksum: { type: "composite" } },
    });
    fixture.s3.faults.push({
      match: { operation: "CreateMultipartUpload", where: (call) => "x-amz-checksum-algorithm" in call.headers },
      action: { kind: "error", code: "NotImplemented" },
      times: always,
    });
    // Even then S3 itself makes a checksum, and a HEAD shows it.
    const second = await fixture.put(fixture.job("second", body));
    expect(second).toMatchObject({
      outcome: "stored",
      object: { proof: expect.stringMatching(/checksum_head|signed/) },
    });
    expect(fixture.notices).toHaveLength(2);
  });

  it("is proven by signed payloads where the store knows no checksums", async () => {
    fixture.s3.quirks.checksums = "ignore";
    expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
      outcome: "stored",
      object: { proof: "payload_signed" },
    });
    expect(isWhole()).toBe(true);
  });

  it("is proven by its parts' ETags where payloads are not signed either", async () => {
    fixture.s3.quirks.checksums = "ignore";
    const destination = await fixture.open({ unsignedPayload: true });
    expect(await destination.put(fixture.job("big.wav", fixture.file("big.wav", large)), hooks())).toMatchObject({
      outcome: "stored",
      object: { proof: "etag_md5" },
    });
  });

  it("needs no permission but s3:PutObject", async () => {
    fixture.s3.credential.allow = ["s3:PutObject"];
    expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
      outcome: "stored",
      object: { proof: "checksum_echoed" },
    });
  });
});

describe("a large file that moves", () => {
  it("while it is read is given up, its upload aborted", async () => {
    const body = fixture.file("big.wav", large);
    const uploads = {
      ...fixture.memory,
      part: async (...args: Parameters<typeof fixture.memory.part>) => {
        appendFileSync(body.path, "more");
        await fixture.memory.part(...args);
      },
    };
    const destination = await fixture.open({ connections: 1 });
    expect(await destination.put(fixture.job("big.wav", body), hooks({ uploads }))).toMatchObject({
      outcome: "changed",
      sizeBytes: large.length + 4,
    });
    expect(fixture.s3.uploads(bucket)).toEqual([]);
    expect(fixture.memory.ended).toMatchObject([{ state: "aborted" }]);
    expect(fixture.s3.object(bucket, "big.wav")).toBeUndefined();
  });

  it("after its last part was sent is not completed", async () => {
    const body = fixture.file("big.wav", large);
    const uploads = {
      ...fixture.memory,
      part: async (...args: Parameters<typeof fixture.memory.part>) => {
        await fixture.memory.part(...args);
        if (args[1].partNumber === 3) utimesSync(body.path, 1, 1);
      },
    };
    const destination = await fixture.open({ connections: 1 });
    expect(await destination.put(fixture.job("big.wav", body), hooks({ uploads }))).toMatchObject({
      outcome: "changed",
      mtimeNs: 1_000_000_000n,
    });
    expect(fixture.s3.object(bucket, "big.wav")).toBeUndefined();
  });

  it("before it is taken up again loses what was begun for the earlier bytes", async () => {
    const body = fixture.file("big.wav", large);
    const job = fixture.job("big.wav", body);
    await interrupted(job);
    utimesSync(body.path, 1, 1);
    expect(await fixture.put(job)).toMatchObject({ outcome: "changed" });
    expect(fixture.s3.uploads(bucket)).toEqual([]);
    expect(fixture.memory.uploads.size).toBe(0);
  });
});

/** Sends part 1 and is stopped while part 2 stalls. */
async function interrupted(job: ReturnType<Fixture["job"]>): Promise<void> {
  const stop = new AbortController();
  fixture.s3.faults.push({ match: { operation: "UploadPart", partNumber: 2 }, action: { kind: "stall" } });
  const destination = await fixture.open({ connections: 1 });
  const putting = destination.put(job, hooks({ signal: stop.signal }));
  await fixture.s3.waitFor((entry) => entry.state === "stalled");
  stop.abort(new Error("stopped"));
  await expect(putting).rejects.toThrow("stopped");
  fixture.s3.faults.clear();
}

describe("resuming", () => {
  it("sends only what is missing, and the object is whole", async () => {
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await interrupted(job);
    expect(fixture.memory.uploads.get(job.fileId)!.parts.map((part) => part.partNumber)).toEqual([1]);
    expect(fixture.s3.uploads(bucket)).toHaveLength(1);
    expect(await fixture.put(job)).toMatchObject({
      outcome: "stored",
      object: { proof: "checksum_echoed", checksum: { type: "full", value: crc32 } },
    });
    expect(partsSent().sort()).toEqual([1, 2, 3]);
    expect(fixture.s3.counts.CreateMultipartUpload).toBe(1);
    expect(isWhole()).toBe(true);
  });

  it("trusts its rows where parts may not be listed", async () => {
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await interrupted(job);
    fixture.s3.credential.allow = ["s3:PutObject"];
    expect(await fixture.put(job)).toMatchObject({ outcome: "stored", object: { proof: "checksum_echoed" } });
    expect(partsSent().sort()).toEqual([1, 2, 3]);
    expect(isWhole()).toBe(true);
  });

  it("takes a part that the store holds and no row tells of, after comparing it with the file", async () => {
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await interrupted(job);
    fixture.memory.uploads.get(job.fileId)!.parts = [];
    expect(await fixture.put(job)).toMatchObject({ outcome: "stored" });
    expect(partsSent().sort()).toEqual([1, 2, 3]);
    expect(isWhole()).toBe(true);
  });

  it("reads a part again for a row without a checksum, but does not send it", async () => {
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await interrupted(job);
    fixture.memory.uploads.get(job.fileId)!.parts[0]!.checksum = null;
    fixture.s3.credential.allow = ["s3:PutObject"];
    expect(await fixture.put(job)).toMatchObject({ outcome: "stored", object: { checksum: { value: crc32 } } });
    expect(partsSent().sort()).toEqual([1, 2, 3]);
  });

  it.each(["verify", "ignore"] as const)("sends a part again that is not the file's own (%s)", async (checksums) => {
    fixture.s3.quirks.checksums = checksums;
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await interrupted(job);
    const { uploadId } = fixture.memory.uploads.get(job.fileId)!;
    const other = await fixture.open();
    // Another program writes part 1 of the same upload: nothing of ours may trust it.
    await sendForeignPart(uploadId);
    expect(await other.put(job, hooks())).toMatchObject({ outcome: "stored" });
    expect(isWhole()).toBe(true);
  });

  it("asks for the object when the upload is gone: it may have been completed", async () => {
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    const { memory } = fixture;
    // The answer to Complete is lost, and with it this process.
    fixture.s3.faults.push({ match: { operation: "CompleteMultipartUpload" }, action: { kind: "loseAnswer" } });
    const stop = new AbortController();
    const uploads = { ...memory, end: async () => undefined };
    await fixture.put(job, { uploads, signal: stop.signal });
    const sent = partsSent().length;
    expect(memory.uploads.size).toBe(1);
    expect(await fixture.put(job)).toMatchObject({ outcome: "present", object: { proof: "checksum_head" } });
    expect(partsSent()).toHaveLength(sent);
    expect(memory.uploads.size).toBe(0);
    expect(stored().writes).toBe(1);
  });

  it("begins afresh when the upload is gone and no object is there", async () => {
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await interrupted(job);
    const { uploadId } = fixture.memory.uploads.get(job.fileId)!;
    expect(await fixture.destination.abortUpload("big.wav", uploadId, hooks().signal)).toBe(true);
    expect(await fixture.put(job)).toMatchObject({ outcome: "stored" });
    expect(isWhole()).toBe(true);
    expect(fixture.memory.ended.map((end) => end.state)).toEqual(["aborted", "completed"]);
  });
});

async function sendForeignPart(uploadId: string): Promise<void> {
  const { S3Client, UploadPartCommand } = await import("@aws-sdk/client-s3");
  const client = new S3Client({
    endpoint: fixture.s3.endpoint,
    region: fixture.s3.region,
    credentials: fixture.s3.credential,
    forcePathStyle: true,
  });
  const Body = noise(8 * MiB, 99);
  const part = { Bucket: bucket, Key: "big.wav", UploadId: uploadId, PartNumber: 1, Body };
  await client.send(new UploadPartCommand({ ...part, ChecksumAlgorithm: "CRC32" }));
  client.destroy();
}

describe("completing", () => {
  it("that answers 200 with an error inside is done again", async () => {
    fixture.s3.faults.push({
      match: { operation: "CompleteMultipartUpload" },
      action: { kind: "errorInBody", code: "InternalError", spaces: 3 },
    });
    expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
      outcome: "stored",
    });
    expect(fixture.s3.counts.CompleteMultipartUpload).toBe(2);
    expect(partsSent()).toHaveLength(3);
  });

  it.each(["NoSuchUpload", "same"] as const)("whose answer is lost is resolved by asking (%s)", async (repeated) => {
    fixture.s3.quirks.repeatedComplete = repeated;
    fixture.s3.faults.push({
      match: { operation: "CompleteMultipartUpload" },
      action: { kind: "loseAnswer" },
      times: 1,
    });
    const outcome = await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)));
    expect(["stored", "present"]).toContain(outcome.outcome);
    expect(partsSent()).toHaveLength(3);
    expect(stored().writes).toBe(1);
    expect(fixture.memory.uploads.size).toBe(0);
  });

  const lost: FaultRule = { action: { kind: "loseAnswer" } };
  it.each<[string, FaultRule[]]>([
    ["is lost", [{ ...lost, times: always }]],
    [
      "but the first says that the key is taken",
      [lost, { action: { kind: "error", code: "PreconditionFailed" }, nth: 2 }],
    ],
  ])(
    "whose every answer %s is resolved by asking too: it was this upload, and none is left to abort",
    async (_, rules) => {
      const match = { operation: "CompleteMultipartUpload" } as const;
      fixture.s3.faults.push(...rules.map((rule) => ({ ...rule, match })));
      expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
        outcome: "stored",
        object: { proof: "checksum_head" },
      });
      expect(stored().writes).toBe(1);
      expect(fixture.s3.counts.AbortMultipartUpload).toBeUndefined();
      expect(fixture.memory.ended).toEqual([{ uploadId: expect.any(String), state: "completed" }]);
    },
  );

  it("in doubt without permission to ask is unconfirmed, never sent again", async () => {
    fixture.s3.credential.allow = ["s3:PutObject"];
    fixture.s3.quirks.repeatedComplete = "NoSuchUpload";
    fixture.s3.faults.push({ match: { operation: "CompleteMultipartUpload" }, action: { kind: "loseAnswer" } });
    await expect(fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).rejects.toThrow(
      failing("unconfirmed"),
    );
    expect(partsSent()).toHaveLength(3);
  });

  it("that fails for long leaves the upload open, to be completed later without sending a part", async () => {
    fixture.s3.faults.push({
      match: { operation: "CompleteMultipartUpload" },
      action: { kind: "error", code: "InternalError" },
      times: 4,
    });
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await expect(fixture.put(job)).rejects.toThrow(failing("store_failed"));
    expect(await fixture.put(job)).toMatchObject({ outcome: "stored" });
    expect(partsSent()).toHaveLength(3);
  });

  it("409: the store demands the upload again from the start", async () => {
    fixture.s3.faults.push({
      match: { operation: "CompleteMultipartUpload" },
      action: { kind: "error", code: "ConditionalRequestConflict" },
    });
    expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
      outcome: "stored",
    });
    expect(fixture.s3.counts.CreateMultipartUpload).toBe(2);
    expect(fixture.s3.uploads(bucket)).toEqual([]);
    expect(stored().writes).toBe(1);
  });
});

describe("a large file whose key is taken", () => {
  const plantDuring = async (bytes: Uint8Array) => {
    const uploads = {
      ...fixture.memory,
      part: async (...args: Parameters<typeof fixture.memory.part>) => {
        await fixture.memory.part(...args);
        if (args[1].partNumber === 3) fixture.s3.plant(bucket, "big.wav", bytes);
      },
    };
    return await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)), { uploads });
  };

  it("by other bytes from the start: not a part is sent", async () => {
    fixture.s3.plant(bucket, "big.wav", noise(100));
    expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
      outcome: "conflict",
      found: { sizeBytes: 100 },
    });
    expect(fixture.s3.counts).toEqual({ HeadObject: 1 });
  });

  it("by the same bytes, whoever sent them: present", async () => {
    fixture.s3.plant(bucket, "big.wav", large);
    expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
      outcome: "present",
      object: { proof: "etag_md5" },
    });
    expect(fixture.s3.counts).toEqual({ HeadObject: 1 });
  });

  it.each(["honour", "ignore-on-complete"] as const)(
    "by another writer meanwhile is a conflict (%s)",
    async (conditions) => {
      fixture.s3.quirks.conditions = conditions;
      expect(await plantDuring(noise(100))).toMatchObject({ outcome: "conflict" });
      expect(stored().bytes().equals(noise(100))).toBe(true);
      expect(fixture.s3.uploads(bucket)).toEqual([]);
      expect(fixture.memory.uploads.size).toBe(0);
    },
  );

  it("by another writer after the last look is a conflict by the condition on Complete", async () => {
    fixture.s3.credential.allow = ["s3:PutObject", "s3:AbortMultipartUpload"];
    await expect(plantDuring(noise(100))).rejects.toThrow(failing("unconfirmed"));
    expect(stored().bytes().equals(noise(100))).toBe(true);
  });

  it("is replaced while it holds exactly the ETag named", async () => {
    fixture.s3.plant(bucket, "big.wav", noise(100));
    const { etag } = stored();
    const body = fixture.file("big.wav", large);
    const stale = "0123456789abcdef0123456789abcdef";
    expect(await fixture.put(fixture.job("big.wav", body, { condition: { if: "etag", etag: stale } }))).toMatchObject({
      outcome: "conflict",
      found: { etag },
    });
    expect(await fixture.put(fixture.job("big.wav", body, { condition: { if: "etag", etag } }))).toMatchObject({
      outcome: "stored",
    });
    expect(isWhole()).toBe(true);
  });
});

describe("parts that fail", () => {
  it("are sent again, each from its own buffer, until the object is whole", async () => {
    fixture.s3.faults.push(
      { match: { operation: "UploadPart", partNumber: 1 }, action: { kind: "reset", afterBytes: 3 * MiB } },
      { match: { operation: "UploadPart", partNumber: 2 }, action: { kind: "error", code: "SlowDown" } },
      { match: { operation: "UploadPart", partNumber: 3 }, action: { kind: "loseAnswer" } },
      { match: { operation: "UploadPart", partNumber: 3 }, action: { kind: "wrongChecksum" } },
    );
    expect(await fixture.put(fixture.job("big.wav", fixture.file("big.wav", large)))).toMatchObject({
      outcome: "stored",
      object: { checksum: { value: crc32 } },
    });
    expect(isWhole()).toBe(true);
  });

  it("for good end the call with the first cause, and keep the rest for the next one", async () => {
    fixture.s3.faults.push({
      match: { operation: "UploadPart", partNumber: 2 },
      action: { kind: "error", code: "AccessDenied" },
    });
    const destination = await fixture.open({ connections: 1 });
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await expect(destination.put(job, hooks())).rejects.toThrow(failing("access_denied"));
    expect(fixture.memory.uploads.get(job.fileId)!.parts).toHaveLength(1);
    expect(await destination.put(job, hooks())).toMatchObject({ outcome: "stored" });
    expect(partsSent().sort()).toEqual([1, 2, 3]);
  });

  it("that the database cannot note are found in the listing next time", async () => {
    let down = true;
    const uploads = {
      ...fixture.memory,
      part: async (...args: Parameters<typeof fixture.memory.part>) => {
        if (down) throw new Error("database away");
        await fixture.memory.part(...args);
      },
    };
    const job = fixture.job("big.wav", fixture.file("big.wav", large));
    await expect(fixture.put(job, { uploads })).rejects.toThrow("database away");
    down = false;
    const before = partsSent().length;
    expect(before).toBeGreaterThan(0);
    expect(await fixture.put(job, { uploads })).toMatchObject({ outcome: "stored" });
    expect(new Set(partsSent()).size).toBe(3);
    expect(partsSent()).toHaveLength(3);
  });
});

describe("unfinished uploads", () => {
  it("are listed by prefix, and aborted once", async () => {
    const job = fixture.job("dir/a b+ü.wav", fixture.file("big.wav", large));
    await interrupted(job);
    const signal = hooks().signal;
    const under = async (prefix: string) => {
      const seen: string[] = [];
      for await (const upload of fixture.destination.staleUploads(prefix, signal)) {
        expect(upload.initiatedMs).toBeGreaterThan(0);
        seen.push(upload.key);
      }
      return seen;
    };
    expect(await under("dir/")).toEqual(["dir/a b+ü.wav"]);
    expect(await under("other/")).toEqual([]);
    const { uploadId } = fixture.memory.uploads.get(job.fileId)!;
    expect(await fixture.destination.abortUpload(job.key, uploadId, signal)).toBe(true);
    expect(await fixture.destination.abortUpload(job.key, uploadId, signal)).toBe(false);
  });
});

it("noise is not the same for two seeds", () => {
  const digest = (bytes: Buffer) => createHash("md5").update(bytes).digest("hex");
  expect(digest(noise(1000, 1))).not.toBe(digest(noise(1000, 2)));
});
