/** Sources and configurations that are wrong: exit 2, one sentence that names the place, and nothing done. */
import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filesBelow, openWorkplace, type Workplace } from "./workplace.ts";

let place: Workplace;
const nobody = process.getuid?.() === 0 ? 65534 : undefined;
beforeAll(async () => {
  place = await openWorkplace();
  place.tree("card", { "a/1.wav": 10, "b/2.wav": 20 });
});
afterAll(async () => {
  expect(place.s3.keys("reef")).toEqual([]);
  expect(existsSync(place.path("archive"))).toBe(false);
  await place.close();
});

async function refused(args: readonly string[], message: RegExp, options = {}): Promise<void> {
  const { exitCode, stdout, stderr } = await place.run(args, options);
  expect(stderr).toMatch(message);
  expect([exitCode, stdout]).toEqual([2, ""]);
}

describe.concurrent("sources", () => {
  it("uploader upload nowhere archive", () =>
    refused(["upload", "nowhere", "archive"], /^error: .*"\S+\/nowhere" does not exist\.?\n {2}.*mounted/));

  it("uploader upload card/a/1.wav archive", () =>
    refused(["upload", "card/a/1.wav", "archive"], /^error: .*1\.wav" is a file, not a folder.*\n {2}.*--include/));

  it("uploader upload card card/sub", () =>
    refused(["upload", "card", "card/sub"], /^error: .*card\/sub" is inside the source ".*card".*\n {2}\S/));

  it("uploader upload card/a card", () =>
    refused(["upload", "card/a", "card"], /^error: .*card" is around the source ".*card\/a".*\n {2}\S/));

  it("uploader upload card (no destination)", () =>
    refused(["upload", "card"], /^error: no destination is named\n {2}\S/));

  it("uploader upload closed archive, which may not be read", async () => {
    const closed = place.tree("closed", { "1.wav": 10 });
    chmodSync(closed, 0o000);
    await refused(
      ["upload", closed, "s3://reef/closed"],
      /^error: .*closed".* (?:may not|cannot) be read.*\n {2}\S/,
      nobody === undefined ? {} : { uid: nobody, env: { UPLOADER_STATE_DIR: place.path("nobodys"), HOME: "/" } },
    );
    chmodSync(closed, 0o755);
  });

  it("uploader upload half s3://reef/half, with a folder that may not be read: exit 3, not 0", async () => {
    const half = place.tree("half", { "open/1.wav": 10, "shut/2.wav": 20 });
    chmodSync(`${half}/shut`, 0o000);
    const state = place.path("nobodys-state");
    mkdirSync(state, { mode: 0o777 });
    chmodSync(state, 0o777);
    const archive = place.path("nobodys-archive");
    mkdirSync(archive);
    chmodSync(archive, 0o777);
    const env = nobody === undefined ? {} : { UPLOADER_STATE_DIR: state, UPLOADER_DATABASE_URL: undefined, HOME: "/" };
    const ended = await place.run(["upload", half, archive, "--project", "half"], {
      env,
      ...(nobody === undefined ? {} : { uid: nobody }),
    });
    chmodSync(`${half}/shut`, 0o755);
    expect(ended.exitCode).toBe(3);
    expect(ended.stderr).toMatch(/^failed: shut: this folder cannot be read$/m);
    expect(ended.stdout).toMatch(/2 files, 10 B: 1 uploaded, 1 failed\n/);
    expect(filesBelow(archive)).toEqual(["open/1.wav"]);
  });
});

describe.concurrent("configurations", () => {
  const write = (name: string, text: string): readonly string[] => {
    place.tree(".", { [name]: text });
    return ["upload", "--config", name];
  };

  it("uploader upload --config missing.json", () =>
    refused(["upload", "--config", "missing.json"], /^error: .*missing\.json does not exist\n {2}.*--config/));

  it("uploader upload --config card", () =>
    refused(["upload", "--config", "card"], /^error: .*card is a folder, not a file\n/));

  it("uploader upload --config comma.json: line and column", () =>
    refused(
      write("comma.json", '{\n  "source": "card"\n  "destination": "archive"\n}\n'),
      /^error: comma\.json:3:3: expected "," or "}".*\n {4}3 \| .*"destination": "archive"\n {6}\| {3}\^\n$/,
    ));

  it.each([
    ['{ "projct": "x" }', /^error: file \S+:1: there is no key "projct"\n {2}the nearest known key is "project"\n$/],
    ['{\n "s3": { "regoin": "x" } }', /^error: file \S+:2: there is no key "s3\.regoin"\n {2}.*"region"\n$/],
    [
      '{ "attempts":\n "many" }',
      /^error: file \S+:\d: attempts: expected a whole number from 1 to 100, found "many"\n$/,
    ],
    ['{ "include": "*.wav" }', /^error: file \S+:1: include: expected a list of patterns.*found "\*\.wav"\n/],
    ['{ "s3": { "secretAccessKey": "hush" } }', /is a secret, and this file is no place for one\n {2}.*profile/],
    ["", /^error: \S+:1:1: expected/],
    ["[]", /expected an object/],
  ])("uploader upload --config with %j", async (text, message) => {
    const name = `bad-${Buffer.from(text).toString("hex").slice(0, 40)}.json`;
    const { exitCode, stdout, stderr } = await place.run([...write(name, text), "card", "archive"]);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain("hush");
    expect([exitCode, stdout]).toEqual([2, ""]);
  });

  it("UPLOADER_ATTEMPTS=many uploader upload card archive", () =>
    refused(["upload", "card", "archive"], /^error: environment UPLOADER_ATTEMPTS: expected a whole number.*"many"\n/, {
      env: { UPLOADER_ATTEMPTS: "many" },
    }));

  it("uploader upload --config comma.json --json", async () => {
    const ended = await place.run([...write("comma2.json", '{\n  "source" "card"\n}'), "--json"]);
    expect(ended).toMatchObject({ exitCode: 2, stderr: "" });
    expect(ended.events()).toMatchObject([
      { type: "error", code: "config_invalid", exitCode: 2 },
      { type: "summary", sessionId: null, status: "failed", exitCode: 2 },
    ]);
  });

  it.each([
    ["explain", "upload"],
    ["verify", "latest", "--project", "retry"],
    ["trigger", "sync"],
  ])("uploader %s %s … --json: a word that looks like a run makes no summary", async (...args) => {
    const ended = await place.run([...args, "--json"]);
    expect(ended.events()).toMatchObject([{ type: "error", exitCode: 2 }]);
  });
});
