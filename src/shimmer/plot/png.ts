import { crc32, deflateSync } from "node:zlib";
import { glyph, glyphHeight, glyphWidth } from "./font.ts";
import { palette, type Scene, type Shape, textSizes } from "./scene.ts";

/** Dots per page unit: 2400 dots across print at 220 dpi on a landscape sheet. */
const dots = 2;
const colors = Object.keys(palette) as (keyof typeof palette)[];

interface Raster {
  width: number;
  height: number;
  /** One palette index per dot, rows from the top. */
  indices: Uint8Array;
}

/** The scene as an indexed PNG. */
export function renderPng(scene: Scene): Uint8Array {
  const width = Math.round(scene.width * dots);
  const height = Math.round(scene.height * dots);
  const raster: Raster = { width, height, indices: new Uint8Array(width * height) };
  for (const shape of scene.shapes) draw(raster, shape);
  return encode(raster);
}

function draw(raster: Raster, shape: Shape): void {
  const color = colors.indexOf(shape.color);
  if (shape.kind === "rect")
    fill(raster, shape.x * dots, shape.y * dots, shape.width * dots, shape.height * dots, color);
  else if (shape.kind === "line") drawLine(raster, shape.points, color);
  else drawText(raster, shape, color);
}

function fill(
  { width, height, indices }: Raster,
  x: number,
  y: number,
  across: number,
  down: number,
  color: number,
): void {
  const from = Math.max(0, Math.round(x));
  const to = Math.min(width, Math.round(x + across));
  for (let row = Math.max(0, Math.round(y)); row < Math.min(height, Math.round(y + down)); row++) {
    if (to > from) indices.fill(color, row * width + from, row * width + to);
  }
}

/** Straight pieces, two dots thick, stepping along the longer side. */
function drawLine(raster: Raster, points: readonly number[], color: number): void {
  for (let i = 2; i < points.length; i += 2) {
    const [x0, y0, x1, y1] = [points[i - 2]!, points[i - 1]!, points[i]!, points[i + 1]!].map(
      (value) => value * dots,
    ) as [number, number, number, number];
    if (Number.isNaN(x0 + x1)) continue;
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0))));
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      fill(raster, x0 + (x1 - x0) * share - 1, y0 + (y1 - y0) * share - 1, 2, 2, color);
    }
  }
}

function drawText(raster: Raster, shape: Extract<Shape, { kind: "text" }>, color: number): void {
  const dot = Math.round((textSizes[shape.size] * dots) / glyphHeight);
  const advance = (glyphWidth + 1) * dot;
  const signs = [...shape.text];
  const shift = { start: 0, middle: 0.5, end: 1 }[shape.anchor];
  const left = shape.x * dots - (signs.length * advance - dot) * shift;
  const top = shape.y * dots - glyphHeight * dot;
  signs.forEach((sign, order) => {
    glyph(sign).forEach((bits, row) => {
      for (let column = 0; column < glyphWidth; column++) {
        if ((bits & (1 << (glyphWidth - 1 - column))) === 0) continue;
        fill(raster, left + order * advance + column * dot, top + row * dot, dot, dot, color);
      }
    });
  });
}

/** PNG: signature, IHDR (8 bits, palette), PLTE, IDAT, IEND. */
function encode({ width, height, indices }: Raster): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3, 0, 0, 0], 8);
  const table = Uint8Array.from(
    colors.flatMap((name) => [1, 3, 5].map((at) => Number.parseInt(palette[name].slice(at, at + 2), 16))),
  );
  // Every row begins with its filter type; 0, none, suits flat colours.
  const lines = new Uint8Array((width + 1) * height);
  for (let row = 0; row < height; row++)
    lines.set(indices.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("PLTE", table),
    chunk("IDAT", deflateSync(lines)),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

function chunk(kind: string, content: Uint8Array): Uint8Array {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), content]);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(content.length, 0);
  whole.set(body, 4);
  whole.writeUInt32BE(crc32(body), body.length + 4);
  return whole;
}
