/** Sources as the database knows them: ages, backlog, learned cadence, alarms. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { PassRecord, SourceState } from "../../src/core/sources.ts";
import type { OpenedSession } from "../../src/core/store.ts";
import { alarmsOf, roughly, watchAlarms } from "../../src/operations/sources.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openWork, rowIn } from "../support/session.ts";

let db: TestDatabase;
let opened: OpenedSession;
beforeEach(async () => {
  db = await testDatabase();
  opened = await openWork(db, { command: "sync" });
});
afterEach(() => db.drop());

async function pass(over: Partial<PassRecord> = {}): Promise<SourceState> {
  const record: PassRecord = {
    project: "reef",
    name: "ecg",
    source: "/cards/one",
    destination: "s3://reef/C1",
    host: "dock-1",
    pid: 42,
    intervalSeconds: 15,
    expectEverySeconds: null,
    errorCode: null,
    filesSeen: 3,
    durationMs: 20,
    ...over,
  };
  await db.store.recordPass(record);
  return (await db.store.sources(record.project)).find(({ name }) => name === record.name)!;
}

/** Everything that has happened so far happened so much earlier. */
async function later(seconds: number): Promise<void> {
  const earlier = (table: string, ...columns: string[]): Promise<unknown> =>
    db.sql(
      `update :"schema".${table} set ${columns.map((each) => `${each} = ${each} - make_interval(secs => $1)`).join(", ")}`,
      [seconds],
    );
  await earlier("sources", "last_pass_at", "last_success_at", "last_upload_at", "failing_since", "created_at");
  await earlier("source_arrivals", "at");
  await earlier("file_uploads", "uploaded_at");
  await earlier("sync_sessions", "last_uploaded_at");
  await earlier("workers", "lease_until");
  await earlier("sync_leases", "lease_until");
}

const holdOn = (): Promise<unknown> => db.sql(`update :"schema".workers set lease_until = 'infinity'`);

const state = async (): Promise<SourceState> => (await db.store.sources(null))[0]!;
const messages = async (): Promise<string[]> => alarmsOf(await state()).map(({ message }) => message);

it("knows when something last arrived from the rows, not from the program", async () => {
  expect(await pass()).toMatchObject({ lastUploadAt: null, silent: false, passes: 1, filesWaiting: 0 });
  await rowIn(db, opened, "uploaded");
  const after = await state();
  expect(after.lastUploadAt).toEqual(
    (await db.sql<{ at: Date }>(`select max(uploaded_at) as at from :"schema".file_uploads`))[0]!.at,
  );
  await later(3_600);
  expect((await state()).silentSeconds).toBeGreaterThanOrEqual(3_600);
  expect((await state()).silentSeconds).toBeLessThan(3_660);
});

it("a file sent again counts as an arrival though no counter grows", async () => {
  const file = await rowIn(db, opened, "uploaded");
  const first = (await pass()).lastUploadAt!;
  await later(600);
  const changed = { path: file.path, key: file.key, sizeBytes: 11, mtimeNs: file.mtimeNs + 1n };
  await db.store.renew(opened.sessionId, opened.destinationId, [changed]);
  const { workerId } = await db.store.enterSession(
    opened.sessionId,
    { host: "test-host", boot: "boot-1", pid: 1, processStart: "1" },
    { joined: true, reopen: false, concurrency: 1 },
  );
  const [claimed] = await db.store.claim(opened.sessionId, workerId, 0, 10, 3);
  const object = {
    sizeBytes: 11,
    mtimeNs: changed.mtimeNs,
    checksum: null,
    etag: null,
    versionId: null,
    proof: "fsync",
    ours: true,
  } as const;
  await db.store.settle(workerId, [{ move: "settle", file: claimed!, object, requestId: null, durationMs: 1 }]);
  expect((await pass()).lastUploadAt!.getTime()).toBeGreaterThan(first.getTime() - 1);
  expect((await state()).silentSeconds).toBeLessThan(60);
  expect(await db.sql(`select round(gap_seconds / 60) as minutes from :"schema".source_arrivals`)).toEqual([
    { minutes: 10 },
  ]);
});

it("no success while a file has failed or waits, nor when the pass did not come through", async () => {
  const failed = await rowIn(db, opened, "failed");
  expect((await pass()).lastSuccessAt).toBeNull();
  await db.sql(`delete from :"schema".file_uploads where id = $1`, [failed.id]);
  await db.sql(`update :"schema".sync_sessions set files_failed = 0`);
  await rowIn(db, opened, "pending");
  expect((await pass()).lastSuccessAt).toBeNull();
  // Still being written, which is no fault.
  await db.sql(`update :"schema".file_uploads set not_ready = true, reason = 'settling'`);
  expect(await pass()).toMatchObject({ filesWaiting: 0, filesNotReady: 1, lastSuccessAt: expect.any(Date) });
  await later(100);
  const away = await pass({ errorCode: "store_unreachable" });
  expect(away).toMatchObject({ failing: true, errorCode: "store_unreachable", passesFailed: 1, filesNotReady: 1 });
  expect(away.successAgeSeconds).toBeGreaterThanOrEqual(100);
});

it("a pass that fails before there is a session keeps what is known, and says since when it fails", async () => {
  await rowIn(db, opened, "uploaded");
  await pass();
  await pass({ errorCode: "source_missing", filesSeen: 0 });
  await later(7_200);
  const still = await pass({ errorCode: "source_missing", filesSeen: 0 });
  expect(still).toMatchObject({ sessionId: opened.sessionId, filesSeen: 3 });
  expect(still.lastUploadAt).not.toBeNull();
  expect(await messages()).toEqual(["fails (source_missing) for 2 h"]);
  expect(await pass()).toMatchObject({ failing: false, failingSince: null });
});

it("a set cadence: silence longer than it is an alarm, from the first pass on", async () => {
  await holdOn();
  await pass({ expectEverySeconds: 900 });
  await later(890);
  await pass({ expectEverySeconds: 900 });
  expect(await messages()).toEqual([]);
  await later(60);
  await pass({ expectEverySeconds: 900 });
  expect(await messages()).toEqual(["nothing ever, watched for 16 min, expected every 15 min"]);
  await rowIn(db, opened, "uploaded");
  expect(await messages()).toEqual([]);
});

it("a cadence is learned, nights included, and one outage is not taken for a habit", async () => {
  const arrivalAfter = async (seconds: number): Promise<void> => {
    await later(seconds);
    await rowIn(db, opened, "uploaded");
    await pass();
  };
  await holdOn();
  const quarter = 900;
  for (let i = 0; i < 9; i++) await arrivalAfter(quarter);
  await later(26 * 3_600);
  await pass();
  expect((await state()).allowedSeconds, "eight gaps are too few to tell").toBeNull();
  await arrivalAfter(0);
  for (let i = 0; i < 4; i++) await arrivalAfter(quarter);
  expect(Math.round((await state()).usualSeconds!)).toBe(quarter);
  await later(2 * 3_600);
  await pass();
  expect(await messages()).toEqual(["nothing for 2 h, usually every 15 min"]);
  // Two nights, and the third is none of anybody's business.
  for (const seconds of [14 * 3_600, quarter, 14 * 3_600, quarter]) await arrivalAfter(seconds);
  await later(14 * 3_600);
  await pass();
  expect(await messages()).toEqual([]);
  await later(12 * 3_600);
  await pass();
  expect(await messages()).toEqual(["nothing for 26 h, usually every 15 min"]);
});

it("a daemon that is gone is noticed, single passes are not expected", async () => {
  await pass();
  await db.sql(
    `insert into :"schema".sync_leases (destination_id, prefix, source, host, boot, pid, process_start, lease_until)
     select destination_id, prefix, source, 'dock-1', 'boot', 42, '1', now() + interval '1 hour'
     from :"schema".sync_sessions`,
  );
  await db.sql(`update :"schema".sources set last_pass_at = now() - interval '30 minutes'`);
  expect(await state()).toMatchObject({ holderHost: "dock-1", holderPid: 42, leases: 1, unattended: false });
  await later(2.4 * 3_600);
  expect(await messages()).toEqual(["nobody has looked for 3 h, expected every 15 s (last: dock-1)"]);
  await pass({ intervalSeconds: null });
  await later(2 * 3_600);
  expect(await messages()).toEqual([]);
});

it("bytes that wait are those of pending files and of files on their way", async () => {
  await rowIn(db, opened, "pending");
  await rowIn(db, opened, "uploaded");
  await rowIn(db, opened, "uploading");
  const { id, filesWaiting } = await pass();
  expect(filesWaiting).toBe(2);
  expect(await db.store.waitingBytes("reef")).toEqual(new Map([[id, 20]]));
  expect(await db.store.waitingBytes("other")).toEqual(new Map());
});

it("sources of one name in two projects are two", async () => {
  await pass();
  await pass({ project: "lagoon" });
  expect((await db.store.sources(null)).map(({ project, name }) => `${project}/${name}`)).toEqual([
    "lagoon/ecg",
    "reef/ecg",
  ]);
  expect(await db.store.sources("lagoon")).toHaveLength(1);
});

it("an alarm is told once when it begins and once when it is over", async () => {
  const watch = watchAlarms();
  const fine = await pass({ expectEverySeconds: 60 });
  const silent: SourceState = { ...fine, silent: true, silentSeconds: 93_600 };
  expect(watch.look([fine])).toEqual([]);
  expect(watch.look([silent])).toEqual([
    { message: "source ecg: nothing ever, watched for 26 h, expected every 60 s", began: true },
  ]);
  expect(watch.look([silent])).toEqual([]);
  expect(watch.look([fine])).toEqual([{ message: "source ecg: files arrive again", began: false }]);
});

it("ages in the words of people", () => {
  expect([1, 59, 119, 120, 900, 7_199, 93_600, 172_800, 604_800].map(roughly)).toEqual([
    "1 s",
    "59 s",
    "119 s",
    "2 min",
    "15 min",
    "120 min",
    "26 h",
    "2 days",
    "7 days",
  ]);
});
