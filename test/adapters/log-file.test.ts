/** The log file on a real disk: rotation, somebody else's rotation, two writers, and what it cannot take. */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type LogFile, openLogFile } from "../../src/adapters/log-file.ts";

let folder: string;
let path: string;
let failures: string;
let files: LogFile[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "uploader-log-"));
  path = join(folder, "up.log");
  failures = "";
  files = [];
});
afterEach(() => {
  for (const file of files) file.close();
  rmSync(folder, { recursive: true, force: true });
});

function open(keep = 2): LogFile {
  const file = openLogFile({ path, maxSizeBytes: 20, keep, onFailure: (text) => (failures += text) });
  files.push(file);
  return file;
}
const text = (name = path): string => readFileSync(name, "utf8");

it("beyond its size it is put aside; the oldest goes; no line is torn", () => {
  const log = open();
  for (let i = 1; i <= 7; i++) log.write(`line ${i} ....\n`);
  expect([text(), text(`${path}.1`), text(`${path}.2`)]).toEqual(["line 7 ....\n", "line 6 ....\n", "line 5 ....\n"]);
  expect(existsSync(`${path}.3`)).toBe(false);
  log.write("a line that is longer than the whole file may be\n");
  expect(text()).toBe("a line that is longer than the whole file may be\n");
});

it("goes on with a log that is there; keeps none when told so; names of files are nobody else's business", () => {
  writeFileSync(path, "before\n", { mode: 0o640 });
  const log = open(0);
  log.write("now\n");
  expect(text()).toBe("before\nnow\n");
  log.write("and then so much\n");
  expect(text()).toBe("and then so much\n");
  expect(existsSync(`${path}.1`)).toBe(false);
  expect(statSync(path).mode & 0o007).toBe(0);
});

it("two processes that share it put it aside once", () => {
  const [one, two] = [open(), open()];
  one.write("one: 0123456789\n");
  one.write("one: abcdefghij\n");
  two.write("two\n");
  expect([text(), text(`${path}.1`)]).toEqual(["one: abcdefghij\n", "one: 0123456789\ntwo\n"]);
  two.write("two again\n");
  expect(text(`${path}.1`)).toBe("one: 0123456789\ntwo\n");
  expect(text()).toBe("one: abcdefghij\ntwo again\n");
  expect(existsSync(`${path}.2`)).toBe(false);
});

it("after somebody moved it away, reopen goes on under the old name", () => {
  const log = open();
  log.write("old\n");
  renameSync(path, `${path}.moved`);
  log.write("old\n");
  log.reopen();
  log.write("new\n");
  expect([text(), text(`${path}.moved`)]).toEqual(["new\n", "old\nold\n"]);
});

it("what it cannot take goes elsewhere, and nothing stops", () => {
  const log = open();
  log.write("0123456789\n");
  rmSync(folder, { recursive: true });
  log.write("0123456789\n");
  log.reopen();
  expect(failures).toMatch(/^0123456789\nthe log file .* cannot be written: there is no such folder\n$/);
});

it("a log that cannot be had is an error of the configuration", () => {
  path = join(folder, "no", "up.log");
  expect(() => open()).toThrow(
    expect.objectContaining({
      code: "config_invalid",
      message: `the log file ${path} cannot be written: there is no such folder`,
    }),
  );
});
