import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { recordingPlace } from "../../src/core/decoding.ts";
import {
  canonicalDevice,
  canonicalPatient,
  canonicalSensor,
  type DeviceEntry,
  deviceNamesOf,
  fitsTag,
  parseInstant,
  periodText,
  planEntry,
  pseudonymOf,
  sensorList,
} from "../../src/core/devices.ts";
import { groupIdOf, groupPairs } from "../../src/core/pairs.ts";

const day = (text: string): Date => new Date(`${text}T00:00:00Z`);
const entry = (over: Partial<DeviceEntry> = {}): DeviceEntry => ({
  id: 1,
  device: "D",
  patient: "P1",
  shimmer1: ["Shimmer_AAAA"],
  shimmer2: [],
  from: null,
  to: null,
  updatedAt: day("2026-01-01"),
  ...over,
});

describe("names of devices", () => {
  it.each([
    ["00:06:66:12:ab:cd", "00:06:66:12:AB:CD"],
    ["00-06-66-12-AB-CD", "00:06:66:12:AB:CD"],
    ["00066612abcd", "00:06:66:12:AB:CD"],
    ["shimmer_ddd6", "Shimmer_DDD6"],
    ["Shimmer_DDD6-000", "Shimmer_DDD6"],
    [" A9AE0F999916E210 ", "a9ae0f999916e210"],
    ["950349", "950349"],
    ["Anna", "Anna"],
    ["e\u0301", "\u00e9"],
  ])("%s is %s", (given, written) => expect(canonicalDevice(given)).toBe(written));

  it("four hex digits are a sensor's label, and of a device only its name", () => {
    expect(canonicalSensor("ddd6")).toBe("Shimmer_DDD6");
    expect(canonicalDevice("dada")).toBe("dada");
    expect(sensorList("ddd6, DCFF;Shimmer_ddd6|")).toEqual(["Shimmer_DDD6", "Shimmer_DCFF"]);
  });

  it.each(["", "  ", "a\nb", "x".repeat(201)])("%j is none", (text) =>
    expect(() => canonicalDevice(text)).toThrow(expect.objectContaining({ code: "usage" })),
  );
});

describe("a recording's device", () => {
  const facts = { deviceMac: "00:06:66:12:DD:D6", deviceName: "left wrist" };
  const names = (path: string) => deviceNamesOf(facts, recordingPlace(path));
  const own = ["Shimmer_DDD6", "left wrist", "DDD6"];

  it.each([
    ["a9ae0f999916e210__20250925_232338__TEST0916_1752967227__Shimmer_DDD6-000__000.txt", "a9ae0f999916e210"],
    ["x/A9AE0F999916E210__20250925_232338____Shimmer_DDD6-000__000.txt", "a9ae0f999916e210"],
    ["a9ae0f999916e210_20250701_101500_000.txt", "a9ae0f999916e210"],
    ["anna_lena_20250601_101500_003.txt", "anna_lena"],
  ])("by MAC, by what %s names, by serial", (path, phone) => {
    expect(names(path)).toEqual([facts.deviceMac, phone, ...own]);
  });

  it("a phone that is not known is no device, and neither is a sensor that the MAC denies", () => {
    expect(names("user__20250925_232338__T__Shimmer_DDD6-000__000.txt")).toEqual([facts.deviceMac, ...own]);
    expect(names("ab12__20250925_232338__T__Shimmer_FFFF-000__000__wrong.txt")).toEqual([
      facts.deviceMac,
      "ab12",
      ...own,
    ]);
    expect(names("lab/Walk_1772344000/Shimmer_FFFF-000/000")).toEqual([facts.deviceMac, ...own]);
  });

  it("what is no name is left out: a file must not fail for its header", () => {
    const odd = { deviceMac: facts.deviceMac, deviceName: "a\u0000b" };
    const path = `${"x".repeat(201)}__20250925_232338__T__Shimmer_DDD6-000__000.txt`;
    expect(deviceNamesOf(odd, recordingPlace(path))).toEqual([facts.deviceMac, "Shimmer_DDD6", "DDD6"]);
  });

  it("parts of the name", () => {
    expect(recordingPlace("anna_20250601_101500_003.txt")).toEqual({
      phone: "anna",
      experiment: null,
      shimmerDevice: null,
      shimmerDay: null,
      part: "003",
    });
  });
});

describe("what a request changes", () => {
  const plan = (entries: DeviceEntry[], over: Partial<Parameters<typeof planEntry>[1]> = {}) =>
    planEntry(entries, { device: "D", patient: "P1", ...over });
  const jan = entry({ from: day("2026-01-01"), to: day("2026-02-01") });
  const june = entry({ id: 2, from: day("2026-06-01"), to: null });

  it("a first entry holds always", () =>
    expect(plan([])).toEqual({
      change: "added",
      entry: { device: "D", patient: "P1", shimmer1: [], shimmer2: [], from: null, to: null },
    }));

  it("what is not named stays: sensors, ends", () => {
    expect(plan([entry()], { shimmer2: ["Shimmer_BBBB"] }).entry).toMatchObject({
      shimmer1: ["Shimmer_AAAA"],
      shimmer2: ["Shimmer_BBBB"],
    });
    expect(plan([jan], { patient: "P2" })).toMatchObject({
      change: "changed",
      id: 1,
      entry: { patient: "P2", shimmer1: ["Shimmer_AAAA"], from: jan.from, to: jan.to },
    });
    expect(plan([jan], { shimmer1: [] }).entry.shimmer1).toEqual([]);
    expect(plan([jan])).toMatchObject({ change: "unchanged", id: 1 });
  });

  it("an end moves, of the entry of that patient", () => {
    expect(plan([entry()], { to: day("2026-03-01") })).toMatchObject({
      change: "changed",
      id: 1,
      entry: { from: null, to: day("2026-03-01") },
    });
    expect(plan([jan], { to: null })).toMatchObject({ id: 1, entry: { from: jan.from, to: null } });
    expect(plan([jan, june], { from: day("2026-05-01"), to: null })).toMatchObject({ id: 2, change: "changed" });
  });

  it("the ends of an entry name it: its patient is corrected", () => {
    expect(plan([jan, june], { patient: "P2", from: jan.from! })).toMatchObject({
      change: "changed",
      id: 1,
      entry: { patient: "P2", to: jan.to },
    });
    expect(plan([jan, june], { patient: "P2", from: jan.from!, to: jan.to! })).toMatchObject({ id: 1 });
  });

  it("another time is another entry", () =>
    expect(plan([jan, june], { patient: "P2", from: day("2026-02-01"), to: day("2026-06-01") })).toMatchObject({
      change: "added",
    }));

  it.each([
    [
      { patient: "P2", from: day("2026-01-15") },
      /from 2026-01-15T00:00:00Z on\) overlaps entry 1 \(from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z\)/,
    ],
    [{ patient: "P2" }, /several entries: 1 \(.*\), 2 \(from 2026-06-01T00:00:00Z on\)/],
    [{ patient: "P1", from: day("2025-12-01") }, /several entries/],
    [{ patient: "P2", from: day("2026-05-02"), to: day("2026-05-01") }, /ends before it begins/],
    [{ from: jan.from!, shimmer2: ["Shimmer_AAAA"] }, /left.*right.*at once/],
  ])("refused, with both shown and no patient: %#", (request, message) => {
    const attempt = () => plan([jan, june], request);
    expect(attempt).toThrow(message);
    expect(attempt).not.toThrow(/P[12]/);
  });

  it("periods in words", () =>
    expect([entry(), jan, june, entry({ to: jan.to })].map(periodText)).toEqual([
      "always",
      "from 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z",
      "from 2026-06-01T00:00:00Z on",
      "to 2026-02-01T00:00:00Z",
    ]));
});

describe("times", () => {
  it.each([
    ["2026-03-01", "2026-03-01T00:00:00.000Z"],
    ["2026-03-01 08:30", "2026-03-01T08:30:00.000Z"],
    ["2026-03-01T08:30:15.25+01:00", "2026-03-01T07:30:15.250Z"],
    ["2026-03-01T08:30:15-0230", "2026-03-01T11:00:15.000Z"],
    ["2024-02-29", "2024-02-29T00:00:00.000Z"],
  ])("%s", (text, iso) => expect(parseInstant(text)?.toISOString()).toBe(iso));

  it.each([
    "2026-02-30",
    "2026-02-29",
    "2026-13-01",
    "2026-3-1",
    "01.03.2026",
    "2026-03-01T25:00",
    "yesterday",
    "",
    "0000-01-01",
    "0001-01-01T00:00+01:00",
    "9999-12-31T23:00-02:00",
  ])("%j is none", (text) => expect(parseInstant(text)).toBeNull());
});

describe("patients", () => {
  it("a pseudonym is a keyed hash that others can make, and stays one", () => {
    const once = pseudonymOf("P-017", "a key of the clinic");
    expect(once).toBe(`pn_${createHmac("sha256", "a key of the clinic").update("P-017").digest("hex").slice(0, 32)}`);
    expect(pseudonymOf(once, "a key of the clinic")).toBe(once);
    expect(pseudonymOf("P-017", "another key of it")).not.toBe(once);
  });

  it("one that cannot be kept is never quoted", () => {
    expect(canonicalPatient("  Mu\u0308ller ")).toBe("M\u00fcller");
    for (const text of ["", "Anna\u0007", "A".repeat(257)]) {
      expect(() => canonicalPatient(text)).toThrow(/^the patient's identifier/);
      if (text !== "") expect(() => canonicalPatient(text)).not.toThrow(text);
    }
  });

  it("tags take letters, digits and some signs", () => {
    expect(["P-017", "Müller 3", "a=b+c@d/e:f._"].map(fitsTag)).toEqual([true, true, true]);
    expect(["P#1", "a;b", "x".repeat(257), ""].map(fitsTag)).toEqual([false, false, false, false]);
  });
});

describe("pairs", () => {
  const at = (seconds: number, slot: 1 | 2, id = seconds * 10 + slot) => ({ id, startedAtMs: seconds * 1000, slot });
  const grouped = (...recordings: ReturnType<typeof at>[]) =>
    groupPairs(recordings).map((group) => group.map(({ id }) => id));

  it("two that begin within 15 s, in two slots", () => {
    expect(grouped(at(0, 1), at(15, 2))).toEqual([[1, 152]]);
    expect(grouped(at(0, 2), at(3, 1))).toEqual([[2, 31]]);
    expect(grouped({ id: 1, startedAtMs: 0, slot: 1 }, { id: 2, startedAtMs: 15_001, slot: 2 })).toEqual([[1], [2]]);
  });

  it("a slot that is taken begins another group", () => {
    expect(grouped(at(0, 1), at(5, 1), at(10, 2))).toEqual([[1], [51, 102]]);
    expect(grouped(at(0, 1), at(5, 2), at(10, 1), at(20, 2))).toEqual([
      [1, 52],
      [101, 202],
    ]);
  });

  it("groups are named after their first recording", () => expect(groupIdOf([at(4, 1), at(5, 2)])).toBe("g41"));
});
