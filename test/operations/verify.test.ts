/** Asking the store again: what is equal, different, missing, and what nobody can say. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openFolderDestination } from "../../src/adapters/folder.ts";
import type { Destination } from "../../src/core/ports.ts";
import { type Finding, type Verification, type VerifyInput, verify } from "../../src/operations/verify.ts";
import { runUpload, type TestContext, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, noise, temporaryFolder } from "../support/tree.ts";

const MiB = 1024 * 1024;
const again = Number.POSITIVE_INFINITY;

let db: TestDatabase;
let card: ReturnType<typeof temporaryFolder>;
let to: Destination;

beforeEach(async () => {
  db = await testDatabase();
  card = temporaryFolder();
  makeTree(card.path, { "a/1.wav": 100, "a/2.wav": 200, "b/3.wav": 300, "b/4.wav": 0 });
});
afterEach(async () => {
  await to.close();
  card.remove();
  await db.drop();
});

const context = (policy = {}): TestContext => testContext({ db, destination: to, root: card.path, policy });

interface Verified extends Verification {
  findings: Finding[];
  of(verdict: Finding["verdict"]): Partial<Finding>[];
}

async function verifyLatest(cx = context(), over: Partial<VerifyInput> = {}): Promise<Verified> {
  const session = (await db.store.session((await db.store.latestSession("reef"))!))!;
  const findings: Finding[] = [];
  const result = await verify(cx, {
    session,
    concurrency: 8,
    readBackPercent: 0,
    forget: false,
    onFinding: (finding) => findings.push(finding),
    stopSignal: () => (cx.stopping.aborted ? "SIGINT" : null),
    ...over,
  });
  const of = (verdict: Finding["verdict"]) =>
    findings.filter((finding) => finding.verdict === verdict).map(({ key, by }) => ({ key, by }));
  return { ...result, findings, of };
}

describe("verify against S3", () => {
  let s3: S3Server;
  beforeEach(async () => {
    s3 = await startS3Server({ buckets: ["reef"] });
    to = await openOn(s3, "reef");
  });
  afterEach(() => s3.close());

  const overwrite = async (key: string, bytes: Uint8Array): Promise<void> => {
    const hooks = { signal: new AbortController().signal, uploads: db.store.uploads, onBytes: () => undefined };
    const job = { fileId: 0, key, metadata: {}, contentType: null, condition: { if: "always" } as const };
    await to.put({ ...job, body: { kind: "bytes", bytes } }, hooks);
  };

  it("proves every object by its checksum, one HEAD each, and writes nothing", async () => {
    makeTree(card.path, { "large.wav": 17 * MiB });
    await runUpload(context());
    s3.forget();
    expect(await verifyLatest()).toMatchObject({
      objects: 5,
      bytes: 600 + 17 * MiB,
      provenByChecksum: 5,
      provenByEtag: 0,
      readBack: 0,
      exitCode: 0,
    });
    expect(s3.counts).toEqual({ HeadObject: 5 });
  });

  it("finds what is missing, shorter, or other bytes of the same size", async () => {
    await runUpload(context());
    s3.uproot("reef", "C1/a/1.wav");
    await overwrite("C1/a/2.wav", noise(199, "shorter"));
    await overwrite("C1/b/3.wav", noise(300, "other"));
    s3.plant("reef", "C1/b/4.wav", "x");
    const result = await verifyLatest();
    expect(result).toMatchObject({ exitCode: 15, missing: 1, different: 3, provenByChecksum: 0 });
    expect(result.findings.map(({ key, verdict, by }) => [key, verdict, by])).toEqual([
      ["C1/a/1.wav", "missing", "presence"],
      ["C1/a/2.wav", "different", "size"],
      ["C1/b/3.wav", "different", "checksum"],
      ["C1/b/4.wav", "different", "size"],
    ]);
    expect(result.findings[1]).toMatchObject({ path: "a/2.wav", sizeBytes: 200, foundBytes: 199 });
  });

  it("without checksums takes the ETag for a mark: the same proves, another one tells of another writing", async () => {
    s3.quirks.checksums = "ignore";
    s3.quirks.etags = "opaque";
    await runUpload(context());
    expect(await verifyLatest()).toMatchObject({ exitCode: 0, provenByEtag: 4, provenByChecksum: 0 });
    await overwrite("C1/b/3.wav", noise(300, "b/3.wav"));
    expect((await verifyLatest()).of("different")).toEqual([{ key: "C1/b/3.wav", by: "etag" }]);
    // The bytes are the same: reading them shows it.
    expect(await verifyLatest(context(), { readBackPercent: 100 })).toMatchObject({ exitCode: 0, readBack: 4 });
  });

  it("says how many cannot be proven, and why, and that is no difference", async () => {
    await runUpload(context());
    await db.sql(`update :"schema".objects set checksum = null, etag = null where key = 'C1/a/1.wav'`);
    await db.sql(`delete from :"schema".objects where key = 'C1/a/2.wav'`);
    const result = await verifyLatest();
    expect(result).toMatchObject({ exitCode: 0, unproven: 2, provenByChecksum: 2 });
    expect(result.unprovenWhy).toEqual({
      "nothing but its size is remembered": 1,
      "nothing is remembered of it": 1,
    });
  });

  it("reads back as many as were drawn, and finds what only the bytes can tell", async () => {
    await runUpload(context());
    const drawn = [0.49, 0.5, 0.51, 0];
    const cx = { ...context(), random: () => drawn.shift() ?? 1 };
    expect(await verifyLatest(cx, { readBackPercent: 50 })).toMatchObject({ readBack: 2, exitCode: 0 });
    s3.faults.push({ match: { operation: "HeadObject" }, action: { kind: "omitChecksum" }, times: again });
    // As if the store had kept its ETag over rotten bytes.
    await db.sql(`update :"schema".objects set checksum = 'AAAAAA==' where key = 'C1/b/3.wav'`);
    for (const { verdict } of (await verifyLatest()).findings) expect(verdict).toBe("proven");
    const result = await verifyLatest(context(), { readBackPercent: 100 });
    expect(result.of("different")).toEqual([{ key: "C1/b/3.wav", by: "content" }]);
    expect(result).toMatchObject({ exitCode: 15, readBack: 4 });
  });

  it("calls nothing proven that was to be read back and may not be", async () => {
    await runUpload(context());
    s3.faults.push({
      match: { operation: "GetObject" },
      action: { kind: "error", code: "AccessDenied" },
      times: again,
    });
    const result = await verifyLatest(context(), { readBackPercent: 100 });
    expect(result).toMatchObject({ readBack: 0, provenByChecksum: 0, unknown: 4, exitCode: 12 });
    expect(result.findings.map(({ detail }) => detail)).toEqual(Array(4).fill("it may not be read"));
  });

  it("reads a composite back by its remembered part size, and says so when that is lost", async () => {
    to = await openOn(s3, "reef", { checksum: "sha256" });
    makeTree(card.path, { "large.wav": 17 * MiB });
    await runUpload(context());
    const [remembered] = await db.sql(`select checksum_type from :"schema".objects where key = 'C1/large.wav'`);
    expect(remembered).toEqual({ checksum_type: "composite" });
    const whole = await verifyLatest(context(), { readBackPercent: 100 });
    expect(whole).toMatchObject({ exitCode: 0, readBack: 5, provenByChecksum: 5 });
    expect(whole.of("proven")).toContainEqual({ key: "C1/large.wav", by: "content" });
    await db.sql(`delete from :"schema".multipart_uploads`);
    expect((await verifyLatest(context(), { readBackPercent: 100 })).of("unproven")).toEqual([
      { key: "C1/large.wav", by: "none" },
    ]);
    expect(await verifyLatest()).toMatchObject({ unproven: 0, provenByChecksum: 5 });
  });

  it("with nothing but an MD5 for an ETag reads back against that", async () => {
    await runUpload(context());
    await db.sql(`update :"schema".objects set checksum = null`);
    expect(await verifyLatest(context(), { readBackPercent: 100 })).toMatchObject({ exitCode: 0, readBack: 4 });
    await db.sql(`update :"schema".objects set etag = md5('other') where key = 'C1/a/1.wav'`);
    const result = await verifyLatest(context(), { readBackPercent: 100 });
    expect(result.of("different")).toEqual([{ key: "C1/a/1.wav", by: "content" }]);
  });

  it("asks also for what was safe before, below the prefix and not beside it", async () => {
    await runUpload(context());
    makeTree(card.path, { "c/5.wav": 50 });
    await runUpload(context(), { prefix: "C10" });
    await runUpload(context(), { prefix: "C1" });
    s3.uproot("reef", "C1/b/3.wav");
    s3.uproot("reef", "C10/b/3.wav");
    s3.forget();
    const result = await verifyLatest();
    expect(result).toMatchObject({ objects: 5, missing: 1, exitCode: 15 });
    expect(result.of("missing")).toEqual([{ key: "C1/b/3.wav", by: "presence" }]);
    expect(s3.counts).toEqual({ HeadObject: 5 });
  });

  it("verifies what a session found in the store already", async () => {
    s3.plant("reef", "C1/a/1.wav", noise(100, "a/1.wav"));
    expect(await runUpload(context())).toMatchObject({ filesSkipped: 1, filesUploaded: 3 });
    s3.uproot("reef", "C1/a/1.wav");
    expect((await verifyLatest()).of("missing")).toEqual([{ key: "C1/a/1.wav", by: "presence" }]);
  });

  it("one refusal is one error, and without an answer nothing is verified", async () => {
    await runUpload(context());
    s3.credential.allow = ["s3:PutObject"];
    const findings: Finding[] = [];
    await expect(verifyLatest(context(), { onFinding: (one) => findings.push(one) })).rejects.toMatchObject({
      code: "access_denied",
      exitCode: 12,
    });
    expect(findings).toEqual([]);
  });

  it("an object that may not be asked about outweighs a difference", async () => {
    await runUpload(context());
    s3.uproot("reef", "C1/a/2.wav");
    s3.faults.push({
      match: { operation: "HeadObject", key: "C1/a/1.wav" },
      action: { kind: "error", code: "AccessDenied" },
      times: again,
    });
    expect(await verifyLatest()).toMatchObject({ unknown: 1, missing: 1, exitCode: 12 });
  });

  it("bears a store that fails for a while", async () => {
    await runUpload(context());
    s3.faults.push({ match: { operation: "HeadObject" }, action: { kind: "error", code: "InternalError" }, times: 6 });
    expect(await verifyLatest(context(), { concurrency: 1 })).toMatchObject({ exitCode: 0, provenByChecksum: 4 });
  });

  it("verifies a session that is not finished as far as it got, and says how much is left", async () => {
    s3.faults.push({
      match: { operation: "PutObject", key: "C1/b/3.wav" },
      action: { kind: "error", code: "InternalError" },
      times: again,
    });
    await runUpload(context({ attempts: 1 }));
    await db.sql(
      `update :"schema".file_uploads set status = 'pending', uploaded_at = null where s3_key = 'C1/a/1.wav'`,
    );
    expect(await verifyLatest()).toMatchObject({ objects: 2, filesLeft: 1, filesFailed: 1, exitCode: 0 });
  });

  it("goes through any number of objects", async () => {
    makeTree(card.path, Object.fromEntries(Array.from({ length: 1_100 }, (_, n) => [`many/${n}.wav`, 1])));
    await runUpload(context());
    s3.uproot("reef", "C1/many/1099.wav");
    s3.uproot("reef", "C1/many/0.wav");
    const result = await verifyLatest();
    expect(result).toMatchObject({ objects: 1_104, missing: 2, provenByChecksum: 1_102 });
  });

  it("forgets what the store has refuted, so that the next upload mends it", async () => {
    await runUpload(context());
    s3.uproot("reef", "C1/a/1.wav");
    await overwrite("C1/b/3.wav", noise(300, "other"));
    expect(await verifyLatest()).toMatchObject({ forgotten: 0 });
    expect(await runUpload(context())).toMatchObject({ exitCode: 0, filesUploaded: 0, filesSkipped: 4 });
    expect(await verifyLatest(context(), { forget: true })).toMatchObject({ forgotten: 2, exitCode: 15 });
    expect(await runUpload(context())).toMatchObject({
      exitCode: 3,
      filesUploaded: 1,
      filesSkipped: 2,
      filesFailed: 1,
    });
    expect(s3.object("reef", "C1/a/1.wav")!.bytes().equals(noise(100, "a/1.wav"))).toBe(true);
    expect(await db.sql(`select s3_key, error_code from :"schema".file_uploads where status = 'failed'`)).toEqual([
      { s3_key: "C1/b/3.wav", error_code: "conflict" },
    ]);
    expect(await runUpload(context({ onConflict: "replace" }))).toMatchObject({ exitCode: 0, filesUploaded: 1 });
    expect(await verifyLatest()).toMatchObject({ exitCode: 0, provenByChecksum: 4 });
  });

  it("stops when it is told to", async () => {
    await runUpload(context());
    const cx = context();
    cx.stop();
    expect(await verifyLatest(cx)).toMatchObject({ exitCode: 130 });
  });

  it("refuses another destination than the session's", async () => {
    await runUpload(context());
    const session = (await db.store.session((await db.store.latestSession("reef"))!))!;
    const elsewhere = { ...session, destinationIdentity: "s3://other" };
    await expect(verifyLatest(context(), { session: elsewhere })).rejects.toMatchObject({ code: "config_invalid" });
  });
});

describe("verify against a folder", () => {
  let archive: ReturnType<typeof temporaryFolder>;
  beforeEach(async () => {
    archive = temporaryFolder();
    to = await openFolderDestination({ root: archive.path, createRoot: false });
    await runUpload(context());
  });
  afterEach(() => archive.remove());
  const at = (key: string) => join(archive.path, "C1", key);

  it("reads everything and finds it equal", async () => {
    expect(await verifyLatest(context(), { readBackPercent: 100 })).toMatchObject({
      exitCode: 0,
      provenByChecksum: 4,
      readBack: 4,
    });
  });

  it("finds what is rotten, gone, or no file any more", async () => {
    writeFileSync(at("a/1.wav"), noise(100, "rotten"));
    rmSync(at("a/2.wav"));
    rmSync(at("b/3.wav"));
    mkdirSync(at("b/3.wav"));
    const result = await verifyLatest();
    expect(result).toMatchObject({ exitCode: 15, provenByChecksum: 1 });
    expect(result.of("different")).toEqual([
      { key: "C1/a/1.wav", by: "checksum" },
      { key: "C1/b/3.wav", by: "look" },
    ]);
    expect(result.of("missing")).toEqual([{ key: "C1/a/2.wav", by: "presence" }]);
  });
});
