/** `npm run build`, on a small program of its own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "uploader-build-"));
  mkdirSync(join(folder, "scripts"));
  cpSync(join(root, "scripts", "build.js"), join(folder, "scripts", "build.js"));
  cpSync(join(root, "tsconfig.json"), join(folder, "tsconfig.json"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  mkdirSync(join(folder, "src", "cli"), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (value: string): void =>
  writeFileSync(join(folder, "src", "cli", "main.ts"), `export const value: string = "${value}";\n`);
const built = (file: string): string => join(folder, "dist", file);
const module = (file: string): string => join(folder, "build", file);

/** Exit status, and how often the program was not there while it was built. */
async function build(): Promise<{ status: number; missing: number; looks: number }> {
  const child = spawn(process.execPath, ["scripts/build.js"], { cwd: folder, stdio: "ignore" });
  let missing = 0;
  let looks = 0;
  let isOver = false;
  const ended = once(child, "close").then(([status]) => {
    isOver = true;
    return status as number;
  });
  while (!isOver) {
    looks++;
    if (!existsSync(built("main.js"))) missing++;
    await turn();
  }
  return { status: await ended, missing, looks };
}

it("leaves no moment without the program, nothing of what is gone, and the old one when it fails", async () => {
  write("one");
  writeFileSync(join(folder, "src", "old.ts"), "export {};\n");
  expect(await build()).toMatchObject({ status: 0 });
  expect(readFileSync(built("main.js"), "utf8")).toContain('"one"');
  expect(existsSync(module("old.js"))).toBe(true);

  write("two");
  rmSync(join(folder, "src", "old.ts"));
  const second = await build();
  expect(second).toMatchObject({ status: 0, missing: 0 });
  expect(second.looks).toBeGreaterThan(100);
  expect(readFileSync(built("main.js"), "utf8")).toContain('"two"');
  expect(existsSync(module("old.js"))).toBe(false);

  writeFileSync(join(folder, "src", "cli", "main.ts"), "export const value: number = 'three';\n");
  const failed = await build();
  expect(failed.status).not.toBe(0);
  expect(failed.missing).toBe(0);
  expect(readFileSync(built("main.js"), "utf8")).toContain('"two"');
  expect(readdirSync(folder).filter((name) => /^(build|dist)/.test(name))).toEqual(["build", "dist"]);
});
