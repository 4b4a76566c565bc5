import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { decode } from "../../src/shimmer/recording.ts";
import { writeJson } from "../../src/shimmer/write/json.ts";

const folder = process.env.UPLOADER_FIXTURES ?? fileURLToPath(new URL("../../../shared/fixtures", import.meta.url));
const at = (name: string) => `${folder}/shimmer/${name}`;
const isAbsent = !existsSync(at("plain-E169-consensys.bin"));
const where = isAbsent ? " (skipped: no real recordings here, set UPLOADER_FIXTURES)" : "";

const bytes = (name: string) => readFileSync(at(name));
const unzipped = (name: string) => gunzipSync(readFileSync(at(name))).toString();

function reference(name: string): { names: string[]; rows: number[][] } {
  const [names, ...rows] = unzipped(name)
    .trim()
    .split("\n")
    .map((line) => line.split(","));
  return { names: names!, rows: rows.map((row) => row.map(Number)) };
}

describe.skipIf(isAbsent)(`real recordings${where}`, () => {
  it("raw values equal Consensys'", () => {
    const { names, rows } = reference("plain-E169-consensys.uncalibrated.csv.gz");
    const { columns } = decode(bytes("plain-E169-consensys.bin"), { values: "raw" });
    expect(columns.map(({ name }) => name)).toEqual(names);
    for (const [index, { values }] of columns.entries()) {
      if (index > 0) expect([...values]).toEqual(rows.map((row) => row[index]));
    }
  });

  it("calibrated values lie within 1e-12 of the column's largest, time within 0.0005 ms", () => {
    const { names, rows } = reference("plain-E169-consensys.calibrated.csv.gz");
    const { columns } = decode(bytes("plain-E169-consensys.bin"));
    expect(columns.map(({ name }) => name)).toEqual(names);
    for (const [index, { values, signal }] of columns.entries()) {
      const expected = rows.map((row) => row[index]!);
      const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const worst = expected.reduce((most, value, row) => Math.max(most, Math.abs(value - values[row]!)), 0);
      expect(worst, signal).toBeLessThanOrEqual(signal === "Timestamp_Unix" ? 0.0005 : 1e-12 * largest);
    }
  });

  it("the gap and the clock that was never set are reported", () => {
    const { report } = decode(bytes("plain-E169-consensys.bin")).recording;
    expect(report.startMs).toBeCloseTo(61221.313, 3);
    expect(report.gaps).toEqual([expect.objectContaining({ record: 6788, durationMs: expect.closeTo(2166.107, 3) })]);
    expect(report.notes.map(({ code }) => code)).toEqual(["clock_unset"]);
  });

  it("a rollover is one, and the records after it follow on", () => {
    const { recording, columns } = decode(bytes("plain-E169-rollover.bin"));
    expect(recording.report.counts).toEqual({ gaps: 1, rollovers: 1, backward: 0, duplicate: 0, zero: 0 });
    const time = columns[0]!.values;
    for (let row = 1; row < time.length; row++) expect(time[row]! - time[row - 1]!).toBeGreaterThan(0);
    expect(time[22816]! - time[22815]!).toBeLessThan(100);
  });

  it("a phone's stamp is told from a plain header", () => {
    const { recording } = decode(bytes("stamped-DCFF-005.bin"));
    expect(recording.start.source).toBe("phone");
    expect(new Date(recording.report.startMs!).toISOString()).toBe("2025-10-30T00:29:01.791Z");
    expect(recording.report.endMs! - recording.report.startMs!).toBeCloseTo(179297.55, 1);
    expect(recording.report.gaps).toEqual([
      expect.objectContaining({ record: 6937, durationMs: expect.closeTo(2176.88, 2) }),
    ]);
  });

  it("cloud-sync: the older service's keys, order and values", () => {
    const wanted = JSON.parse(unzipped("stamped-DCFF-005.cloud-sync.json.gz"));
    const { recording } = decode(bytes("stamped-DCFF-005.bin"), { profile: "cloud-sync" });
    const found = JSON.parse(Buffer.concat([...writeJson(recording)]).toString());
    expect(Object.keys(found)).toEqual(Object.keys(wanted));
    for (const [key, value] of Object.entries(wanted)) {
      if (!Array.isArray(value) || typeof value[0] !== "number") {
        if (key === "Accel_WR_VAR") expect(found[key]).toBeCloseTo(value as number, 12);
        else expect(found[key], key).toEqual(value);
        continue;
      }
      const largest = value.reduce((most: number, one: number) => Math.max(most, Math.abs(one)), 0);
      const worst = value.reduce(
        (most: number, one: number, row: number) => Math.max(most, Math.abs(one - found[key][row])),
        0,
      );
      expect(worst, key).toBeLessThanOrEqual(1e-12 * largest);
      expect(found[key]).toHaveLength(value.length);
    }
  });
});
