/** What is drawn, whatever it is drawn with: a list of shapes in page units. `svg.ts` and `png.ts` know the rest. */
export type Shape =
  | { kind: "rect"; x: number; y: number; width: number; height: number; color: Color }
  /** Straight pieces: x, y, x, y …; `NaN` lifts the pen. */
  | { kind: "line"; points: readonly number[]; color: Color }
  | { kind: "text"; x: number; y: number; text: string; anchor: Anchor; color: Color; size: TextSize };

export interface Scene {
  width: number;
  height: number;
  title: string;
  shapes: readonly Shape[];
}

/**
 * The whole palette. The four lines differ by 14 of 100 in lightness at least, so they stay apart in grey and to
 * colour-blind eyes (`plot.test.ts` holds it).
 */
export const palette = {
  paper: "#ffffff",
  ink: "#1a1a1a",
  faint: "#6b6b6b",
  grid: "#e2e2e2",
  gap: "#f3ded8",
  gapMark: "#a4553f",
  first: "#12274f",
  second: "#b5390f",
  third: "#2b93c9",
  fourth: "#d4b000",
} as const;
export type Color = keyof typeof palette;
export const lineColors = ["first", "second", "third", "fourth"] as const satisfies readonly Color[];

/** Height of a text's capital letters, in page units. */
export const textSizes = { small: 7, large: 14 } as const;
export type TextSize = keyof typeof textSizes;
export type Anchor = "start" | "middle" | "end";
/** At most this wide is a letter of small text, in page units. */
export const letterWidth = 6.5;

export function rect(x: number, y: number, width: number, height: number, color: Color): Shape {
  return { kind: "rect", x, y, width, height, color };
}

export function line(points: readonly number[], color: Color): Shape {
  return { kind: "line", points, color };
}

export function text(
  x: number,
  y: number,
  words: string,
  anchor: Anchor,
  color: Color,
  size: TextSize = "small",
): Shape {
  return { kind: "text", x, y, text: words, anchor, color, size };
}
