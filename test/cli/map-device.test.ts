/** `uploader map-device` and `status --pairs` as users run them. */
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { batteryFile } from "../shimmer/support/recording.ts";
import { filesBelow, openWorkplace, textOf, type Workplace } from "./workplace.ts";

const phone = "a9ae0f999916e210";
const left = `${phone}__20251030_101500__Walk__Shimmer_ABCD-000__000.txt`;
const right = `${phone}__20251030_101530__Walk__Shimmer_DCFF-000__000.txt`;
/** Never to be seen where it was not asked for. */
const patient = "P-secret-017";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
  place.tree("card", {
    [left]: batteryFile(20),
    [right]: batteryFile(20, { start: 10 * 32_768, patch: { 24: [0x00, 0x06, 0x66, 0x12, 0xdc, 0xff] } }),
  });
});
afterAll(() => place?.close());

const map = (...args: string[]) => place.run(["map-device", ...args]);
const fileOf = (name: string, text: string): string => {
  writeFileSync(place.path(name), text);
  return name;
};

describe("the map", () => {
  it("set, get, list, history, remove; --json is one object a row in camelCase", async () => {
    const added = await map("set", "0006661234AB", "P-1", "--shimmer1", "DDD6,Shimmer_A1B2", "--shimmer1", "DCFF");
    expect([added.exitCode, added.stdout]).toEqual([
      0,
      "entry 1 added: 00:06:66:12:34:AB is P-1's, always (left Shimmer_DDD6, Shimmer_A1B2, Shimmer_DCFF)\n",
    ]);
    expect((await map("set", "0006661234AB", "P-1", "--to", "2026-03-01")).stdout).toContain("to 2026-03-01T00:00:00Z");
    await map("set", "0006661234AB", "P-2", "--from", "2026-03-01");
    const { stdout } = await map("get", "00:06:66:12:34:ab", "--at", "2026-02-28T23:59:59Z", "--json");
    expect(JSON.parse(stdout)).toEqual({
      id: 1,
      device: "00:06:66:12:34:AB",
      patient: "P-1",
      shimmer1: ["Shimmer_DDD6", "Shimmer_A1B2", "Shimmer_DCFF"],
      shimmer2: [],
      from: null,
      to: "2026-03-01T00:00:00.000Z",
      updatedAt: expect.stringMatching(/Z$/),
    });
    expect((await map("list", "--json")).events().map(({ patient: worn }) => worn)).toEqual(["P-1", "P-2"]);
    expect((await map("list", "--at", "2026-03-02")).stdout).toMatch(/^device .*\n00:06:66:12:34:AB {2}P-2 .*\n$/);
    expect((await map("remove", "0006661234AB", "--at", "2026-04-01")).stdout).toBe("1 entry removed\n");
    const history = (await map("history", "0006661234AB", "--json")).events();
    expect(history.map(({ change, patient: worn }) => `${change} ${worn}`)).toEqual([
      "added P-1",
      "changed P-1",
      "added P-2",
      "removed P-2",
    ]);
    expect(history[0]).toMatchObject({
      entryId: 1,
      changedBy: expect.stringContaining("@"),
      changedAt: expect.anything(),
    });
    expect((await map("remove", "0006661234AB")).exitCode).toBe(0);
    expect((await map("list")).stdout).toBe("the map is empty\n");
  });

  it("goes out as CSV or JSON lines and comes in again, also the older program's", async () => {
    const older = { [phone]: { patient: "P, 9", shimmer1: "DDD6", shimmer2: ["DCFF"] }, other: "P8" };
    expect((await map("import", fileOf("older.json", JSON.stringify(older)))).stdout).toBe(
      "2 entries added, 0 changed, 0 as before\n",
    );
    const csv = (await map("export")).stdout;
    expect(csv).toBe(
      `device,patient,shimmer1,shimmer2,from,to\n${phone},"P, 9",Shimmer_DDD6,Shimmer_DCFF,,\nother,P8,,,,\n`,
    );
    const lines = (await map("export", "--json")).stdout;
    for (const [name, text] of Object.entries({ "again.csv": csv, "again.jsonl": lines })) {
      expect((await map("import", fileOf(name, text))).stdout).toBe("0 entries added, 0 changed, 2 as before\n");
    }
    // A reader that goes away is no error; without -o pipefail the pipe's status is the reader's.
    const cut = await place.run(["map-device", "export"], {
      under: ["bash", "-o", "pipefail", "-c", '"$0" "$@" | true'],
    });
    expect([cut.exitCode, cut.stderr]).toEqual([0, ""]);
    expect((await map("remove", "other")).exitCode).toBe(0);
    expect((await map("remove", phone)).exitCode).toBe(0);
  });

  it.each([
    [["get", "nobody"], 2, /the map has no device nobody/],
    [["set", "A", "P-secret", "--from", "2026-02-30"], 2, /--from: "2026-02-30" is no date or time/],
    [["set", "A", "P-secret", "--shimmer1", "DDD6", "--shimmer2", "ddd6"], 2, /left\) and shimmer2 \(right\) at once/],
    [["set", " ", "P-secret"], 2, /is no device/],
    [["set", "A", ""], 2, /the patient's identifier is empty/],
    [["set", "A"], 2, /missing required argument 'patient'\n {2}see: uploader map-device set --help/],
    [["import", "absent.csv"], 2, /absent\.csv: it is not there/],
    [["import", "."], 2, /it is a folder/],
    [["import", "/dev/null"], 2, /\/dev\/null: line 1: the file ends here, and has no entry\n {2}nothing was imported/],
    [["remove", "nobody"], 2, /no device nobody/],
    [["history", "nobody"], 2, /no device nobody/],
    [["set", "A", "P-secret", "--pseudonyms"], 2, /UPLOADER_PSEUDONYM_KEY is not/],
  ])("wrong input %j is told in one sentence", async (args, exitCode, message) => {
    // What -vv says holds all that is said without it.
    const faces = [["--json"], ["-vv"]];
    const runs = await Promise.all(faces.map((more) => map(...args, ...more)));
    for (const [at, ended] of runs.entries()) {
      expect(ended.exitCode).toBe(exitCode);
      expect(ended.stderr + ended.stdout).toMatch(faces[at]![0] === "--json" ? /"type":"error"/ : message);
      expect(ended.stderr + ended.stdout).not.toContain("P-secret");
      expect(ended.stderr).not.toMatch(/at .*\.js:\d/);
    }
  });

  it("without a recording there is nothing that could be unmapped", async () => {
    expect((await map("unmapped")).stdout).toBe("no recording is decoded yet\n");
  });

  it.each([["export"], ["list"], ["get", "nobody", "--json"]])(
    "%s to a full disk: exit 14 (or its own), one sentence, no stack",
    async (...args) => {
      const ended = await place.run(["map-device", ...args], { under: ["bash", "-c", '"$0" "$@" > /dev/full'] });
      const said = "error: standard output cannot be written: no space is left where it goes\n";
      expect([ended.exitCode, ended.stderr]).toEqual([args[0] === "get" ? 2 : 14, said]);
    },
  );

  it("an import with one bad row imports nothing, and names file, line and column", async () => {
    const rows = Array.from({ length: 6_000 }, (_, n) => `D${n},P-secret-${n},2026-01-01`).join("\n");
    const bad = `device,patient,from\n${rows}\nD9,P-secret,2026-13-01\n`;
    const ended = await map("import", fileOf("bad.csv", bad));
    expect([ended.exitCode, ended.stderr]).toEqual([
      2,
      expect.stringMatching(/^error: bad\.csv: line 6002, column "from": "2026-13-01" is no date or time/),
    ]);
    expect((await map("list")).stdout).toBe("the map is empty\n");
  });
});

describe("with recordings", () => {
  const upload = (to: string, ...more: string[]) =>
    place.run(["upload", "card", to, "--project", "lab", "--decode", ...more]);
  const summaryIn = (folder: string) =>
    JSON.parse(textOf(place.path(folder, "decode", left.replace(".txt", "_summary.json"))));

  it("unmapped → set → pairs → a correction: rows and summary agree, and only who asks is told the patient", async () => {
    expect((await upload("archive")).exitCode).toBe(0);
    const unmapped = (await map("unmapped", "--json")).events();
    expect(unmapped).toMatchObject([
      { device: phone, deviceMac: "00:06:66:12:AB:CD", sensor: "Shimmer_ABCD", recordings: 1 },
      { device: phone, deviceMac: "00:06:66:12:DC:FF" },
    ]);
    expect((await place.run(["status", "--pairs", "--project", "lab"])).stdout).toMatch(
      /^session \d+: 0 pairs, 0 of one sensor alone; 2 recordings of devices without a wearer/,
    );

    const told = await map("set", phone, patient, "--shimmer1", "ABCD", "--shimmer2", "DCFF", "-vv");
    expect(told.exitCode).toBe(0);
    expect(told.stderr).toContain("2 recordings corrected in the database");
    expect(told.stderr).not.toContain(patient);
    expect(summaryIn("archive")).toMatchObject({ patient, device: phone, slot: 1, samples: 20 });
    expect((await map("unmapped")).stdout).toBe("every recording has its wearer\n");

    const pairs = (await place.run(["status", "--pairs", "--project", "lab", "--json"])).events();
    expect(pairs).toMatchObject([{ patient, shimmer1: { key: left }, shimmer2: { key: right } }]);
    const shown = (await place.run(["status", "--pairs", "--project", "lab"])).stdout;
    expect(shown).toMatch(/^group .*\n.*a9ae.*\nsession \d+: 1 pair, 0 of one sensor alone\n$/);

    const corrected = await map("set", phone, "P-018", "-vv", "--json");
    expect(JSON.parse(corrected.stdout)).toMatchObject({ change: "changed", patient: "P-018", recordings: 2 });
    expect(summaryIn("archive")).toMatchObject({ patient: "P-018", groupId: pairs[0]!.groupId });
    const rows = await place.db.sql<{ patient: string }>('select patient from :"schema".decoded_recordings');
    expect(rows).toEqual([{ patient: "P-018" }, { patient: "P-018" }]);

    // No file's name, no event of a run, says it.
    const again = await upload("archive", "--json", "-vv");
    expect(again.stdout + again.stderr).not.toMatch(/P-018|P-secret/);
    expect((await place.run(["status", "--pairs", "--project", "lab"])).stdout).toContain("1 pair");
    expect(filesBelow(place.path("archive")).join()).not.toMatch(/P-018|P-secret/);
    expect((await place.run(["verify", "latest", "--project", "lab"])).exitCode).toBe(0);
  });

  it("a store that is away: the map is changed, the exit says that the store is not told yet, and the next change tells", async () => {
    expect((await upload("s3://reef/C1")).exitCode).toBe(0);
    await place.run(["map-device", "set", phone, "P-020"]);
    const away = await place.run(["map-device", "set", phone, "P-021"], {
      env: { AWS_SECRET_ACCESS_KEY: "wrong" },
    });
    expect([away.exitCode, away.stderr]).toEqual([
      12,
      expect.stringMatching(/does not know yet.*\n.*the map is changed/s),
    ]);
    expect((await map("get", phone, "--json")).events()).toMatchObject([{ patient: "P-021" }]);
    const key = `C1/decode/${left.replace(".txt", "_summary.json")}`;
    const summary = () => JSON.parse(Buffer.from(place.s3.object("reef", key)!.bytes()).toString());
    expect(summary().patient).toBe("P-020");
    expect((await map("set", phone, "P-021")).stderr).toContain("summaries written anew");
    expect(summary().patient).toBe("P-021");
  });

  it("pseudonyms: the identifier is nowhere, neither in rows nor in the summary", async () => {
    const env = { UPLOADER_PSEUDONYM_KEY: "a key of the clinic" };
    const ended = await place.run(["map-device", "set", phone, "P-named", "--pseudonyms"], { env });
    expect(ended.stdout).toMatch(/is pn_[0-9a-f]{32}'s/);
    expect(summaryIn("archive").patient).toMatch(/^pn_/);
    expect(JSON.stringify(await place.db.sql('select h::text from :"schema".device_map_history h'))).not.toContain(
      "P-named",
    );
  });
});
