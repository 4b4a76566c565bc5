/**
 * kill -9 at random moments while a fifth of the store's answers go wrong and Postgres goes away in between. A few rounds
 * by default. The real thing, UPLOADER_FAULT_ROUNDS=100 npx vitest run test/faults/random.test.ts: a hundred kills on
 * thousands of small files and some of 1 GiB (or of as many MiB as UPLOADER_FAULT_LARGE_MIB says), with a Postgres of its
 * own that is killed and started again.
 */
import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { journalFolder } from "../../src/store/journal.ts";
import { type DebianPostgres, findPostgres, startDebianPostgres } from "../support/debian-postgres.ts";
import { type Boundary, type Ended, runUntil } from "../support/kill-driver.ts";
import type { FaultAction } from "../support/s3-server/faults.ts";
import { makeTree, type TreeContents, temporaryFolder } from "../support/tree.ts";
import { chance } from "./chance.ts";
import { bucket, MiB, openScene, prefix, type Scene } from "./scene.ts";
import { expectComplete, expectSound, type Place, partsSentTwice, writtenTwice } from "./soundness.ts";

const isWhole = process.env.UPLOADER_FAULT_ROUNDS !== undefined;
const rounds = Number(process.env.UPLOADER_FAULT_ROUNDS ?? 4);
const seed = Number(process.env.UPLOADER_FAULT_SEED ?? 1);
const largeMiB = Number(process.env.UPLOADER_FAULT_LARGE_MIB ?? (isWhole ? 1024 : 17));
const [smallFiles, largeFiles, boundariesAtMost] = isWhole ? [2_000, 3, 300] : [24, 1, 60];

const faults: FaultAction[] = [
  { kind: "error", code: "SlowDown", retryAfterSeconds: 0 },
  { kind: "error", code: "InternalError" },
  { kind: "reset" },
  { kind: "reset", afterBytes: 1000 },
  { kind: "stall" },
  { kind: "loseAnswer" },
];
/**
 * A stall ends by the program's deadline, and what it gave up may still be carried out later; in the few rounds, which are
 * not to take long, the next thing that happens ends it too.
 */
const deadlines = ["--s3-idle-timeout-seconds", "5"];
const stallsEndShare = isWhole ? 0.05 : 1;

const small = (from: number, count: number, sizeBytes: () => number): TreeContents =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`${(from + n) % 50}/${from + n}.wav`, sizeBytes()]));

it(`${rounds} random kills (seed ${seed})`, { timeout: isWhole ? 7_200_000 : 120_000 }, async () => {
  const startedMs = performance.now();
  const random = chance(seed);
  const sizeBytes = () => (isWhole ? 4096 + random.below(60_000) : 100 + random.below(1000));
  const postgres: DebianPostgres | null = isWhole && (await findPostgres()) ? await startDebianPostgres() : null;
  const folder = temporaryFolder();
  const large = Object.fromEntries(
    Array.from({ length: largeFiles }, (_, n) => [`${10 * n}/large.wav`, largeMiB * MiB + n]),
  );
  const tree = { ...small(0, smallFiles, sizeBytes), ...large };
  const s3Options = { directory: folder.path, logEntries: 1_000_000 };
  const scene = await openScene({ tree, s3: s3Options, ...(postgres ? { url: postgres.url } : {}) });
  const names = new Set(Object.keys(tree));
  const restartAt = new Set([0.25, 0.5, 0.75].map((share) => Math.floor(rounds * share)));
  const history: string[] = [];
  const runStarts: number[] = [];
  const place: Place = { ...scene, runStarts };
  try {
    scene.s3.faults.chaos = { share: 0.2, actions: faults, random: random.next };
    for (let kills = 0; kills < rounds; ) {
      const fatal = 1 + random.below(boundariesAtMost);
      const restart = restartAt.delete(kills) ? Math.ceil(fatal / 2) : 0;
      let met = 0;
      let restarting: Promise<void> = Promise.resolve();
      const isNow = (_: Boundary): boolean => {
        if (random.flip(stallsEndShare)) scene.s3.faults.release();
        met++;
        if (met === restart) restarting = goAway();
        return met === fatal;
      };
      runStarts.push(scene.s3.log.length);
      const { killedAt, ended } = await runUntil(scene, () => scene.start(["-j", "8", ...deadlines]), isNow);
      await restarting;
      history.push(`${killedAt ?? `exit ${ended.code}`}${restart > 0 ? ", Postgres killed before" : ""}`);
      await expectSound(place, `seed ${seed}, after ${history.join(", ")}`);
      if (killedAt === null) await expectTruth(scene, ended, names, restart > 0);
      else kills++;
      // All done before its time: more to do.
      if (ended.code === 0) {
        const more = small(names.size, Math.ceil(smallFiles / 4), sizeBytes);
        more[`0/large-${names.size}.wav`] = Math.ceil((largeMiB * MiB) / 8);
        makeTree(scene.root, more);
        for (const name of Object.keys(more)) names.add(name);
      }
    }
    if (isWhole) console.log(figures(place, history, names.size, performance.now() - startedMs));
    scene.s3.faults.clear();
    scene.store.onRequest = async () => true;
    runStarts.push(scene.s3.log.length);
    const last = await scene.start().ended;
    expect(last, last.output.slice(-4000)).toMatchObject({ code: 0, summary: { status: "completed" } });
    await expectComplete(place, scene.root, [...names]);
    expect(journalsIn(scene.state)).toEqual([]);
  } finally {
    if (isWhole) console.log(history.join("\n"));
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

function journalsIn(state: string): string[] {
  try {
    return readdirSync(journalFolder(state));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Whatever the exit code says, the database and the bucket say too. */
async function expectTruth(
  { sql, s3 }: Scene,
  ended: Ended,
  names: ReadonlySet<string>,
  postgresDied: boolean,
): Promise<void> {
  const [rows] = await sql<{ open: number; failed: number }>(
    `select (count(*) filter (where status in ('pending', 'uploading')))::int as open,
       (count(*) filter (where status = 'failed'))::int as failed from :"schema".file_uploads`,
  );
  const missing = [...names].filter((name) => !s3.object(bucket, `${prefix}/${name}`)).length;
  const said = { code: ended.code, exitCode: ended.summary?.exitCode, ...rows, missing };
  const truths: Record<number, boolean> = {
    0: rows?.open === 0 && rows.failed === 0 && missing === 0,
    3: (rows?.failed ?? 0) > 0 && missing > 0,
    4: (rows?.open ?? 0) > 0,
    // Before there was a session: nobody waits for a database that may never have been there.
    13: postgresDied && ended.summary?.filesThisRun === 0,
  };
  expect(truths[ended.code ?? -1], `${JSON.stringify(said)}\n${ended.output.slice(-4000)}`).toBe(true);
  expect(ended.summary?.exitCode).toBe(ended.code);
}

function figures({ s3, runStarts }: Place, history: readonly string[], files: number, durationMs: number): string {
  const parts = s3.log.filter(({ operation }) => operation === "UploadPart");
  const stored = s3.keys(bucket).map((key) => s3.object(bucket, key)?.sizeBytes ?? 0);
  return [
    `seed ${seed}: ${history.filter((each) => !each.startsWith("exit")).length} kills in ${history.length} runs`,
    `${files} files, ${stored.length} objects of ${Math.round(stored.reduce((sum, size) => sum + size, 0) / MiB)} MiB so far`,
    `${s3.log.length} requests, faults ${JSON.stringify(s3.faults.played)}`,
    `${parts.length} parts sent, ${parts.filter(({ status }) => status === 200).length} taken, ${partsSentTwice(s3, runStarts).length} sent twice, ${partsSentTwice(s3).length} again within a run`,
    `${writtenTwice(s3, bucket).length} objects written twice, ${s3.uploads(bucket).length} uploads open in the store`,
    `${Math.round(durationMs / 1000)} s`,
  ].join("\n");
}
