/** Each rule of the ECG layout (design A8), on the planner alone. */
import { describe, expect, it } from "vitest";
import type { KnownKey } from "../../src/core/ecg.ts";
import { packageWaitMs, planReports, type ReportsPlan, type ReportsQuestion } from "../../src/core/ecg-reports.ts";
import { openZone } from "../../src/core/ecg-stamp.ts";
import type { LayoutFile } from "../../src/core/layout.ts";

const zone = openZone("Asia/Kolkata");
const now = Date.UTC(2025, 10, 20, 12);
const file = (path: string, mtimeMs = Date.UTC(2025, 10, 3, 4, 45), sizeBytes = 10): LayoutFile => ({
  path,
  key: path.normalize("NFC"),
  sizeBytes,
  mtimeNs: BigInt(mtimeMs) * 1_000_000n,
});
const files = (...paths: string[]): LayoutFile[] => paths.map((path) => file(path));

const ask = (given: readonly LayoutFile[], over: Partial<ReportsQuestion> = {}): ReportsPlan =>
  planReports(given, {
    known: new Map(),
    waits: new Map(),
    dateFrom: "recording",
    zone,
    nowMs: now,
    isSettled: () => true,
    ...over,
  });

/** The memory after a plan. */
const remembered = (plan: ReportsPlan, over: Partial<KnownKey> = {}): Map<string, KnownKey> =>
  new Map(plan.decided.map((key) => [key.name, { ...key, sentAtMs: null, object: null, ...over }]));
const keys = (plan: ReportsPlan): Record<string, string> =>
  Object.fromEntries(plan.placed.map(({ file: { path }, key }) => [path, key]));
const reasons = (list: readonly { path: string; reason: string }[]): Record<string, string> =>
  Object.fromEntries(list.map(({ path, reason }) => [path, reason]));

const pdf = "ECG_Report_20251103_101500.pdf";
const twin = "ECG_Report_20251103_101500.json";
const details = "patient_details_20251103_101500.json";
const data = "ecg_data/ecg_data_20251103_101500.json";
const day = "ecg-reports/2025/11/03";
const folder = `${day}/20251103_101500`;

describe("the date", () => {
  it("is that of the stamp, as written, whatever the zone and the time of change", () => {
    const late = file("ECG_Report_20251103_235959.pdf", Date.UTC(2025, 11, 24));
    expect(keys(ask([late]))).toEqual({ [late.path]: `${day}/${late.path}` });
    expect(keys(ask([late], { zone: openZone("America/Los_Angeles") }))).toEqual(keys(ask([late])));
  });

  it("is the local day of the last change when the name has none", () => {
    const odd = file("ECG_Report_final.pdf", Date.UTC(2025, 10, 3, 18, 30));
    expect(keys(ask([odd]))).toEqual({ [odd.path]: "ecg-reports/2025/11/04/ECG_Report_final.pdf" });
    expect(keys(ask([odd], { zone: openZone("UTC") }))).toEqual({ [odd.path]: `${day}/ECG_Report_final.pdf` });
  });

  it("is decided once: a later change moves no key", () => {
    const known = remembered(ask([file("ECG_Report_final.pdf")]));
    const plan = ask([file("ECG_Report_final.pdf", now, 99)], { known });
    expect(keys(plan)).toEqual({ "ECG_Report_final.pdf": `${day}/ECG_Report_final.pdf` });
    expect(plan.placed[0]!.file.sizeBytes).toBe(99);
    expect(plan.decided).toEqual([]);
  });

  it('is that of the upload with dateFrom "upload", once', () => {
    const plan = ask(files(pdf, twin), { dateFrom: "upload" });
    expect(keys(plan)).toEqual({
      [pdf]: `ecg-reports/2025/11/20/${pdf}`,
      [twin]: `ecg-reports/2025/11/20/${twin}`,
    });
    const tomorrow = { known: remembered(plan), nowMs: now + 86_400_000, dateFrom: "upload" } as const;
    expect(keys(ask(files(pdf, twin), tomorrow))).toEqual(keys(plan));
  });

  it('with dateFrom "upload", two packages of one second have a folder each', () => {
    const other = [pdf, details, data].map((name) => name.replace("101500", "111500"));
    const plan = ask(files(pdf, details, data, ...other), { dateFrom: "upload" });
    const folders = new Set(plan.placed.map(({ key }) => key.slice(0, key.lastIndexOf("/"))));
    expect([...folders].sort()).toEqual([
      "ecg-reports/2025/11/20/20251120_173000",
      "ecg-reports/2025/11/20/20251120_173001",
    ]);
  });
});

describe("simple reports and packages", () => {
  it("a report goes by itself, with its twin", () => {
    expect(keys(ask(files(`reports/${pdf}`, `reports/${twin}`)))).toEqual({
      [`reports/${pdf}`]: `${day}/${pdf}`,
      [`reports/${twin}`]: `${day}/${twin}`,
    });
  });

  it("with the patient's details and the data it is a package, sent together", () => {
    const plan = ask(files(pdf, twin, details, data));
    expect(keys(plan)).toEqual({
      [pdf]: `${folder}/${pdf}`,
      [twin]: `${folder}/${twin}`,
      [details]: `${folder}/${details}`,
      [data]: `${folder}/ecg_data_20251103_101500.json`,
    });
    expect(plan.placed.map(({ kind }) => kind)).toEqual(["package", "package", "package", "package"]);
    expect(plan.placed.map(({ file: { path }, type }) => [path, type])).toEqual(
      expect.arrayContaining([
        [pdf, "ecg_report_pdf"],
        [twin, "ecg_report_json"],
        [details, "patient_details"],
        [data, "ecg_12lead_data"],
      ]),
    );
  });

  it.each([pdf, twin, details, data])("all of it waits while %s is still written", (unsettled) => {
    const plan = ask(files(pdf, twin, details, data), { isSettled: ({ path }) => path !== unsettled });
    expect(plan.placed).toEqual([]);
    expect(new Set(plan.waiting.map(({ reason }) => reason))).toEqual(new Set(["report_settling"]));
    expect(plan.waiting).toHaveLength(4);
    expect(plan.newWaits).toEqual([]);
  });

  it("with details and without data it waits ten minutes, then report and twin go as simple and the rest does not", () => {
    const some = files(pdf, twin, details);
    const first = ask(some);
    expect(first.placed).toEqual([]);
    expect(reasons(first.waiting)).toEqual({
      [pdf]: "package_incomplete",
      [twin]: "package_incomplete",
      [details]: "package_incomplete",
    });
    expect(first.waiting[0]!.untilMs).toBe(now + packageWaitMs);
    expect(first.newWaits).toEqual(["20251103_101500"]);
    const waits = new Map([["20251103_101500", now]]);

    const almost = ask(some, { waits, nowMs: now + packageWaitMs - 1 });
    expect(almost.placed).toEqual([]);
    expect(almost.newWaits).toEqual([]);

    const over = ask(some, { waits, nowMs: now + packageWaitMs });
    expect(keys(over)).toEqual({ [pdf]: `${day}/${pdf}`, [twin]: `${day}/${twin}` });
    expect(reasons(over.leftOut)).toEqual({ [details]: "package_incomplete" });
    expect(over.waiting).toEqual([]);

    const next = ask([...some, file(data)], { known: remembered(over), waits, nowMs: now + 2 * packageWaitMs });
    expect(keys(next)).toEqual(keys(over));
    expect(reasons(next.leftOut), "the report has gone: told once, of the new file alone").toEqual({
      [data]: "package_incomplete",
    });
  });

  it("within the ten minutes the rest makes it a package", () => {
    const waits = new Map([["20251103_101500", now]]);
    const plan = ask(files(pdf, details, data), { waits, nowMs: now + 60_000 });
    expect(plan.placed.map(({ kind }) => kind)).toEqual(["package", "package", "package"]);
  });

  it("a clock that was set back does not make it wait for longer than ten minutes more", () => {
    const waits = new Map([["20251103_101500", now + 86_400_000]]);
    expect(ask(files(pdf, details), { waits }).waiting[0]!.untilMs).toBe(now + packageWaitMs);
  });

  it("data without details: the report goes at once, the data does not", () => {
    const plan = ask(files(pdf, data));
    expect(keys(plan)).toEqual({ [pdf]: `${day}/${pdf}` });
    expect(reasons(plan.leftOut)).toEqual({ [data]: "package_incomplete" });
  });

  it("details that come when the report has gone do not call it back", () => {
    const known = remembered(ask(files(pdf)));
    const plan = ask(files(pdf, details, data), { known });
    expect(keys(plan)).toEqual({ [pdf]: `${day}/${pdf}` });
    expect(reasons(plan.leftOut)).toEqual({ [details]: "package_incomplete", [data]: "package_incomplete" });
  });

  it("the rest without a report waits, is left out, and makes a package when the report comes after all", () => {
    const first = ask(files(details, data));
    expect(reasons(first.waiting)).toEqual({ [details]: "package_incomplete", [data]: "package_incomplete" });
    expect(first.newWaits).toEqual(["20251103_101500 without report"]);
    const waits = new Map([["20251103_101500 without report", now]]);
    const over = ask(files(details, data), { waits, nowMs: now + packageWaitMs });
    expect(reasons(over.leftOut)).toEqual({ [details]: "package_incomplete", [data]: "package_incomplete" });
    const later = { waits, known: remembered(over), nowMs: now + 9 * packageWaitMs };
    expect(ask(files(details, data), later).leftOut, "told once").toEqual([]);
    const whole = ask(files(pdf, details, data), later);
    expect(keys(whole)[details]).toBe(`${folder}/${details}`);
    expect(whole.placed).toHaveLength(3);
    expect(whole.decided).toHaveLength(3);
  });

  it("a twin that comes later, and data made anew, lie beside their report", () => {
    const known = remembered(ask(files(pdf, details, data)));
    expect(keys(ask(files(pdf, details, data, twin), { known }))[twin]).toBe(`${folder}/${twin}`);
    known.delete("ecg_data_20251103_101500.json");
    expect(keys(ask(files(pdf, details, data), { known }))[data]).toBe(`${folder}/ecg_data_20251103_101500.json`);
  });

  it("a twin without a report goes by itself: its report need not change for it", () => {
    expect(keys(ask(files(twin)))).toEqual({ [twin]: `${day}/${twin}` });
  });

  it("a report that is still written waits, and nothing is decided", () => {
    const plan = ask(files(pdf), { isSettled: () => false });
    expect(reasons(plan.waiting)).toEqual({ [pdf]: "report_settling" });
    expect(plan.decided).toEqual([]);
  });

  it("one that was placed before is placed whether it has settled or not: who sends it looks at that", () => {
    const known = remembered(ask(files(pdf)));
    expect(keys(ask(files(pdf), { known, isSettled: () => false }))).toEqual({ [pdf]: `${day}/${pdf}` });
  });
});

describe("names", () => {
  it("other files are left out, once", () => {
    const others = files("metrics.json", "index.json", "notes/report.pdf", "a.wav");
    const plan = ask(others);
    expect(plan.placed).toEqual([]);
    expect(new Set(plan.leftOut.map(({ reason }) => reason))).toEqual(new Set(["not_in_layout"]));
    expect(plan.leftOut).toHaveLength(4);
    expect(ask(others, { known: remembered(plan) }).leftOut).toEqual([]);
  });

  it("details and data without a stamp belong to nothing", () => {
    const plan = ask(files("patient_details_latest.json", "ecg_data_latest.json"));
    expect(plan.leftOut).toHaveLength(2);
  });

  it("a file keeps its key when it is moved, and another of that name gets one of its own without its folders", () => {
    const was = file(`inbox/${pdf}`);
    const object = { sizeBytes: was.sizeBytes, mtimeNs: was.mtimeNs };
    const known = remembered(ask([was]), { object });
    const moved = ask([file(`archive/2025/${pdf}`)], { known });
    expect(keys(moved)).toEqual({ [`archive/2025/${pdf}`]: `${day}/${pdf}` });
    expect(moved.decided).toMatchObject([{ path: `archive/2025/${pdf}`, key: `${day}/${pdf}` }]);

    const copy = file(`archive/${pdf}`);
    expect(keys(ask([copy, was], { known }))[was.path], "a copy is not the file moved").toBe(`${day}/${pdf}`);

    const others = [file(`Jane Doe/${pdf}`, undefined, 11), was];
    const two = ask(others, { known });
    expect(keys(two)[was.path]).toBe(`${day}/${pdf}`);
    expect(keys(two)[`Jane Doe/${pdf}`]).toMatch(new RegExp(`^${day}/[0-9a-f]{12}/${pdf}$`));
    const both = new Map([...known, ...remembered(two)]);
    expect(ask([...others].reverse(), { known: both }).decided).toEqual([]);
    expect(keys(ask([others[0]!], { known: both })), "the first one gone, the second does not take its key").toEqual({
      [`Jane Doe/${pdf}`]: keys(two)[`Jane Doe/${pdf}`],
    });
  });

  it("another file of a name whose first file has gone does not overwrite that one's object", () => {
    const known = remembered(ask([file(`a/${pdf}`)]), { object: { sizeBytes: 10, mtimeNs: 1n } });
    expect(keys(ask([file(`b/${pdf}`)], { known }))[`b/${pdf}`]).not.toBe(`${day}/${pdf}`);
  });

  it("a name of a log belongs to the file nearest the root", () => {
    const logged: KnownKey = {
      name: pdf,
      path: null,
      key: `ecg-reports/2025/11/12/${pdf}`,
      kind: "simple",
      sentAtMs: now,
      object: null,
    };
    const plan = ask(files(`backup/old/${pdf}`, `reports/${pdf}`), { known: new Map([[pdf, logged]]) });
    expect(keys(plan)[`reports/${pdf}`]).toBe(logged.key);
    expect(keys(plan)[`backup/old/${pdf}`]).not.toBe(logged.key);
    expect(plan.decided).toMatchObject([{ name: pdf, path: `reports/${pdf}`, key: logged.key }, {}]);
  });
});

it("plans 5,000 files in well under a second", () => {
  const many = Array.from({ length: 1250 }, (_, n) => {
    const stamp = `2025${String(1 + (n % 12)).padStart(2, "0")}03_${String(100000 + (n % 50) * 100 + Math.floor(n / 50))}`;
    return [
      `ECG_Report_${stamp}.pdf`,
      `ECG_Report_${stamp}.json`,
      `patient_details_${stamp}.json`,
      `d/ecg_data_${stamp}.json`,
    ];
  }).flat();
  const before = process.cpuUsage();
  const plan = ask(files(...many));
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(500);
  expect(plan.placed).toHaveLength(5_000);
});
