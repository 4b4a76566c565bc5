/** Prometheus' text format, version 0.0.4: families in the order given, each with HELP and TYPE. */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  labels: Labels;
  value: number;
  /** `_bucket`, `_sum`, `_count` of a histogram. */
  suffix?: string;
}

export interface Family {
  name: string;
  type: "gauge" | "counter" | "histogram";
  help: string;
  samples: readonly Sample[];
}

export const contentType = "text/plain; version=0.0.4; charset=utf-8";

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');

const labelText = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
};

const number = (value: number): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);

/** A family without samples is left out. */
export const expose = (families: readonly Family[]): string =>
  families
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) =>
      [
        `# HELP ${name} ${escapeHelp(help)}`,
        `# TYPE ${name} ${type}`,
        ...samples.map(({ labels, value, suffix = "" }) => `${name}${suffix}${labelText(labels)} ${number(value)}`),
        "",
      ].join("\n"),
    )
    .join("");

export interface Counter {
  add(labels: Labels, by?: number): void;
  samples(): Sample[];
}

/** Sums by labels, in the order in which they were first met. */
export function createCounter(): Counter {
  const sums = new Map<string, { labels: Labels; value: number }>();
  return {
    add(labels, by = 1) {
      const key = JSON.stringify(labels);
      const sum = sums.get(key) ?? { labels, value: 0 };
      sum.value += by;
      sums.set(key, sum);
    },
    samples: () => [...sums.values()],
  };
}

export interface Histogram {
  observe(labels: Labels, value: number): void;
  samples(): Sample[];
}

/** `bounds` are upper bounds, ascending, without infinity. */
export function createHistogram(bounds: readonly number[]): Histogram {
  const series = new Map<string, { labels: Labels; counts: number[]; sum: number; count: number }>();
  return {
    observe(labels, value) {
      const key = JSON.stringify(labels);
      const one = series.get(key) ?? { labels, counts: bounds.map(() => 0), sum: 0, count: 0 };
      series.set(key, one);
      one.sum += value;
      one.count++;
      bounds.forEach((bound, i) => {
        if (value <= bound) one.counts[i]!++;
      });
    },
    samples: () =>
      [...series.values()].flatMap(({ labels, counts, sum, count }) => [
        ...bounds.map((bound, i) => ({
          suffix: "_bucket",
          labels: { ...labels, le: number(bound) },
          value: counts[i]!,
        })),
        { suffix: "_bucket", labels: { ...labels, le: "+Inf" }, value: count },
        { suffix: "_sum", labels, value: sum },
        { suffix: "_count", labels, value: count },
      ]),
  };
}
