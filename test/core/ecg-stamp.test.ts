import { describe, expect, it } from "vitest";
import { dateFolder, openZone, stampIn } from "../../src/core/ecg-stamp.ts";

describe("stamps in names", () => {
  it.each([
    ["ECG_Report_20251103_101500.pdf", "20251103_101500"],
    ["ECG_Report_sdf20251103_101500.pdf", "20251103_101500"],
    ["ecg_data_20240229_235959.json", "20240229_235959"],
    ["ECG_Report_20251399_101500_20251103_000000.pdf", "20251103_000000"],
    ["ECG_Report_20250229_101500.pdf", null],
    ["ECG_Report_20251103_246000.pdf", null],
    ["ECG_Report_120251103_101500.pdf", null],
    ["ECG_Report_20251103_1015001.pdf", null],
    ["ECG_Report_final.pdf", null],
  ])("%s: %s", (name, stamp) => expect(stampIn(name)).toBe(stamp));

  it("a date is a folder a day", () => expect(dateFolder("20251103_101500")).toBe("2025/11/03"));
});

describe("a clock on the wall", () => {
  const kolkata = openZone("Asia/Kolkata");
  const berlin = openZone("Europe/Berlin");

  it("shows the zone's own time, midnight as 00", () => {
    expect(kolkata.stampOf(Date.UTC(2025, 10, 3, 18, 30))).toBe("20251104_000000");
    expect(berlin.stampOf(Date.UTC(2025, 6, 1, 12))).toBe("20250701_140000");
  });

  it("reads local times, and those with an offset", () => {
    expect(kolkata.instantOf("2025-11-03T10:15:00.123456")).toBe(Date.UTC(2025, 10, 3, 4, 45, 0, 123));
    expect(kolkata.instantOf("2025-11-03 10:15:00")).toBe(Date.UTC(2025, 10, 3, 4, 45));
    expect(kolkata.instantOf("2025-11-03T10:15:00Z")).toBe(Date.UTC(2025, 10, 3, 10, 15));
    expect(kolkata.instantOf("2025-11-03T10:15:00+0200")).toBe(Date.UTC(2025, 10, 3, 8, 15));
    for (const text of ["", "yesterday", "2025-13-03T10:15:00", "03.11.2025 10:15"])
      expect(kolkata.instantOf(text)).toBeNull();
  });

  it("takes the earlier of the two hours when the clock is set back, so that nothing passes for older than it is", () => {
    // 26 October 2025: 02:30 is there at 00:30 and at 01:30 UTC.
    expect(berlin.instantOf("2025-10-26T02:30:00")).toBe(Date.UTC(2025, 9, 26, 0, 30));
    // 30 March 2025 has no 02:30.
    expect(berlin.instantOf("2025-03-30T02:30:00")).toBe(Date.UTC(2025, 2, 30, 0, 30));
    expect(berlin.instantOf("2025-03-30T03:30:00")).toBe(Date.UTC(2025, 2, 30, 1, 30));
  });

  it("there is no zone of a name that nobody knows", () => expect(() => openZone("Mars/Olympus")).toThrow(RangeError));
});
