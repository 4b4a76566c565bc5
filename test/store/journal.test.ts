/** The journal on a disk that fills: what was acknowledged is brought in, half a line is not in its way. */
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Memo } from "../../src/core/store.ts";
import { openJournal, replayJournals } from "../../src/store/journal.ts";
import { worker } from "../support/database.ts";
import { temporaryFolder } from "../support/tree.ts";

const mount = (...args: string[]): boolean => spawnSync("mount", args, { stdio: "ignore" }).status === 0;
const mayMount = process.platform === "linux" && process.getuid?.() === 0;

let disk: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  disk = temporaryFolder();
});
afterEach(() => {
  // The journal is still open.
  spawnSync("umount", ["-l", disk.path], { stdio: "ignore" });
  disk.remove();
});

it.skipIf(!mayMount)("every line that was acknowledged before, while and after it was full comes in", async (test) => {
  if (!mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", disk.path)) test.skip();
  const journal = openJournal(disk.path, "test", worker(1));
  const told: number[] = [];
  const tell = async (n: number): Promise<void> => {
    const part = { partNumber: n, sizeBytes: 1, etag: "e".repeat(900), checksum: null };
    await journal.append({ call: "part", uploadId: "one", part });
    told.push(n);
  };
  await tell(0);
  const filler = join(disk.path, "filler");
  writeFileSync(filler, Buffer.alloc(8 * 1024));
  const fill = async (): Promise<void> => {
    for (let n = 1; ; n++) await tell(n);
  };
  await expect(fill()).rejects.toMatchObject({ code: "ENOSPC" });
  rmSync(filler);
  for (const n of [1001, 1002]) await tell(n);

  const brought: Memo[] = [];
  const apply = async (memo: Memo) => brought.push(memo);
  expect(await replayJournals(disk.path, "test", () => false, apply)).toBe(told.length);
  expect(brought.map((memo) => memo.call === "part" && memo.part.partNumber)).toEqual(told);
  expect(readdirSync(join(disk.path, "journal"))).toEqual([]);
});
