/** kill -9 at every moment that leaves a state behind: before and after each statement and each request to the store. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { journalFolder } from "../../src/store/journal.ts";
import { MiB, openScene, prefix, type Scene } from "./scene.ts";
import { expectComplete } from "./soundness.ts";
import { smallTree, verbs } from "./verbs.ts";
import { around, type Through, walk } from "./walk.ts";

let scene: Scene;
afterEach(() => scene.close());

async function wholeTree(through: Through): Promise<void> {
  const ended = await through(() => scene.start());
  expect(ended, ended.output).toMatchObject({ code: 0, summary: { status: "completed", filesFailed: 0 } });
  await expectComplete(scene, scene.root, scene.paths);
}

/** What only reads leaves nothing behind, and nor does what stands in a transaction until its COMMIT. */
const leavesSomething = (name: string): boolean =>
  !/^(begin|commit|(projects|destinations)_ensure|sessions_(get|newest|insert)|workers_(unended|begin)|files_(judge|next_due|conflicts|supersede))$/.test(
    name,
  );

it("small files, from an empty database on", { timeout: 300_000 }, async () => {
  const puts = Object.keys(smallTree).map((path) => `PUT ${prefix}/${path}`);
  const commits = ["commit of workers_begin", "commit of ? insert into uploader_migrations (id, nam"];
  const moments = [...verbs["a first run"]!.statements.filter(leavesSomething), ...puts, ...commits];
  scene = await openScene({ tree: smallTree, migrated: false });
  await walk(scene, around(moments), wholeTree);
});

it("a large file: each part, its beginning and its completion", { timeout: 300_000 }, async () => {
  const key = `${prefix}/c/large.wav`;
  const parts = [1, 2, 3].flatMap((part) => [`PUT ${key} part ${part}`, `uploads_part ${part}`]);
  const moments = [
    ...parts,
    `POST ${key} uploads`,
    `POST ${key} uploadId`,
    "uploads_begin",
    "uploads_end",
    "files_settle",
  ];
  scene = await openScene({ tree: { "c/large.wav": 17 * MiB } });
  await walk(scene, around(moments), wholeTree);
});

it("killed while Postgres is away: what the journal holds is not sent again", async () => {
  scene = await openScene({ tree: smallTree });
  const { postgres, store, s3 } = scene;
  store.onRequest = async (name) => {
    if (name.startsWith("PUT")) {
      await postgres.setDoor("closed");
      postgres.cutAll();
    }
    return true;
  };
  const child = scene.start();
  await child.said(({ type, message }) => type === "notice" && String(message).includes(scene.state));
  const folder = journalFolder(scene.state);
  const kept = (): string[] =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".jsonl"))
      .map((name) => readFileSync(join(folder, name), "utf8"));
  while (!existsSync(folder) || !kept().some((text) => text.includes('"settle"'))) await nextTurn();
  await child.kill();
  const keys = new Set(
    [
      ...kept()
        .join("")
        .matchAll(/"key":"([^"]+)"/g),
    ].map((match) => match[1]),
  );
  expect(keys.size).toBeGreaterThan(0);

  store.onRequest = async () => true;
  await postgres.setDoor("open");
  s3.forget();
  const ended = await scene.start().ended;
  expect(ended, ended.output).toMatchObject({ code: 0, summary: { status: "completed" } });
  expect(s3.log.filter(({ operation, key }) => operation === "PutObject" && keys.has(key))).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
  await expectComplete(scene, scene.root, scene.paths);
});
