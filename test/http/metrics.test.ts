/** Metrics against the real database: ages first, the truth after a failure, and nothing that names a file or a person. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UploaderError } from "../../src/core/errors.ts";
import type { Event } from "../../src/core/events.ts";
import type { PassRecord, SourceMemory } from "../../src/core/sources.ts";
import type { OpenedSession } from "../../src/core/store.ts";
import { createCounter, createHistogram, expose } from "../../src/http/exposition.ts";
import { createMetrics, type Metrics } from "../../src/http/metrics.ts";
import { createPulse } from "../../src/http/pulse.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openWork, rowIn } from "../support/session.ts";

let db: TestDatabase;
let opened: OpenedSession;
let metrics: Metrics;
let memory: Pick<SourceMemory, "sources" | "waitingBytes"> | null;
let nowMs: number;

beforeEach(async () => {
  db = await testDatabase();
  opened = await openWork(db, { command: "sync", source: "/cards/Alice_Example" });
  nowMs = 0;
  memory = db.store;
  metrics = createMetrics({
    memory: () => memory,
    isOurs: ({ name }) => name !== "other",
    pulse: createPulse({ stallMs: 1, now: () => nowMs }),
    version: "1.2.3",
    startedAtMs: 1_000,
    now: () => nowMs,
    residentBytes: () => 5,
  });
});
afterEach(() => db.drop());

const pass = (over: Partial<PassRecord> = {}) =>
  db.store.recordPass({
    project: "reef",
    name: "ecg",
    source: "/cards/Alice_Example",
    destination: "s3://reef/C1",
    host: "dock-1",
    pid: 42,
    intervalSeconds: 15,
    expectEverySeconds: 900,
    errorCode: null,
    filesSeen: 3,
    durationMs: 20,
    ...over,
  });

/** The value of a series, by its name and labels as they are written. */
async function value(series: string): Promise<number | null> {
  const line = (await metrics.text()).split("\n").find((each) => each.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length + 1));
}
const of = (name: string): string => `uploader_source_${name}{project="reef",source="ecg"}`;

describe("from the database", () => {
  it("the age of the last success comes first", async () => {
    await pass();
    await pass({ name: "other" });
    const text = await metrics.text();
    expect(text.split("\n")[2]).toMatch(
      /^uploader_source_last_success_age_seconds\{project="reef",source="ecg"\} 0\.\d+$/,
    );
    expect(text).not.toMatch(/other/);
  });

  it("a pass that failed, and a file that failed, are no success", async () => {
    await pass();
    await db.sql(`update :"schema".sources set last_success_at = now() - interval '2 hours'`);
    await pass({ errorCode: "store_unreachable" });
    expect(await value(of("last_success_age_seconds"))).toBeGreaterThanOrEqual(7_200);
    expect(await value('uploader_source_alarm{project="reef",source="ecg",kind="failing"}')).toBe(1);
    nowMs += 5_000;
    await rowIn(db, opened, "failed");
    await pass();
    expect(await value(of("last_success_age_seconds"))).toBeGreaterThanOrEqual(7_200);
    expect(await value(of("failed_files"))).toBe(1);
    expect(await value('uploader_source_passes_total{project="reef",source="ecg",result="failed"}')).toBe(1);
    expect(await value('uploader_source_passes_total{project="reef",source="ecg",result="ok"}')).toBe(2);
  });

  it("backlog in files and bytes, leases", async () => {
    await rowIn(db, opened, "pending");
    await rowIn(db, opened, "uploading");
    await pass();
    expect(await value(of("backlog_files"))).toBe(2);
    expect(await value(of("backlog_bytes"))).toBe(20);
    expect(await value(of("leases"))).toBe(1);
  });

  it("ages grow on while the database is away, and an alarm comes due", async () => {
    await pass();
    expect(await value(of("silent_seconds"))).toBeLessThan(500);
    expect(await value("uploader_database_up")).toBe(1);
    memory = {
      sources: () => Promise.reject(new UploaderError("database_unreachable", "away")),
      waitingBytes: () => Promise.reject(new UploaderError("database_unreachable", "away")),
    };
    nowMs += 1_000_000;
    expect(await value("uploader_database_up")).toBe(0);
    expect(await value(of("silent_seconds"))).toBeGreaterThanOrEqual(1_000);
    expect(await value('uploader_source_alarm{project="reef",source="ecg",kind="silent"}')).toBe(1);
    memory = { ...memory, sources: () => Promise.reject(new UploaderError("internal", "a bug")) };
    await expect(metrics.text()).rejects.toThrow("a bug");
  });

  it("before there is a database it still answers", async () => {
    memory = null;
    expect(await value("uploader_database_up")).toBe(0);
    expect(await value(`uploader_build_info{version="1.2.3",node="${process.versions.node}"}`)).toBe(1);
  });
});

describe("from what happens", () => {
  const file = (over: Partial<Extract<Event, { type: "file" }>>): Event => ({
    type: "file",
    sessionId: 1,
    path: "Alice_Example/ECG.pdf",
    key: "ecg-reports/Alice_Example.pdf",
    size: 100,
    status: "uploaded",
    errorCode: null,
    errorMessage: null,
    attempt: 1,
    durationMs: 300,
    ...over,
  });

  it("attempts by cause, bytes, durations; no path, no key, no person", async () => {
    metrics.observe("ecg", file({}));
    metrics.observe("ecg", file({ size: 50 }));
    metrics.observe("ecg", file({ status: "pending", errorCode: "timed_out", errorMessage: "Alice_Example" }));
    metrics.observe("ecg", file({ status: "skipped", durationMs: null }));
    await pass();
    expect(await value('uploader_attempts_total{source="ecg",outcome="uploaded",cause=""}')).toBe(2);
    expect(await value('uploader_attempts_total{source="ecg",outcome="postponed",cause="timed_out"}')).toBe(1);
    expect(await value('uploader_uploaded_bytes_total{source="ecg"}')).toBe(150);
    const bucket = (le: string) =>
      value(`uploader_upload_duration_seconds_bucket{source="ecg",outcome="uploaded",le="${le}"}`);
    expect([await bucket("0.25"), await bucket("0.5"), await bucket("+Inf")]).toEqual([0, 2, 2]);
    expect(await value('uploader_upload_duration_seconds_sum{source="ecg",outcome="uploaded"}')).toBeCloseTo(0.6);
    expect(await metrics.text()).not.toMatch(/Alice|cards|\.pdf|s3:/);
  });
});

describe("the text format", () => {
  it("escapes, orders, leaves empty families out", () => {
    expect(
      expose([
        {
          name: "a_total",
          type: "counter",
          help: 'one\\two\n"three"',
          samples: [{ labels: { x: 'q"\\\n' }, value: 1 }],
        },
        { name: "b", type: "gauge", help: "", samples: [] },
        { name: "c", type: "gauge", help: "c", samples: [{ labels: {}, value: Number.POSITIVE_INFINITY }] },
      ]),
    ).toBe(
      '# HELP a_total one\\\\two\\n"three"\n# TYPE a_total counter\na_total{x="q\\"\\\\\\n"} 1\n# HELP c c\n# TYPE c gauge\nc +Inf\n',
    );
  });

  it("histograms cumulate, counters sum", () => {
    const histogram = createHistogram([1, 2]);
    for (const seen of [0.5, 1, 1.5, 9]) histogram.observe({}, seen);
    expect(histogram.samples().map(({ value, suffix }) => [suffix, value])).toEqual([
      ["_bucket", 2],
      ["_bucket", 3],
      ["_bucket", 4],
      ["_sum", 12],
      ["_count", 4],
    ]);
    const counter = createCounter();
    counter.add({ a: "1" });
    counter.add({ a: "1" }, 2);
    counter.add({ a: "2" });
    expect(counter.samples().map(({ value }) => value)).toEqual([3, 1]);
  });
});
