/** Where things stand on the page, in page units. */
export const page = { width: 1200, margin: 12, left: 176, right: 24, top: 66, bottom: 44 } as const;
export const plotWidth = page.width - page.left - page.right;
export const plotRight = page.width - page.right;

const between = 12;
const usualHeight = 92;
/** Two lines of text and some air. */
const leastHeight = 40;
/** As high as a portrait sheet of A4 at this width: more panels than fit get lower ones. */
const sheetHeight = 1690;

/** One panel below the other. */
export interface Stack {
  height: number;
  panelHeight: number;
  topOf(row: number): number;
  /** Below the last panel, where the time axis lies. */
  floor: number;
}

export function stackOf(panels: number): Stack {
  const room = sheetHeight - page.top - page.bottom;
  const fitting = Math.floor(room / Math.max(1, panels)) - between;
  const panelHeight = Math.max(leastHeight, Math.min(usualHeight, fitting));
  const floor = page.top + panels * (panelHeight + between);
  return { height: floor + page.bottom, panelHeight, topOf: (row) => page.top + row * (panelHeight + between), floor };
}
