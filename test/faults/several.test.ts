/** Several real processes on one session. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { bucket, openScene, prefix, type Scene } from "./scene.ts";
import { expectComplete } from "./soundness.ts";

const files = 24;
const tree = Object.fromEntries(Array.from({ length: files }, (_, n) => [`${String(n).padStart(2, "0")}.wav`, 100 + n]));

let scene: Scene;
beforeEach(async () => {
  scene = await openScene({ tree });
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

it("with --join the second shares the work", async () => {
  const puts = holdPuts();
  // More files than one claim takes would be needed to leave some over: the first is stopped short of claiming them all.
  const first = scene.start(["-j", "2"]);
  await puts.waiting(2);
  const second = scene.start(["-j", "2", "--join", String(await sessionOf())]);
  await second.said(({ type }) => type === "start");
  puts.go();
  const [one, two] = await Promise.all([first.ended, second.ended]);
  expect([one.code, two.code], one.output + two.output).toEqual([0, 0]);
  expect(one.summary!.filesThisRun + two.summary!.filesThisRun).toBe(files);
  await expectComplete(scene, scene.root, scene.paths);
});

it("one dies, the other finishes what it held", { timeout: 60_000 }, async () => {
  const puts = holdPuts();
  const first = scene.start(["-j", "2"]);
  await puts.waiting(2);
  await scene.sql(`select 1`);
  const second = scene.start(["-j", "2", "--join", String(await sessionOf())]);
  await second.said(({ type }) => type === "start");
  await first.kill();
  puts.go();
  const ended = await second.ended;
  expect(ended, ended.output).toMatchObject({ code: 0, summary: { status: "completed" } });
  await expectComplete(scene, scene.root, scene.paths);
  expect(scene.s3.keys(bucket).every((key) => key.startsWith(prefix))).toBe(true);
  const ends = await scene.sql(`select end_reason from :"schema".workers order by id`);
  expect(ends).toEqual([{ end_reason: "lost" }, { end_reason: "done" }]);
});
