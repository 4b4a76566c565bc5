import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { acquireLock, lockHolder } from "../../src/store/embedded/lock.ts";
import { ownIdentity } from "../../src/store/embedded/process-identity.ts";
import { built, runProgram } from "./embedded-build.ts";

const folder = mkdtempSync(join(tmpdir(), "uploader-lock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let made = 0;
/** A lock file as some process left it: ours, but for what is given. */
function leave(change: Record<string, unknown>): string {
  made += 1;
  const path = join(folder, `${made}.lock`);
  writeFileSync(path, JSON.stringify({ ...ownIdentity(), token: "0123456789abcdef", ...change }));
  return path;
}

describe("the keeper's lock", () => {
  test("has one holder until it is released", () => {
    const path = join(folder, "plain.lock");
    const lock = acquireLock(path);
    expect(lock).not.toBeNull();
    expect(acquireLock(path)).toBeNull();
    expect(lockHolder(path)?.token).toBe(lock?.record.token);
    lock?.release();
    expect(lockHolder(path)).toBeNull();
    expect(acquireLock(path)).not.toBeNull();
  });

  test.each([
    ["a dead process", { pid: 2 ** 22 + 1 }],
    ["a pid that another process has now", { start: "1" }],
    ["an earlier boot", { boot: "00000000-0000-0000-0000-000000000000" }],
  ])("of %s heals", (_, change) => {
    const path = leave(change);
    expect(lockHolder(path)).toBeNull();
    expect(acquireLock(path)).not.toBeNull();
  });

  test("of another host is refused", () => {
    const path = leave({ host: "elsewhere", boot: "00000000-0000-0000-0000-000000000000" });
    expect(() => lockHolder(path)).toThrow(/host elsewhere/);
    expect(() => acquireLock(path)).toThrow(expect.objectContaining({ code: "database_unreachable", exitCode: 13 }));
  });

  test("of another container counts while it shows signs of life", () => {
    const path = leave({ space: "pid:[1]" });
    expect(() => acquireLock(path)).toThrow(/another container/);
    const minuteAgo = new Date(Date.now() - 60_000);
    utimesSync(path, minuteAgo, minuteAgo);
    expect(acquireLock(path)).not.toBeNull();
  });

  test.each(["", "{}", "[]", "null", '{"host":'])("that is damaged (%j) is refused, with the way out", (content) => {
    const path = join(folder, "damaged.lock");
    writeFileSync(path, content);
    expect(() => acquireLock(path)).toThrow(expect.objectContaining({ hint: expect.stringContaining("delete") }));
  });

  test("left by the dead, and healed by many at once, goes to exactly one of them", async () => {
    // Half of the healers before them died between taking the right to remove the lock and removing it.
    const rounds = Array.from({ length: 30 }, (_, round) => {
      const path = leave({ pid: 2 ** 22 + 1 });
      const dead = { ...ownIdentity(), pid: 2 ** 22 + 2, token: "fedcba9876543210" };
      if (round % 2 === 0) writeFileSync(`${path}.0123456789abcdef`, JSON.stringify(dead));
      return path;
    });
    // Each lives until all have tried, so no win is healed away by the next.
    const healers = Array.from({ length: 6 }, () =>
      runProgram(`
        import { acquireLock } from ${JSON.stringify(built("embedded/lock"))};
        console.log("here");
        process.stdin.once("data", () => {
          const won = ${JSON.stringify(rounds)}.filter((path) => acquireLock(path) !== null);
          console.log(JSON.stringify(won));
        });`),
    );
    await Promise.all(healers.map(({ line }) => line()));
    for (const { child } of healers) child.stdin?.write("go");
    const won = (await Promise.all(healers.map(async ({ line }) => JSON.parse(await line()) as string[]))).flat();
    for (const { child } of healers) child.stdin?.end();
    expect(won.toSorted()).toEqual(rounds.toSorted());
  });
});
