/** The ECG layout under sync: a layout of whole folders sees all of it at every look. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openFolderDestination } from "../../src/adapters/folder.ts";
import { openUsersFile } from "../../src/adapters/users-file.ts";
import { openZone } from "../../src/core/ecg-stamp.ts";
import type { Destination } from "../../src/core/ports.ts";
import { createEcgLayout } from "../../src/operations/layout-ecg.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { fakePdf, fakeUser, putFile } from "../support/old-ecg-program.ts";
import { fastClock, runOnce, startWatch, syncContext, type TestSync } from "../support/sync.ts";
import { temporaryFolder } from "../support/tree.ts";

let db: TestDatabase;
let scratch: ReturnType<typeof temporaryFolder>;
let to: Destination;
let pauses: number[];
beforeEach(async () => {
  db = await testDatabase();
  scratch = temporaryFolder();
  to = await openFolderDestination({ root: join(scratch.path, "archive"), createRoot: true });
  pauses = [];
  for (const stamp of ["101500", "101600", "101700"]) put(`ECG_Report_20251103_${stamp}.pdf`);
  put("patient_details_20251103_101700.json", "{}");
  put("ecg_data_20251103_101700.json", "{}");
  put("users.json", JSON.stringify({ anna: fakeUser(1, "hunter2") }));
});
afterEach(async () => {
  await to.close();
  scratch.remove();
  await db.drop();
});

const put = (name: string, content = fakePdf(name)): void =>
  putFile(join(scratch.path, "clinic", name), content, Date.now());
const context = (): TestSync => {
  const root = join(scratch.path, "clinic");
  const cx = syncContext({
    db,
    destination: to,
    root,
    clock: fastClock(200),
    onSleep: (delayMs) => void pauses.push(delayMs),
  });
  cx.layout = createEcgLayout({
    memory: db.store.ecg,
    readOnly: false,
    users: openUsersFile({ root, path: null }),
    dateFrom: "recording",
    zone: openZone("UTC"),
  });
  return cx;
};

it("counts each safe file once, and does not wait when all is safe", async () => {
  expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 6 });
  expect(pauses).toContain(5_000);
  pauses = [];
  expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 0, totalFiles: 6, filesSkipped: 6 });
  expect(pauses).not.toContain(5_000);
});

it("sends a changed report as a new version of its key, and then has nothing to wait for", async () => {
  await runOnce(context());
  put("ECG_Report_20251103_101500.pdf", fakePdf("corrected by a doctor"));
  expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 1, filesNotReady: 0 });
  const sent = join(scratch.path, "archive/C1/ecg-reports/2025/11/03/ECG_Report_20251103_101500.pdf");
  expect(readFileSync(sent, "utf8")).toContain("corrected");
  pauses = [];
  expect(await runOnce(context())).toMatchObject({ exitCode: 0, filesThisRun: 0 });
  expect(pauses).not.toContain(5_000);
});

it("a watch that looks again and again counts what is safe once", async () => {
  await runOnce(context());
  // A session of its own: what the first one has sent has no row in it.
  put("ECG_Report_20251103_101500.pdf", fakePdf("corrected by a doctor"));
  await runOnce(context());
  const cx = context();
  const watch = startWatch(cx);
  await expect.poll(() => cx.of("pass").length).toBeGreaterThan(4);
  put("ECG_Report_20251103_120000.pdf");
  await expect.poll(() => cx.of("pass").some((pass) => pass.filesThisRun > 0)).toBe(true);
  await watch.stop();
  const [session] = await db.sql<{ safe: number }>(
    `select files_safe as safe from :"schema".sync_sessions order by id desc limit 1`,
  );
  expect(session!.safe).toBeLessThanOrEqual(6);
});
