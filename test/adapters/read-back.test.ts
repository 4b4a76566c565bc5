/** Objects read back whole from S3, in pieces. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { checksumOf, compositeChecksum } from "../../src/core/checksum.ts";
import { bucket, type Fixture, MiB, noise, openFixture } from "./s3-fixture.ts";

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});
afterEach(() => fixture.close());

const { signal } = new AbortController();
const crc32 = { algorithm: "crc32", partSizeBytes: null } as const;
const readBack = (key: string, form: Parameters<Fixture["destination"]["readBack"]>[1] = crc32) =>
  fixture.destination.readBack(key, form, signal);

it("gives the digest of all bytes, whatever their number", async () => {
  for (const sizeBytes of [0, 1, 4 * MiB, 4 * MiB + 1, 9 * MiB]) {
    const bytes = noise(sizeBytes);
    fixture.s3.plant(bucket, "a", bytes);
    expect(await readBack("a")).toEqual({ sizeBytes, digest: checksumOf("crc32", bytes) });
  }
});

it("gives a composite one for the parts asked for", async () => {
  const bytes = noise(9 * MiB);
  fixture.s3.plant(bucket, "a", bytes);
  const parts = [0, 5].map((at) => checksumOf("sha256", bytes.subarray(at * MiB, (at + 5) * MiB)));
  expect(await readBack("a", { algorithm: "sha256", partSizeBytes: 5 * MiB })).toEqual({
    sizeBytes: 9 * MiB,
    digest: compositeChecksum("sha256", parts),
  });
});

it("asks again for a piece that broke off", async () => {
  const bytes = noise(5 * MiB);
  fixture.s3.plant(bucket, "a", bytes);
  fixture.s3.faults.push({ match: { operation: "GetObject" }, action: { kind: "truncate" }, nth: 2 });
  expect(await readBack("a")).toEqual({ sizeBytes: bytes.length, digest: checksumOf("crc32", bytes) });
  expect(fixture.s3.counts.GetObject).toBe(3);
});

it("says what is absent, what may not be read, and what changed under it", async () => {
  expect(await readBack("nothing")).toBe("absent");
  fixture.s3.plant(bucket, "a", noise(9 * MiB));
  const { head } = fixture.destination;
  expect(await head("a", signal)).toMatchObject({ sizeBytes: 9 * MiB });
  fixture.s3.faults.push({
    match: {
      operation: "GetObject",
      where: (call) => {
        if (call.headers.range?.startsWith("bytes=4194304-")) fixture.s3.plant(bucket, "a", noise(8 * MiB));
        return false;
      },
    },
    action: { kind: "empty" },
  });
  await expect(readBack("a")).rejects.toMatchObject({ code: "key_busy" });
  fixture.s3.credential.allow = ["s3:PutObject", "s3:ListBucket"];
  expect(await readBack("a")).toBe("unknown");
});
