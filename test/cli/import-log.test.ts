/** `import-log` and the ECG layout as a user runs them. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fakePdf, fakeUser, makeOldFolder, type OldFolder, putFile } from "../support/old-ecg-program.ts";
import { filesBelow, openWorkplace, textOf, type Workplace } from "./workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace({ buckets: ["clinic", "other", "years"] });
});
afterAll(() => place?.close());

const startMs = Date.UTC(2025, 10, 1, 8);
const old = (name: string, reports = 40, bucket = "clinic"): OldFolder =>
  makeOldFolder({ root: place.path(name), reports, users: 4, bucket, startMs });

/** A configuration file for a folder of the older program. */
function config(name: string, over: object = {}): string {
  const file = place.path(`${name}.json`);
  const settings = { project: name, source: `./${name}`, destination: "s3://clinic", layout: "ecg-reports", ...over };
  writeFileSync(file, JSON.stringify(settings));
  return file;
}
const utc = { env: { TZ: "UTC" } };
const lastOf = (text: string): Record<string, unknown> => JSON.parse(text.trim().split("\n").at(-1)!);

describe("import-log", () => {
  it("takes over the whole log, and upload and sync go on without sending a file again", {
    timeout: 120_000,
  }, async () => {
    const folder = old("reports");
    const file = config("reports");
    const imported = await place.run(["import-log", folder.log, "--config", file], utc);
    expect(imported).toMatchObject({ exitCode: 0, stderr: "" });
    expect(imported.stdout).toBe(
      `${folder.entries} entries read\n  42 files keep their keys\n  4 users signed up\n` +
        `  ${folder.entries - 46} older entries of the same files and users: the newest counts\n`,
    );
    place.s3.forget();
    for (const command of [["upload"], ["sync"], ["sync"]]) {
      const run = await place.run([...command, "--config", file, "--settle", "0", "--json"], utc);
      expect(run.exitCode, run.stdout + run.stderr).toBe(0);
    }
    expect(place.s3.counts.PutObject ?? 0).toBe(0);

    const again = await place.run(["import-log", folder.log, "--config", file, "--json"], utc);
    expect(lastOf(again.stdout)).toMatchObject({ type: "summary", keys: 0, keysKnown: 42, users: 0, usersKnown: 4 });

    putFile(place.path("reports/ECG_Report_20251201_080000.pdf"), fakePdf("new"), Date.UTC(2025, 11, 1, 8));
    const [name, key] = [...folder.sent][3]!;
    putFile(place.path("reports", name), fakePdf("corrected"), Date.UTC(2025, 11, 1, 9));
    const sync = await place.run(["sync", "--config", file, "--settle", "0"], utc);
    expect(sync.exitCode, sync.stdout + sync.stderr).toBe(0);
    expect(place.s3.keys("clinic")).toEqual([key, "ecg-reports/2025/12/01/ECG_Report_20251201_080000.pdf"].sort());
    expect(JSON.stringify(await place.rows("reports"))).not.toContain(folder.password);
  });

  it("takes over a log of some 2,460 entries, the size of a real one, within seconds", {
    timeout: 120_000,
  }, async () => {
    const folder = old("years", 1_890, "years");
    expect(folder.entries).toBeGreaterThan(2_400);
    const file = config("years", { destination: "s3://years" });
    const started = performance.now();
    const imported = await place.run(["import-log", folder.log, "--config", file, "--json"], utc);
    const tookMs = performance.now() - started;
    expect(lastOf(imported.stdout)).toMatchObject({ keys: folder.sent.size, problems: 0 });
    place.s3.forget();
    const run = await place.run(["upload", "--config", file, "--json"], utc);
    expect(lastOf(run.stdout)).toMatchObject({
      exitCode: 0,
      filesUploaded: 0,
      filesFailed: 0,
      filesSafe: folder.sent.size,
    });
    expect(place.s3.counts.PutObject ?? 0).toBe(0);
    expect(tookMs).toBeLessThan(20_000);
    console.info(`${folder.entries} entries in ${Math.round(tookMs)} ms, ${folder.sent.size} files safe`);
  });

  it("names what it cannot understand, takes the rest, and ends with 0", async () => {
    const folder = old("broken", 12);
    const file = config("broken");
    const entries = JSON.parse(textOf(folder.log)) as { result: Record<string, unknown> }[];
    delete entries[1]!.result.key;
    entries[2]!.result.bucket = "other";
    const text = JSON.stringify(entries, null, 2);
    writeFileSync(folder.log, text.slice(0, text.length - 40));
    const run = await place.run(["import-log", "broken/upload_log.json", "--config", file]);
    expect(run.exitCode).toBe(0);
    expect(run.stderr).toMatch(/^broken\/upload_log\.json, line \d+, entry 2: it has no key$/m);
    expect(run.stderr).toMatch(/^broken\/upload_log\.json, line \d+, entry 3: it went to another bucket, other$/m);
    expect(run.stderr).toMatch(/^broken\/upload_log\.json, line \d+, entry \d+: it is no JSON, or is cut off$/m);
    expect(run.stdout).toContain("3 not understood, named above");
  });

  it("a dry run writes nothing", async () => {
    const folder = old("dry", 5);
    const file = config("dry", { project: "dry" });
    const count = () => place.db.sql(`select count(*)::int as n from :"schema".ecg_keys`);
    const before = await count();
    const run = await place.run(["import-log", folder.log, "--config", file, "-n"]);
    expect(run).toMatchObject({ exitCode: 0 });
    expect(run.stdout).toMatch(/^dry run: nothing was written\n {2}6 files keep their keys$/m);
    expect(await count()).toEqual(before);
  });

  it("finds the source with this layout, or wants one named", async () => {
    const folder = old("several", 3);
    const source = (name: string, layout: string) => ({
      name,
      source: "./several",
      destination: `s3://clinic/${name}`,
      layout,
    });
    const one = config("one", { source: undefined, destination: undefined, layout: undefined });
    writeFileSync(one, JSON.stringify({ sources: [source("cards", "mirror"), source("ecg", "ecg-reports")] }));
    const refused = await place.run(["import-log", folder.log, "--config", one]);
    expect(refused).toMatchObject({ exitCode: 2 });
    expect(refused.stderr).toContain("its key is not below the destination's prefix ecg/");
    const two = config("two");
    writeFileSync(two, JSON.stringify({ sources: [source("a", "ecg-reports"), source("b", "ecg-reports")] }));
    const unnamed = await place.run(["import-log", folder.log, "--config", two]);
    expect(unnamed).toMatchObject({ exitCode: 2 });
    expect(unnamed.stderr).toContain("--only a, or --only b");
  });

  it.each([
    ["a log that is not there", ["import-log", "nowhere.json"], /the log nowhere\.json does not exist/],
    ["a folder", ["import-log", "."], /the log \. is a folder/],
    ["a zone that nobody knows", ["import-log", "empty.json", "--zone", "Mars"], /no time zone called "Mars"/],
    ["no log", ["import-log"], /missing required argument 'file'/],
    ["nothing that can be used", ["import-log", "hello.json"], /its entry cannot be used; line 1/],
  ])("refuses %s with 2", async (_what, args, message) => {
    writeFileSync(place.path("empty.json"), "[]");
    writeFileSync(place.path("hello.json"), "hello");
    const run = await place.run([...args, "--layout", "ecg-reports", "--destination", "s3://clinic"]);
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toMatch(message);
  });
});

describe("the layout ecg-reports", () => {
  it("goes to a folder destination as well", async () => {
    putFile(place.path("desk/ECG_Report_20251103_101500.pdf"), fakePdf("x"), startMs);
    putFile(place.path("desk/patient_details_20251103_101500.json"), "{}", startMs);
    putFile(place.path("desk/ecg_data/ecg_data_20251103_101500.json"), "{}", startMs);
    putFile(place.path("desk/users.json"), JSON.stringify({ anna: fakeUser(1, "hunter2") }), startMs);
    const run = await place.run(["upload", "desk", "archive", "--layout", "ecg-reports", "--json"], utc);
    expect(lastOf(run.stdout)).toMatchObject({ type: "summary", exitCode: 0, filesUploaded: 4 });
    const sent = filesBelow(place.path("archive"));
    expect(sent.slice(0, 3)).toEqual(
      ["ECG_Report_20251103_101500.pdf", "ecg_data_20251103_101500.json", "patient_details_20251103_101500.json"].map(
        (name) => `ecg-reports/2025/11/03/20251103_101500/${name}`,
      ),
    );
    expect(sent[3]).toMatch(/^ecg-reports\/\d{4}\/\d\d\/\d\d\/user_signup_anna_\d{8}_\d{6}\.json$/);
    for (const path of sent) expect(readFileSync(place.path("archive", path), "utf8")).not.toContain("hunter2");
    const again = await place.run(["upload", "desk", "archive", "--layout", "ecg-reports", "--json"], utc);
    expect(lastOf(again.stdout)).toMatchObject({ exitCode: 0, filesUploaded: 0, filesSkipped: 4 });
  });

  it("sync waits for a package, says so, and leaves out what never becomes one", { timeout: 120_000 }, async () => {
    const file = config("ward");
    putFile(place.path("ward/ECG_Report_20251104_101500.pdf"), fakePdf("x"), startMs);
    putFile(place.path("ward/patient_details_20251104_101500.json"), "{}", startMs);
    const sync = () => place.run(["sync", "--config", file, "--settle", "0", "--json"], utc);
    const first = await sync();
    expect(first.exitCode, first.stdout + first.stderr).toBe(4);
    expect((await place.rows("ward")).map(({ status, reason }) => [status, reason])).toEqual([
      ["pending", "package_incomplete"],
      ["pending", "package_incomplete"],
    ]);
    await place.db.sql(`update :"schema".ecg_waits set since = since - interval '10 minutes'`);
    const second = await sync();
    expect(second.exitCode, second.stdout + second.stderr).toBe(0);
    const key = "ecg-reports/2025/11/04/ECG_Report_20251104_101500.pdf";
    expect(place.s3.object("clinic", key)!.metadata.type).toBe("ecg_report_pdf");
    expect((await place.rows("ward")).map(({ status, reason }) => [status, reason])).toEqual([
      ["uploaded", null],
      ["skipped", "package_incomplete"],
    ]);
    const third = await sync();
    expect(third.exitCode, third.stdout + third.stderr).toBe(0);
  });

  it("upload goes on with what sync waited for", { timeout: 120_000 }, async () => {
    const file = config("handed");
    putFile(place.path("handed/ECG_Report_20251107_101500.pdf"), fakePdf("x"), startMs);
    putFile(place.path("handed/patient_details_20251107_101500.json"), "{}", startMs);
    expect(await place.run(["sync", "--config", file, "--settle", "0"], utc)).toMatchObject({ exitCode: 4 });
    expect(await place.run(["upload", "--config", file], utc)).toMatchObject({ exitCode: 4 });
    putFile(place.path("handed/ecg_data_20251107_101500.json"), "{}", startMs);
    const upload = await place.run(["upload", "--config", file, "--json"], utc);
    expect(upload.exitCode, upload.stdout).toBe(0);
    const sent = place.s3.keys("clinic").filter((key) => key.includes("20251107_101500"));
    expect(sent).toHaveLength(3);
    for (const key of sent) {
      expect(key).toContain("/20251107_101500/");
      expect(place.s3.object("clinic", key)!.metadata.type).not.toBe("recording");
    }
  });

  it("sync --watch sends a package that comes piece by piece as one", { timeout: 120_000 }, async () => {
    const file = config("watched", { sync: { intervalSeconds: 1, settleSeconds: 0.2 } });
    putFile(place.path("watched/users.json"), JSON.stringify({ anna: fakeUser(1, "hunter2") }), startMs);
    const running = place.start(["sync", "--watch", "--config", file, "--json", "-v"], utc);
    await running.says(/"type":"pass".*"filesThisRun":1/);
    const put = (name: string, text: string) => putFile(place.path("watched", name), text, Date.now());
    put("patient_details_20251105_101500.json", "{}");
    await running.says(/"filesNotReady":1/);
    put("ECG_Report_20251105_101500.pdf", fakePdf("x"));
    put("ecg_data/ecg_data_20251105_101500.json", "{}");
    await running.says(/"type":"pass".*"filesThisRun":3/);
    running.child.kill("SIGTERM");
    expect((await running.ended).exitCode).toBe(143);
    expect(place.s3.keys("clinic").filter((key) => key.includes("/20251105_101500/"))).toHaveLength(3);
  });

  it("CLOUD_UPLOAD_ENABLED=false: looks and reports, sends nothing, and does not call it done", async () => {
    putFile(place.path("off/ECG_Report_20251106_101500.pdf"), fakePdf("x"), startMs);
    const file = config("off");
    place.s3.forget();
    const off = { env: { TZ: "UTC", CLOUD_UPLOAD_ENABLED: "false" } };
    const upload = await place.run(["upload", "--config", file], off);
    expect(upload).toMatchObject({ exitCode: 4 });
    expect(upload.stdout).toContain("1 file, ");
    expect(upload.stderr).toContain("CLOUD_UPLOAD_ENABLED is not true: files are looked at, nothing is sent");
    const sync = await place.run(["sync", "--config", file, "--settle", "0"], off);
    expect(sync.exitCode).toBe(4);
    expect(place.s3.counts.PutObject ?? 0).toBe(0);
    const on = { env: { TZ: "UTC", CLOUD_UPLOAD_ENABLED: "true" } };
    expect(await place.run(["upload", "--config", file], on)).toMatchObject({ exitCode: 0 });
    expect(await place.run(["upload", "--config", file], off)).toMatchObject({ exitCode: 0 });
    rmSync(place.path("off"), { recursive: true });
  });
});
