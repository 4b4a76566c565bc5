/** `upload --decode` end to end: real threads, real Postgres, the strict server. */
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openScratch, type ScratchOptions } from "../../src/adapters/decoding/scratch.ts";
import { openDecoderThreads, type ThreadOptions } from "../../src/adapters/decoding/threads.ts";
import { type Decoding, decodedFormats } from "../../src/core/decoding.ts";
import type { Destination } from "../../src/core/ports.ts";
import { decode } from "../../src/shimmer/index.ts";
import { batteryFile, file, u16 } from "../shimmer/support/recording.ts";
import { runUpload, type TestContext, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

/** Battery and wide-range acceleration. */
const walk = (count = 50, shift = 0): Uint8Array =>
  file(
    { enabled: [0, 0x30] },
    Array.from({ length: count }, (_, index) => [2730 - index + shift, -100 + index, 50, 16_000].flatMap(u16)),
  );
const first = "lab/Walk_1772344000/Shimmer_ABCD-000/000";
const phone = "ab12__20260301_101500__Walk_1772344000__Shimmer_ABCD-000__001.txt";

let db: TestDatabase;
let s3: S3Server;
let to: Destination;
let card: ReturnType<typeof temporaryFolder>;
let state: ReturnType<typeof temporaryFolder>;
const open: Decoding[] = [];
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  await db.sql('truncate :"schema".projects, :"schema".destinations cascade');
  card = temporaryFolder();
  state = temporaryFolder();
  makeTree(card.path, { [first]: walk(), [phone]: batteryFile(20), "a/b.wav": "sound" });
  s3 = await startS3Server({ buckets: ["lab"] });
  to = await openOn(s3, "lab");
});
afterEach(async () => {
  for (const decoding of open.splice(0)) await decoding.close();
  await to.close();
  await s3.close();
  card.remove();
  state.remove();
});

interface ContextOver extends Partial<ScratchOptions>, Partial<ThreadOptions> {
  pid?: number;
  policy?: Parameters<typeof testContext>[0]["policy"];
}

function context(over: ContextOver = {}): TestContext {
  const { pid = 1, policy = {}, heapMiB = 128 } = over;
  const cx = testContext({ db, destination: to, root: card.path, policy, me: worker(pid) });
  cx.decoding = openScratch({
    enabled: true,
    formats: ["json"],
    settings: { profile: "vendor", timeSource: "auto" },
    version: "0",
    folder: join(state.path, "decoding"),
    decoder: openDecoderThreads({ threads: 1, heapMiB }),
    now: Date.now,
    random: Math.random,
    ...over,
  });
  open.push(cx.decoding);
  return cx;
}

const keys = (): string[] => [...s3.keys("lab")].sort();
const held = (key: string): Buffer => Buffer.from(s3.object("lab", key)!.bytes());
/** The store does not take this key. */
const refuse = (key: string): void =>
  s3.faults.push({
    match: { operation: "PutObject", key },
    action: { kind: "error", code: "InternalError" },
    times: Number.POSITIVE_INFINITY,
  });
const decodedRows = () =>
  db.sql<{ key: string; status: string; error_code: string | null; [column: string]: unknown }>(
    'select * from :"schema".decoded_recordings order by key',
  );
const json = `C1/decode/lab/Walk_1772344000/Shimmer_ABCD-000/000_decoded.json`;

describe("upload --decode", () => {
  it("sends what it makes of recordings beside them, and remembers what is in them", async () => {
    const summary = await runUpload(context());
    expect(summary).toMatchObject({ exitCode: 0, totalFiles: 5, filesUploaded: 5, filesUndecoded: 0 });
    expect(keys()).toEqual([
      "C1/a/b.wav",
      `C1/${phone}`,
      `C1/decode/${phone.replace(".txt", "_decoded.json")}`,
      json,
      `C1/${first}`,
    ]);
    const { columns } = JSON.parse(held(json).toString());
    const { columns: expected } = decode(walk());
    for (const { name, unit, values } of expected) expect(columns[name]).toEqual({ unit, values: [...values] });
    expect(s3.object("lab", json)!.metadata).toMatchObject({ type: "decoded_recording", filename: "000_decoded.json" });

    const rows = await decodedRows();
    expect(rows).toHaveLength(2);
    expect(rows[1]).toMatchObject({
      key: `C1/${first}`,
      status: "decoded",
      device_mac: "00:06:66:12:AB:CD",
      device_name: "Shimmer_ABCD",
      experiment: "Walk_1772344000",
      shimmer_device: "Shimmer_ABCD",
      shimmer_day: "000",
      part: "000",
      sampling_rate_hz: 51.2,
      samples: 50,
      gaps: 0,
      odd_ticks: 0,
      patient: null,
    });
    expect((rows[1]!.started_at as Date).toISOString()).toBe("2025-10-30T00:00:00.000Z");
    const length = expected.filter(({ signal }) => signal.startsWith("Accel_WR")).map(({ values }) => values);
    const lengths = Array.from(length[0]!, (x, row) => Math.hypot(x, length[1]![row]!, length[2]![row]!));
    expect(rows[1]!.accel_wr_range).toBeCloseTo(Math.max(...lengths) - Math.min(...lengths), 9);
    expect(rows[0]).toMatchObject({ phone: "ab12", part: "001", accel_wr_range: null });

    const files = await db.sql(
      `select d.s3_key, d.status, r.s3_key as source from :"schema".file_uploads d
       join :"schema".file_uploads r on r.id = d.derived_from order by d.s3_key`,
    );
    expect(files).toContainEqual({ s3_key: json, status: "uploaded", source: `C1/${first}` });
  });

  it("the next run finds all safe, and decodes nothing", async () => {
    await runUpload(context());
    const again = context();
    again.decoding = { ...again.decoding!, make: () => Promise.reject(new Error("decoded again")) };
    expect(await runUpload(again)).toMatchObject({ exitCode: 0, filesThisRun: 0, filesSkipped: 3 });
  });

  it("recordings that are safe already are decoded when they were not", async () => {
    const without = context({ enabled: false });
    expect(await runUpload(without)).toMatchObject({ totalFiles: 3 });
    expect(await decodedRows()).toEqual([]);
    const summary = await runUpload(context());
    expect(summary).toMatchObject({ exitCode: 0, totalFiles: 5, filesThisRun: 2 });
    expect(keys()).toContain(json);
    const other = await runUpload(context({ settings: { profile: "cloud-sync", timeSource: "auto" } }));
    expect(other).toMatchObject({ exitCode: 0, filesThisRun: 2 });
    expect(JSON.parse(held(json).toString())).toHaveProperty("Accel_WR_VAR");
  });

  it("makes every format", async () => {
    await runUpload(context({ formats: decodedFormats }));
    expect(keys().filter((key) => key.startsWith("C1/decode/lab"))).toEqual(
      ["csv", "json", "mat", "parquet"].map((format) => json.replace(/json$/, format)),
    );
  });

  it("leaves nothing on the disk", async () => {
    const cx = context();
    await runUpload(cx);
    expect(
      readdirSync(join(state.path, "decoding")).flatMap((name) => readdirSync(join(state.path, "decoding", name))),
    ).toEqual([]);
    await cx.decoding!.close();
    expect(readdirSync(join(state.path, "decoding"))).toEqual([]);
  });

  it("one that cannot be decoded goes as it is, is counted and told", async () => {
    makeTree(card.path, { "lab/bad": batteryFile(5, { firmware: [3, 0, 1, 0] }) });
    const cx = context();
    expect(await runUpload(cx)).toMatchObject({ exitCode: 0, totalFiles: 6, filesUploaded: 6, filesUndecoded: 1 });
    expect(keys()).toContain("C1/lab/bad");
    expect((await decodedRows()).find(({ key }) => key === "C1/lab/bad")).toMatchObject({
      status: "undecodable",
      error_code: "recording_bad",
      error_message: expect.stringContaining("firmware version at byte 36"),
    });
    expect(cx.of("notice").map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/not decoded: .*lab\/bad/),
    );
    // It is not tried again for ever.
    expect(await runUpload(context())).toMatchObject({ exitCode: 0, totalFiles: 4, filesThisRun: 0 });
  });

  it("neither time nor memory without bound ends the run", async () => {
    const slow = await runUpload(context({ limitMs: () => 0 }));
    expect(slow).toMatchObject({ exitCode: 0, filesUploaded: 3, filesUndecoded: 2 });
    expect((await decodedRows())[0]!.error_message).toMatch(/took longer than 0 s/);
    await db.sql('delete from :"schema".decoded_recordings');
    const starved = await runUpload(context({ heapMiB: 2 }));
    expect(starved).toMatchObject({ exitCode: 0, filesUndecoded: 2 });
    expect((await decodedRows())[0]!.error_message).toMatch(/more than 2 MiB of memory/);
  });

  it("a second card with the same names replaces neither recording nor result", async () => {
    await runUpload(context());
    const before = held(json);
    writeFileSync(join(card.path, first), walk(50, 7));
    expect(await runUpload(context())).toMatchObject({ exitCode: 3, filesFailed: 1 });
    expect(held(json).equals(before)).toBe(true);
    const replaced = await runUpload(context({ policy: { onChange: "replace" } }));
    expect(replaced).toMatchObject({ exitCode: 0, filesThisRun: 2 });
    expect(held(json).equals(before)).toBe(false);
  });

  it("a result that could not be sent is made again from its source, with the same bytes", async () => {
    refuse(json);
    expect(await runUpload(context({ policy: { attempts: 1 } }))).toMatchObject({ exitCode: 3, filesFailed: 1 });
    expect(keys()).not.toContain(json);
    s3.faults.clear();
    // Another process: nothing is left of the first one's files, and the recording itself is safe, so no scan finds it.
    const other = context({ pid: 2 });
    expect(await runUpload(other)).toMatchObject({ exitCode: 0, filesThisRun: 1 });
    const once = held(json);
    await runUpload(context(), { prefix: "C2" });
    expect(held(json.replace("C1", "C2")).equals(once)).toBe(true);
  });

  it("a process that dies between recording and result leaves both to the next", async () => {
    const cx = context();
    s3.faults.push({ match: { operation: "PutObject", key: json }, action: { kind: "stall" } });
    const running = runUpload(cx);
    for (;;) {
      const [row] = await db.sql('select from :"schema".file_uploads where derived_from is not null and s3_key = $1', [
        json,
      ]);
      if (row) break;
    }
    cx.stop();
    cx.drop();
    expect(await running).toMatchObject({ exitCode: 130 });
    expect(keys()).not.toContain(json);
    expect(await runUpload(context({ pid: 2 }))).toMatchObject({ exitCode: 0, totalFiles: 5, filesUploaded: 5 });
    expect(keys()).toContain(json);
  });

  it("its source gone, a result fails and says so", async () => {
    refuse(json);
    await runUpload(context({ policy: { attempts: 1 } }));
    rmSync(join(card.path, first));
    s3.faults.clear();
    expect(await runUpload(context())).toMatchObject({ exitCode: 3, filesFailed: 1 });
    const [row] = await db.sql(
      `select error_code from :"schema".file_uploads where s3_key = $1 and status = 'failed'`,
      [json],
    );
    expect(row).toEqual({ error_code: "file_gone" });
  });

  it("many recordings with room for one on the disk, in two formats", async () => {
    makeTree(
      card.path,
      Object.fromEntries(Array.from({ length: 25 }, (_, n) => [`many/${100 + n}`, batteryFile(30 + n)] as const)),
    );
    const summary = await runUpload(context({ budgetBytes: 1, formats: ["csv", "json"] }));
    expect(summary).toMatchObject({ exitCode: 0, totalFiles: 28 + 2 * 27, filesUploaded: 28 + 2 * 27 });
  });

  it("what a killed process left on the disk is swept, what a living one has is not", async () => {
    const { host, dead } = { host: crc32(hostname()).toString(16).padStart(8, "0"), dead: 2 ** 22 + 1 };
    const [left, living] = [dead, process.ppid].map((pid) => `.uploader-${host}-${pid}-abc.partial`);
    makeTree(join(state.path, "decoding"), { [`${left}/1.json`]: "x", [`${living}/1.json`]: "y" });
    await runUpload(context());
    expect(readdirSync(join(state.path, "decoding"))).toEqual(expect.arrayContaining([living]));
    expect(readdirSync(join(state.path, "decoding"))).not.toContain(left);
  });

  it("a recording whose size was trusted stays safe, and is decoded", async () => {
    s3.plant("lab", `C1/${first}`, walk());
    await runUpload(context({ enabled: false, policy: { existing: "size" } }));
    // As a store that encrypts would have answered.
    await db.sql(`update :"schema".objects set etag = '"opaque"' where key = $1`, [`C1/${first}`]);
    expect(await runUpload(context())).toMatchObject({ exitCode: 0, filesFailed: 0, filesThisRun: 2 });
    const other = await runUpload(context({ settings: { profile: "consensys", timeSource: "auto" } }));
    // Decoded otherwise, and the same bytes: nothing is sent.
    expect(other).toMatchObject({ exitCode: 0, filesFailed: 0, filesThisRun: 0 });
  });

  it("a recording that the store holds otherwise is kept back, and nothing is made of it", async () => {
    s3.plant("lab", `C1/${first}`, walk(40));
    expect(await runUpload(context())).toMatchObject({ exitCode: 3, filesFailed: 1 });
    expect(keys()).not.toContain(json);
  });

  it("two recordings of one stem have results of their own", async () => {
    makeTree(card.path, { "twins/000": batteryFile(5), "twins/000.txt": batteryFile(6) });
    expect(await runUpload(context())).toMatchObject({ exitCode: 0, totalFiles: 9, filesUndecoded: 0 });
    const twins = keys().filter((key) => key.startsWith("C1/decode/twins/"));
    expect(twins.map((key) => [key.slice(16), JSON.parse(held(key).toString()).header.samples])).toEqual([
      ["000.txt_decoded.json", 6],
      ["000_decoded.json", 5],
    ]);
  });

  it("files that are no recordings are not decoded, whatever their name", async () => {
    makeTree(card.path, { "x/notes.txt": "a".repeat(500) });
    const cx = testContext({ db, destination: to, root: card.path, include: ["**"] });
    cx.decoding = context().decoding!;
    expect(await runUpload(cx)).toMatchObject({ exitCode: 0, totalFiles: 6, filesUndecoded: 0 });
  });
});
