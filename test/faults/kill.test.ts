/** kill -9 at every moment that leaves a state behind: before and after each statement and each request to the store. */
import { afterEach, describe, expect, it } from "vitest";
import { type Child, killEverywhere } from "../support/kill-driver.ts";
import { MiB, openScene, prefix, type Scene, type SceneOptions } from "./scene.ts";
import { expectComplete, expectSound } from "./soundness.ts";
import { smallTree, verbs } from "./verbs.ts";

let scene: Scene;
afterEach(() => scene.close());

async function walk(options: SceneOptions, isOfInterest?: (boundary: string) => boolean): Promise<string[]> {
  scene = await openScene(options);
  const start = (): Child => scene.start();
  const { boundaries, last } = await killEverywhere(scene, start, {
    ...(isOfInterest ? { isOfInterest } : {}),
    afterKill: (boundary) => expectSound(scene, `killed ${boundary}`),
  });
  expect(last, last.output).toMatchObject({ code: 0, summary: { status: "completed", filesFailed: 0 } });
  await expectComplete(scene, scene.root, scene.paths);
  console.log(boundaries.length, boundaries.join("; "));
  return boundaries;
}

const around = (names: readonly string[]): string[] => names.flatMap((name) => [`before ${name}`, `after ${name}`]);

describe("a process killed at every boundary, started again each time", () => {
  it("small files, from an empty database on", { timeout: 240_000 }, async () => {
    const boundaries = await walk({ tree: smallTree, migrated: false });
    const puts = Object.keys(smallTree).map((path) => `PUT ${prefix}/${path}`);
    expect(boundaries).toEqual(expect.arrayContaining(around([...verbs["a first run"]!.statements, ...puts])));
    expect(boundaries).toEqual(expect.arrayContaining(around(["? create schema", "sessions_resume", "workers_rescue"])));
  });

  it("a large file", { timeout: 240_000 }, async () => {
    const isOfInterest = (boundary: string) => / (uploads_|files_settle|(PUT|POST|HEAD) .)/.test(boundary);
    const boundaries = await walk({ tree: { "c/large.wav": 17 * MiB } }, isOfInterest);
    const key = `${prefix}/c/large.wav`;
    const parts = [1, 2, 3].flatMap((part) => [`PUT ${key} part ${part}`, `uploads_part ${part}`]);
    const requests = [`HEAD ${key}`, `POST ${key} uploads`, `POST ${key} uploadId`];
    expect(boundaries).toEqual(
      expect.arrayContaining(around([...parts, ...requests, "uploads_find", "uploads_begin", "uploads_end", "files_settle"])),
    );
  });
});
