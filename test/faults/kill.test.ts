/** kill -9 at every moment that leaves a state behind: before and after each statement and each request to the store. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { journalFolder } from "../../src/store/journal.ts";
import { type Boundary, type Child, type Ended, killUntilEnd } from "../support/kill-driver.ts";
import { makeTree } from "../support/tree.ts";
import { bucket, MiB, openScene, prefix, type Scene, type SceneOptions } from "./scene.ts";
import { expectComplete, expectSound } from "./soundness.ts";
import { smallTree, verbs } from "./verbs.ts";

/** Set to any number: at every boundary that is met, and not at those alone that must leave a state behind. */
const exhaustive = process.env.UPLOADER_FAULT_ROUNDS !== undefined;

let scene: Scene;
afterEach(() => scene.close());

type Through = (start: () => Child) => Promise<Ended>;

const around = (names: readonly string[]): Boundary[] => names.flatMap((name) => [`before ${name}`, `after ${name}`]);

/**
 * Plays the chapter from its beginning until somebody died around each of the moments: what happens once only may have
 * been done already when a child dies of something else.
 */
async function walk(
  options: SceneOptions,
  moments: readonly string[],
  chapter: (through: Through) => Promise<void>,
): Promise<void> {
  scene = await openScene(options);
  const wanted = new Set(around(moments));
  const boundaries = new Set<Boundary>();
  const state = {
    postgres: scene.postgres,
    store: scene.store,
    boundaries,
    isOfInterest: (boundary: Boundary) => exhaustive || wanted.has(boundary),
    afterKill: (boundary: Boundary) => expectSound(scene, `after a kill ${boundary}`),
  };
  for (let known = -1; known < boundaries.size && (exhaustive || boundaries.size < wanted.size); ) {
    known = boundaries.size;
    await scene.reset();
    await chapter((start) => killUntilEnd(state, start));
  }
  expect([...wanted].filter((boundary) => !boundaries.has(boundary))).toEqual([]);
}

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
  await walk({ tree: smallTree, migrated: false }, moments, wholeTree);
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
  await walk({ tree: { "c/large.wav": 17 * MiB } }, moments, wholeTree);
});

it("every other move: files that fail, change, wait, are left behind and taken again", {
  timeout: 300_000,
}, async () => {
  const moves = [
    "skip",
    "postpone",
    "give_up",
    "revise",
    "release",
    "requeue",
    "supersede",
    "abandon",
    "condemn",
    "renew",
    "displace",
  ];
  const moments = [...moves.map((move) => `files_${move}`), "sessions_close", "sessions_fail", "sessions_resume_work"];
  const tree = { "ok.wav": 100, "there.wav": 200, "other.wav": 300, "flaky.wav": 400, "grows.wav": 500 };
  const keyOf = (path: string): string => `${prefix}/${path}`;

  await walk({ tree }, moments, async (through) => {
    const { s3, root } = scene;
    s3.plant(bucket, keyOf("there.wav"), readFileSync(join(root, "there.wav")));
    s3.plant(bucket, keyOf("other.wav"), Buffer.alloc(300, 9));
    // The file level tries this one again, the request level does not.
    s3.faults.push({
      match: { operation: "PutObject", key: keyOf("flaky.wav") },
      action: { kind: "error", code: "NoSuchUpload" },
      times: Number.POSITIVE_INFINITY,
    });
    const few = ["--skip-retry", "--settle", "0", "-j", "1", "--attempts"];
    void s3
      .waitFor(({ key }) => key === keyOf("flaky.wav"))
      .then(() => writeFileSync(join(root, "grows.wav"), "grown"));
    const first = await through(() => scene.start([...few, "2"]));
    expect(first, first.output).toMatchObject({ code: 3 });

    let stopAt: string | null = null;
    s3.faults.push({
      match: { where: ({ key }) => key === stopAt },
      action: { kind: "stall" },
      times: Number.POSITIVE_INFINITY,
    });
    const stoppedAt = async (path: string): Promise<void> => {
      const stopped = await through(() => {
        s3.forget();
        stopAt = keyOf(path);
        const child = scene.start([...few, "1"]);
        void s3
          .waitFor(({ state, key }) => state === "stalled" && key === keyOf(path))
          .then(async () => {
            stopAt = null;
            child.process.kill("SIGINT");
            await child.said(
              ({ type, message }) => type === "notice" && String(message).startsWith("stopping cleanly"),
            );
            s3.faults.release();
          });
        return child;
      });
      expect([3, 130], stopped.output).toContain(stopped.code);
    };
    makeTree(root, { "new/1.wav": 10, "new/2.wav": 20, "new/3.wav": 30 });
    await stoppedAt("new/1.wav");
    writeFileSync(join(root, "new/1.wav"), "other bytes since it was sent");
    await stoppedAt("new/2.wav");
    const other = await through(() => scene.start([...few, "1", "--project", "other"]));
    expect(other, other.output).toMatchObject({ code: 3 });
    const afresh = await through(() => scene.start([...few, "1", "--new-session"]));
    expect(afresh, afresh.output).toMatchObject({ code: 3 });

    s3.faults.clear();
    const retried = await through(() => scene.start(["--rounds", "1", "--delay", "0"], ["retry", "latest"]));
    expect(retried, retried.output).toMatchObject({ code: 3, summary: { status: "completed_with_errors" } });
    expect([...s3.keys(bucket)].sort()).toEqual(
      [...scene.paths, "new/1.wav", "new/2.wav", "new/3.wav"].map(keyOf).sort(),
    );
    expect(
      await scene.sql(`select s3_key from :"schema".file_uploads where status in ('pending', 'uploading')`),
    ).toEqual([]);
  });
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
