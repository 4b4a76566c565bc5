/** `uploader sync` as cron and as a service see it: exit codes, signals, several sources, two at once. */
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filesBelow, openWorkplace, textOf, type Workplace } from "./workplace.ts";

let at: Workplace;
beforeAll(async () => {
  at = await openWorkplace();
});
afterAll(() => at.close());

const quick = ["--settle", "0.2", "--interval", "1"];
describe("sync", () => {
  it("one pass: 0, then 0 with nothing to do, 4 with something unfinished, 2 without a source", async () => {
    const dock = at.tree("one", { "a.csv": "1", "b/c.csv": "2" });
    const first = await at.run(["sync", dock, "s3://reef/one", ...quick, "--json"]);
    expect(first.exitCode).toBe(0);
    expect(first.events().at(-1)).toMatchObject({ type: "summary", status: "completed", filesUploaded: 2 });
    expect(at.s3.keys("reef").filter((key) => key.startsWith("one/"))).toEqual(["one/a.csv", "one/b/c.csv"]);

    const second = await at.run(["sync", dock, "s3://reef/one", ...quick]);
    expect([second.exitCode, second.stdout]).toEqual([0, expect.stringContaining("complete")]);
    const inside = await at.run(["sync", ".", "s3://reef/one", ...quick], { cwd: dock });
    expect([inside.exitCode, inside.stdout]).toEqual([0, expect.stringContaining("sent 0 files")]);
    expect(at.s3.object("reef", "one/a.csv")?.writes).toBe(1);

    writeFileSync(at.path("one/half.json"), "[1, 2");
    const third = await at.run(["sync", dock, "s3://reef/one", ...quick]);
    expect([third.exitCode, third.stdout]).toEqual([4, expect.stringContaining("still")]);
    const files = await at.run(["files", "latest", "--project", "reef", "--status", "pending", "--json"]);
    const status = await at.run(["status", "latest", "--project", "reef"]);
    expect(status.stdout).toContain("left is looked at by the next pass of sync");
    expect(files.events()[0]).toMatchObject({ localPath: "half.json", reason: "incomplete" });

    expect((await at.run(["sync"])).exitCode).toBe(2);
    expect((await at.run(["sync", at.path("nowhere"), "s3://reef/x"])).exitCode).toBe(2);
  });

  it("a watch: what comes is sent; SIGTERM ends it with 143 and the next one goes on; kill -9 loses and doubles nothing", async () => {
    const dock = at.tree("two", { "a.csv": "1" });
    const args = ["sync", "--watch", dock, "s3://reef/two", ...quick];
    const keys = () => at.s3.keys("reef").filter((key) => key.startsWith("two/"));
    const first = at.start(args);
    await first.says(/watching 1 source/);
    await expect.poll(keys).toEqual(["two/a.csv"]);
    at.tree("two", { "x/y/b.csv": "2" });
    await expect.poll(keys).toEqual(["two/a.csv", "two/x/y/b.csv"]);

    const second = await at.run(args);
    expect([second.exitCode, second.stderr]).toEqual([11, expect.stringContaining(`process ${first.child.pid} on`)]);

    first.child.kill("SIGKILL");
    await first.ended;
    appendFileSync(at.path("two/a.csv"), "more");
    const third = at.start(args);
    await expect.poll(() => Buffer.from(at.s3.object("reef", "two/a.csv")?.bytes() ?? []).toString()).toBe("1more");
    expect([at.s3.object("reef", "two/a.csv")?.writes, at.s3.object("reef", "two/x/y/b.csv")?.writes]).toEqual([2, 1]);
    third.child.kill("SIGTERM");
    expect(await third.ended).toMatchObject({ exitCode: 143 });
  });

  it("several sources, each with its own destination; one that is missing keeps none of the others", async () => {
    at.tree("cards", { "left/a.csv": "1", "right/b.txt": "2" });
    writeFileSync(
      at.path("clinic.json"),
      JSON.stringify({
        sync: { settleSeconds: 0.2 },
        sources: [
          { name: "left", source: at.path("cards/left"), destination: at.path("out/left") },
          { name: "gone", source: at.path("cards/gone"), destination: at.path("out/gone") },
          { name: "right", source: at.path("cards/right"), destination: at.path("out/right"), include: ["**/*.txt"] },
        ],
      }),
    );
    const all = await at.run(["sync", "--config", "clinic.json"]);
    expect([all.exitCode, all.stderr]).toEqual([2, expect.stringMatching(/gone: the source/i)]);
    expect(filesBelow(at.path("out")).filter((path) => !path.includes(".uploader"))).toEqual([
      "left/a.csv",
      "right/b.txt",
    ]);
    expect((await at.run(["sync", "--config", "clinic.json", "--only", "left", "right"])).exitCode).toBe(0);
    expect((await at.run(["sync", "--config", "clinic.json", "--only", "nobody"])).exitCode).toBe(2);

    // One that was there before, and is not now: whoever asks is told.
    renameSync(at.path("cards/left"), at.path("cards/pulled"));
    expect((await at.run(["sync", "--config", "clinic.json"])).exitCode).toBe(2);
    const told = (await at.run(["status"])).stdout;
    expect(told).toMatch(/! left: fails \(source_missing\)/);
    expect(told).not.toMatch(/! gone/);
    renameSync(at.path("cards/pulled"), at.path("cards/left"));
    expect((await at.run(["sync", "--config", "clinic.json", "--only", "left"])).exitCode).toBe(0);
    expect((await at.run(["status"])).stdout).not.toContain("! left");

    const watch = at.start(["sync", "--watch", "--config", "clinic.json", "--interval", "1"]);
    await watch.says(/gone: .*waiting for it/);
    mkdirSync(at.path("cards/gone"));
    writeFileSync(at.path("cards/gone/late.csv"), "late");
    await expect.poll(() => filesBelow(at.path("out/gone"))).toContain("late.csv");
    expect(textOf(at.path("out/gone/late.csv"))).toBe("late");
    watch.child.kill("SIGINT");
    expect((await watch.ended).exitCode).toBe(130);
  });

  it("two sources that are one folder are refused", async () => {
    const dock = at.tree("same", { "a.csv": "1" });
    const one = { source: dock, destination: at.path("same-out") };
    writeFileSync(
      at.path("same.json"),
      JSON.stringify({
        sources: [
          { name: "a", ...one },
          { name: "b", ...one },
        ],
      }),
    );
    const ended = await at.run(["sync", "--watch", "--config", "same.json"]);
    expect([ended.exitCode, ended.stderr]).toEqual([2, expect.stringContaining("two sources are the same folder")]);
  });

  it("CLOUD_UPLOAD_ENABLED=false: scans and reports, sends and writes nothing", async () => {
    const dock = at.tree("off", { "a.csv": "1" });
    const ended = await at.run(["sync", dock, "s3://reef/off"], { env: { CLOUD_UPLOAD_ENABLED: "false" } });
    expect([ended.exitCode, ended.stderr]).toEqual([4, expect.stringContaining("1 would be sent")]);
    expect(at.s3.keys("reef").filter((key) => key.startsWith("off/"))).toEqual([]);
    rmSync(dock, { recursive: true });
  });

  it("CLOUD_UPLOAD_ENABLED=false, as a daemon: waits for a database and a source that are away", async () => {
    at.tree("later", { "a.csv": "1" });
    const env = { CLOUD_UPLOAD_ENABLED: "false" };
    const noDatabase = at.start(["sync", "--watch", at.path("later"), "s3://reef/off", ...quick], {
      env: { ...env, UPLOADER_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" },
    });
    await noDatabase.says(/no answer from the database .*waiting for it/);
    const noSource = at.start(["sync", "--watch", at.path("later-still"), "s3://reef/off", ...quick], { env });
    await noSource.says(/later-still" does not exist; waiting for it/);
    at.tree("later-still", { "a.csv": "1" });
    await noSource.says(/1 file seen, 0 safe, 1 would be sent/);
    for (const { child, ended } of [noDatabase, noSource]) {
      child.kill("SIGTERM");
      expect((await ended).exitCode).toBe(143);
    }
  });

  it("1,050 files in new nested folders that appear in bursts: each is sent, and once", async () => {
    const dock = at.tree("bursts", { "before/a.csv": "1" });
    const watch = at.start(["sync", "--watch", dock, "s3://reef/bursts", ...quick]);
    const keys = () => at.s3.keys("reef").filter((key) => key.startsWith("bursts/new-"));
    await watch.says(/1 file sent/);
    const made: string[] = [];
    for (let burst = 0; burst < 5; burst++) {
      const files: Record<string, string> = {};
      for (let n = 0; n < 210; n++) {
        const folders = Array.from({ length: 1 + (n % 8) }, (_, depth) => `${depth}-${n % 21}`).join("/");
        files[`new-${burst}/${folders}/${n}.csv`] = `${burst} ${n}`;
      }
      at.tree("bursts", files);
      made.push(...Object.keys(files).map((path) => `bursts/${path}`));
      // The next one comes while this one is looked at.
      await expect.poll(() => keys().length).toBeGreaterThan(burst * 40);
    }
    await expect.poll(() => keys().length).toBe(1_050);
    expect(keys().sort()).toEqual(made.sort());
    expect(made.filter((key) => at.s3.object("reef", key)?.writes !== 1)).toEqual([]);
    watch.child.kill("SIGTERM");
    await watch.ended;
  });
});
