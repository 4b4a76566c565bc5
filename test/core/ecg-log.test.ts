import { expect, it } from "vitest";
import { type LogQuestion, readUploadLog } from "../../src/core/ecg-log.ts";
import { openZone } from "../../src/core/ecg-stamp.ts";

const at = "2025-11-12T10:15:00.417";
const sentAtMs = Date.UTC(2025, 10, 12, 10, 15, 0, 417);
const entry = (name: string, over: object = {}, result: object = {}): object => ({
  local_path: `/home/clinic/reports/${name}`,
  uploaded_at: at,
  service: "s3",
  result: { status: "success", service: "s3", key: `ecg-reports/2025/11/12/${name}`, bucket: "clinic", ...result },
  metadata: { filename: name },
  ...over,
});
const read = (log: unknown, over: Partial<LogQuestion> = {}) =>
  readUploadLog(typeof log === "string" ? log : JSON.stringify(log, null, 2), {
    zone: openZone("UTC"),
    bucket: "clinic",
    prefix: "",
    nowMs: Date.UTC(2026, 0, 1),
    ...over,
  });
const problemOf = (given: object, over: Partial<LogQuestion> = {}) => read([given], over).problems[0]?.problem;

it("reads keys by the files' names, whatever system wrote their paths", () => {
  const paths = ["C:\\app\\reports\\a.pdf", "/home/x/reports/b.pdf", "reports/c.pdf", "d.pdf"];
  const log = read(paths.map((local_path) => entry("x.pdf", { local_path })));
  expect(log.keys.map(({ name }) => name)).toEqual(["a.pdf", "b.pdf", "c.pdf", "d.pdf"]);
  expect(log.keys[0]).toEqual({ name: "a.pdf", key: "ecg-reports/2025/11/12/x.pdf", kind: "simple", sentAtMs });
  const unnamed = read([entry("x.pdf", { local_path: null }), entry("y.pdf", { local_path: "", metadata: {} })]);
  expect(unnamed.keys.map(({ name }) => name)).toEqual(["x.pdf", "y.pdf"]);
});

it("of entries of one file the newest counts, wherever it stands", () => {
  const older = entry("a.pdf", { uploaded_at: "2025-11-01T00:00:00" }, { key: "ecg-reports/2025/11/01/a.pdf" });
  for (const log of [read([older, entry("a.pdf")]), read([entry("a.pdf"), older])]) {
    expect(log.keys).toMatchObject([{ key: "ecg-reports/2025/11/12/a.pdf", sentAtMs }]);
    expect(log.repeated).toBe(1);
  }
});

it("times are those of the zone given, and never later than now", () => {
  const kolkata = read([entry("a.pdf")], { zone: openZone("Asia/Kolkata") });
  expect(kolkata.keys[0]!.sentAtMs).toBe(sentAtMs - 5.5 * 3_600_000);
  expect(read([entry("a.pdf")], { nowMs: 1_000 }).keys[0]!.sentAtMs).toBe(1_000);
});

it("takes packages apart, upload by upload", () => {
  const uploads = [
    { type: "ecg_report_pdf", key: "ecg-reports/2025/11/12/20251112_101500/a.pdf", url: "…" },
    { type: "patient_details", url: "…" },
    { type: "ecg_12lead_data", key: "ecg-reports/2025/11/12/20251112_101500/ecg_data_1.json" },
  ];
  const log = read([entry("a.pdf", { metadata: { type: "complete_report_package" } }, { uploads, key: undefined })]);
  expect(log.keys.map(({ name, kind }) => [name, kind])).toEqual([
    ["a.pdf", "package"],
    ["ecg_data_1.json", "package"],
  ]);
  expect(log.problems).toEqual([{ entry: 1, line: 2, problem: "upload 2 of its package: it has no key" }]);
});

it("knows sign-ups by their type, or by their key, and each user once", () => {
  const key = "ecg-reports/2025/11/12/user_signup_anna_b_20251112_101500.json";
  const log = read([
    entry("x", { metadata: { type: "user_signup", username: "carl" } }),
    entry("x", { metadata: {} }, { key }),
    entry("x", { metadata: { type: "user_signup" } }, { key }),
  ]);
  expect(log.users.map(({ username }) => username)).toEqual(["carl", "anna_b"]);
  expect(log.keys).toEqual([]);
  expect(log.repeated).toBe(1);
});

it.each([
  ["no key", entry("a.pdf", {}, { key: undefined }), "it has no key"],
  ["a key of another kind", entry("a.pdf", {}, { key: 7 }), "it has no key"],
  ["a key that no store takes", entry("a.pdf", {}, { key: "a/../b.pdf" }), 'the key has a segment "." or ".."'],
  ["another bucket", entry("a.pdf", {}, { bucket: "old" }), "it went to another bucket, old"],
  ["another service", entry("a.pdf", { service: "azure" }, { service: "azure" }), 'it went to "azure", not to S3'],
  ["a failure", entry("a.pdf", {}, { status: "error" }), 'its status is "error"'],
  ["no time", entry("a.pdf", { uploaded_at: null }), "it does not say when (uploaded_at)"],
  ["no real time", entry("a.pdf", { uploaded_at: "yesterday" }), 'its uploaded_at is no time: "yesterday"'],
  ["no result", { local_path: "a.pdf", uploaded_at: at }, "it has no key"],
  ["a result that is a list", entry("a.pdf", { result: [] }), "it has no key"],
])("an entry with %s is reported", (_what, given, problem) => {
  expect(problemOf(given)).toBe(problem);
  expect(read([given]).keys).toEqual([]);
});

it("keys are those below the destination's prefix", () => {
  const given = entry("a.pdf", {}, { key: "clinic-1/ecg-reports/2025/11/12/a.pdf" });
  expect(read([given], { prefix: "clinic-1" }).keys[0]!.key).toBe("ecg-reports/2025/11/12/a.pdf");
  expect(problemOf(given, { prefix: "clinic" })).toBe("its key is not below the destination's prefix clinic/");
});

it("reads a log that is broken somewhere, and says where", () => {
  const names = ["a.pdf", "b.pdf", "c.pdf", "d.pdf"];
  const text = JSON.stringify(
    names.map((name) => entry(name)),
    null,
    2,
  );
  const without = (broken: string) => read(broken).keys.map(({ name }) => name);
  expect(without(text.slice(0, -60)), "cut off").toEqual(["a.pdf", "b.pdf", "c.pdf"]);
  expect(read(text.slice(0, -60)).problems).toEqual([{ entry: 4, line: 44, problem: "it is no JSON, or is cut off" }]);
  expect(without(text.replace('"key": "ecg-reports/2025/11/12/b.pdf"', '"key": ecg')), "in its midst").toEqual([
    "a.pdf",
    "c.pdf",
    "d.pdf",
  ]);
  expect(without(text.replace('"filename": "b.pdf"\n    }\n  },', "")), "two writers").toEqual([
    "a.pdf",
    "c.pdf",
    "d.pdf",
  ]);
  expect(without(text.replace(/\}$/m, "}").replace(/\n\]$/, "")), "no last bracket").toEqual(names);
  expect(without(`\ufeff${text}`), "a mark of byte order").toEqual(names);
  expect(without(text.replace('"filename": "b.pdf"', '"heart_rate": NaN')), "as Python writes NaN").toEqual(names);
  expect(without(JSON.stringify(names.map((name) => entry(name))).slice(0, -30)), "on one line").toEqual(
    names.slice(0, 3),
  );
  const garbage = `{"local\n${text.slice(1)}`;
  expect(read(garbage).problems).toEqual([{ entry: 1, line: 1, problem: "it is no JSON, or is cut off" }]);
  expect(without(garbage)).toEqual(names);
});

it("a log that is none gives nothing but its problems", () => {
  expect(read("")).toMatchObject({ entries: 0, problems: [] });
  expect(read("[]")).toMatchObject({ entries: 0, problems: [] });
  expect(read("hello").problems).toHaveLength(1);
  expect(read([null, 5, "x", [entry("a.pdf")]]).problems).toHaveLength(4);
});

it("2,460 entries of which every other is broken take no time", () => {
  const text = Array.from({ length: 2460 }, (_, n) =>
    JSON.stringify(entry(`ECG_Report_${n}.pdf`), null, 2).slice(0, n % 2 === 0 ? undefined : -3),
  ).join(",\n");
  const before = process.cpuUsage();
  const log = read(`[${text}]`);
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(1_000);
  expect([log.entries, log.keys.length, log.problems.length]).toEqual([2460, 1230, 1230]);
});
