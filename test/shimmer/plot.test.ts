import { inflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { openDecoder } from "../../src/shimmer/decoder.ts";
import { ticks } from "../../src/shimmer/plot/axes.ts";
import { drawOverview } from "../../src/shimmer/plot/overview.ts";
import { renderPng } from "../../src/shimmer/plot/png.ts";
import { lineColors, palette, type Shape, textSizes } from "../../src/shimmer/plot/scene.ts";
import { renderHtml, renderSvg } from "../../src/shimmer/plot/svg.ts";
import { openRecording, type RecordingOptions } from "../../src/shimmer/recording.ts";
import { batteryFile, file, header, u16 } from "./support/recording.ts";

const draw = (bytes: Uint8Array, options: RecordingOptions = {}) =>
  drawOverview(openRecording([{ name: "000", chunks: () => [bytes] }], options));
const linesOf = (shapes: readonly Shape[], color: string) =>
  shapes.flatMap((shape) => (shape.kind === "line" && shape.color === color ? [shape.points] : []));
const wordsOf = (shapes: readonly Shape[]) => shapes.flatMap((shape) => (shape.kind === "text" ? [shape.text] : []));

const spiky = batteryFile(50_000).slice();
for (let record = 0; record < 50_000; record++) spiky.set(u16(record === 31_234 ? 4000 : 1000), 256 + record * 5 + 3);

describe("the overview", () => {
  it("draws a spike of one sample among fifty thousand", () => {
    const ys = linesOf(draw(spiky).shapes, "first")[0]!.filter((_, index) => index % 2 === 1);
    const top = Math.min(...ys.filter(Number.isFinite));
    const base = Math.max(...ys.filter(Number.isFinite));
    expect(base - top).toBeGreaterThan(70);
    expect(ys.filter((y) => y < base - 5).length).toBeLessThan(6);
  });

  it("lifts the pen over a gap and shades it, with its length", () => {
    const ticks = Array.from({ length: 2000 }, (_, index) => index * 640 + (index >= 1000 ? 320_000 : 0));
    const { shapes } = draw(batteryFile(2000, {}, ticks));
    expect(linesOf(shapes, "first")[0]!.filter(Number.isNaN).length).toBe(4);
    expect(shapes).toContainEqual(expect.objectContaining({ kind: "rect", color: "gap" }));
    expect(wordsOf(shapes)).toContain("gap 9.79 s");
  });

  it("marks odd ticks at their time, not at their place in the file", () => {
    // The last of 1000 records steps back, but a pause as long as the recording lies before it.
    const ticks = Array.from({ length: 1000 }, (_, index) => index * 640 + (index >= 100 ? 639_000 : 0));
    ticks[110] = ticks[109]! - 100;
    const { shapes, width } = draw(batteryFile(1000, {}, ticks));
    const marks = linesOf(shapes, "ink").filter((points) => points[0]! < 1000);
    expect(marks).toHaveLength(1);
    const [left, right] = [176, width - 24];
    const share = ticks[110]! / ticks[999]!;
    expect(marks[0]![2]).toBeCloseTo(left + share * (right - left), -0.5);
  });

  it("of a range says the range, and leaves out what lies beside it", () => {
    const ticks = Array.from({ length: 1000 }, (_, index) => index * 640);
    ticks[900] = ticks[899]! - 100;
    const at = (seconds: number) => Date.parse("2025-10-30T00:00:00Z") + 1000 * seconds;
    const { title, shapes } = draw(batteryFile(1000, {}, ticks), { fromMs: at(5), toMs: at(10) });
    expect(title).toBe("Shimmer_ABCD · 2025-10-30 00:00:05 to 2025-10-30 00:00:09 UTC");
    expect(wordsOf(shapes).join()).toContain("256 of 1,000 samples");
    expect(linesOf(shapes, "ink")).toEqual([]);
    expect(wordsOf(shapes)).not.toContain("odd tick");
  });

  it("puts the axes of a sensor into one panel, and names it", () => {
    const bytes = file(
      { enabled: [0xc0] },
      Array.from({ length: 50 }, (_, index) => Array(12).fill(index)),
    );
    const words = wordsOf(draw(bytes).shapes);
    expect(words.filter((word) => word === "Accel_LN" || word === "Gyro")).toEqual(["Accel_LN", "Gyro"]);
    expect(words.filter((word) => word === "X")).toHaveLength(2);
  });

  it.each([
    ["no record", 0],
    ["one", 1],
    ["two", 2],
  ])("draws %s", (_, count) => {
    const scene = draw(batteryFile(count));
    expect(renderSvg(scene)).toContain("</svg>");
    expect(renderSvg(scene)).not.toContain("NaN");
    expect(renderPng(scene).length).toBeGreaterThan(100);
  });

  it("joins samples that are rarer than pixels", () => {
    const points = linesOf(draw(batteryFile(40)).shapes, "first")[0]!;
    expect(points.filter(Number.isNaN)).toHaveLength(2);
  });
});

it("SVG and HTML escape what they are given", () => {
  const scene = draw(batteryFile(3), { deviceName: "<b>&" });
  expect(renderSvg(scene)).not.toContain("<b>");
  expect(renderHtml(scene)).toContain("&#60;b&#62;&#38;");
});

it("PNG holds the drawing: size, palette and dots", () => {
  const scene = draw(spiky);
  const png = Buffer.from(renderPng(scene));
  expect(png.subarray(0, 8)).toEqual(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
  expect([png.readUInt32BE(16), png.readUInt32BE(20), png[24], png[25]]).toEqual([
    scene.width * 2,
    scene.height * 2,
    8,
    3,
  ]);
  const at = png.indexOf("IDAT");
  const lines = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)));
  expect(lines.length).toBe((scene.width * 2 + 1) * scene.height * 2);
  const used = new Set(lines);
  expect(used.size).toBeGreaterThan(4);
});

describe("axes", () => {
  it.each([
    [-425, 425, 4, ["-250", "0", "250"]],
    [0, 1, 5, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]],
    [48010.9989, 48011.0011, 5, ["48010.9990", "48010.9995", "48011.0000", "48011.0005", "48011.0010"]],
    [0, 16_000_000, 4, ["0", "5e+6", "1.0e+7", "1.5e+7"]],
    [-2e-9, 2.9e-9, 5, ["-2e-9", "-1e-9", "0", "1e-9", "2e-9"]],
  ])("ticks from %d to %d are round and told apart", (low, high, most, labels) => {
    expect(ticks(low, high, most).map(({ label }) => label)).toEqual(labels);
  });

  it("always have two ticks at least", () => {
    for (let span = 1e-7; span < 1e9; span *= 1.07) {
      const found = ticks(-span / 3, span, 4);
      expect(found.length).toBeGreaterThanOrEqual(2);
      expect(found.length).toBeLessThanOrEqual(5);
      expect(new Set(found.map(({ label }) => label)).size).toBe(found.length);
    }
  });

  it("of time name the day where one begins", () => {
    const ticksOfDays = Array.from({ length: 60 * 3600 }, (_, index) => (index * 32768) % 2 ** 24);
    const words = wordsOf(draw(batteryFile(60 * 3600, { divider: 32768 }, ticksOfDays)).shapes);
    expect(words.filter((word) => /^2025-/.test(word))).toEqual(["2025-10-30", "2025-10-31", "2025-11-01"]);
    expect(words.filter((word) => word === "06:00")).toHaveLength(3);
  });

  it("without a date count from the first sample", () => {
    const never = { patch: { 44: [0, 0, 0, 0, 0, 0, 0, 0] } };
    expect(wordsOf(draw(batteryFile(2000, never)).shapes)).toEqual(
      expect.arrayContaining(["from first sample, s", "0", "5", "10", "35"]),
    );
    const hours = Array.from({ length: 3 * 3600 }, (_, index) => (index * 32768) % 2 ** 24);
    expect(wordsOf(draw(batteryFile(3 * 3600, { ...never, divider: 32768 }, hours)).shapes)).toEqual(
      expect.arrayContaining(["from first sample, h:min", "0:00", "0:15", "2:45"]),
    );
  });
});

describe("the page", () => {
  const everySensor = { enabled: [0xff, 0xff, 0xff, 0xff, 0xff] };

  it("of many channels is one sheet, and no two texts of it overlap", () => {
    const { recordBytes } = openDecoder(header(everySensor)).layout;
    const rows = Array.from({ length: 100 }, (_, row) => Array.from({ length: recordBytes - 3 }, (__, at) => row * at));
    const { width, height, shapes } = draw(file(everySensor, rows));
    expect(height / width).toBeLessThan(Math.SQRT2);
    expectNoOverlap(shapes, width);
  });

  it("of many gaps labels the longest, within the page", () => {
    const seconds = (record: number) => 20 * (record >= 5 ? 1 : 0) + (record >= 19_990 ? 3 : 0) + record / 51.2;
    const spread = (record: number) => (record > 10_000 ? Math.min(30, Math.floor((record - 10_000) / 40)) * 2 : 0);
    const at = Array.from({ length: 20_000 }, (_, record) => Math.round((seconds(record) + spread(record)) * 32768));
    const { width, shapes } = draw(batteryFile(20_000, {}, at));
    const labels = wordsOf(shapes).filter((word) => word.startsWith("gap "));
    expect(labels).toEqual(expect.arrayContaining(["gap 20 s", "gap 3.02 s", "gap 2.02 s"]));
    expectNoOverlap(shapes, width);
  });

  it("draws as few bands as there is room for, however many gaps there are", () => {
    const ticksOfGaps = Array.from(
      { length: 18_000 },
      (_, record) => ((record >> 1) * 7640 + (record & 1) * 640) % 2 ** 24,
    );
    const { shapes } = draw(batteryFile(18_000, {}, ticksOfGaps));
    expect(shapes.filter(({ kind }) => kind === "rect").length).toBeLessThan(3000);
  });

  it("names the file, and counts in words", () => {
    const words = wordsOf(draw(batteryFile(1)).shapes).join();
    expect(words).toContain("000 · ");
    expect(words).toContain("1 sample · 0 gaps · 0 odd ticks");
  });

  it("puts the four parts of a quaternion into one panel", () => {
    const rows = Array.from({ length: 9 }, (_, row) => Array(16).fill(row));
    const words = wordsOf(draw(file({ firmware: [2, 0, 19, 0], enabled: [0, 0, 0, 0x80] }, rows)).shapes);
    expect(words.filter((word) => word === "Quat_MPL_6DOF")).toHaveLength(1);
    expect(words).toEqual(expect.arrayContaining(["W", "X", "Y", "Z"]));
  });

  it("draws the widest band of a panel first, so that it hides none", () => {
    const bytes = file(
      { enabled: [0x80] },
      Array.from({ length: 5000 }, (_, row) => [...u16(2000), ...u16(2000 + 900 * (row % 2)), ...u16(2000)]),
    );
    const colors = draw(bytes).shapes.flatMap(({ kind, color }) =>
      kind === "line" && (lineColors as readonly string[]).includes(color) ? [color] : [],
    );
    // Calibrated X is the sensor's Y.
    expect(colors[0]).toBe("first");
  });
});

/** Texts as boxes of the widest letters they may be drawn with. */
function expectNoOverlap(shapes: readonly Shape[], width: number): void {
  const boxes = shapes.flatMap((shape) => {
    if (shape.kind !== "text" || shape.text === "") return [];
    const across = shape.text.length * (shape.size === "large" ? 2 : 1) * 6;
    const from = shape.x - across * { start: 0, middle: 0.5, end: 1 }[shape.anchor];
    return [{ words: shape.text, from, to: from + across, top: shape.y - textSizes[shape.size], bottom: shape.y }];
  });
  for (const [index, a] of boxes.entries()) {
    expect(a.from, a.words).toBeGreaterThanOrEqual(0);
    expect(a.to, a.words).toBeLessThanOrEqual(width);
    const hit = boxes
      .slice(index + 1)
      .find((b) => a.from < b.to && b.from < a.to && a.top < b.bottom && b.top < a.bottom);
    expect(hit && `${a.words} and ${hit.words}`).toBeUndefined();
  }
}

it("lines are told apart in grey, and stand out from paper", () => {
  const lightness = lineColors.map((color) => {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const share = Number.parseInt(palette[color].slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 116 * Math.cbrt(0.2126 * red + 0.7152 * green + 0.0722 * blue) - 16;
  });
  const apart = [...lightness, 90].map((value, index) => value - (lightness[index - 1] ?? 0));
  expect(Math.min(...apart)).toBeGreaterThan(13);
});
