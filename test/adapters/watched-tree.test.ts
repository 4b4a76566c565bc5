import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openWatchedTree } from "../../src/adapters/watched-tree.ts";
import type { FolderChanges, WatchedTree } from "../../src/core/sync.ts";
import { makeTree, temporaryFolder } from "../support/tree.ts";

let scratch: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  scratch = temporaryFolder();
  makeTree(scratch.path, { "dock/a/one.csv": "1", "dock/a/b/two.csv": "2", "dock/three.csv": "3" });
});
afterEach(() => scratch.remove());

const dock = (path = ""): string => join(scratch.path, "dock", path);
const signal = new AbortController().signal;
/** As if every folder had been made long ago. */
const open = (): WatchedTree =>
  openWatchedTree({ root: dock(), include: [], exclude: ["skip/**"], now: () => Date.now() + 60_000 });
const look = async (tree: WatchedTree, full = false, deal = true): Promise<string[]> => {
  const found: FolderChanges[] = [];
  for await (const folder of tree.changes(full, signal)) {
    found.push(folder);
    if (deal) folder.done(folder.files);
  }
  return found.flatMap(({ files }) => files.map(({ path }) => path)).sort();
};
/** Of a look that is broken off at its first folder, which changes nothing. */
const beginsAnew = async (tree: WatchedTree): Promise<boolean> => {
  for await (const { isAnew } of tree.changes(true, signal)) return isAnew;
  return false;
};
const all = ["a/b/two.csv", "a/one.csv", "three.csv"];

describe("a watched tree", () => {
  it("tells of every file until it is dealt with, and then no more", async () => {
    const tree = open();
    expect(await look(tree, false, false)).toEqual(all);
    expect(await look(tree)).toEqual(all);
    expect(await look(tree)).toEqual([]);
    expect(await look(tree, true)).toEqual([]);
    expect([tree.files, [...tree.folders].sort()]).toEqual([3, ["", "a/", "a/b/"]]);
  });

  it("finds new files, also in new folders, and forgets those that are gone", async () => {
    const tree = open();
    await look(tree);
    makeTree(scratch.path, { "dock/c/d/new.csv": "n", "dock/a/b/new.csv": "n" });
    expect(await look(tree)).toEqual(["a/b/new.csv", "c/d/new.csv"]);
    rmSync(dock("a"), { recursive: true });
    expect(await look(tree)).toEqual([]);
    expect(tree.files).toBe(2);
  });

  it("finds what was written in place when told of it, and by a full look", async () => {
    const tree = open();
    await look(tree);
    appendFileSync(dock("a/one.csv"), "more");
    expect(await look(tree)).toEqual([]);
    tree.touch("a/");
    expect(await look(tree)).toEqual(["a/one.csv"]);
    appendFileSync(dock("a/b/two.csv"), "more");
    expect(await look(tree, true)).toEqual(["a/b/two.csv"]);
  });

  it("lists a folder again that changed within its clock's grain", async () => {
    const tree = openWatchedTree({ root: dock(), include: [], exclude: [], now: Date.now });
    await look(tree);
    const before = new Date();
    makeTree(scratch.path, { "dock/a/late.csv": "l" });
    // A file system that counts in steps of two seconds shows the same time as before.
    utimesSync(dock("a"), before, before);
    expect(await look(tree)).toEqual(["a/late.csv"]);
  });

  it("tells again of what is undone or forgotten", async () => {
    const tree = open();
    await look(tree);
    makeTree(scratch.path, { "dock/a/b/beside.csv": "b" });
    await look(tree);
    tree.undo(["a/b/two.csv"]);
    expect(await look(tree)).toEqual(["a/b/two.csv"]);
    expect(await look(tree)).toEqual([]);
    rmSync(dock("a/b/beside.csv"));
    tree.forget();
    expect(await look(tree)).toEqual(all);
  });

  it("keeps what was to be looked at when a look is broken off", async () => {
    const tree = open();
    await look(tree);
    appendFileSync(dock("a/one.csv"), "more");
    tree.touch("a/");
    const broken = tree.changes(false, AbortSignal.abort());
    await expect(broken[Symbol.asyncIterator]().next()).rejects.toThrow();
    expect(await look(tree)).toEqual(["a/one.csv"]);
  });

  it("reports links and folders it cannot read, and goes on", async () => {
    symlinkSync(dock("a"), dock("link"));
    mkdirSync(dock("closed"));
    chmodSync(dock("closed"), 0);
    const oddities: string[] = [];
    for await (const folder of open().changes(true, signal)) oddities.push(...folder.oddities.map(({ kind }) => kind));
    chmodSync(dock("closed"), 0o755);
    expect(oddities).toContain("symlink");
    if (process.getuid?.() !== 0) expect(oddities).toContain("unreadable_folder");
  });

  it("a root that is gone, or empty where files were, is no folder whose files were deleted", async () => {
    const tree = open();
    await look(tree);
    renameSync(dock(), join(scratch.path, "away"));
    await expect(look(tree)).rejects.toMatchObject({ code: "source_missing" });
    await expect(tree.look("a/one.csv")).rejects.toMatchObject({ code: "source_missing" });
    mkdirSync(dock());
    await expect(look(tree)).rejects.toMatchObject({
      code: "source_missing",
      message: expect.stringContaining("empty"),
    });
    await expect(tree.look("a/one.csv")).rejects.toMatchObject({ code: "source_missing" });
    rmSync(dock(), { recursive: true });
    renameSync(join(scratch.path, "away"), dock());
    expect(await look(tree)).toEqual([]);
    expect(await tree.look("a/one.csv")).toMatchObject({ sizeBytes: 1 });
    rmSync(dock("a/one.csv"));
    expect(await tree.look("a/one.csv")).toBe(null);
  });

  it("another card in the slot is looked at afresh", async () => {
    const tree = open();
    await look(tree);
    rmSync(dock(), { recursive: true });
    writeFileSync(join(scratch.path, "taken"), "so that the folder gets another inode");
    makeTree(scratch.path, { "dock/a/one.csv": "other", "dock/z.csv": "z" });
    expect(await beginsAnew(tree)).toBe(true);
    expect(await look(tree)).toEqual(["a/one.csv", "z.csv"]);
    expect(await beginsAnew(tree)).toBe(false);
  });
});
