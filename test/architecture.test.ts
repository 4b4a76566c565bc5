import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const src = fileURLToPath(new URL("../src/", import.meta.url));

function sources(folder = src): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? sources(join(folder, entry.name))
      : entry.name.endsWith(".ts")
        ? [join(folder, entry.name)]
        : [],
  );
}

interface Import {
  from: string;
  to: string;
  ours: boolean;
  typeOnly: boolean;
}

const pattern = /^(?:import|export)\s+(type\s+)?[^;"']*?from\s+["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/gm;

const imports: Import[] = sources().flatMap((file) =>
  [...readFileSync(file, "utf8").matchAll(pattern)].map((match) => {
    const name = match[2] ?? match[3]!;
    const ours = name.startsWith(".");
    return {
      from: relative(src, file),
      to: ours ? relative(src, join(dirname(file), name)) : name,
      ours,
      typeOnly: match[1] !== undefined,
    };
  }),
);

const roomOf = (file: string): string =>
  file.includes("/") ? file.slice(0, file.indexOf("/")) : file.replace(/\.ts$/, "");

/** docs/architecture.md, "Who may import whom". A room may always import itself. */
const mayImport: Record<string, string[]> = {
  core: [],
  shimmer: ["core"],
  operations: ["core", "shimmer"],
  installed: [],
  store: ["core", "installed"],
  adapters: ["core", "shimmer", "installed"],
  config: ["core", "installed"],
  "database-address": ["config", "store"],
  index: ["app", "config", "core"],
  app: ["config", "core", "shimmer", "store", "adapters", "operations", "database-address", "installed"],
  http: ["core", "operations"],
  cli: ["app", "http", "config", "core", "shimmer", "operations", "adapters", "store", "database-address", "installed"],
};

/** docs/dependencies.md: each package has one door. */
const doors: Record<string, string> = {
  commander: "cli/",
  "cli-progress": "cli/progress-block.ts",
  dotenv: "config/",
  zod: "config/",
  pg: "store/",
  "@aws-sdk/": "adapters/s3/",
  picomatch: "adapters/source/",
  "hyparquet-writer": "shimmer/write/parquet.ts",
  "@smithy/": "adapters/s3/",
};

describe("the shape of the house", () => {
  it("rooms import only what the table allows", () => {
    const wrong = imports
      .filter(
        ({ ours, from, to }) => ours && roomOf(from) !== roomOf(to) && !mayImport[roomOf(from)]?.includes(roomOf(to)),
      )
      .map(({ from, to }) => `${from} → ${to}`);
    expect(wrong).toEqual([]);
  });

  it("shimmer takes nothing from core but its errors", () => {
    expect(
      imports.filter(({ from, to }) => roomOf(from) === "shimmer" && roomOf(to) === "core" && to !== "core/errors.ts"),
    ).toEqual([]);
  });

  it("there are no cycles", () => {
    const edges = new Map<string, string[]>();
    for (const { from, to, ours, typeOnly } of imports) {
      if (ours && !typeOnly) edges.set(from, [...(edges.get(from) ?? []), to]);
    }
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" → "));
      if (done.has(file) || path.includes(file)) return;
      for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of edges.keys()) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it("every package has one door", () => {
    const wrong = imports
      .filter(({ ours }) => !ours)
      .flatMap(({ from, to, typeOnly }) => {
        const door = Object.entries(doors).find(([name]) => to === name || (name.endsWith("/") && to.startsWith(name)));
        return door && !typeOnly && !from.startsWith(door[1]) ? [`${from} → ${to}`] : [];
      });
    expect(wrong).toEqual([]);
  });

  it("no file is a hiding place", () => {
    const names = sources().map((file) => relative(src, file));
    expect(
      names.filter((name) => /(^|\/)(utils?|helpers?|common|misc|manager|base|types|interfaces)\.ts$/.test(name)),
    ).toEqual([]);
    const long = names.filter((name) => readFileSync(join(src, name), "utf8").split("\n").length > 400);
    expect(long).toEqual([]);
  });
});
