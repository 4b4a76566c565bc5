/** The package as others get it: packed, unpacked in a project of theirs, imported and type-checked there. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { filesBelow, openWorkplace, type Workplace } from "./workplace.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
let place: Workplace;
let project: string;
let env: Record<string, string | undefined>;

beforeAll(async () => {
  place = await openWorkplace();
  project = place.path("project");
  const packages = join(project, "node_modules");
  mkdirSync(join(packages, "uploader"), { recursive: true });
  // dist/ is fresh, or openWorkplace would have refused.
  const [packed] = JSON.parse(
    execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", place.folder], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }),
  ) as [{ filename: string }];
  execFileSync("tar", ["xzf", place.path(packed.filename), "--strip-components=1", "-C", join(packages, "uploader")]);
  // What npm would install beside it, and no more; and Node's types, which every such project has.
  const beside = execFileSync("npm", ["ls", "--omit=dev", "--all", "--parseable"], { cwd: root, encoding: "utf8" });
  for (const folder of [...beside.trim().split("\n").slice(1), join(root, "node_modules", "@types", "node")]) {
    const at = join(packages, folder.slice(join(root, "node_modules").length + 1));
    if (folder.lastIndexOf("node_modules") > join(root, "node_modules").length || existsSync(at)) continue;
    mkdirSync(dirname(at), { recursive: true });
    symlinkSync(folder, at);
  }
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "theirs", private: true, type: "module" }));
  env = {
    PATH: process.env.PATH,
    HOME: project,
    UPLOADER_STATE_DIR: place.path("state"),
    UPLOADER_DATABASE_URL: place.db.url,
    UPLOADER_DATABASE_SCHEMA: place.db.schema,
  };
}, 120_000);
afterAll(async () => {
  rmSync(project, { recursive: true, force: true });
  await place.close();
});

it("holds what it needs, and nothing else", () => {
  const inside = filesBelow(join(project, "node_modules", "uploader"));
  expect(inside).toEqual(
    expect.arrayContaining([
      "bin/uploader.js",
      "config.schema.json",
      "dist/types/index.d.ts",
      "dist/index.js",
      "docs/getting-started.md",
      "grafana/alerts.json",
      "grafana/uploader.json",
      "sql/migrations/0001_state.sql",
    ]),
  );
  expect(inside.filter((name) => /^(test|bench|src|scripts)\//.test(name))).toEqual([]);
  expect(existsSync(join(project, "node_modules", "uploader", "dist", "main.js"))).toBe(true);
});

it('import { upload } from "uploader"', () => {
  place.tree("card", { "a.wav": 10, "b.wav": 20, "c.wav": 30 });
  writeFileSync(
    join(project, "send.js"),
    `import { upload, UploaderError } from "uploader";
const seen = [];
const settings = { source: "../card", destination: "../archive", project: "library", concurrency: 2 };
const first = await upload(settings, { onEvent: (event) => seen.push(event) });
const again = await upload(settings);
const refused = await upload({ source: "nowhere", destination: "../archive" }).catch((error) => error);
const aborted = await upload(settings, { signal: AbortSignal.abort() }).catch((error) => error);
const stop = new AbortController();
const others = { ...settings, source: "../other" };
const onEvent = (event) => event.type === "start" && stop.abort();
const stopped = await upload(others, { signal: stop.signal, onEvent });
const resumed = await upload(others);
console.log(JSON.stringify({
  first, again, types: [...new Set(seen.map((event) => event.type))],
  paths: seen.filter((event) => event.type === "file").map((event) => event.path).sort(),
  refused: { ours: refused instanceof UploaderError, code: refused.code, exitCode: refused.exitCode }, aborted: aborted.name, stopped, resumed,
}));
`,
  );
  place.tree("other", { "d.wav": 10 });
  const { status, stdout, stderr } = spawnSync(process.execPath, ["send.js"], { cwd: project, env, encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const told = JSON.parse(stdout);
  expect(told.first).toMatchObject({ type: "summary", status: "completed", filesUploaded: 3, exitCode: 0 });
  expect(told.again).toMatchObject({ filesUploaded: 0, filesSafe: 3, exitCode: 0 });
  expect(told.paths).toEqual(["a.wav", "b.wav", "c.wav"]);
  expect(told.types).toEqual(expect.arrayContaining(["start", "file", "summary"]));
  expect(told.refused).toEqual({ ours: true, code: "source_missing", exitCode: 2 });
  expect(told.aborted).toBe("AbortError");
  expect(told.stopped).toMatchObject({ exitCode: 130 });
  expect(told.resumed).toMatchObject({ exitCode: 0, filesUploaded: 1 });
  expect(filesBelow(place.path("archive"))).toEqual(["a.wav", "b.wav", "c.wav", "d.wav"]);
});

it("its types say what may be said, and events are told apart by their type", () => {
  writeFileSync(
    join(project, "send.ts"),
    `import { type Event, type SummaryEvent, upload } from "uploader";
const sizes: number[] = [];
const onEvent = (event: Event): void => {
  if (event.type === "file") sizes.push(event.size);
  if (event.type === "pause") sizes.push(event.probeAfterMs);
};
export const run = (): Promise<SummaryEvent> =>
  upload({ source: "card", destination: "s3://reef/C1", s3: { region: "eu-west-1" }, onConflict: "skip" }, { onEvent });
// @ts-expect-error there is no such key
void upload({ sauce: "card" });
// @ts-expect-error nor such a choice
void upload({ onConflict: "explode" });
`,
  );
  const typescript = join(dirname(fileURLToPath(import.meta.resolve("typescript/package.json"))), "bin", "tsc");
  const args = [
    typescript,
    "--noEmit",
    "--strict",
    "--module",
    "nodenext",
    "--target",
    "es2022",
    "--types",
    "node",
    "send.ts",
  ];
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: project, encoding: "utf8" });
  expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
});
