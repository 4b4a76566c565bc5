import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compareKeys } from "../../src/core/key.ts";
import { bucket, type Fixture, MiB, noise, openFixture } from "./s3-fixture.ts";

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});
afterEach(() => fixture.close());

const failing = (code: string) => expect.objectContaining({ code });
const { signal } = new AbortController();

describe("find", () => {
  it("knows what is there and what is not, whatever the names", async () => {
    const names = [
      "a b",
      "a+b",
      "a%20b",
      "é",
      "e\u0301",
      "\u{1F600}.wav",
      "\uff5e",
      "line\nbreak",
      "q'\"<&>",
      "z/y/x",
      "~",
    ];
    for (const [at, name] of names.entries()) fixture.s3.plant(bucket, name, noise(at + 1));
    const absent = ["a", "a c", "b/", "\u{1F601}", "zz", "~~"];
    const found = await fixture.destination.find([...names, ...absent], signal);
    expect([...found!.keys()].sort()).toEqual([...names].sort());
    for (const [at, name] of names.entries()) expect(found!.get(name)).toMatchObject({ sizeBytes: at + 1 });
    expect(found!.get("é")!.etag).toBe(fixture.s3.object(bucket, "é")!.etag);
  });

  it("reads pages where the keys are, and jumps over the rest", async () => {
    for (let at = 0; at < 5_000; at++) fixture.s3.plant(bucket, `other/${String(at).padStart(5, "0")}`, "x");
    for (let at = 0; at < 1_500; at++) fixture.s3.plant(bucket, `ours/${String(at).padStart(5, "0")}`, "x");
    const keys = Array.from({ length: 2_000 }, (_, at) => `ours/${String(at).padStart(5, "0")}`);
    const found = await fixture.destination.find(keys, signal);
    expect(found!.size).toBe(1_500);
    expect(fixture.s3.counts.ListObjectsV2).toBe(2);
    fixture.s3.forget();
    expect((await fixture.destination.find(["other/00007", "other/04999"], signal))!.size).toBe(2);
    expect(fixture.s3.counts.ListObjectsV2).toBe(2);
  });

  it("reaches a key among thousands of neighbours in one request", async () => {
    for (let at = 0; at < 3_000; at++) fixture.s3.plant(bucket, `dir/1${String(at).padStart(5, "0")}`, "x");
    fixture.s3.plant(bucket, "dir/2", "x");
    expect((await fixture.destination.find(["dir/2"], signal))!.size).toBe(1);
    expect(fixture.s3.counts.ListObjectsV2).toBe(1);
  });

  it("sees what was put since the page was read", async () => {
    expect((await fixture.destination.find(["a"], signal))!.size).toBe(0);
    await fixture.put(fixture.job("a", fixture.file("a", noise(5))));
    expect((await fixture.destination.find(["a"], signal))!.get("a")).toMatchObject({ sizeBytes: 5 });
  });

  it("is null where listing is not permitted", async () => {
    fixture.s3.credential.allow = ["s3:PutObject"];
    expect(await fixture.destination.find(["a"], signal)).toBeNull();
  });

  it("takes no proxy's page for an empty bucket", async () => {
    const times = Number.POSITIVE_INFINITY;
    fixture.s3.faults.push({ match: { operation: "ListObjectsV2" }, action: { kind: "html", status: 200 }, times });
    await expect(fixture.destination.find(["a"], signal)).rejects.toThrow(failing("store_unreachable"));
  });

  it("agrees with the store on the order of keys", () => {
    const keys = ["a", "a/b", "Z", "é", "\u{1F600}", "\uffee", "a~", "a!"];
    for (const key of keys) fixture.s3.plant(bucket, key, "x");
    expect([...keys].sort(compareKeys)).toEqual(fixture.s3.keys(bucket));
  });
});

describe("head", () => {
  it("tells the object, its absence, and that it may not be asked", async () => {
    await fixture.put(fixture.job("a", fixture.file("a", noise(5))));
    expect(await fixture.destination.head("a", signal)).toMatchObject({
      sizeBytes: 5,
      etag: fixture.s3.object(bucket, "a")!.etag,
      checksum: { algorithm: "crc32", type: "full" },
    });
    expect(await fixture.destination.head("b", signal)).toBe("absent");
    fixture.s3.credential.allow = ["s3:PutObject"];
    expect(await fixture.destination.head("a", signal)).toBe("unknown");
  });
});

describe("what stands between", () => {
  it.each([403, 404])("is not taken for the store's word on a key (HTTP %d)", async (status) => {
    fixture.s3.plant(bucket, "a", "x");
    fixture.s3.faults.push({ action: { kind: "html", status }, times: Number.POSITIVE_INFINITY });
    const { head, readBack } = fixture.destination;
    await expect(head("a", signal)).rejects.toThrow(failing("store_unreachable"));
    await expect(readBack("a", { algorithm: "crc32", partSizeBytes: null }, signal)).rejects.toThrow(
      failing("store_unreachable"),
    );
  });
});

describe("compare", () => {
  const bytes = noise(20 * MiB + 7);

  it("by checksum, whoever wrote the object and however", async () => {
    const body = fixture.file("big", bytes);
    await fixture.put(fixture.job("parts", body));
    const inParts = await fixture.destination.head("parts", signal);
    if (typeof inParts === "string") throw new Error(inParts);
    expect(await fixture.destination.compare(body, inParts, signal)).toBe("equal");
    const other = fixture.file("other", noise(bytes.length, 2));
    expect(await fixture.destination.compare(other, inParts, signal)).toBe("different");
    expect(await fixture.destination.compare(fixture.file("short", noise(7)), inParts, signal)).toBe("different");
  });

  it("by composite checksum or ETag where parts were cut as we cut them; else it is unknown", async () => {
    const body = fixture.file("big", bytes);
    const composite = await fixture.open({ checksum: "sha256" });
    const hooks = { signal, uploads: fixture.memory, onBytes: () => undefined };
    await composite.put(fixture.job("composite", body), hooks);
    const found = await fixture.destination.head("composite", signal);
    if (typeof found === "string") throw new Error(found);
    expect(found.checksum!.type).toBe("composite");
    expect(await fixture.destination.compare(body, found, signal)).toBe("equal");
    const bare = { ...found, checksum: null };
    expect(await fixture.destination.compare(body, bare, signal)).toBe("equal");
    const cutOtherwise = { ...bare, etag: found.etag!.replace(/-3$/, "-5") };
    expect(await fixture.destination.compare(body, cutOtherwise, signal)).toBe("unknown");
    expect(await fixture.destination.compare(body, { ...bare, etag: "opaque" }, signal)).toBe("unknown");
  });

  it("bytes of our own, and by a plain ETag", async () => {
    fixture.s3.plant(bucket, "a", noise(50));
    const listed = (await fixture.destination.find(["a"], signal))!.get("a")!;
    expect(await fixture.destination.compare({ kind: "bytes", bytes: noise(50) }, listed, signal)).toBe("equal");
    expect(await fixture.destination.compare({ kind: "bytes", bytes: noise(50, 2) }, listed, signal)).toBe("unknown");
  });
});

describe("check", () => {
  const check = () => fixture.destination.check(signal);

  it("reports the bucket without writing anything", async () => {
    expect(await check()).toMatchObject({ canList: true, notices: [], description: expect.stringContaining(bucket) });
    expect(fixture.s3.counts).toEqual({ HeadBucket: 1, ListObjectsV2: 1 });
  });

  it("takes a 403 for ignorance, not for failure", async () => {
    fixture.s3.credential.allow = ["s3:PutObject"];
    expect(await check()).toMatchObject({ canList: false, notices: [expect.stringContaining("403")] });
  });

  it("names a missing bucket", async () => {
    const destination = await fixture.open({ bucket: "nowhere" });
    await expect(destination.check(signal)).rejects.toThrow(failing("bucket_missing"));
  });

  it("learns the region once, says so, and goes on with it", async () => {
    await fixture.close();
    fixture = await openFixture({ buckets: [{ name: bucket, region: "eu-west-1" }] });
    expect(await fixture.destination.check(signal)).toMatchObject({
      description: expect.stringContaining("eu-west-1"),
    });
    expect(fixture.notices).toEqual([expect.stringContaining("eu-west-1")]);
    expect(await fixture.put(fixture.job("a", fixture.file("a", noise(5))))).toMatchObject({ outcome: "stored" });
  });

  it("tells expired, unknown and wrong credentials apart", async () => {
    fixture.s3.credential.expired = true;
    await expect(check()).rejects.toThrow(failing("credentials_expired"));
    fixture.s3.credential.expired = false;
    const wrong = await fixture.open({ env: { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "wrong" } });
    await expect(wrong.check(signal)).rejects.toThrow(failing("credentials_invalid"));
  });

  it("notices a clock that is off, and stops at one that is too far off", async () => {
    let offMs = 120_000;
    const destination = await fixture.open({ now: () => Date.now() + offMs });
    expect((await destination.check(signal)).notices).toEqual([expect.stringMatching(/clock is 1\d\d s ahead/)]);
    offMs = -3_600_000;
    await expect(destination.check(signal)).rejects.toThrow(failing("clock_skewed"));
  });
});
