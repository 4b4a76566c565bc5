import { inflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { drawOverview } from "../../src/shimmer/plot/overview.ts";
import { renderPng } from "../../src/shimmer/plot/png.ts";
import type { Shape } from "../../src/shimmer/plot/scene.ts";
import { renderHtml, renderSvg } from "../../src/shimmer/plot/svg.ts";
import { openRecording, type RecordingOptions } from "../../src/shimmer/recording.ts";
import { batteryFile, file, u16 } from "./support/recording.ts";

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
    const marks = linesOf(shapes, "second").filter((points) => points.length === 6);
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
    expect(title).toBe("Shimmer_ABCD   2025-10-30 00:00:05 to 2025-10-30 00:00:09 UTC");
    expect(wordsOf(shapes).join()).toContain("256 of 1000 samples");
    expect(linesOf(shapes, "second")).toEqual([]);
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
