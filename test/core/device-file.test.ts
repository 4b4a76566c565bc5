import { describe, expect, it } from "vitest";
import { exportColumns, exportLine, readDeviceFile } from "../../src/core/device-file.ts";
import type { ImportRow } from "../../src/core/devices.ts";

async function* pieces(text: string, length = text.length): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += Math.max(1, length)) yield text.slice(at, at + Math.max(1, length));
}

async function read(text: string, length?: number): Promise<ImportRow[]> {
  const rows: ImportRow[] = [];
  for await (const batch of readDeviceFile(pieces(text, length))) rows.push(...batch);
  return rows;
}

const row = (line: number, device: string, patient: string, over: Partial<ImportRow> = {}): ImportRow => ({
  line,
  device,
  patient,
  shimmer1: null,
  shimmer2: null,
  from: null,
  to: null,
  ...over,
});

describe("CSV", () => {
  it("columns in any order, quotes, several sensors, ends", async () => {
    const text =
      'patient,Device,shimmer1,shimmer2,valid_from,to\r\n"P ""17"", left",ABC,"ddd6,dcff",,2026-01-01,\r\n\r\n"two\nlines",X,,,,2026-02-01T00:00Z';
    await expect(read(text)).rejects.toThrow('line 4, column "patient"');
    expect(await read(text.replace("two\nlines", "P2"))).toEqual([
      row(2, "ABC", 'P "17", left', { shimmer1: ["Shimmer_DDD6", "Shimmer_DCFF"], from: new Date("2026-01-01") }),
      row(4, "X", "P2", { to: new Date("2026-02-01") }),
    ]);
  });

  it.each([1, 2, 3, 7])("in pieces of %i characters", async (length) => {
    const text = '\ufeffdevice;patient;updatedAt\n"A;1";P1;x\nB;"P;2";\n';
    expect(await read(text, length)).toEqual([row(2, "A;1", "P1"), row(3, "B", "P;2")]);
  });

  it("as it is exported", async () => {
    const entry = {
      id: 1,
      updatedAt: new Date(0),
      device: "a,b",
      patient: 'say "P"',
      shimmer1: ["Shimmer_AAAA", "Shimmer_BBBB"],
      shimmer2: [],
      from: new Date("2026-01-01T10:00:00.123Z"),
      to: null,
    };
    const { id: _, updatedAt: __, ...same } = entry;
    expect(await read(`${exportColumns.join(",")}\n${exportLine(entry)}\n`)).toEqual([
      { ...same, line: 2, shimmer2: null },
    ]);
  });

  it.each([
    ["device,patient,colour\n", /line 1, column "colour": it is not known/],
    ["device,shimmer1\nA,B", /line 1, column "patient": it is missing/],
    ["device,patient,device\n", /line 1, column "device": it is there twice/],
    ["device,patient\nA,P-secret,x", /line 2: it has 3 columns, the first line names 2/],
    ["device,patient\nA,P-secret\n,P-secret", /line 3, column "device": it is empty/],
    ["device,patient\nA, \n", /line 2, column "patient": it is empty/],
    ["device,patient,from\nA,P-secret,2026-02-30", /line 2, column "from": "2026-02-30" is no date/],
    ["device,patient,from,to\nA,P-secret,2026-02-02,2026-02-01", /line 2, column "to": it is not after/],
    ["device,patient,shimmer1,shimmer2\nA,P-secret,ddd6,Shimmer_DDD6", /line 2, column "shimmer2": .*at once/],
    // A patient where something else belongs.
    ["P-secret,A\nP-secret,B\n", /line 1: it names no column/],
    ["patient,device\nA,P-secret\tHans\n", /line 2, column "device": .* no device/],
    ["device,from,patient\nA,P-secret,2026-01-01\n", /line 2, column "from": it is no date/],
    ["device,patient,from\nA,P-secret,0000-01-01\n", /line 2, column "from": "0000-01-01" is no date/],
    ['{"P-secret": ["A"]}', /line 1: for each device a patient/],
    ['{"device": "A", "patient": 5}', /^line 1, column "patient": a text is wanted$/],
    // Latin-1 read as UTF-8: Müller and Möller would be one patient.
    ["device,patient\nA,M\ufffdller\n", /line 2, column "patient": .*not UTF-8/],
    ['device,patient\nA,"P-secret\n', /line 2: a quote is not closed/],
    ['device,patient\nA,"P-secret"x\n', /line 2: text follows a closing quote/],
  ])("%j is refused", async (text, message) => {
    const error = await read(text).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: "usage", message: expect.stringMatching(message) });
    expect((error as Error).message).not.toContain("P-secret");
  });

  it("a quote that stays open ends the reading, not the memory", async () => {
    let read = 0;
    async function* endless(): AsyncGenerator<string> {
      yield 'device,patient\nA,"P\n';
      for (; read < 100; read++) yield "P-secret\n".repeat(10_000);
    }
    await expect(readDeviceFile(endless()).next()).rejects.toThrow("line 2: a quote is not closed");
    expect(read).toBeLessThan(20);
  });

  it.each([
    ["", 1],
    [" \n\n", 3],
    ["device,patient", 1],
    ["device,patient\n", 2],
    ["[]", 1],
    ['{"data": [\n]}', 2],
  ])("a file without an entry is none: %j", async (text, line) => {
    await expect(read(text)).rejects.toThrow(`line ${line}: the file ends here, and has no entry`);
    await expect(read(text, 1)).rejects.toThrow(`line ${line}: the file ends here, and has no entry`);
  });
});

describe("JSON", () => {
  const two = [
    row(1, "A", "P1", { shimmer1: ["Shimmer_DDD6"] }),
    row(1, "B", "P2", { shimmer2: ["Shimmer_A1B2", "Shimmer_C3D4"] }),
  ];
  const records = [
    { device: "A", patient: "P1", shimmer1: "DDD6", shimmer2: "", updatedAt: "2025-10-01T00:00:00Z" },
    { device: "B", patient: "P2", shimmer2: ["A1B2", "C3D4"], from: null },
  ];

  it.each([
    ["a list", JSON.stringify(records)],
    ["the older program's answer", JSON.stringify({ data: records, error: null })],
    ["a map of objects", JSON.stringify(Object.fromEntries(records.map(({ device, ...rest }) => [device, rest])))],
  ])("%s", async (_, text) => {
    for (const length of [text.length, 1, 5]) expect(await read(text, length)).toEqual(two);
  });

  it("a map of patients, lines, and lists over many lines", async () => {
    expect(await read('{"A":"P1","B":"P2"}')).toEqual([row(1, "A", "P1"), row(1, "B", "P2")]);
    const lines = records.map((each) => JSON.stringify(each)).join("\n");
    expect((await read(lines)).map(({ line, device }) => [line, device])).toEqual([
      [1, "A"],
      [2, "B"],
    ]);
    expect((await read(`[\n${lines.replace("\n", ",\n")}\n]`)).map(({ line }) => line)).toEqual([2, 3]);
  });

  it.each([
    [
      '[{"device":"A","patient":"P-secret"},\n{"device":"B","patient":"P-secret","weight":3}]',
      /line 2, column "weight"/,
    ],
    ['[{"device":"A","patient":17}]', /line 1, column "patient": a text is wanted/],
    ['[{"device":"A","patient":"P-secret","from":1760000000}]', /line 1, column "from": it is no date/],
    ['[{"device":"A","patient":"P-secret","shimmer1":[1]}]', /line 1, column "shimmer1"/],
    ['[{"device":"A","patient":"P-secret"\n', /line 1: a bracket is not closed/],
    ['[{"device":"A" "patient":"P-secret"}]', /line 1: it is not valid JSON/],
    ["[1]", /line 1: an object/],
    ['{"A":["P-secret"]}', /line 1: for each device a patient/],
  ])("%j is refused", async (text, message) => {
    const error = await read(text).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: "usage", message: expect.stringMatching(message) });
    expect((error as Error).message).not.toContain("P-secret");
  });
});
