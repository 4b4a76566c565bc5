/** Numbers as people read them. */

export const count = (value: number): string => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

export function bytes(value: number): string {
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${unit === 0 ? count(scaled) : scaled.toFixed(scaled < 10 ? 2 : 1)} ${units[unit]}`;
}

export function duration(valueMs: number): string {
  const seconds = Math.round(valueMs / 1000);
  if (valueMs < 1000) return `${Math.round(valueMs)} ms`;
  if (seconds < 60) return `${(valueMs / 1000).toFixed(1)} s`;
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return `${minutes} min ${seconds % 60} s`;
}

/** A time to come, which nobody knows to a tenth of a second. */
export const timeLeft = (valueMs: number): string =>
  valueMs < 59_500 ? `${Math.max(1, Math.ceil(valueMs / 1000))} s` : duration(valueMs);

/** To the second, UTC. */
export const instant = (at: Date): string => `${at.toISOString().slice(0, 19)}Z`;

export const files = (value: number): string => `${count(value)} ${value === 1 ? "file" : "files"}`;

/** Control characters, newlines included, as \xNN: a name never breaks a line or a terminal. */
export const name = (text: string): string =>
  text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);

/** Breaks lines at blanks; what follows is indented `hang` further than its line. Without a width: as it is. */
export function fold(text: string, width: number | undefined, hang = 2): string {
  if (width === undefined) return text;
  return text
    .split("\n")
    .map((line) => {
      const indent = /^ */.exec(line)![0] + " ".repeat(hang);
      const lines = [];
      let rest = line;
      while (rest.length > width) {
        let blank = rest.lastIndexOf(" ", width);
        if (blank < indent.length) blank = rest.indexOf(" ", width);
        if (blank === -1) break;
        lines.push(rest.slice(0, blank).trimEnd());
        rest = indent + rest.slice(blank).trimStart();
      }
      return [...lines, rest].join("\n");
    })
    .join("\n");
}

/** Cuts in the middle, so that both the folder and the end of a file name stay readable. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.max(1, Math.floor((width - 1) / 3));
  return `${text.slice(0, head)}…${text.slice(text.length - (width - 1 - head))}`;
}

export type Cell = string | number | null;

/** Plain columns: numbers to the right, two blanks between, no trailing blanks. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const text = rows.map((row) =>
    row.map((cell) => (cell === null ? "" : typeof cell === "number" ? count(cell) : cell)),
  );
  const right = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => row[column] === null || typeof row[column] === "number"),
  );
  const width = head.map((title, column) => Math.max(title.length, ...text.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (right[column] ? cell.padStart(width[column]!) : cell.padEnd(width[column]!)))
      .join("  ")
      .trimEnd();
  return [line(head), ...text.map(line)].join("\n");
}
