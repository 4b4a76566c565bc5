/** `uploader decode` as users run it: what it writes, what it says, how it ends. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decode } from "../../src/shimmer/index.ts";
import { batteryFile, file, header, u16, u24 } from "../shimmer/support/recording.ts";
import { findProgram } from "../support/daemons.ts";
import { filesBelow, openWorkplace, textOf, type Workplace } from "./workplace.ts";

/** Battery, wide-range acceleration, and a second's pause after 30 records. */
const walk = file(
  { enabled: [0, 0x30] },
  Array.from({ length: 60 }, (_, index) => [2730 - index, -100 + index, 50, 16_000].flatMap(u16)),
  Array.from({ length: 60 }, (_, index) => index * 640 + (index >= 30 ? 32_768 : 0)),
);
/** Hourly parts: the second begins where the first ended. */
const part = (number: number) => batteryFile(30, { start: number * 30 * 640 });
const session = "Trial_1761782400/Shimmer_ABCD-000";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
  place.tree("in", {
    "walk.txt": walk,
    "other/walk.txt": batteryFile(7),
    [`${session}/000`]: part(0),
    [`${session}/001`]: part(1),
    "Trial_2/Shimmer_ABCD-000/000": part(0),
    "Trial_2/notes.txt": "n".repeat(400),
    "bad/cut": header().subarray(0, 100),
  });
});
afterAll(() => place?.close());

const run = (...args: string[]) => place.run(["decode", ...args]);
const out = (name: string) => place.path(name);

describe("what it writes", () => {
  it("uploader decode walk.txt: walk.json in the working directory, a summary on the screen", async () => {
    const cwd = place.tree("here", { "walk.txt": walk });
    const { exitCode, stdout, stderr } = await place.run(["decode", "walk.txt"], { cwd });
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(filesBelow(cwd)).toEqual(["walk.json", "walk.txt"]);
    expect(textOf(`${cwd}/walk.txt`)).toBe(Buffer.from(walk).toString());
    expect(stdout).toMatch(/^walk\.txt → walk\.json \(\d+(\.\d+)? KiB\)\ndevice {5}Shimmer_ABCD .*\n/);
    expect(stdout).toMatch(/gaps {7}1: 1.0\d+ s at 00:00:0\d\.\d+ \(record 30\)/);
    expect(stdout).not.toMatch(/[▁▂▃▄▅▆▇█\x1b]/);
    expect(JSON.parse(textOf(`${cwd}/walk.json`)).header).toMatchObject({ mac: "00:06:66:12:AB:CD", samples: 60 });
  });

  it("… on a terminal, with small curves, within its width", async (context) => {
    if (!(await findProgram("script"))) return context.skip("script(1) is not installed");
    const { stdout } = await place.run(["decode", "in/walk.txt", "--summary"], { columns: 90 });
    expect(stdout).toMatch(/Battery .*[▁▂▃▄▅▆▇█]{8}.* mV/);
    for (const line of stdout.split(/\r?\n/)) expect(line.length).toBeLessThanOrEqual(90);
  });

  it("the same values in every format, read back by readers that are not ours", async (context) => {
    const { exitCode } = await run("in/walk.txt", "--out", "formats", "--format", "json,csv,mat,parquet");
    expect(exitCode).toBe(0);
    const { columns } = decode(walk);
    const expected = Object.fromEntries(columns.map(({ name, values }) => [name, [...values]]));

    const { columns: inJson } = JSON.parse(textOf(out("formats/walk.json")));
    const [hint, ...lines] = textOf(out("formats/walk.csv")).split("\r\n");
    expect([hint, lines.pop()]).toEqual(['"sep=\t"', ""]);
    const [names, units, ...rows] = lines.map((line) => line.replace(/\t$/, ""));
    const table = rows.map((row) => row.split("\t").map(Number));
    const bytes = readFileSync(out("formats/walk.parquet"));
    const parquet = new Uint8Array(bytes).buffer;
    const objects = await parquetReadObjects({ file: parquet });
    const metadata = parquetMetadata(parquet).key_value_metadata ?? [];
    expect(JSON.parse(metadata.find(({ key }) => key === "units")?.value ?? "{}")).toEqual(
      Object.fromEntries(columns.map(({ name, unit }) => [name, unit])),
    );
    expect(names!.split("\t")).toEqual(columns.map(({ name }) => name));
    expect(units!.split("\t")).toEqual(columns.map(({ unit }) => unit));
    for (const [index, { name, unit }] of columns.entries()) {
      expect(inJson[name]).toEqual({ unit, values: expected[name] });
      expect(table.map((row) => row[index])).toEqual(expected[name]);
      expect(objects.map((object) => object[name])).toEqual(expected[name]);
    }

    const octave = await findProgram("octave");
    if (!octave) return context.skip("Octave is not installed: the .mat file was not read back");
    const script = `s = load("${out("formats/walk.mat")}"); for [v, k] = s; printf("%s", k); printf(" %.17g", v); printf("\\n"); end`;
    const text = execFileSync(octave, ["--no-init-file", "--no-gui", "--eval", script], { encoding: "utf8" });
    const inOctave = Object.fromEntries(
      text
        .trimEnd()
        .split("\n")
        .map((line) => [line.split(" ")[0], line.split(" ").slice(1).map(Number)]),
    );
    expect(inOctave).toEqual(expected);
  });

  it("a folder: the parts of a session joined, names that cannot collide", async () => {
    const { exitCode, stderr } = await run(
      "in/other",
      `in/${session.split("/")[0]}`,
      "in/Trial_2",
      "in/walk.txt",
      "--out",
      "card",
    );
    expect([exitCode, stderr]).toEqual([0, ""]);
    const names = ["Trial_1761782400_Shimmer_ABCD-000", "Trial_2_Shimmer_ABCD-000", "in_walk", "other_walk"];
    expect(filesBelow(out("card"))).toEqual(names.map((name) => `${name}.json`));
    const joined = JSON.parse(textOf(out(`card/${names[0]}.json`)));
    expect(joined.header).toMatchObject({
      samples: 60,
      parts: [expect.stringMatching(/000$/), expect.stringMatching(/001$/)],
    });
    expect(joined.gaps).toEqual([]);
  });

  it("a recording named in several ways once", async () => {
    const { stdout } = await run("in/walk.txt", "./in/walk.txt", out("in/walk.txt"), "--out", "once");
    expect(filesBelow(out("once"))).toEqual(["walk.json"]);
    expect(stdout.match(/→/g)).toHaveLength(1);
  });

  it("--channels, --from, --to, --profile", async () => {
    await run(
      ..."in/walk.txt --out some --channels Battery --from 2025-10-30T00:00:00.5Z --to 1761782401500".split(" "),
    );
    const { columns } = JSON.parse(textOf(out("some/walk.json")));
    const [time, battery] = Object.values(columns) as { values: number[] }[];
    expect(Object.keys(columns)).toHaveLength(2);
    expect(battery!.values).toHaveLength(time!.values.length);
    expect(time!.values.every((ms) => ms >= 1_761_782_400_500 && ms < 1_761_782_401_500)).toBe(true);
    expect(time!.values.length).toBeGreaterThan(3);

    const none = await run(..."in/walk.txt --out nothing --from 2026-01-01".split(" "));
    expect([none.exitCode, none.stderr]).toEqual([0, ""]);
    expect(none.stdout).toMatch(/samples .*, 0 in the chosen range\n/);
    expect(none.stdout.replace(/\s+/g, " ")).toContain("the recording runs from 2025-10-30T00:00:00.000Z to");

    await run(..."in/walk.txt --out older --profile cloud-sync --time-source device".split(" "));
    expect(JSON.parse(textOf(out("older/walk.json")))).toHaveProperty("Accel_WR_VAR");
  });

  it("--plot draws; --summary alone writes nothing", async () => {
    await run("in/walk.txt", "--out", "drawn", "--summary", "--plot", "png,svg,html");
    expect(filesBelow(out("drawn"))).toEqual(["walk.html", "walk.png", "walk.svg"]);
    expect(readFileSync(out("drawn/walk.png")).subarray(1, 4).toString()).toBe("PNG");
    await run("in/walk.txt", "--out", "undrawn", "--summary");
    expect(existsSync(out("undrawn"))).toBe(false);
  });

  it("touches no database", async () => {
    const tables = await place.db.sql("select from information_schema.tables where table_schema = $1", [
      place.db.schema,
    ]);
    expect(tables).toEqual([]);
    expect(existsSync(out("state"))).toBe(false);
  });
});

describe("what stands there already", () => {
  it("the same content is left, other content is refused without --force", async () => {
    const args = ["in/walk.txt", "--out", "again"];
    await run(...args);
    expect(await run(...args)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("was there already") });
    writeFileSync(out("again/walk.json"), "mine");
    const refused = await run(...args);
    expect(refused).toMatchObject({ exitCode: 2, stdout: "" });
    expect(refused.stderr).toMatch(/^error: .*again\/walk\.json is there already, with other content\n {2}--force/);
    expect(textOf(out("again/walk.json"))).toBe("mine");
    expect(await run(...args, "--force")).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("replaced") });
    expect(JSON.parse(textOf(out("again/walk.json"))).header.samples).toBe(60);
    expect(filesBelow(out("again"))).toEqual(["walk.json"]);
  });

  it("a recording is never replaced by what is made of it", async () => {
    place.tree("self", { "walk.json": walk });
    const { exitCode, stderr } = await run("self/walk.json", "--out", "self", "--force");
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("is the recording itself")]);
    expect(readFileSync(out("self/walk.json")).equals(walk)).toBe(true);
  });
});

describe("what cannot be decoded", () => {
  it("one sentence with offset, field, expected and found; 2 when all, 3 when some", async () => {
    const all = await run("in/bad/cut", "--out", "none");
    expect([all.exitCode, all.stdout]).toEqual([2, ""]);
    expect(all.stderr).toMatch(
      /^error: in\/bad\/cut: header at byte 100: expected 256 bytes, found 100 bytes .*\n {2}\S/,
    );
    const some = await run("in/bad/cut", "in/walk.txt", "--out", "none");
    expect([some.exitCode, filesBelow(out("none"))]).toEqual([3, ["walk.json"]]);
  });

  it("a part of a session that is broken is not passed over", async () => {
    place.tree("torn", { [`${session}/000`]: part(0), [`${session}/001`]: part(1).subarray(0, 10) });
    const { exitCode, stderr } = await run("torn", "--out", "none");
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(`${session}/001: header at byte 10`)]);
  });

  it.each([
    [["in/nothing"], /^error: in\/nothing is not there\n/],
    [[""], /^error: a path is empty\n/],
    [["in/bad"], /^error: there is no Shimmer recording in in\/bad\n/],
    [
      ["in/walk.txt", "--channels", "EEG"],
      /^error: no channel "EEG" in this recording\n {2}The recording has .*Battery/,
    ],
    [["in/walk.txt", "--from", "yesterday"], /--from.*a time like 2025/],
    [["in/walk.txt", "--from", "2025-02-30"], /--from.*a time like 2025/],
    [["in/walk.txt", "--from", "2025-10-31", "--to", "2025-10-30"], /^error: --from is not before --to\n/],
    [["in/walk.txt", "--channels", " , "], /--channels.*it is empty/],
    [["in/walk.txt", "--out", ""], /--out.*it is empty/],
    [["in/walk.txt", "--out", "/proc/nothing/there"], /^error: nothing can be written into .*\n {2}.*--out/],
    [["in/walk.txt", "--format", "xml"], /--format.*json, csv, mat, parquet/],
    [["in/walk.txt", "--out", "in/walk.txt/x"], /^error: nothing can be written into .*\n {2}.*--out/],
    [["link"], /^error: link is a symbolic link/],
  ])("uploader decode %s", async (args, message) => {
    if (!existsSync(out("link"))) symlinkSync("in/walk.txt", out("link"));
    const { exitCode, stdout, stderr } = await run(...(args as string[]));
    expect(stderr).toMatch(message as RegExp);
    expect([exitCode, stdout]).toEqual([2, ""]);
  });
});

describe("a name that is not UTF-8", () => {
  /** In Latin-1, as old archives have it. */
  const inLatin1 = (...segments: string[]) => Buffer.from(segments.join("/"), "latin1");
  let canBeMade = true;
  beforeAll(() => {
    try {
      mkdirSync(inLatin1(out("odd"), "M\xfcller_1761782400", "Shimmer_ABCD-000"), { recursive: true });
      writeFileSync(inLatin1(out("odd"), "M\xfcller_1761782400", "Shimmer_ABCD-000", "000"), part(0));
      writeFileSync(inLatin1(out("odd"), "caf\xe9.txt"), walk);
      writeFileSync(inLatin1(out("odd"), "t\xeate"), walk);
      writeFileSync(inLatin1(out("odd"), "t\xe9te"), walk);
    } catch {
      canBeMade = false;
    }
  });

  it("is found by what Node makes of it, and in its folder", async (context) => {
    if (!canBeMade) return context.skip("this disk has no such names");
    const { exitCode, stderr } = await run("odd/caf\ufffd.txt", "--out", "odd-out");
    expect([exitCode, stderr, filesBelow(out("odd-out"))]).toEqual([0, "", ["caf\ufffd.json"]]);
    const all = await run("odd", "--out", "odd-all");
    expect([all.exitCode, all.stderr]).toEqual([0, ""]);
    expect(filesBelow(out("odd-all"))).toEqual([
      "Shimmer_ABCD-000.json",
      "caf\\xe9.json",
      "t\\xe9te.json",
      "t\\xeate.json",
    ]);
  });

  it("that reads like another is refused with a way out, like a folder's", async (context) => {
    if (!canBeMade) return context.skip("this disk has no such names");
    const twins = await run("odd/t\ufffdte", "--out", "odd-twin");
    expect([twins.exitCode, twins.stderr]).toEqual([
      2,
      expect.stringMatching(/is not there\n {2}.*not UTF-8.*rename/s),
    ]);
    const folder = await run("odd/M\ufffdller_1761782400", "--out", "odd-twin");
    expect([folder.exitCode, folder.stderr]).toEqual([
      2,
      expect.stringMatching(/folder's name is not UTF-8\n {2}name the folder above it/),
    ]);
  });
});

describe("--json", () => {
  it("one object for each recording, in the order they were named", async () => {
    const { exitCode, events, stderr } = await run(
      "in/walk.txt",
      "in/bad/cut",
      "in/other/walk.txt",
      "--out",
      "j",
      "--json",
    );
    expect([exitCode, stderr]).toEqual([3, ""]);
    expect(events()).toEqual([
      expect.objectContaining({
        type: "decoded",
        error: null,
        parts: ["in/walk.txt"],
        files: [{ format: "json", name: "in_walk.json", sizeBytes: expect.any(Number), outcome: "written" }],
        recording: expect.objectContaining({ samples: 60, rateHz: 51.2 }),
        gaps: [expect.objectContaining({ record: 30 })],
      }),
      expect.objectContaining({ type: "decoded", error: expect.objectContaining({ code: "recording_bad" }) }),
      expect.objectContaining({ parts: ["in/other/walk.txt"], error: null }),
    ]);
  });
});

describe("uploader upload --decode", () => {
  it("sends results beside recordings, tells what could not be decoded; retry makes a result again", async () => {
    const card = place.tree("sd", { "a/000": part(0), "a/old": batteryFile(3, { firmware: [3, 0, 1, 0] }) });
    const key = "up/decode/a/000_decoded.csv";
    const error = { kind: "error", code: "InternalError" } as const;
    place.s3.faults.push({ match: { key }, action: error, times: Number.POSITIVE_INFINITY });
    const how = ["--decode", "--decode-formats", "json,csv", "--decode-profile", "cloud-sync"];
    const first = await place.run(["upload", card, "s3://reef/up", ...how, "--attempts", "1", "--skip-retry"]);
    expect(first.exitCode).toBe(3);
    expect(first.stdout).toContain("1 of them could not be decoded, and went as they are");
    expect(first.stderr).toMatch(/sent as it is, not decoded: .*a\/old: firmware version at byte 36/);

    place.s3.faults.clear();
    const again = await place.run(["retry", "latest", "--project", "reef", "--json"]);
    expect(again.exitCode).toBe(0);
    expect(again.events().at(-1)).toMatchObject({
      type: "summary",
      totalFiles: 4,
      filesUploaded: 4,
      filesUndecoded: 1,
    });
    expect(place.s3.keys("reef")).toEqual(["up/a/000", "up/a/old", key, key.replace("csv", "json")]);
    // Made again as it was made before, without having to say so.
    expect(Buffer.from(place.s3.object("reef", key)!.bytes()).toString()).toMatch(/^"sep=\t"\r\ntimestamps\t/);
    expect(existsSync(out("state/decoding"))).toBe(true);
    expect(filesBelow(out("state/decoding"))).toEqual([]);
    expect((await place.run(["verify", "latest", "--project", "reef"])).exitCode).toBe(0);
    const story = await place.run(["explain", key, "--project", "reef"]);
    expect(story.stdout).toMatch(/000 below .*sd/);
  });
});

describe("Ctrl-C", () => {
  it("leaves no half output", async () => {
    // 40 MB of battery values: some seconds of CSV.
    const records = 8_000_000;
    const body = Buffer.alloc(records * 5);
    for (let record = 0; record < records; record++) body.set(u24((record * 640) % 2 ** 24), record * 5);
    place.tree("long", { "long.txt": Buffer.concat([header({ enabled: [0, 0x20] }), body]) });
    const running = place.start(["decode", "long/long.txt", "--out", "half", "--format", "csv,json,mat,parquet"]);
    for (let names: string[] = []; !names.some((name) => name.endsWith(".partial")); names = filesBelow(out("half")))
      await new Promise((resolve) => setImmediate(resolve));
    running.child.kill("SIGINT");
    await running.says(/stopping/);
    running.child.kill("SIGINT");
    expect(await running.ended).toMatchObject({ exitCode: 130 });
    expect(filesBelow(out("half"))).toEqual([]);
  });
});
