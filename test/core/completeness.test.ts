import { describe, expect, it } from "vitest";
import { isComplete } from "../../src/core/completeness.ts";
import { createSightings, printOf } from "../../src/core/sync.ts";

const ask = (path: string, content: string | Uint8Array): Promise<boolean> => {
  const bytes = Buffer.from(content);
  return isComplete(path, bytes.length, async (offset, length) => bytes.subarray(offset, offset + length));
};
const riff = (counted: number, size: number, kind = "WAVE"): Buffer => {
  const bytes = Buffer.alloc(size, 1);
  bytes.write("RIFF", 0, "latin1");
  bytes.writeUInt32LE(counted, 4);
  bytes.write(kind, 8, "latin1");
  return bytes;
};
const box = (type: string, size: number, counted = size): Buffer => {
  const bytes = Buffer.alloc(size, 1);
  bytes.writeUInt32BE(counted, 0);
  bytes.write(type, 4, "latin1");
  return bytes;
};
const movie = (...parts: Buffer[]): Buffer => Buffer.concat([box("ftyp", 24), ...parts]);
const wide = (): Buffer => {
  const bytes = box("mdat", 40, 1);
  bytes.writeBigUInt64BE(40n, 8);
  return bytes;
};

describe("what is whole", () => {
  it.each<[string, string, string | Uint8Array, boolean]>([
    ["a PDF with its end mark", "a.pdf", "%PDF-1.7 … %%EOF\r\n", true],
    ["a PDF without", "a.PDF", "%PDF-1.7 … %%EO", false],
    ["a PDF whose mark is too far from its end", "a.pdf", `%PDF-1.7 %%EOF${" ".repeat(1100)}`, false],
    ["what only calls itself a PDF", "a.pdf", "hello", true],
    ["an empty PDF", "a.pdf", "", false],
    ["JSON", "a.json", '{"a": [1]}', true],
    ["JSON with a byte order mark", "a.json", '\ufeff{"a": 1}', true],
    ["JSON that stops", "a.json", '{"a": [1', false],
    ["an empty JSON file", "a.json", "", false],
    ["a WAV as long as it says", "a.wav", riff(92, 100), true],
    ["a WAV with something after it", "a.wav", riff(80, 100), true],
    ["a WAV shorter than it says", "a.wav", riff(93, 100), false],
    ["a WAV whose recorder has not counted yet", "a.wav", riff(0, 100), false],
    ["a WAV of a stream", "a.wav", riff(0xffffffff, 100), true],
    ["an AVI shorter than it says", "a.avi", riff(200, 100, "AVI "), false],
    ["a WAV of zeros", "a.wav", new Uint8Array(100), false],
    ["a FLAC of zeros", "a.flac", new Uint8Array(100), false],
    ["a picture", "a.jpg", "\xff\xd8", true],
    ["a film", "a.mp4", movie(box("mdat", 40), box("moov", 30)), true],
    ["a film with a long box", "a.mov", movie(wide(), box("moov", 30)), true],
    ["a film without its index", "a.mp4", movie(box("mdat", 40)), false],
    ["a film whose box is not there yet", "a.mp4", movie(box("moov", 30), box("mdat", 40, 60)), false],
    ["a film whose box has no length yet", "a.mp4", movie(box("mdat", 40, 0)), false],
    ["a film with zeros at its end", "a.mp4", Buffer.concat([movie(box("moov", 30)), Buffer.alloc(64)]), false],
    ["any other file", "a.csv", new Uint8Array(100), true],
    ["an empty recording", "a.wav", "", true],
  ])("%s", async (_what, path, content, whole) => {
    expect(await ask(path, content)).toBe(whole);
  });
});

describe("sightings", () => {
  const state = { sizeBytes: 5, mtimeNs: 1_700_000_000_123_456_789n, inode: 7n };
  it("another size, mtime, inode or name is another number", () => {
    const prints = [
      printOf("a", state),
      printOf("b", state),
      printOf("a", { ...state, sizeBytes: 6 }),
      printOf("a", { ...state, sizeBytes: 5 + 2 ** 32 }),
      printOf("a", { ...state, mtimeNs: state.mtimeNs + 1n }),
      printOf("a", { ...state, inode: 8n }),
      printOf("a", { ...state, inode: 7n + 2n ** 40n }),
    ];
    expect(new Set(prints).size).toBe(prints.length);
    expect(prints.every(Number.isSafeInteger)).toBe(true);
    expect(printOf("a", { ...state })).toBe(prints[0]);
  });
  it("no two of many files have one number", () => {
    const seen = new Set<number>();
    for (let n = 0; n < 300_000; n++) seen.add(printOf(`folder/${n}.csv`, { ...state, inode: BigInt(n) }));
    expect(seen.size).toBe(300_000);
  });
  it("wants two looks and the time between them", () => {
    const sightings = createSightings(5_000);
    expect(sightings.observe(1, 1_000)).toBe("settling");
    sightings.turn(true);
    expect(sightings.dueMs).toBe(6_000);
    expect(sightings.observe(1, 5_999)).toBe("settling");
    sightings.turn(true);
    expect(sightings.observe(1, 6_000)).toBe("settled");
    sightings.turn(true);
    expect(sightings.dueMs).toBe(null);
  });
  it("forgets what a whole look did not meet, and nothing in a broken one", () => {
    const sightings = createSightings(5_000);
    sightings.observe(1, 0);
    sightings.turn(true);
    sightings.turn(false);
    expect(sightings.observe(1, 5_000)).toBe("settled");
    sightings.turn(true);
    sightings.turn(true);
    expect(sightings.observe(1, 10_000)).toBe("settling");
  });
  it("begins anew when the clock was set back", () => {
    const sightings = createSightings(5_000);
    sightings.observe(1, 100_000);
    sightings.turn(true);
    expect(sightings.observe(1, 50_000)).toBe("settling");
    sightings.turn(true);
    expect(sightings.observe(1, 55_000)).toBe("settled");
  });
});
