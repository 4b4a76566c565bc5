/** Every query in grafana/, on a database with a finished session, a live one and a stalled one. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { dashboardQueries } from "../../bench/dashboard-queries.js";
import type { ClaimedFile, OpenedSession } from "../../src/core/store.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { candidate, fact, openWork } from "../support/session.ts";

const grafana = new URL("../../grafana/", import.meta.url);
const modelOf = (name: string): unknown => JSON.parse(readFileSync(new URL(name, grafana), "utf8"));
const dashboard = modelOf("uploader.json") as { panels: { title: string; datasource: { uid: string } }[] };
const alerts = modelOf("alerts.json");

/** Registers and claims files; each ends as it is told. */
async function send(
  db: TestDatabase,
  opened: OpenedSession,
  names: readonly string[],
  end: "uploaded" | "failed" | "postponed" | "left",
) {
  const files = names.map((name) => candidate(name, 100));
  await db.store.register(opened.sessionId, opened.destinationId, files, "absent");
  if (end === "left") return;
  const claimed = await db.store.claim(opened.sessionId, opened.workerId, 0, 100, 3);
  const done = { requestId: null, durationMs: 5 };
  const failure = { code: "network_lost", message: "the connection was lost" };
  await db.store.settle(
    opened.workerId,
    claimed
      .filter(({ path }) => names.includes(path))
      .map((file) => {
        if (end === "uploaded") return { move: "settle", file, ...done, object: fact(file) };
        if (end === "failed") return { move: "give_up", file, ...done, ...failure, permanent: false };
        return { move: "postpone", file, ...done, ...failure, delayMs: 60_000 };
      }),
  );
}

describe("the dashboards", () => {
  let db: TestDatabase;
  let rows: (title: string) => Promise<Record<string, unknown>[]>;
  let live: OpenedSession;
  let finished: OpenedSession;
  let stalled: OpenedSession;

  beforeAll(async () => {
    db = await testDatabase();
    // Yesterday's card: three of four files arrived, two hours ago; seven had been safe before.
    finished = await openWork(db);
    await send(db, finished, ["a.wav", "b.wav", "c.JPG"], "uploaded");
    await send(db, finished, ["d.wav"], "failed");
    await db.store.scanned(finished.sessionId, 7, 700, true);
    await db.store.endWorker(finished.workerId, "done");
    expect(await db.store.closeSession(finished.sessionId)).toBe("completed_with_errors");
    await db.sql(
      `update :"schema".file_uploads set uploaded_at = uploaded_at - interval '2 h' where uploaded_at is not null`,
    );
    await db.sql(`update :"schema".sync_sessions set started_at = now() - interval '2 h'`);
    await db.sql(`update :"schema".workers set started_at = now() - interval '100 s', ended_at = now()`);
    // In progress: four of ten confirmed, one that will be tried again, and two that somebody else had sent.
    live = await openWork(db, { source: "/cards/two", destination: { ...finishedPlace, prefix: "C2" } }, 2);
    await send(db, live, ["e.wav", "f.wav", "g.mp4", "000"], "uploaded");
    await send(db, live, ["h.wav"], "postponed");
    await send(db, live, ["i.wav", "j.wav", "k.wav", "l.wav", "m.wav"], "left");
    await db.store.scanned(live.sessionId, 90, 9_000, true);
    // Another project's, to a folder: nothing has moved for 40 minutes.
    stalled = await openWork(
      db,
      { project: "owls", destination: { kind: "folder", identity: "file:///nas/owls", text: "/nas/owls", prefix: "" } },
      3,
    );
    await send(db, stalled, ["n.wav"], "left");
    await db.sql(
      `update :"schema".sync_sessions set started_at = now() - interval '7 h' where id = ${stalled.sessionId}`,
    );
    await db.sql(`update :"schema".workers set started_at = now() - interval '40 min' where id = ${stalled.workerId}`);

    const queries = [dashboard, alerts].flatMap((model) =>
      dashboardQueries(model, {
        fromMs: Date.now() - 86_400_000,
        toMs: Date.now() + 60_000,
        all: { project: ["reef", "owls"], bucket: ["reef", "file:///nas/owls"], prefix: ["C1", "C2", "(none)"] },
      }),
    );
    rows = async (title) => {
      const query = queries.find((each) => each.title === title);
      if (!query) throw new Error(`no query ${title}`);
      asked.add(title);
      return await db.database.transaction(async (run) => {
        // As the role of docs/dashboards.md has it.
        await run(`set local search_path to "${db.schema}"`);
        return await run(query.sql);
      });
    };
    titles = queries.map(({ title }) => title);
  });
  afterAll(() => db.drop());

  const finishedPlace = { kind: "s3", identity: "s3://reef", text: "s3://reef/C2" } as const;
  const asked = new Set<string>();
  let titles: string[] = [];

  it("variables: projects, buckets and folders, prefixes", async () => {
    expect(await rows("variable project")).toEqual([{ project: "owls" }, { project: "reef" }]);
    expect(await rows("variable bucket")).toEqual([{ bucket: "file:///nas/owls" }, { bucket: "reef" }]);
    expect(await rows("variable prefix")).toEqual([{ prefix: "(none)" }, { prefix: "C1" }, { prefix: "C2" }]);
  });

  it("progress counts against files to upload, in the middle of a run", async () => {
    expect(await rows("Active sessions")).toMatchObject([
      {
        session_id: stalled.sessionId,
        percent: 0,
        files_to_upload: 1,
        files_left: 1,
        workers: 1,
        scan_finished: false,
      },
      {
        session_id: live.sessionId,
        percent: 40,
        files_to_upload: 10,
        files_uploaded: 4,
        files_failed: 0,
        files_left: 6,
        workers: 1,
        scan_finished: true,
      },
    ]);
    expect(await rows("Progress of the newest session")).toEqual([{ percent: 0 }]);
  });

  it("speed now is of the last two minutes; the finished and the stalled session have none", async () => {
    const [speed] = await rows("Current speed");
    const [throughput] = await rows("Current throughput");
    // Four files within the seconds that this test has run.
    expect(speed!.files_per_second).toBeGreaterThan(4 / 120);
    expect(speed!.files_per_second).toBeLessThanOrEqual(4);
    expect(Number(throughput!.bytes_per_second) / Number(speed!.files_per_second)).toBeCloseTo(100);
  });

  it("counts of today, of projects, of prefixes and types", async () => {
    const midnight = new Date().setUTCHours(0, 0, 0, 0);
    const early = Date.now() - 7_200_000 >= midnight ? 3 : 0;
    expect(await rows("Files today")).toEqual([{ files: 4 + early }]);
    expect(await rows("Totals per project")).toMatchObject([
      { project: "owls", sessions: 1, files_uploaded: 0, files_failed: 0 },
      { project: "reef", sessions: 2, files_uploaded: 7, bytes_uploaded: 700, files_failed: 1 },
    ]);
    expect(await rows("Files per prefix and type")).toEqual(
      expect.arrayContaining([
        { prefix_and_type: "C1 wav", files: 2 },
        { prefix_and_type: "C1 jpg", files: 1 },
        { prefix_and_type: "C2 wav", files: 2 },
        { prefix_and_type: "C2 mp4", files: 1 },
        { prefix_and_type: "C2 none", files: 1 },
      ]),
    );
    expect(await rows("Files by type")).toEqual(
      expect.arrayContaining([
        { file_type: "wav", files: 4 },
        { file_type: "jpg", files: 1 },
      ]),
    );
  });

  it("failures are seen, as attempts in time and as files", async () => {
    // Seven confirmed; one gave up and one will be tried again.
    expect(await rows("Success rate")).toEqual([{ percent: 77.78 }]);
    const overTime = (await rows("Success rate over time")).map(({ percent }) => Number(percent));
    expect(overTime[0]).toBe(100);
    expect(overTime.some((percent) => percent < 100)).toBe(true);
    const moves = await rows("Uploads and failures over time");
    expect(moves.reduce((sum, row) => sum + Number(row.uploaded), 0)).toBe(7);
    expect(moves.reduce((sum, row) => sum + Number(row.failed_attempts), 0)).toBe(2);
    expect(await rows("Causes of failed attempts")).toMatchObject([
      { error_code: "network_lost", attempts: 2, files: 2 },
    ]);
    expect(await rows("Failed files (last 100)")).toMatchObject([
      { session_id: finished.sessionId, local_path: "d.wav", error_code: "network_lost", attempts: 1 },
    ]);
  });

  it("history: what each session had to do, did, and how fast while somebody worked", async () => {
    const history = await rows("Session history (last 100)");
    expect(history).toMatchObject([
      { session_id: stalled.sessionId, status: "in_progress" },
      { session_id: live.sessionId, files_safe: 90, success_percent: 100 },
      {
        session_id: finished.sessionId,
        status: "completed_with_errors",
        percent: 75,
        success_percent: 75,
        files_safe: 7,
        files_to_upload: 4,
        bytes_uploaded: 300,
      },
    ]);
    const [, , done] = history as [unknown, unknown, { active_seconds: number; bytes_per_second: number }];
    expect(done.active_seconds).toBeGreaterThan(95);
    expect(done.active_seconds).toBeLessThan(105);
    expect(done.bytes_per_second).toBeCloseTo(300 / done.active_seconds);
    expect(await rows("Last 10 sessions of 24 hours")).toHaveLength(3);
    expect((await rows("Average speed per project")).map(({ project }) => project)).toEqual(["owls", "reef"]);
  });

  it("days", async () => {
    const volume = await rows("Daily volume, 30 days");
    expect(volume.reduce((sum, { bytes }) => sum + Number(bytes), 0)).toBe(700);
    const days = await rows("Day by day");
    expect(days.reduce((sum, row) => sum + Number(row.files_uploaded), 0)).toBe(7);
    expect(days.reduce((sum, row) => sum + Number(row.failed_attempts), 0)).toBe(2);
  });

  it("alerts fire for what they are about, and for nothing else", async () => {
    const [rate, ...others] = await rows("Failure rate");
    expect(others).toEqual([]);
    // Of the last hour: four confirmed, two attempts failed.
    expect(rate).toMatchObject({ project: "reef" });
    expect(Number(rate!.percent)).toBeCloseTo(33.33, 1);
    const idle = new Map((await rows("Stalled session")).map((row) => [row.session, Number(row.idle_seconds)]));
    expect(idle.get(String(stalled.sessionId))).toBeGreaterThan(1800);
    expect(idle.get(String(live.sessionId))).toBeLessThan(120);
    const [silence] = await rows("Silence");
    expect(Number(silence!.seconds)).toBeLessThan(120);
    const silentFor = async (hours: number) => {
      await db.sql(`update :"schema".upload_minutes set minute = minute - make_interval(hours => $1)`, [hours]);
      const found = (await rows("Silence")).map(({ seconds }) => Math.round(Number(seconds) / 3600));
      await db.sql(`update :"schema".upload_minutes set minute = minute + make_interval(hours => $1)`, [hours]);
      return found;
    };
    expect(await silentFor(30)).toEqual([30]);
    // A project that is over does not alert for ever.
    expect(await silentFor(24 * 7 + 1)).toEqual([]);
    const long = new Map((await rows("Session of more than 6 hours")).map((row) => [row.session, Number(row.seconds)]));
    expect(long.get(String(stalled.sessionId))).toBeGreaterThan(21_600);
    expect(long.has(String(finished.sessionId))).toBe(false);
  });

  it("no query is left out, and every panel asks the database that is chosen", () => {
    expect(titles.filter((title) => !asked.has(title))).toEqual([]);
    for (const { datasource } of dashboard.panels) expect(datasource.uid).toMatch(/^\$\{datasource\}$/);
    expect(readdirSync(grafana).sort()).toEqual(["alerts.json", "uploader.json"]);
  });
});

/** No Grafana runs here: this is what its published schema (kinds/dashboard, alerting provisioning) demands of such files. */
describe("the files, as Grafana's schema has them", () => {
  interface Panel {
    id: number;
    type: string;
    title: string;
    datasource: { type: string; uid: string };
    gridPos: { x: number; y: number; w: number; h: number };
    options: object;
    fieldConfig: {
      defaults: { thresholds?: { mode: string; steps: { value: number | null; color: string }[] } };
      overrides: { matcher: { id: string }; properties: { id: string }[] }[];
    };
    targets: { refId: string; datasource: object; format: string; rawQuery: boolean; rawSql: string }[];
  }
  const { panels, templating, uid } = modelOf("uploader.json") as {
    uid: string;
    panels: Panel[];
    templating: { list: { name: string; type: string; query: string }[] };
  };
  const plugin = "grafana-postgresql-datasource";
  const kinds = ["barchart", "bargauge", "gauge", "piechart", "stat", "table", "timeseries"];

  it("panels have a place of their own, a kind that is there, and all their parts", () => {
    expect(uid).toMatch(/^[\w-]{1,40}$/);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const [at, panel] of panels.entries()) {
      const { x, y, w, h } = panel.gridPos;
      expect(kinds, panel.title).toContain(panel.type);
      expect(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24, panel.title).toBe(true);
      const over = panels.slice(0, at).filter(({ gridPos: other }) => {
        return x < other.x + other.w && other.x < x + w && y < other.y + other.h && other.y < y + h;
      });
      expect(over.map(({ title }) => title)).toEqual([]);
      expect(panel.options).toBeTypeOf("object");
      for (const { matcher, properties } of panel.fieldConfig.overrides) {
        expect([matcher.id, ...properties.map(({ id }) => id)]).not.toContain(undefined);
      }
      const steps = panel.fieldConfig.defaults.thresholds?.steps;
      if (steps) {
        const rest = steps.slice(1).map(({ value }) => value as number);
        expect([steps[0]!.value, rest]).toEqual([null, [...rest].sort((a, b) => a - b)]);
      }
      expect(panel.datasource).toEqual({ type: plugin, uid: expect.stringMatching(/^\$\{datasource\}$/) });
      expect(new Set(panel.targets.map(({ refId }) => refId)).size).toBe(panel.targets.length);
      for (const target of panel.targets) {
        expect(target).toMatchObject({ datasource: panel.datasource, rawQuery: true });
        expect(["table", "time_series"]).toContain(target.format);
      }
    }
  });

  it("every variable that a query names is one of the dashboard, or Grafana's own", () => {
    const known = templating.list.map(({ name }) => name);
    expect(templating.list[0]).toMatchObject({ name: "datasource", type: "datasource", query: plugin });
    const queries = [
      ...panels.flatMap(({ targets }) => targets.map(({ rawSql }) => rawSql)),
      ...templating.list.map(({ query }) => query),
    ];
    const named = queries.flatMap((sql) => [...sql.matchAll(/\$\{?(\w+)/g)].map(([, name]) => name!));
    expect([...new Set(named)].filter((name) => !known.includes(name) && !name.startsWith("__"))).toEqual([]);
  });

  it("alert rules: a condition that is there, labels that their query gives, no $ where provisioning would expand it", async () => {
    const { apiVersion, groups } = alerts as {
      apiVersion: number;
      groups: { name: string; folder: string; interval: string; rules: Record<string, unknown>[] }[];
    };
    expect(apiVersion).toBe(1);
    for (const { name, folder, interval, rules } of groups) {
      expect([name, folder].every((text) => text !== "") && /^\d+[sm]$/.test(interval)).toBe(true);
      expect(new Set(rules.map((rule) => rule.uid)).size).toBe(rules.length);
      for (const rule of rules) {
        const data = rule.data as {
          refId: string;
          datasourceUid: string;
          model: { refId: string; rawSql?: string; expression?: string };
        }[];
        const refs = data.map(({ refId }) => refId);
        expect(rule.uid).toMatch(/^[\w-]{1,40}$/);
        expect(refs).toContain(rule.condition);
        expect(["OK", "NoData", "Alerting", "KeepLast"]).toContain(rule.noDataState);
        expect(["OK", "Error", "Alerting", "KeepLast"]).toContain(rule.execErrState);
        for (const { refId, datasourceUid, model } of data) {
          expect(model.refId).toBe(refId);
          expect(datasourceUid).toMatch(/^(\$\{UPLOADER_DATASOURCE\}|__expr__)$/);
          if (model.expression !== undefined) expect(refs).toContain(model.expression);
          // In `model` and `labels` Grafana expands $NAME; in annotations it does not.
          expect(JSON.stringify([model, rule.labels])).not.toContain("$");
        }
        const sql = data.find(({ model }) => model.rawSql)!.model.rawSql!;
        const summary = (rule.annotations as { summary: string }).summary;
        for (const [, label] of summary.matchAll(/\$labels\.(\w+)/g)) expect(sql).toMatch(new RegExp(`\\b${label}\\b`));
      }
    }
  });
});

describe("the tallies", () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await testDatabase();
  });
  afterEach(() => db.drop());

  const counted = `select session_id, minute, file_type, files, bytes from :"schema".upload_minutes
    where files <> 0 or bytes <> 0 order by 1, 2, 3`;
  const recounted = `select session_id, date_trunc('minute', uploaded_at) as minute, :"schema".file_type(s3_key) as file_type,
      count(*) as files, sum(file_size) as bytes
    from :"schema".file_uploads where status = 'uploaded' group by 1, 2, 3 order by 1, 2, 3`;
  const causes = `select session_id, status, error_code, reason, permanent, files, bytes from :"schema".session_causes
    where files <> 0 or bytes <> 0 order by 1, 2, 3, 4, 5`;
  const recountedCauses = `select session_id, status, coalesce(error_code, '') as error_code,
      coalesce(reason, '') as reason, permanent, count(*) as files, sum(file_size) as bytes
    from :"schema".file_uploads
    where status in ('failed', 'skipped')
      or status in ('pending', 'uploading') and (error_code is not null or reason is not null)
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`;

  it("equal a count of the rows, whatever moves were made", async () => {
    const opened = await openWork(db);
    const { sessionId, destinationId, workerId } = opened;
    let seed = 20_261_121;
    const chance = (n: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * n);
    };
    const sent: ClaimedFile[] = [];
    for (let round = 0; round < 30; round++) {
      const names = Array.from({ length: 8 }, (_, n) => `${round}/${n}.${["wav", "jpg", "0001", "json"][chance(4)]}`);
      await db.store.register(
        sessionId,
        destinationId,
        names.map((name) => candidate(name, 10 + chance(90))),
        "absent",
      );
      await db.sql(`update :"schema".file_uploads set next_attempt_at = now() where status = 'pending'`);
      const claimed = await db.store.claim(sessionId, workerId, 0, 12, 99);
      const end = { requestId: null, durationMs: 1 };
      await db.store.settle(
        workerId,
        claimed.map((file) => {
          const failure = { code: ["network_lost", "timed_out"][chance(2)]!, message: "no" };
          const endings = [
            { move: "settle", file, ...end, object: fact(file) },
            { move: "settle", file, ...end, object: fact(file) },
            { move: "give_up", file, ...end, ...failure, permanent: chance(2) === 0 },
            { move: "postpone", file, ...end, ...failure, delayMs: 0 },
            { move: "skip", file, reason: "already_there", object: null },
            {
              move: "revise",
              file,
              sizeBytes: file.sizeBytes + 1,
              mtimeNs: file.mtimeNs,
              reason: "changed",
              delayMs: 0,
            },
            { move: "release", file },
          ] as const;
          const chosen = endings[chance(endings.length)]!;
          if (chosen.move === "settle") sent.push(file);
          return chosen;
        }),
      );
      if (chance(5) === 0) await db.store.requeue(sessionId, chance(2) === 0);
      if (chance(4) === 0 && sent.length > 0) {
        const file = sent[chance(sent.length)]!;
        await db.store.renew(sessionId, destinationId, [{ ...file, sizeBytes: file.sizeBytes + 1000 }]);
      }
    }
    expect(await db.sql(counted)).toEqual(await db.sql(recounted));
    expect(await db.sql(causes)).toEqual(await db.sql(recountedCauses));
    expect((await db.sql(causes)).length).toBeGreaterThan(5);
    const told = await db.store.causes(sessionId);
    expect(told).toHaveLength((await db.sql(causes)).length);
    for (const cause of told) {
      const [row] = await db.sql(
        `select status, error_code, reason, permanent from :"schema".file_uploads where s3_key = $1`,
        [cause.exampleKey],
      );
      expect(row).toEqual({
        status: cause.status,
        error_code: cause.errorCode,
        reason: cause.reason,
        permanent: cause.permanent,
      });
    }
  });

  it("a file's type is its ending, if it is one", async () => {
    const types = {
      "C1/a.WAV": "wav",
      "a.b/000": "none",
      "x.tar.gz": "gz",
      "rec.0001": "none",
      "sentence. The end": "none",
      "C1/Recording": "none",
      "a/abc": "none",
      "x.numbers1": "none",
    };
    const found = await db.sql<{ type: string }>(
      `select :"schema".file_type(key) as type from unnest($1::text[]) with ordinality as t(key, n) order by n`,
      [Object.keys(types)],
    );
    expect(found.map(({ type }) => type)).toEqual(Object.values(types));
  });

  it("go with their session", async () => {
    await send(db, await openWork(db), ["a.wav", "b.wav"], "uploaded");
    expect(await db.sql(counted)).toMatchObject([{ file_type: "wav", files: 2, bytes: 200 }]);
    await db.sql(`delete from :"schema".sync_sessions`);
    expect(await db.sql(`select * from :"schema".upload_minutes`)).toEqual([]);
  });
});
