/** Several runs at once or after one another on the same files: none sent twice, none lost, nothing overwritten. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openWorkplace, textOf, type Workplace } from "./workplace.ts";

let place: Workplace;
let card: string;
const names = Array.from({ length: 40 }, (_, n) => `${n % 4}/${n}.wav`);
beforeAll(async () => {
  place = await openWorkplace();
  card = place.tree("card", Object.fromEntries(names.map((name, n) => [name, 100 + n])));
  await place.run(["sessions"]);
});
afterAll(() => place?.close());
beforeEach(() => place.s3.faults.clear());

const under = (prefix: string): string[] => place.s3.keys("reef").filter((key) => key.startsWith(`${prefix}/`));
const hang = (project: string): void =>
  place.s3.faults.push({
    match: { operation: "PutObject", key: new RegExp(`^${project}/`) },
    action: { kind: "stall" },
  });
const hanging = (project: string) =>
  place.s3.waitFor((request) => request.state === "stalled" && request.key.startsWith(`${project}/`));
const upload = (project: string): string[] => ["upload", card, `s3://reef/${project}`, "--project", project];

function expectOnce(project: string): void {
  expect(under(project)).toHaveLength(names.length);
  for (const key of under(project)) expect(place.s3.object("reef", key)!.writes).toBe(1);
}

describe("at the same moment", () => {
  it("uploader upload …, twice: the second exits 11 and names the first", async () => {
    hang("held");
    const first = place.start([...upload("held"), "-j", "1"]);
    await hanging("held");
    const { id } = await place.session("held");
    const second = await place.run(upload("held"));
    expect([second.exitCode, second.stdout]).toEqual([11, ""]);
    expect(second.stderr).toMatch(
      new RegExp(
        `^error: session ${id} is being worked on by process ${first.child.pid} on \\S+, since .*\\n.*uploader upload --join ${id}\\n$`,
      ),
    );
    const third = await place.run(["retry", String(id)]);
    expect([third.exitCode, third.stdout]).toEqual([11, ""]);
    place.s3.faults.clear();
    expect(await first.ended).toMatchObject({ exitCode: 0 });
    expect(await place.session("held")).toMatchObject({ id, status: "completed", files_uploaded: 40 });
    expectOnce("held");
    expect(await place.run(["verify", String(id)])).toMatchObject({ exitCode: 0, stderr: "" });
  });

  it("uploader upload … & uploader upload … & uploader upload …: started at one instant, one session", async () => {
    const runs = await Promise.all([1, 2, 3].map(() => place.run([...upload("race"), "--json"])));
    const codes = runs.map(({ exitCode }) => exitCode);
    expect(codes).toContain(0);
    expect(codes.filter((code) => code !== 0 && code !== 11)).toEqual([]);
    expectOnce("race");
    const done = await place.db.sql(
      `select status, files_uploaded from :"schema".sync_sessions where prefix = 'race' order by id`,
    );
    expect(done[0]).toEqual({ status: "completed", files_uploaded: 40 });
    expect(done.slice(1).every(({ files_uploaded }) => files_uploaded === 0)).toBe(true);
  });

  it("uploader upload --join SESSION: helps, without naming source or destination", async () => {
    hang("joined");
    const first = place.start([...upload("joined"), "-j", "1", "--json"]);
    await hanging("joined");
    // The first has claimed what there was; what a helper sends are files that are put back.
    const { id } = await place.session("joined");
    const helper = place.start(["upload", "--join", String(id), "--json"]);
    await helper.says(/"type":"start"/);
    place.s3.faults.clear();
    const [own, joined] = [await first.ended, await helper.ended];
    expect([own.exitCode, joined.exitCode]).toEqual([0, 0]);
    const sent = [own, joined].map((ended) => Number(ended.events().at(-1)!.filesThisRun));
    expect(sent[0]! + sent[1]!).toBe(40);
    expect(await place.session("joined")).toMatchObject({ status: "completed", files_uploaded: 40 });
    expectOnce("joined");
  });

  it("uploader upload --join SESSION card elsewhere: its files would be lost to the session", async () => {
    const { id } = await place.session("held");
    const ended = await place.run(["upload", "--join", String(id), card, "elsewhere"]);
    expect([ended.exitCode, ended.stdout]).toEqual([2, ""]);
    expect(ended.stderr).toMatch(
      new RegExp(`^error: session ${id} goes to s3\\S*/reef, not to file:.*elsewhere\\n {2}leave`, "m"),
    );
    const unknown = await place.run(["upload", "--join", "4711"]);
    expect(unknown).toMatchObject({ exitCode: 2, stdout: "" });
    expect(unknown.stderr).toMatch(/^error: there is no session 4711/);
  });
});

describe("after kill -9", () => {
  it("uploader upload …: the same command goes on at once", async () => {
    hang("killed");
    const first = place.start([...upload("killed"), "-j", "2"]);
    await hanging("killed");
    first.child.kill("SIGKILL");
    expect(await first.ended).toMatchObject({ signal: "SIGKILL" });
    place.s3.faults.clear();
    const again = await place.run(upload("killed"));
    expect(again.exitCode).toBe(0);
    expect(again.stderr).toMatch(/^session \d+ goes on: .*\n\d+ files taken back from a process that died\n/);
    expect(await place.session("killed")).toMatchObject({ status: "completed", files_uploaded: 40, files_failed: 0 });
    expect(under("killed")).toHaveLength(40);
  });
});

describe("one project, several places", () => {
  it("uploader upload CARD s3://reef/one; uploader upload CARD archive: both hold everything, and stay safe", async () => {
    const args = (destination: string): string[] => ["upload", card, destination, "--project", "both", "--json"];
    for (const destination of ["s3://reef/both", "both-archive"]) {
      const first = await place.run(args(destination));
      expect(first.events().at(-1)).toMatchObject({ filesUploaded: 40, exitCode: 0 });
    }
    for (const destination of ["s3://reef/both", "both-archive"]) {
      const second = await place.run(args(destination));
      expect(second.events().at(-1)).toMatchObject({
        filesUploaded: 0,
        filesSkipped: 40,
        filesThisRun: 0,
        exitCode: 0,
      });
    }
    expectOnce("both");
    for (const name of names)
      expect(readFileSync(place.path("both-archive", name))).toEqual(readFileSync(`${card}/${name}`));
    const sessions = (await place.run(["sessions", "--project", "both", "--json"])).events();
    expect(sessions.map(({ destinationId }) => destinationId)).toHaveLength(4);
    expect(new Set(sessions.map(({ destinationId }) => destinationId)).size).toBe(2);
  });

  it("a second card with the same names at the same mount point: exit 3, the first stays", async () => {
    const mount = place.tree("mount", { "001.wav": "card one, first", "002.wav": "card one, second" });
    const args = ["upload", mount, "s3://reef/cards", "--project", "cards"];
    expect(await place.run(args)).toMatchObject({ exitCode: 0 });
    rmSync(`${mount}/002.wav`);
    writeFileSync(`${mount}/001.wav`, "card two, number one");
    writeFileSync(`${mount}/003.wav`, "card two, number three");
    const second = await place.run(args);
    expect(second.exitCode).toBe(3);
    expect(second.stderr).toMatch(
      /^failed: 001\.wav: 001\.wav differs from what was uploaded .*\(15 bytes then, 20 now\)$/m,
    );
    const held = async (key: string): Promise<string> =>
      Buffer.from(await place.s3.object("reef", `cards/${key}`)!.bytes()).toString();
    expect(await held("001.wav")).toBe("card one, first");
    expect(await held("002.wav")).toBe("card one, second");
    expect(await held("003.wav")).toBe("card two, number three");
    expect(await place.rows("cards")).toMatchObject([
      { key: "cards/001.wav", status: "failed", code: "changed", permanent: true },
      { key: "cards/003.wav", status: "uploaded" },
    ]);
    const why = await place.run(["files", "--project", "cards", "--status", "failed"]);
    expect(why.stdout).toMatch(/^failed .* 001\.wav {2}\[changed: .*\(permanent\), 1 attempt\]\n$/);
    const own = await place.run(["upload", mount, "s3://reef/cards/two", "--project", "cards"]);
    expect(own.exitCode).toBe(0);
    expect(await held("two/001.wav")).toBe("card two, number one");
    expect(await place.run([...args, "--on-change", "replace"])).toMatchObject({ exitCode: 0 });
    expect(await held("001.wav")).toBe("card two, number one");
    expect(textOf(`${mount}/001.wav`)).toBe("card two, number one");
  });
});
