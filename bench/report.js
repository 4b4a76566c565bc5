/** Medians, ratios of pairs, and the tables in which they are told. */

export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: sorted[0], median, max: sorted.at(-1) };
}

/** Three digits that say something. */
export function short(value) {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3);
}

const told = (values) => {
  const { min, median, max } = spread(values);
  return values.length === 1 ? short(median) : `${short(median)} [${short(min)}-${short(max)}]`;
};

/** `most` and the aim beside it are bounds from above, `least` and its aim from below, as is an aim alone. */
function verdictOn({ most, least, aim }, median) {
  const meets = (bound) => (most === undefined ? median >= bound : median <= bound);
  if (aim !== undefined && meets(aim)) return "aim reached";
  if (most === undefined && least === undefined) return "aim not reached";
  return meets(most ?? least) ? "reached" : "**missed**";
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Units of what a run costs. */
const units = {
  wall: "s",
  cpu: "s",
  filesPerSecond: "files/s",
  mbPerCpuSecond: "MB/CPU-s",
  rss: "MB",
};

/** @param {{ title, samples: Record<string, object[]>, figures: object[] }} row; `isTrial`: too little for a verdict. */
export function tell(row, isTrial) {
  const parts = [`### ${row.title}`];
  const clients = Object.entries(row.samples);
  if (clients.length > 0) {
    const columns = Object.keys(clients[0][1][0]).filter((name) => units[name] !== undefined);
    const cells = clients.map(([name, samples]) => [
      name,
      String(samples.length),
      ...columns.map((column) => told(samples.map((sample) => sample[column]))),
    ]);
    parts.push(table(["", "n", ...columns.map((column) => `${column} (${units[column]})`)], cells));
  }
  const figures = row.figures.map((figure) => {
    const { most, least } = figure;
    const bound = most !== undefined ? `<= ${most}` : least !== undefined ? `>= ${least}` : "";
    const { median } = spread(figure.values);
    return [figure.label, told(figure.values), bound, figure.aim ?? "", isTrial ? "" : verdictOn(figure, median)];
  });
  if (figures.length > 0) parts.push(table(["figure", "median [min-max]", "at least", "aim", ""], figures));
  return `${parts.join("\n\n")}\n`;
}
