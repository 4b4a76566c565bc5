/** A recording, its row, its summary and its tags agree on who wore it, also after a correction: real threads, stores, Postgres. */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openScratch } from "../../src/adapters/decoding/scratch.ts";
import { openDecoderThreads } from "../../src/adapters/decoding/threads.ts";
import { openFolderDestination } from "../../src/adapters/folder.ts";
import type { Decoding } from "../../src/core/decoding.ts";
import type { DeviceMap } from "../../src/core/devices.ts";
import type { Destination } from "../../src/core/ports.ts";
import { tellStore } from "../../src/operations/correction.ts";
import { importDevices, type MapContext, setDevice } from "../../src/operations/map-device.ts";
import { pairsOf } from "../../src/operations/pairs.ts";
import { openDeviceMap } from "../../src/store/devices.ts";
import { batteryFile } from "../shimmer/support/recording.ts";
import { runUpload, type TestContext, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openOn } from "../support/s3.ts";
import { type S3Server, startS3Server } from "../support/s3-server/server.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

/** Both begin at 2025-10-30T00:00:00Z, the right one ten seconds later. */
const left = batteryFile(20);
const right = batteryFile(20, { start: 10 * 32_768, patch: { 24: [0x00, 0x06, 0x66, 0x12, 0xdc, 0xff] } });
const phone = "a9ae0f999916e210";
const rawLeft = `C1/${phone}__20251030_101500__Walk__Shimmer_ABCD-000__000.txt`;
const rawRight = `C1/${phone}__20251030_101530__Walk__Shimmer_DCFF-000__000.txt`;
const made = (raw: string, what: string) => raw.replace("C1/", "C1/decode/").replace(".txt", `_${what}.json`);

let db: TestDatabase;
let map: DeviceMap;
let s3: S3Server;
let to: Destination;
let card: ReturnType<typeof temporaryFolder>;
let state: ReturnType<typeof temporaryFolder>;
let cx: MapContext;
const open: Decoding[] = [];
beforeAll(async () => {
  db = await testDatabase();
  map = openDeviceMap(db.database, db.schema);
});
afterAll(() => db.drop());
beforeEach(async () => {
  await db.sql(
    'truncate :"schema".projects, :"schema".destinations, :"schema".device_map, :"schema".device_map_history cascade',
  );
  card = temporaryFolder();
  state = temporaryFolder();
  makeTree(card.path, { [rawLeft.slice(3)]: left, [rawRight.slice(3)]: right });
  s3 = await startS3Server({ buckets: ["lab"] });
  to = await openOn(s3, "lab");
  cx = { map, pseudonymKey: null, actor: "nurse@ward", now: () => new Date() };
});
afterEach(async () => {
  for (const decoding of open.splice(0)) await decoding.close();
  await to.close();
  await s3.close();
  card.remove();
  state.remove();
});

function context(patientTags = false, destination = to, policy: Partial<TestContext["policy"]> = {}): TestContext {
  const run = testContext({ db, destination, root: card.path, policy: { patientTags, ...policy } });
  run.decoding = openScratch({
    enabled: true,
    formats: ["json"],
    settings: { profile: "vendor", timeSource: "auto" },
    version: "0",
    folder: join(state.path, "decoding"),
    decoder: openDecoderThreads({ threads: 1 }),
    now: Date.now,
    random: Math.random,
  });
  open.push(run.decoding);
  return run;
}

const set = (patient: string, over: Partial<Parameters<typeof setDevice>[1]> = {}) =>
  setDevice(cx, { device: phone, patient, ...over });
const destinationId = async () => (await db.store.destinationId(to.identity))!;
const notices: string[] = [];
const tell = async (tags = false, destination = to) => {
  notices.length = 0;
  const emit: TestContext["emit"] = (event) => "message" in event && notices.push(event.message);
  const stopping = new AbortController().signal;
  return tellStore({ store: db.store, destination, tags, emit, stopping }, await destinationId());
};

const summary = (raw: string) => JSON.parse(Buffer.from(s3.object("lab", made(raw, "summary"))!.bytes()).toString());
const tagsOf = (key: string) => s3.object("lab", key)!.tags.map(({ key: name, value }) => `${name}=${value}`);
const rows = () =>
  db.sql<{ key: string; patient: string | null; slot: number; group_id: string | null }>(
    'select key, patient, slot, group_id from :"schema".decoded_recordings order by key',
  );

describe("upload --decode with a map", () => {
  it("row and summary say who wore it, and the two are a pair; nothing else tells", async () => {
    await set("P-017", { shimmer1: ["ABCD"], shimmer2: ["DCFF"] });
    const run = context();
    const { sessionId, exitCode } = await runUpload(run);
    expect(exitCode).toBe(0);
    const [first, second] = await rows();
    expect([first, second]).toMatchObject([
      { key: rawLeft, patient: "P-017", slot: 1 },
      { key: rawRight, patient: "P-017", slot: 2 },
    ]);
    expect(first!.group_id).toBe(second!.group_id);
    expect(summary(rawLeft)).toMatchObject({
      key: rawLeft,
      patient: "P-017",
      device: phone,
      slot: 1,
      groupId: first!.group_id,
      deviceMac: "00:06:66:12:AB:CD",
      startedAt: "2025-10-30T00:00:00.000Z",
      samples: 20,
      decoded: [made(rawLeft, "decoded").split("/").at(-1)],
    });
    expect(await pairsOf(db.store, sessionId!)).toMatchObject({
      groups: [{ groupId: first!.group_id, patient: "P-017", shimmer1: { key: rawLeft }, shimmer2: { key: rawRight } }],
      unworn: 0,
      undated: 0,
    });
    // Promise 7: no key, no metadata, no event and no tag holds the patient.
    for (const key of s3.keys("lab")) {
      expect(key).not.toContain("P-017");
      expect(JSON.stringify(s3.object("lab", key)!.metadata)).not.toContain("P-017");
      expect(tagsOf(key)).toEqual([]);
    }
    expect(JSON.stringify(run.events)).not.toContain("P-017");
  });

  it("without a wearer there is no summary; the next run sends nothing again", async () => {
    await runUpload(context());
    expect(s3.keys("lab").some((key) => key.includes("_summary"))).toBe(false);
    await set("P-017");
    await runUpload(context());
    const writes = s3.object("lab", made(rawLeft, "summary"))!.writes;
    await runUpload(context());
    expect([writes, s3.object("lab", made(rawLeft, "summary"))!.writes]).toEqual([1, 1]);
  });

  it("a pseudonym is all that is kept", async () => {
    cx = { ...cx, pseudonymKey: "the key of the clinic" };
    await set("P-017");
    await runUpload(context(true));
    expect((await rows())[0]!.patient).toMatch(/^pn_[0-9a-f]{32}$/);
    expect(summary(rawLeft).patient).toBe((await rows())[0]!.patient);
    const all = await db.sql('select m::text, h::text from :"schema".device_map m, :"schema".device_map_history h');
    expect(JSON.stringify(all)).not.toContain("P-017");
  });
});

describe("a late correction", () => {
  it("row, summary and tags agree, the audit trail keeps both, and verify finds nothing changed", async () => {
    await set("P-017", { shimmer1: ["ABCD"], shimmer2: ["DCFF"] });
    await runUpload(context(true));
    const raw = Buffer.from(s3.object("lab", rawLeft)!.bytes());
    const tagged = [rawLeft, made(rawLeft, "decoded"), made(rawLeft, "summary")];
    for (const key of tagged) expect(tagsOf(key)).toEqual(["patient=P-017"]);

    expect(await set("P-018")).toMatchObject({ change: "changed", recordings: 2 });
    expect(await tell(true)).toEqual({ summaries: 2, tagged: 2, left: 0 });
    expect((await rows()).map(({ patient }) => patient)).toEqual(["P-018", "P-018"]);
    expect([rawLeft, rawRight].map((key) => summary(key).patient)).toEqual(["P-018", "P-018"]);
    for (const key of tagged) expect(tagsOf(key)).toEqual(["patient=P-018"]);
    expect(Buffer.from(s3.object("lab", rawLeft)!.bytes()).equals(raw)).toBe(true);
    expect((await map.history(phone)).map(({ patient }) => patient)).toEqual(["P-017", "P-018"]);
    const known = await db.store.known(await destinationId(), [made(rawLeft, "summary")]);
    expect(known.get(made(rawLeft, "summary"))!.etag).toContain(s3.object("lab", made(rawLeft, "summary"))!.etag);
    expect(await tell(true)).toEqual({ summaries: 0, tagged: 0, left: 0 });
  });

  it("a changed recording is a new object, which has no tags: it gets them", async () => {
    await set("P-017");
    await runUpload(context(true));
    makeTree(card.path, { [rawLeft.slice(3)]: batteryFile(30) });
    expect(await runUpload(context(true, to, { onChange: "replace" }))).toMatchObject({ exitCode: 0 });
    for (const what of [rawLeft, made(rawLeft, "decoded"), made(rawLeft, "summary")]) {
      expect(tagsOf(what)).toEqual(["patient=P-017"]);
    }
    expect(await tell(true)).toEqual({ summaries: 0, tagged: 0, left: 0 });
  });

  it("decoded anew while the store is told: what was told is told again", async () => {
    await runUpload(context());
    await set("P-017");
    const late: typeof db.store = {
      ...db.store,
      async recordingTold(told) {
        await db.sql('update :"schema".decoded_recordings set decoded_at = now() where id = $1', [told.recording.id]);
        return db.store.recordingTold(told);
      },
    };
    const cx = {
      store: late,
      destination: to,
      tags: false,
      emit: () => undefined,
      stopping: new AbortController().signal,
    };
    expect(await tellStore(cx, await destinationId())).toMatchObject({ summaries: 2, left: 2 });
    expect(await tell()).toMatchObject({ summaries: 2, left: 0 });
    expect(await tell()).toMatchObject({ summaries: 0, left: 0 });
  });

  it("one that nobody wore after all says so", async () => {
    await set("P-017");
    await runUpload(context(true));
    await map.remove(phone, null, "x");
    expect(await tell(true)).toMatchObject({ summaries: 2, tagged: 2 });
    expect(summary(rawLeft)).toMatchObject({ patient: null, groupId: null });
    expect(tagsOf(rawLeft)).toEqual([]);
  });

  it("tags of others stay; where they fill the object, that is told once", async () => {
    await runUpload(context());
    const others = Array.from({ length: 10 }, (_, n) => ({ key: `t${n}`, value: "x" }));
    const put = async (key: string, count: number) => {
      for (const { key: name } of others.slice(0, count)) {
        await (to as Awaited<ReturnType<typeof openOn>>).tag(key, name, "x", new AbortController().signal);
      }
    };
    await put(rawLeft, 2);
    await put(rawRight, 10);
    // `<` is no character of a tag: ours is left out, theirs stay.
    await set("P <1>");
    await tell(true);
    expect(notices.filter((message) => message.includes("characters that tags may not have"))).toHaveLength(1);
    expect(tagsOf(rawLeft)).toEqual(["t0=x", "t1=x"]);
    await set("P 1");
    expect(await tell(true)).toMatchObject({ tagged: 1 });
    expect(notices.filter((message) => message.includes("ten tags"))).toHaveLength(1);
    expect(tagsOf(rawLeft)).toEqual(["t0=x", "t1=x", "patient=P 1"]);
    expect(tagsOf(rawRight)).toHaveLength(10);
  });

  it("not permitted to tag: noted once, no error; the rest is told, and tags follow when they may", async () => {
    await set("P-017");
    const key = s3.credentials.get(s3.credential.accessKeyId)!;
    s3.credentials.set(key.accessKeyId, { ...key, allow: ["s3:PutObject", "s3:GetObject", "s3:ListBucket"] });
    const run = context(true);
    expect(await runUpload(run)).toMatchObject({ exitCode: 0 });
    expect(run.of("notice").filter(({ message }) => message.includes("PutObjectTagging"))).toHaveLength(1);
    expect(summary(rawLeft).patient).toBe("P-017");
    expect(tagsOf(rawLeft)).toEqual([]);
    s3.credentials.set(key.accessKeyId, key);
    expect(await tell(true)).toEqual({ summaries: 0, tagged: 2, left: 0 });
    expect(tagsOf(rawLeft)).toEqual(["patient=P-017"]);
    // Not wanted any more.
    expect(await tell(false)).toMatchObject({ tagged: 2 });
    expect(tagsOf(rawLeft)).toEqual([]);
  });

  it("a store that does not take it leaves it due; the next upload tells it", async () => {
    await set("P-017");
    await runUpload(context());
    s3.faults.push({
      match: { operation: "PutObject", key: made(rawLeft, "summary") },
      action: { kind: "error", code: "InternalError" },
      times: Number.POSITIVE_INFINITY,
    });
    await set("P-018");
    expect(await tell()).toEqual({ summaries: 1, tagged: 0, left: 1 });
    expect(notices.join()).not.toMatch(/P-01/);
    expect([rawLeft, rawRight].map((key) => summary(key).patient)).toEqual(["P-017", "P-018"]);
    s3.faults.clear();
    await runUpload(context());
    expect(summary(rawLeft).patient).toBe("P-018");
  });

  it("killed between the store and the database: told again, and true", async () => {
    await runUpload(context());
    await set("P-017");
    const dying = { ...db.store, recordingTold: () => Promise.reject(new Error("killed")) };
    const stopping = new AbortController().signal;
    const dead = tellStore(
      { store: dying, destination: to, tags: false, emit: () => undefined, stopping },
      await destinationId(),
    );
    await expect(dead).rejects.toThrow("killed");
    await set("P-018");
    expect(await tell()).toMatchObject({ summaries: 2, left: 0 });
    expect(summary(rawLeft).patient).toBe("P-018");
  });

  it("told by two at once, with a correction in between: in the end the store says what the database says", async () => {
    await set("P-017");
    await runUpload(context());
    for (let n = 0; n < 5; n++) {
      await set(`P-10${n}`);
      const one = tell();
      await set(`P-20${n}`);
      await Promise.all([one, tell()]);
    }
    while ((await tell()).summaries > 0);
    expect((await rows()).map(({ patient }) => patient)).toEqual(["P-204", "P-204"]);
    expect([rawLeft, rawRight].map((key) => summary(key).patient)).toEqual(["P-204", "P-204"]);
  });

  it("in a folder: the summary follows, and there are no tags", async () => {
    const archive = temporaryFolder();
    const folder = await openFolderDestination({ root: archive.path, createRoot: true, onNotice: () => undefined });
    try {
      await set("P-017");
      await runUpload(context(true, folder));
      await set("P-018");
      const id = (await db.store.destinationId(folder.identity))!;
      const stopping = new AbortController().signal;
      const said: unknown[] = [];
      const told = await tellStore(
        { store: db.store, destination: folder, tags: true, emit: (event) => said.push(event), stopping },
        id,
      );
      expect([told, said]).toEqual([{ summaries: 2, tagged: 0, left: 0 }, []]);
      const { readFileSync } = await import("node:fs");
      expect(JSON.parse(readFileSync(join(archive.path, made(rawLeft, "summary")), "utf8")).patient).toBe("P-018");
    } finally {
      await folder.close();
      archive.remove();
    }
  });

  it("where a summary's name would be too long there is none: said once for each change, and nothing stays due", async () => {
    await runUpload(context());
    const long = `C1/decode/${"x".repeat(1024 - 10 - 12)}_decoded.csv`;
    await db.sql('update :"schema".decoded_recordings set made_keys = $2 where key = $1', [rawLeft, [long]]);
    for (const patient of ["P-017", "P-018"]) {
      await set(patient);
      expect(await tell(true)).toEqual({ summaries: 1, tagged: 2, left: 0 });
      expect(notices).toEqual([expect.stringContaining(`1 recording cannot have a summary`)]);
      expect(notices[0]).toContain(rawLeft);
      expect(await tell(true)).toEqual({ summaries: 0, tagged: 0, left: 0 });
      expect([notices, await db.store.destinationsBehind(true)]).toEqual([[], []]);
    }
  });

  it("an import corrects as a change of one does", async () => {
    await runUpload(context());
    async function* text() {
      yield `device,patient,from,to\n${phone},P-1,,2025-10-30\n${phone},P-2,2025-10-30,\n`;
    }
    expect(await importDevices(cx, "wearers.csv", text)).toEqual({ added: 2, changed: 0, unchanged: 0, recordings: 2 });
    await tell();
    expect(summary(rawLeft).patient).toBe("P-2");
    async function* bad() {
      yield "device,patient\nA,P-secret\nA,P-secret\n";
    }
    await expect(importDevices(cx, "wearers.csv", bad)).rejects.toThrow(
      /^wearers.csv: line 3, .*is there twice: see line 2/,
    );
  });
});
