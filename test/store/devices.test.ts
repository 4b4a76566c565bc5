/** The map of devices and what recordings have of it, on a real Postgres. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RecordingFacts, recordingPlace } from "../../src/core/decoding.ts";
import type { DeviceMap, ImportRow } from "../../src/core/devices.ts";
import type { OpenedSession } from "../../src/core/store.ts";
import { openDeviceMap } from "../../src/store/devices.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openWork, rowIn } from "../support/session.ts";

let db: TestDatabase;
let map: DeviceMap;
let opened: OpenedSession;
beforeAll(async () => {
  db = await testDatabase();
  map = openDeviceMap(db.database, db.schema);
});
afterAll(() => db.drop());
beforeEach(async () => {
  await db.sql(
    'truncate :"schema".projects, :"schema".destinations, :"schema".device_map, :"schema".device_map_history cascade',
  );
  opened = await openWork(db);
});

const phone = "a9ae0f999916e210";
const [leftMac, rightMac] = ["00:06:66:12:DD:D6", "00:06:66:12:DC:FF"];
const day = (text: string): Date => new Date(text);
const set = (patient: string, over: Partial<Parameters<DeviceMap["set"]>[0]> = {}) =>
  map.set({ device: phone, patient, ...over }, "nurse@ward");

const facts = (deviceMac: string, startedAt: string | null): RecordingFacts => ({
  deviceName: `Shimmer_${deviceMac.replaceAll(":", "").slice(-4)}`,
  deviceMac,
  model: "Shimmer3",
  firmware: "LogAndStream 0.16.0",
  samplingRateHz: 51.2,
  channels: ["Accel_WR_X"],
  startedAt,
  endedAt: startedAt,
  durationSeconds: 0,
  samples: 1,
  gaps: 0,
  oddTicks: 0,
  batteryMinMv: null,
  batteryMaxMv: null,
  accelWrMean: null,
  accelWrMax: null,
  accelWrRange: null,
});

/** A decoded recording; by its phone's file name unless `path` says otherwise. */
async function recorded(startedAt: string | null, mac = leftMac, path?: string): Promise<number> {
  return remember((await rowIn(db, opened, "uploaded")).id, startedAt, mac, path);
}

async function remember(id: number, startedAt: string | null, mac = leftMac, path?: string): Promise<number> {
  const sensor = `Shimmer_${mac.replaceAll(":", "").slice(-4)}`;
  const place = recordingPlace(path ?? `${phone}__20260301_101500__Walk__${sensor}-000__000.txt`);
  await db.store.rememberDecoding(id, {
    settings: "vendor auto json",
    place,
    facts: facts(mac, startedAt),
    madeKeys: [`C1/decode/${id}_decoded.json`],
  });
  return id;
}

const worn = async () =>
  (
    await db.sql<{ patient: string | null; slot: number | null; group_id: string | null }>(
      'select patient, slot, group_id from :"schema".decoded_recordings order by id',
    )
  ).map(({ patient, slot, group_id }) => [patient, slot, group_id]);
const patients = async () => (await worn()).map(([patient]) => patient);

describe("the map", () => {
  it("keeps what is not named, and every state in its history", async () => {
    await set("P1", { shimmer1: ["Shimmer_DDD6"], shimmer2: ["Shimmer_DCFF"] });
    await set("P1", { to: day("2026-03-01") });
    const { entry } = await set("P2", { to: day("2026-03-01") });
    expect(entry).toMatchObject({
      patient: "P2",
      shimmer1: ["Shimmer_DDD6"],
      shimmer2: ["Shimmer_DCFF"],
      from: null,
      to: day("2026-03-01"),
    });
    await map.remove(phone, null, "admin@ward");
    expect((await map.history(phone)).map((row) => [row.change, row.patient, row.to, row.changedBy])).toEqual([
      ["added", "P1", null, "nurse@ward"],
      ["changed", "P1", day("2026-03-01"), "nurse@ward"],
      ["changed", "P2", day("2026-03-01"), "nurse@ward"],
      ["removed", "P2", day("2026-03-01"), "admin@ward"],
    ]);
    expect(await map.entries(phone)).toEqual([]);
  });

  it("saying the same again changes nothing, not even the history", async () => {
    await set("P1");
    expect(await set("P1")).toMatchObject({ plan: { change: "unchanged" } });
    expect(await map.history(phone)).toHaveLength(1);
  });

  it("refuses what overlaps, of two at once too", async () => {
    await set("P1", { to: day("2026-03-01") });
    await expect(set("P2", { from: day("2026-02-01") })).rejects.toMatchObject({ code: "usage" });
    const both = await Promise.allSettled([1, 2, 3, 4].map((n) => set(`Q${n}`, { from: day(`2026-04-0${n}`) })));
    expect(both.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await map.entries(phone)).toHaveLength(2);
  });

  it("the guard is the database's own", async () => {
    await set("P1", { to: day("2026-03-01") });
    const insert = (valid: string) =>
      db.sql(`insert into :"schema".device_map (device, patient, valid) values ($1, 'P2', $2)`, [phone, valid]);
    await expect(insert("[2026-02-01,)")).rejects.toThrow(/overlap in time/);
    await expect(db.sql(`update :"schema".device_map set valid = 'empty'`)).rejects.toThrow();
    await insert("[2026-03-01,2026-04-01)");
    await expect(db.sql(`update :"schema".device_map set valid = '(,)'`)).rejects.toThrow(/overlap in time/);
    expect((await map.history(phone)).map(({ change }) => change)).toEqual(["added", "added"]);
  });

  it("pages go through all entries once, in order, also of one device", async () => {
    for (const month of ["03", "01", "02"]) {
      await set("P", { from: day(`2026-${month}-01`), to: day(`2026-${month}-09`), patient: `P${month}` });
    }
    await set("P00", { to: day("2025-12-31") });
    await map.set({ device: "B", patient: "P" }, "x");
    const seen: string[] = [];
    for (let after = null; ; ) {
      const [next] = await map.page(after, null, 1);
      if (!next) break;
      seen.push(`${next.device} ${next.patient}`);
      after = next as never;
    }
    expect(seen).toEqual(["B P", ...["P00", "P01", "P02", "P03"].map((patient) => `${phone} ${patient}`)]);
    expect((await map.page(null, day("2026-02-03"), 10)).map(({ patient }) => patient)).toEqual(["P", "P02"]);
  });
});

describe("who wore it", () => {
  it("is who wore it when it was recorded, to the instant", async () => {
    await set("P1", { to: day("2026-03-01") });
    await set("P2", { from: day("2026-03-01") });
    await recorded("2026-02-28T23:59:59.999Z");
    await recorded("2026-03-01T00:00:00Z");
    expect(await patients()).toEqual(["P1", "P2"]);
  });

  it("by MAC before the file's name before the serial number", async () => {
    await recorded("2026-03-01T00:00:00Z");
    const names = [
      ["Shimmer_DDD6", "serial"],
      [phone, "name"],
      [leftMac, "mac"],
    ] as const;
    for (const [device, patient] of names) {
      expect(await map.set({ device, patient }, "x")).toMatchObject({ recordings: 1 });
      expect(await patients()).toEqual([patient]);
    }
    await map.remove(leftMac, null, "x");
    expect(await patients()).toEqual(["name"]);
  });

  it("one without a time has the wearer of an entry without ends, and no other", async () => {
    await set("P1", { from: day("2026-01-01") });
    await recorded(null);
    expect(await worn()).toEqual([[null, null, null]]);
    await set("P1", { from: null });
    expect(await worn()).toEqual([["P1", 1, null]]);
  });

  it("a correction reaches those of its time and device, and no others", async () => {
    await set("P1", { to: day("2026-03-01") });
    await set("P2", { from: day("2026-03-01") });
    await recorded("2026-02-01T00:00:00Z");
    await recorded("2026-03-01T00:00:00Z");
    await recorded("2026-03-01T00:00:00Z", rightMac, "lab/Walk/Shimmer_DCFF-000/000");
    expect(await patients()).toEqual(["P1", "P2", null]);
    expect(await set("P9", { to: day("2026-03-01") })).toMatchObject({ recordings: 1 });
    expect(await patients()).toEqual(["P9", "P2", null]);
    expect(await map.unmapped()).toEqual([
      {
        device: rightMac,
        deviceMac: rightMac,
        sensor: "Shimmer_DCFF",
        recordings: 1,
        firstStartedAt: day("2026-03-01T00:00:00Z"),
        lastStartedAt: day("2026-03-01T00:00:00Z"),
        undated: 0,
      },
    ]);
  });

  it("a recording decoded while the map changes has the wearer of the changed map", async () => {
    const ids: number[] = [];
    while (ids.length < 8) ids.push((await rowIn(db, opened, "uploaded")).id);
    await Promise.all([...ids.map((id) => remember(id, "2026-03-01T00:00:00Z")), set("P1"), set("P2")]);
    const [entry] = await map.entries(phone);
    expect(new Set(await patients())).toEqual(new Set([entry!.patient]));
  });
});

describe("pairs", () => {
  const both = { shimmer1: ["Shimmer_DDD6"], shimmer2: ["Shimmer_DCFF"] };
  const groups = async () => (await worn()).map(([, , group]) => group);

  it("are two sensors of one patient within 15 s, whichever comes first", async () => {
    await set("P1", both);
    await recorded("2026-03-01T10:00:00Z", rightMac);
    await recorded("2026-03-01T10:00:15Z", leftMac);
    await recorded("2026-03-01T11:00:16Z", leftMac);
    const [one, two, three] = await groups();
    expect(one).toBe(two);
    expect(three).not.toBe(one);
    expect((await worn()).map(([, slot]) => slot)).toEqual([2, 1, 1]);
    expect(await db.store.pairs(opened.sessionId)).toMatchObject([
      { groupId: one, patient: "P1", device: phone, slot: 2, sensor: "Shimmer_DCFF" },
      { groupId: one, slot: 1 },
      { groupId: three, slot: 1 },
    ]);
  });

  it("ids are unique over patients and devices; sensors that the map does not know are in slot 1", async () => {
    await set("P1");
    await map.set({ device: leftMac, patient: "P2" }, "x");
    for (const mac of [leftMac, rightMac]) await recorded("2026-03-01T10:00:00Z", mac);
    expect(new Set(await groups()).size).toBe(2);
    expect((await worn()).map(([, slot]) => slot)).toEqual([1, 1]);
  });

  it("come apart and together with the map", async () => {
    for (const mac of [leftMac, rightMac]) await recorded("2026-03-01T10:00:00Z", mac);
    expect(await groups()).toEqual([null, null]);
    await set("P1");
    expect(new Set(await groups()).size).toBe(2);
    expect(await set("P1", both)).toMatchObject({ recordings: 1 });
    expect(new Set(await groups()).size).toBe(1);
    // The group's first is the one that names it: what it leaves behind has another name.
    for (const mac of [leftMac, rightMac]) {
      await map.set({ device: mac, patient: "P2" }, "x");
      expect(new Set(await groups()).size).toBe(2);
      await map.remove(mac, null, "x");
      expect(new Set(await groups()).size).toBe(1);
    }
  });

  it("a recording in between takes the place that the rule gives it", async () => {
    await set("P1", both);
    await recorded("2026-03-01T10:00:00Z", leftMac);
    await recorded("2026-03-01T10:00:20Z", rightMac);
    expect(new Set(await groups()).size).toBe(2);
    await recorded("2026-03-01T10:00:10Z", leftMac);
    const [a, b, between] = await groups();
    expect(between).toBe(b);
    expect(a).not.toBe(b);
  });
});

describe("an import", () => {
  const row = (line: number, device: string, patient: string, over: Partial<ImportRow> = {}): ImportRow => ({
    line,
    device,
    patient,
    shimmer1: null,
    shimmer2: null,
    from: null,
    to: null,
    ...over,
  });
  const bring = (...batches: ImportRow[][]) =>
    map.importRows(async function* () {
      yield* batches;
    }, "clerk@desk");

  it("adds, corrects the same period, keeps what it does not say", async () => {
    await set("P1", { shimmer1: ["Shimmer_DDD6"], to: day("2026-03-01") });
    await recorded("2026-02-01T00:00:00Z");
    const rows = [
      row(2, phone, "P9", { to: day("2026-03-01"), shimmer2: ["Shimmer_DCFF"] }),
      row(3, phone, "P2", { from: day("2026-03-01") }),
    ];
    expect(await bring(rows, [row(4, "B", "P3")])).toEqual({ added: 2, changed: 1, unchanged: 0, recordings: 1 });
    expect((await map.entries(phone))[0]).toMatchObject({
      patient: "P9",
      shimmer1: ["Shimmer_DDD6"],
      shimmer2: ["Shimmer_DCFF"],
    });
    expect(await patients()).toEqual(["P9"]);
    expect((await map.history(phone)).at(-1)!.changedBy).toBe("clerk@desk");
    expect(await bring(rows)).toEqual({ added: 0, changed: 0, unchanged: 2, recordings: 0 });
  });

  it.each([
    [
      "twice",
      [row(2, "B", "P1"), row(7, "B", "P2")],
      /line 7, columns "from" and "to": B, always, is there twice: see line 2/,
    ],
    [
      "two that overlap",
      [
        row(2, "B", "P1", { from: day("2026-02-01") }),
        row(3, "B", "P2", { from: day("2026-01-01"), to: day("2026-02-02") }),
      ],
      /line 3.*overlaps line 2/,
    ],
    [
      "one that overlaps an entry",
      [row(2, "B", "P1"), row(3, phone, "P2", { from: day("2026-01-01") })],
      /line 3.*overlaps entry \d+/,
    ],
    [
      "one sensor on both sides in the end",
      [row(2, "B", "P1"), row(3, phone, "P2", { to: day("2026-03-01"), shimmer2: ["Shimmer_DDD6"] })],
      /line 3, columns "shimmer1" and "shimmer2"/,
    ],
  ])("%s: nothing of it is imported, and no patient is named", async (_, rows, message) => {
    await set("P1", { shimmer1: ["Shimmer_DDD6"], to: day("2026-03-01") });
    const error = await bring([row(1, "A", "P0")], rows).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: "usage", message: expect.stringMatching(message) });
    expect((error as Error).message).not.toMatch(/P\d/);
    expect(await map.page(null, null, 10)).toHaveLength(1);
  });

  it("a file that breaks off in the middle leaves nothing", async () => {
    const broken = map.importRows(async function* () {
      yield [row(2, "A", "P1")];
      throw Object.assign(new Error("read"), { code: "EIO" });
    }, "x");
    await expect(broken).rejects.toThrow();
    expect(await map.page(null, null, 10)).toEqual([]);
  });
});
