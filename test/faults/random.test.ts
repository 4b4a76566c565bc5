/**
 * kill -9 at random moments while a fifth of the store's answers go wrong and Postgres goes away in the middle. A few
 * rounds by default; UPLOADER_FAULT_ROUNDS=100 for the real thing: thousands of files and one of 1 GiB (or as many MiB as
 * UPLOADER_FAULT_LARGE_MIB says), and a Postgres of its own that is killed and started again.
 */
import { expect, it } from "vitest";
import { type DebianPostgres, findPostgres, startDebianPostgres } from "../support/debian-postgres.ts";
import { type Boundary, runUntil } from "../support/kill-driver.ts";
import type { FaultAction } from "../support/s3-server/faults.ts";
import { makeTree, type TreeContents, temporaryFolder } from "../support/tree.ts";
import { chance } from "./chance.ts";
import { MiB, openScene } from "./scene.ts";
import { expectComplete, expectSound } from "./soundness.ts";

const exhaustive = process.env.UPLOADER_FAULT_ROUNDS !== undefined;
const rounds = Number(process.env.UPLOADER_FAULT_ROUNDS ?? 4);
const largeMiB = Number(process.env.UPLOADER_FAULT_LARGE_MIB ?? (exhaustive ? 1024 : 17));
const smallFiles = exhaustive ? 5_000 : 24;
const seed = Number(process.env.UPLOADER_FAULT_SEED ?? 1);

const faults: FaultAction[] = [
  { kind: "error", code: "SlowDown", retryAfterSeconds: 0 },
  { kind: "error", code: "InternalError" },
  { kind: "reset" },
  { kind: "reset", afterBytes: 1000 },
  { kind: "stall" },
  { kind: "loseAnswer" },
];

const small = (from: number, count: number, sizeBytes: (n: number) => number): TreeContents =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`${(from + n) % 50}/${from + n}.wav`, sizeBytes(n)]));

it(`${rounds} random kills (seed ${seed})`, { timeout: exhaustive ? 3_600_000 : 120_000 }, async () => {
  const random = chance(seed);
  const sizeBytes = () => (exhaustive ? 4096 + random.below(60_000) : 100 + random.below(1000));
  const postgres: DebianPostgres | null = exhaustive && (await findPostgres()) ? await startDebianPostgres() : null;
  const folder = temporaryFolder();
  const tree = { ...small(0, smallFiles, sizeBytes), "0-large.wav": largeMiB * MiB };
  const s3Options = { directory: folder.path, logEntries: 1_000_000 };
  const scene = await openScene({ tree, s3: s3Options, ...(postgres ? { url: postgres.url } : {}) });
  let names = Object.keys(tree);
  const history: string[] = [];
  try {
    scene.s3.faults.chaos = { share: 0.2, actions: faults, random: random.next };
    for (let kills = 0; kills < rounds; ) {
      const fatal = 1 + random.below(exhaustive ? 400 : 60);
      const restart = kills === Math.floor(rounds / 2) ? Math.ceil(fatal / 2) : 0;
      let met = 0;
      let restarting: Promise<void> = Promise.resolve();
      const isNow = (_: Boundary): boolean => {
        scene.s3.faults.release(); // A stall lasts until something else happens.
        met++;
        if (met === restart) restarting = goAway();
        return met === fatal;
      };
      const { killedAt, ended } = await runUntil(scene, () => scene.start(["-j", "8"]), isNow);
      await restarting;
      history.push(killedAt ?? `exit ${ended.code}`);
      if (killedAt !== null) kills++;
      await expectSound(scene, `seed ${seed}, after ${history.join(", ")}`);
      // All done before its time: more to do.
      if (ended.code === 0) {
        const more = small(names.length, Math.ceil(smallFiles / 4), sizeBytes);
        makeTree(scene.root, more);
        names = [...names, ...Object.keys(more)];
      }
    }
    scene.s3.faults.clear();
    scene.store.onRequest = async () => true;
    const last = await scene.start().ended;
    expect(last, last.output.slice(-4000)).toMatchObject({ code: 0, summary: { status: "completed" } });
    await expectComplete(scene, scene.root, names);
  } finally {
    if (exhaustive) console.log(history.join("\n"));
    await scene.close();
    await postgres?.close();
    folder.remove();
  }

  async function goAway(): Promise<void> {
    if (!postgres) return scene.postgres.cutAll();
    await postgres.kill();
    await postgres.restart();
  }
});
