/** Several real processes on one session. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { makeTree } from "../support/tree.ts";
import { openScene, type Scene } from "./scene.ts";
import { expectComplete } from "./soundness.ts";

const some = (count: number): Record<string, number> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`${String(n).padStart(4, "0")}.wav`, 10]));

let scene: Scene;
beforeEach(async () => {
  scene = await openScene({ tree: some(24) });
});
afterEach(() => scene.close());

/** Puts that have arrived wait here until `go`; `waiting` resolves when so many do. */
function holdPuts() {
  let held: (() => void)[] = [];
  let open = false;
  let counted: { count: number; resolve(): void } | null = null;
  scene.store.onRequest = async (name, at) => {
    if (at === "request" && name.startsWith("PUT") && !open) {
      await new Promise<void>((resolve) => {
        held.push(resolve);
        if (counted && held.length >= counted.count) counted.resolve();
      });
    }
    return true;
  };
  return {
    waiting: (count: number) =>
      held.length >= count ? Promise.resolve() : new Promise<void>((resolve) => (counted = { count, resolve })),
    go(): void {
      open = true;
      for (const each of held) each();
      held = [];
    },
  };
}

const sessionOf = async (): Promise<number> =>
  (await scene.sql<{ id: number }>(`select max(id) as id from :"schema".sync_sessions`))[0]!.id;

it("the second is refused, names the first, and sends nothing", async () => {
  const puts = holdPuts();
  const first = scene.start(["-j", "2"]);
  await puts.waiting(2);
  const second = await scene.start().ended;
  expect(second.code).toBe(11);
  expect(second.output).toContain(`process ${first.process.pid}`);
  expect(second.output).toContain("--join");
  puts.go();
  expect(await first.ended).toMatchObject({ code: 0 });
  await expectComplete(scene, scene.root, scene.paths);
});

/** Both at work on what is there; how many files each sent. */
async function shared(count: number): Promise<number[]> {
  makeTree(scene.root, some(count));
  const puts = holdPuts();
  const first = scene.start(["-j", "2"]);
  await puts.waiting(2);
  const second = scene.start(["-j", "2", "--join", String(await sessionOf())]);
  // A claim of two slots is 16 files: what is left of the session is in the second's hands before the first may go on.
  await puts.waiting(4);
  puts.go();
  const ends = await Promise.all([first.ended, second.ended]);
  for (const { code, output } of ends) expect(code, output).toBe(0);
  await expectComplete(scene, scene.root, Object.keys(some(count)));
  return ends.map(({ summary }) => summary?.filesThisRun ?? 0);
}

it.each([24, 200])("with --join the second shares the work: %i files, none sent twice", async (count) => {
  const [one, two] = await shared(count);
  expect(one! + two!).toBe(count);
  expect(Math.min(one!, two!)).toBeGreaterThan(0);
});

it("one dies, the other finishes what it held", async () => {
  const puts = holdPuts();
  const first = scene.start(["-j", "2"]);
  await puts.waiting(2);
  const second = scene.start(["-j", "2", "--join", String(await sessionOf())]);
  await second.said(({ type }) => type === "start");
  await first.kill();
  puts.go();
  const ended = await second.ended;
  expect(ended, ended.output).toMatchObject({ code: 0, summary: { status: "completed" } });
  await expectComplete(scene, scene.root, scene.paths);
  const ends = await scene.sql(`select end_reason from :"schema".workers order by id`);
  expect(ends).toEqual([{ end_reason: "lost" }, { end_reason: "done" }]);
});

it("when the one that scans dies, the other does not call the work complete", async () => {
  const listing = new Promise<void>((resolve) => {
    scene.store.onRequest = async (name, at) => {
      if (at !== "answer" || name !== "GET" || !scene.postgres.log.includes("files_untouched")) return true;
      resolve();
      return new Promise(() => undefined);
    };
  });
  const first = scene.start();
  await listing;
  await first.kill();
  scene.store.onRequest = async () => true;
  const helper = await scene.start(["--join", String(await sessionOf())]).ended;
  expect(helper, helper.output).toMatchObject({ code: 4, summary: { status: "interrupted" } });
  expect(await scene.start().ended).toMatchObject({ code: 0 });
  await expectComplete(scene, scene.root, scene.paths);
});
