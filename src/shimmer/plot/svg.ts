import { palette, type Scene, type Shape, textSizes } from "./scene.ts";

/** The scene as an SVG document that needs nothing else. */
export function renderSvg({ width, height, title, shapes }: Scene): string {
  const body = shapes.map(shapeText).join("\n");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="Helvetica, Arial, sans-serif">
<title>${escapeText(title)}</title>
${body}
</svg>
`;
}

/** A page around the drawing: opens anywhere, prints on one sheet. */
export function renderHtml(scene: Scene): string {
  const orientation = scene.width > scene.height ? "landscape" : "portrait";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${escapeText(scene.title)}</title>
<style>
body { margin: 1rem; }
svg { display: block; width: 100%; height: auto; }
@page { size: ${orientation}; margin: 10mm; }
@media print { body { margin: 0; } svg { max-height: 99vh; } }
</style>
</head>
<body>
${renderSvg(scene)}</body>
</html>
`;
}

function shapeText(shape: Shape): string {
  const color = palette[shape.color];
  switch (shape.kind) {
    case "rect":
      return `<rect x="${digits(shape.x)}" y="${digits(shape.y)}" width="${digits(shape.width)}" height="${digits(shape.height)}" fill="${color}"/>`;
    case "line":
      return `<path d="${pathOf(shape.points)}" fill="none" stroke="${color}" stroke-width="1" stroke-linejoin="round"/>`;
    case "text": {
      // Capital letters are 0.72 of a font's size.
      const size = digits(textSizes[shape.size] / 0.72);
      const words = escapeText(shape.text);
      return `<text x="${digits(shape.x)}" y="${digits(shape.y)}" font-size="${size}" text-anchor="${shape.anchor}" fill="${color}">${words}</text>`;
    }
  }
}

function pathOf(points: readonly number[]): string {
  let path = "";
  let isPenUp = true;
  for (let i = 0; i < points.length; i += 2) {
    const x = points[i]!;
    if (Number.isNaN(x)) {
      isPenUp = true;
      continue;
    }
    path += `${isPenUp ? "M" : "L"}${digits(x)} ${digits(points[i + 1]!)}`;
    isPenUp = false;
  }
  return path;
}

function digits(value: number): string {
  return String(Math.round(value * 100) / 100);
}

function escapeText(words: string): string {
  return words.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
