import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checksumOf } from "../../src/core/checksum.ts";
import { checksumAlgorithms } from "../../src/core/ports.ts";
import { bucket, type Fixture, MiB, noise, openFixture } from "./s3-fixture.ts";

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});
afterEach(() => fixture.close());

const always = Number.POSITIVE_INFINITY;
const failing = (code: string) => expect.objectContaining({ code });

describe("a small file", () => {
  it("arrives byte for byte, with its type and metadata, proven by the echoed checksum", async () => {
    const bytes = noise(40_000);
    const job = fixture.job("C2/a.wav", fixture.file("a.wav", bytes), { metadata: { type: "recording", mtime: "17" } });
    const outcome = await fixture.put(job);
    expect(outcome).toMatchObject({
      outcome: "stored",
      object: {
        sizeBytes: bytes.length,
        proof: "checksum_echoed",
        checksum: { algorithm: "crc32", type: "full", value: checksumOf("crc32", bytes) },
        etag: fixture.s3.object(bucket, "C2/a.wav")!.etag,
        requestId: expect.stringMatching(/./),
      },
    });
    const object = fixture.s3.object(bucket, "C2/a.wav")!;
    expect(object.bytes().equals(bytes)).toBe(true);
    expect(object.metadata).toEqual({ type: "recording", mtime: "17" });
    expect(object.headers).toMatchObject({ "content-type": "audio/wav" });
  });

  it.each([0, 1, 65_536, 65_537, 3 * MiB])("of %d bytes goes in one request", async (sizeBytes) => {
    const bytes = noise(sizeBytes);
    let sentBytes = 0;
    const outcome = await fixture.put(fixture.job("one", fixture.file("one", bytes)), {
      onBytes: (count) => {
        sentBytes += count;
      },
    });
    expect(outcome.outcome).toBe("stored");
    expect(fixture.s3.counts).toEqual({ PutObject: 1 });
    expect(fixture.s3.object(bucket, "one")!.bytes().equals(bytes)).toBe(true);
    expect(sentBytes).toBe(sizeBytes);
  });

  it.each(checksumAlgorithms)("is proven with %s", async (checksum) => {
    const destination = await fixture.open({ checksum });
    const bytes = noise(5_000);
    const outcome = await destination.put(fixture.job("k", { kind: "bytes", bytes }), {
      signal: new AbortController().signal,
      uploads: fixture.memory,
      onBytes: () => undefined,
    });
    expect(outcome).toMatchObject({
      object: { proof: "checksum_echoed", checksum: { algorithm: checksum, value: checksumOf(checksum, bytes) } },
    });
  });

  it("signs its payload on plain http, and leaves that out when asked to", async () => {
    await fixture.put(fixture.job("signed", fixture.file("a", noise(10))));
    const unsigned = await fixture.open({ unsignedPayload: true });
    const hooks = { signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined };
    await unsigned.put(fixture.job("unsigned", fixture.file("b", noise(10))), hooks);
    expect(fixture.s3.log.map((entry) => entry.payload)).toEqual([
      expect.stringMatching(/^[0-9a-f]{64}$/),
      "UNSIGNED-PAYLOAD",
    ]);
  });

  it("carries storage class, encryption and the bucket owner it expects", async () => {
    const destination = await fixture.open({
      storageClass: "STANDARD_IA",
      serverSideEncryption: "AES256",
      expectedBucketOwner: "123456789012",
    });
    const hooks = { signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined };
    await destination.put(fixture.job("k", fixture.file("a", noise(10))), hooks);
    expect(fixture.s3.object(bucket, "k")!.storageClass).toBe("STANDARD_IA");
    expect(fixture.s3.log[0]!.headers).toMatchObject({
      "x-amz-server-side-encryption": "AES256",
      "x-amz-expected-bucket-owner": "123456789012",
    });
  });
});

describe("the file underneath", () => {
  it("that has changed since registration is not sent", async () => {
    const body = fixture.file("a.wav", noise(1_000));
    utimesSync(body.path, 1, 1);
    expect(await fixture.put(fixture.job("a", body))).toEqual({
      outcome: "changed",
      sizeBytes: 1_000,
      mtimeNs: 1_000_000_000n,
    });
    writeFileSync(body.path, noise(1_001));
    expect(await fixture.put(fixture.job("a", body))).toMatchObject({ outcome: "changed", sizeBytes: 1_001 });
    expect(fixture.s3.counts).toEqual({});
  });

  it.each([
    ["is gone", "file_gone", (path: string) => rmSync(path)],
    [
      "is a link now",
      "file_gone",
      (path: string) => {
        rmSync(path);
        symlinkSync("/etc/hostname", path);
      },
    ],
    [
      "is a folder now",
      "file_gone",
      (path: string) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
    [
      "is a pipe now",
      "file_gone",
      (path: string) => {
        rmSync(path);
        execFileSync("mkfifo", [path]);
      },
    ],
  ])("that %s fails as %s", async (_, code, spoil) => {
    const body = fixture.file("a.wav", noise(1_000));
    spoil(body.path);
    await expect(fixture.put(fixture.job("a", body))).rejects.toThrow(failing(code));
  });

  it.skipIf(process.getuid?.() === 0)("that may not be read fails as file_forbidden", async () => {
    const body = fixture.file("a.wav", noise(1_000));
    chmodSync(body.path, 0);
    await expect(fixture.put(fixture.job("a", body))).rejects.toThrow(failing("file_forbidden"));
  });
});

describe("a key that is taken", () => {
  it("by the same bytes is present: nothing is written", async () => {
    const bytes = noise(2_000);
    const job = fixture.job("a", fixture.file("a", bytes));
    await fixture.put(job);
    expect(await fixture.put(job)).toMatchObject({
      outcome: "present",
      object: { proof: "checksum_head", sizeBytes: 2_000 },
    });
    expect(fixture.s3.object(bucket, "a")!.writes).toBe(1);
  });

  it("by the same bytes is present by its ETag where the store keeps no checksums", async () => {
    fixture.s3.quirks.checksums = "ignore";
    const bytes = noise(2_000);
    fixture.s3.plant(bucket, "a", bytes);
    expect(await fixture.put(fixture.job("a", fixture.file("a", bytes)))).toMatchObject({
      outcome: "present",
      object: { proof: "etag_md5" },
    });
  });

  it("by other bytes is a conflict that names what was found", async () => {
    fixture.s3.plant(bucket, "a", noise(2_000, 2));
    const outcome = await fixture.put(fixture.job("a", fixture.file("a", noise(2_000, 3))));
    expect(outcome).toMatchObject({ outcome: "conflict", found: { sizeBytes: 2_000 } });
    expect(fixture.s3.object(bucket, "a")!.bytes().equals(noise(2_000, 2))).toBe(true);
  });

  it("cannot be judged without permission to ask: unconfirmed", async () => {
    fixture.s3.plant(bucket, "a", noise(10));
    fixture.s3.credential.allow = ["s3:PutObject"];
    await expect(fixture.put(fixture.job("a", fixture.file("a", noise(10))))).rejects.toThrow(failing("unconfirmed"));
  });

  it("is replaced only while it holds exactly the ETag named, or always when told so", async () => {
    fixture.s3.plant(bucket, "a", noise(10, 2));
    const { etag } = fixture.s3.object(bucket, "a")!;
    const body = fixture.file("a", noise(10, 3));
    const stale = fixture.job("a", body, { condition: { if: "etag", etag: "0123456789abcdef0123456789abcdef" } });
    expect(await fixture.put(stale)).toMatchObject({ outcome: "conflict", found: { etag } });
    expect(await fixture.put(fixture.job("a", body, { condition: { if: "etag", etag } }))).toMatchObject({
      outcome: "stored",
    });
    fixture.s3.plant(bucket, "a", noise(10, 4));
    expect(await fixture.put(fixture.job("a", body, { condition: { if: "always" } }))).toMatchObject({
      outcome: "stored",
    });
    fixture.s3.uproot(bucket, "a");
    expect(await fixture.put(fixture.job("a", body, { condition: { if: "etag", etag } }))).toEqual({
      outcome: "conflict",
      found: null,
    });
  });
});

describe("proof", () => {
  it("is the signed payload where no checksum is echoed", async () => {
    fixture.s3.quirks.checksums = "ignore";
    expect(await fixture.put(fixture.job("a", fixture.file("a", noise(10))))).toMatchObject({
      object: { proof: "payload_signed" },
    });
  });

  it("is the ETag where nothing else is, and missing where that is opaque", async () => {
    fixture.s3.quirks.checksums = "ignore";
    const destination = await fixture.open({ unsignedPayload: true });
    const hooks = { signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined };
    expect(await destination.put(fixture.job("a", fixture.file("a", noise(10))), hooks)).toMatchObject({
      object: { proof: "etag_md5" },
    });
    fixture.s3.quirks.etags = "opaque";
    await expect(destination.put(fixture.job("b", fixture.file("b", noise(10))), hooks)).rejects.toThrow(
      failing("unconfirmed"),
    );
  });

  it("a wrong echo is damage: sent again over our own damaged object, then given up", async () => {
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "wrongChecksum" } });
    expect(await fixture.put(fixture.job("a", fixture.file("a", noise(10))))).toMatchObject({
      outcome: "stored",
      object: { proof: "checksum_echoed" },
    });
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "wrongChecksum" }, times: always });
    await expect(fixture.put(fixture.job("b", fixture.file("b", noise(10))))).rejects.toThrow(
      failing("checksum_mismatch"),
    );
  });
});

describe("an endpoint that refuses", () => {
  const refuses = (header: string) => ({
    match: {
      operation: "PutObject" as const,
      where: (call: { headers: Record<string, unknown> }) => header in call.headers,
    },
    action: { kind: "error" as const, code: "NotImplemented" },
    times: always,
  });

  it("checksum headers gets none from then on, and that is told once", async () => {
    fixture.s3.faults.push(refuses("x-amz-checksum-crc32"));
    for (const key of ["a", "b", "c"]) {
      expect(await fixture.put(fixture.job(key, fixture.file(key, noise(10))))).toMatchObject({
        object: { proof: "payload_signed" },
      });
    }
    expect(fixture.s3.counts).toEqual({ PutObject: 4 });
    expect(fixture.notices).toEqual([expect.stringContaining("refuses checksum headers")]);
  });

  it("conditions is asked before each PUT instead", async () => {
    fixture.s3.faults.push(refuses("if-none-match"));
    fixture.s3.plant(bucket, "taken", noise(10, 2));
    const mine = fixture.file("a", noise(10));
    expect(await fixture.put(fixture.job("free", mine))).toMatchObject({ outcome: "stored" });
    expect(await fixture.put(fixture.job("taken", mine))).toMatchObject({ outcome: "conflict" });
    expect(fixture.s3.object(bucket, "taken")!.writes).toBe(0);
    expect(fixture.notices).toEqual([expect.stringContaining("refuses conditional writes")]);
  });

  it("is not probed once it has taken the header", async () => {
    await fixture.put(fixture.job("a", fixture.file("a", noise(10))));
    fixture.s3.faults.push(refuses("x-amz-checksum-crc32"));
    await expect(fixture.put(fixture.job("b", fixture.file("b", noise(10))))).rejects.toThrow(failing("store_refused"));
  });
});

describe("requests that fail", () => {
  it.each([
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "ConditionalRequestConflict",
    "BadDigest",
  ])("%s: the same bytes again", async (code) => {
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "error", code } });
    const bytes = noise(30_000);
    expect(await fixture.put(fixture.job("a", fixture.file("a", bytes)))).toMatchObject({ outcome: "stored" });
    expect(fixture.s3.counts).toEqual({ PutObject: 2 });
    expect(fixture.s3.object(bucket, "a")!.bytes().equals(bytes)).toBe(true);
  });

  it.each([500, 502, 503, 504, 429])("an HTML page with status %d: again", async (status) => {
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "html", status } });
    expect(await fixture.put(fixture.job("a", fixture.file("a", noise(10))))).toMatchObject({ outcome: "stored" });
  });

  it.each([200, 302, 400, 401, 403, 404, 511])(
    "an HTML page with status %d, without the store's request id: something between, named, at once",
    async (status) => {
      fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "html", status } });
      await expect(fixture.put(fixture.job("a", fixture.file("a", noise(10))))).rejects.toThrow(
        expect.objectContaining({
          code: "store_unreachable",
          message: expect.stringMatching(/a proxy or gateway .* answered in its place \(HTTP \d+, squid\/5\.7\)/),
          hint: expect.not.stringContaining("s3:PutObject"),
        }),
      );
      expect(fixture.s3.counts).toEqual({ PutObject: 1 });
    },
  );

  it("a lost answer ends present, written once", async () => {
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "loseAnswer" } });
    expect(await fixture.put(fixture.job("a", fixture.file("a", noise(10))))).toMatchObject({
      outcome: "present",
      object: { proof: "checksum_head" },
    });
    expect(fixture.s3.object(bucket, "a")!.writes).toBe(1);
  });

  it.each([
    { kind: "reset" } as const,
    { kind: "reset", afterBytes: 10_000 } as const,
    { kind: "truncate" } as const,
    { kind: "empty" } as const,
  ])("%o is survived", async (action) => {
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action });
    const outcome = await fixture.put(fixture.job("a", fixture.file("a", noise(3 * MiB))));
    expect(["stored", "present"]).toContain(outcome.outcome);
    expect(
      fixture.s3
        .object(bucket, "a")!
        .bytes()
        .equals(noise(3 * MiB)),
    ).toBe(true);
  });

  it("a kept connection that the server closes meanwhile costs no attempt", async () => {
    await fixture.put(fixture.job("a", fixture.file("a", noise(10))));
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "reset" }, times: 4 });
    expect(await fixture.put(fixture.job("b", fixture.file("b", noise(10))))).toMatchObject({ outcome: "stored" });
  });

  it("gives up after four attempts with the code of the cause, and tells of the throttling", async () => {
    fixture.s3.faults.push({
      match: { operation: "PutObject" },
      action: { kind: "error", code: "SlowDown" },
      times: always,
    });
    await expect(fixture.put(fixture.job("a", fixture.file("a", noise(10))))).rejects.toThrow(failing("store_busy"));
    expect(fixture.s3.counts).toEqual({ PutObject: 4 });
    expect(fixture.throttles).toEqual(["store_busy", "store_busy", "store_busy", "store_busy"]);
  });

  it("leaves a long Retry-After to the file level", async () => {
    fixture.s3.faults.push({
      match: { operation: "PutObject" },
      action: { kind: "error", code: "SlowDown", retryAfterSeconds: 120 },
    });
    await expect(fixture.put(fixture.job("a", fixture.file("a", noise(10))))).rejects.toThrow(
      expect.objectContaining({ code: "store_busy", retryAfterMs: 120_000, requestId: expect.stringMatching(/./) }),
    );
    expect(fixture.s3.counts).toEqual({ PutObject: 1 });
  });

  it.each([
    ["NoSuchBucket", "bucket_missing"],
    ["AccessDenied", "access_denied"],
    ["InvalidAccessKeyId", "credentials_invalid"],
    ["SignatureDoesNotMatch", "credentials_invalid"],
    ["EntityTooLarge", "file_too_large"],
    ["KeyTooLongError", "key_impossible"],
    ["InvalidStorageClass", "settings_refused"],
  ])("%s is %s, at once", async (storeCode, code) => {
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "error", code: storeCode } });
    await expect(fixture.put(fixture.job("a", fixture.file("a", noise(10))))).rejects.toThrow(failing(code));
    expect(fixture.s3.counts).toEqual({ PutObject: 1 });
  });

  it("tells a wrong clock from a part that was too slow", async () => {
    const put = () => fixture.put(fixture.job("a", fixture.file("a", noise(10))));
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "clockSkew", offsetMs: 3_600_000 } });
    await expect(put()).rejects.toThrow(failing("clock_skewed"));
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "clockSkew", offsetMs: 0 } });
    expect(await put()).toMatchObject({ outcome: "stored" });
    expect(fixture.throttles).toEqual(["timed_out"]);
  });

  it("a store that is not there is store_unreachable", async () => {
    const { endpoint } = fixture.s3;
    await fixture.s3.close();
    await expect(fixture.put(fixture.job("a", fixture.file("a", noise(10))))).rejects.toThrow(
      failing("store_unreachable"),
    );
    fixture = await openFixture({ port: Number(new URL(endpoint).port) });
  });
});

describe("deadlines", () => {
  const hurried = { connectMs: 1_000, idleMs: 40, totalMs: () => 5_000 };

  it("a server that never answers is left after the idle deadline", async () => {
    const destination = await fixture.open({ deadlines: hurried });
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "stall" }, times: always });
    const hooks = { signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined };
    await expect(destination.put(fixture.job("a", fixture.file("a", noise(8 * MiB))), hooks)).rejects.toThrow(
      failing("timed_out"),
    );
    expect(fixture.throttles).toContain("timed_out");
  });

  it("an answer that trickles is left after the total deadline", async () => {
    const destination = await fixture.open({ deadlines: { connectMs: 1_000, idleMs: 1_000, totalMs: () => 60 } });
    fixture.s3.faults.push({
      match: { operation: "PutObject" },
      action: { kind: "delay", delayMs: 500 },
      times: always,
    });
    const hooks = { signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined };
    await expect(
      destination.put(fixture.job("a", fixture.file("a", noise(10)), { condition: { if: "always" } }), hooks),
    ).rejects.toThrow(failing("timed_out"));
  });

  it("an abort ends the request under way with its own reason", async () => {
    const stop = new AbortController();
    fixture.s3.faults.push({ match: { operation: "PutObject" }, action: { kind: "stall" } });
    const putting = fixture.put(fixture.job("a", fixture.file("a", noise(10))), { signal: stop.signal });
    await fixture.s3.waitFor((entry) => entry.state === "stalled");
    stop.abort(new Error("enough"));
    await expect(putting).rejects.toThrow("enough");
  });
});

describe("many at once", () => {
  it("share the connections and the memory, and every one arrives under chaos", async () => {
    let state = 7;
    const random = () => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return state / 0x7fffffff;
    };
    fixture.s3.faults.chaos = {
      share: 0.2,
      random,
      actions: [
        { kind: "error", code: "SlowDown" },
        { kind: "error", code: "InternalError" },
        { kind: "reset" },
        { kind: "loseAnswer" },
        { kind: "truncate" },
      ],
    };
    const destination = await fixture.open({ connections: 6 });
    const hooks = { signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined };
    const jobs = Array.from({ length: 60 }, (_, at) =>
      fixture.job(`many/${at}`, fixture.file(`many-${at}`, noise(1_000 + at * 997, at + 1))),
    );
    const settle = async (job: (typeof jobs)[number]) => {
      // What the file level does: again, until it is there.
      for (;;) {
        try {
          return await destination.put(job, hooks);
        } catch (error) {
          if ((error as { retry?: string }).retry === "never") throw error;
        }
      }
    };
    const outcomes = await Promise.all(jobs.map(settle));
    expect(outcomes.every(({ outcome }) => outcome === "stored" || outcome === "present")).toBe(true);
    for (let at = 0; at < jobs.length; at++) {
      const object = fixture.s3.object(bucket, `many/${at}`)!;
      expect(object.writes, `many/${at}`).toBe(1);
      expect(object.bytes().equals(noise(1_000 + at * 997, at + 1))).toBe(true);
    }
    expect(fixture.s3.peakInFlight).toBeLessThanOrEqual(6);
  });
});

it("refuses keys that are none, and metadata that would end a header", async () => {
  const body = fixture.file("a", noise(10));
  for (const key of ["", "a\ud800", "k".repeat(1025)]) {
    await expect(fixture.put(fixture.job(key, body))).rejects.toThrow(failing("key_impossible"));
  }
  const injected = fixture.job("a", body, { metadata: { note: "x\r\nx-amz-acl: public-read" } });
  await expect(fixture.put(injected)).rejects.toThrow(failing("internal"));
  expect(fixture.s3.counts).toEqual({});
  expect(join(fixture.folder, "a")).toBe(body.path);
});
