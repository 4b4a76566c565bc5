/** What is drawn, whatever it is drawn with: a list of shapes in page units. `svg.ts` and `png.ts` know the rest. */
export type Shape =
  | { kind: "rect"; x: number; y: number; width: number; height: number; color: Color }
  /** Straight pieces: x, y, x, y …; `NaN` lifts the pen. */
  | { kind: "line"; points: readonly number[]; color: Color }
  | {
      kind: "text";
      x: number;
      y: number;
      text: string;
      anchor: "start" | "middle" | "end";
      color: Color;
      size: TextSize;
    };

export interface Scene {
  width: number;
  height: number;
  title: string;
  shapes: readonly Shape[];
}

/** The whole palette: dark enough for paper, told apart by lightness too. */
export const palette = {
  paper: "#ffffff",
  ink: "#1a1a1a",
  faint: "#6b6b6b",
  grid: "#dddddd",
  gap: "#f3d9d2",
  first: "#0b3d91",
  second: "#d1600b",
  third: "#3f9b5c",
} as const;
export type Color = keyof typeof palette;

/** Height of a text's capital letters, in page units. */
export const textSizes = { small: 7, large: 14 } as const;
export type TextSize = keyof typeof textSizes;
