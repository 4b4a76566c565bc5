import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

const module = new URL("../../build/store/pg.js", import.meta.url).href;

/** In a process of its own: this one has loaded everything. */
const inNode = (script: string): unknown =>
  JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }));

test("loading pg does not load Node's fetch, and leaves no navigator behind", () => {
  const [before, after, loaded] = inNode(`
    const { loadPg } = await import(${JSON.stringify(module)});
    const before = "navigator" in globalThis;
    await loadPg();
    const loaded = process.moduleLoadList.filter((name) => name.includes("undici"));
    console.log(JSON.stringify([before, "navigator" in globalThis, loaded]));
  `) as [boolean, boolean, string[]];
  expect(after).toBe(before);
  expect(loaded).toEqual([]);
});
