import { describe, expect, it } from "vitest";
import { UploaderError } from "../../src/core/errors.ts";
import { profiles } from "../../src/shimmer/layout.ts";
import { decode, openRecording } from "../../src/shimmer/recording.ts";
import { writeJson } from "../../src/shimmer/write/json.ts";
import { renderSummary, summarise } from "../../src/shimmer/write/summary.ts";
import { batteryFile, chance, file, header, join } from "./support/recording.ts";

/** Decodes, or fails with the one error a bad recording may have; anything else is a fault of ours. */
function survive(bytes: Uint8Array, profile = profiles[0] as (typeof profiles)[number]): "decoded" | "refused" {
  try {
    const { recording, columns } = decode(bytes, { profile });
    expect(columns.filter(({ values }) => values.length !== recording.count)).toEqual([]);
    return "decoded";
  } catch (error) {
    expect(error).toBeInstanceOf(UploaderError);
    expect((error as UploaderError).code).toBe("recording_bad");
    expect((error as UploaderError).message).toMatch(/ at byte \d+: expected .+, found .+/);
    return "refused";
  }
}

const full = file(
  { firmware: [2, 0, 19, 0], enabled: [0xff, 0xff, 0xff, 0xff, 0xff], patch: { 214: [48, 3, 0] } },
  Array.from({ length: 20 }, () => Array(226).fill(7)),
);
const shimmer3r = file(
  {
    hardware: 10,
    firmware: [3, 1, 1, 14],
    enabled: [0xff, 0xff, 0xff],
    patch: { 314: [0x23, ...Array.from({ length: 0x23 }, (_, id) => id)] },
  },
  Array.from({ length: 20 }, () => Array(76).fill(9)),
);

describe("a file cut off", () => {
  it.each([
    ["Shimmer3", batteryFile(4)],
    ["Shimmer3R", shimmer3r.subarray(0, 700)],
  ])("at any byte: %s", (_, bytes) => {
    for (let length = 0; length <= bytes.length; length++) {
      expect(survive(bytes.subarray(0, length))).toBe(
        length < (bytes.length < 300 ? 256 : 384) ? "refused" : "decoded",
      );
    }
  });
});

describe("mutations", () => {
  it.each([
    ["all sensors", full],
    ["Shimmer3R", shimmer3r],
    [
      "synchronised",
      join(header({ firmware: [2, 0, 19, 0], enabled: [0x80], patch: { 16: [4] } }), Array(3000).fill(3)),
    ],
  ])("of %s end in an answer or an error that says where", (_, original) => {
    const random = chance(20251030);
    const seen = new Set<string>();
    for (let round = 0; round < 700; round++) {
      const bytes = original.slice(0, Math.floor(random() * original.length * 1.2));
      const hits = 1 + Math.floor(random() * 12);
      for (let hit = 0; hit < hits; hit++)
        bytes[Math.floor(random() * Math.min(bytes.length, random() < 0.7 ? 384 : Number.POSITIVE_INFINITY))] =
          Math.floor(random() * 256);
      seen.add(survive(bytes, profiles[round % 3]));
    }
    expect(seen).toEqual(new Set(["decoded", "refused"]));
  });

  it("pure noise behind two believable bytes", () => {
    const random = chance(7);
    for (let round = 0; round < 300; round++) {
      const bytes = Uint8Array.from({ length: 600 }, () => Math.floor(random() * 256));
      bytes.set([0, round % 2 === 0 ? 3 : 10], 30);
      survive(bytes);
    }
  });
});

it.each([0x00, 0xff])("a header of nothing but %d but for its kind decodes", (blank) => {
  const bytes = header({ blank, enabled: [0xff, 0xff, 0xff], patch: { 76: Array(84).fill(blank) } });
  expect(survive(bytes)).toBe("decoded");
});

it("lists of odd things are bounded, their counts are not", () => {
  const ticks = Array.from({ length: 30_000 }, (_, index) =>
    index % 2 === 0 ? 5_000_000 + index : 5_000_000 + index - 300,
  );
  const { recording } = decode(batteryFile(ticks.length, { start: ticks[0]! }, ticks));
  expect(recording.report.oddTicks).toHaveLength(10_000);
  expect(recording.report.counts.backward).toBe(15_000);
  expect(recording.report.notes.map(({ code }) => code)).toContain("list_cut");
});

it("numbers that are none become null in JSON, and a screen all the same", () => {
  const bytes = file({ enabled: [0, 0x80], patch: { 40: [2] } }, [
    [1, 0, 0, 0],
    [1, 0, 0xff, 0xff],
  ]);
  const open = () => openRecording([{ name: "000", chunks: () => [bytes] }]);
  const text = Buffer.concat([...writeJson(open())]).toString();
  expect(JSON.parse(text).columns.Shimmer_ABCD_Skin_Temperature_CAL.values).toEqual([null, null]);
  expect(renderSummary(summarise(open()))).toContain("Skin_Temperature");
});
