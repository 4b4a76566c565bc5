/** kill -9 in `upload --decode`, around whatever lies between a recording in the store and its results beside it. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { batteryFile } from "../shimmer/support/recording.ts";
import { openScene, prefix, type Scene } from "./scene.ts";
import { writtenTwice } from "./soundness.ts";
import { around, type Through, walk } from "./walk.ts";

const recording = "lab/Walk_1772344000/Shimmer_ABCD-000/000";
const results = ["csv", "json"].map((format) => `${prefix}/decode/${recording}_decoded.${format}`);
const statements = ["files_settle", "files_derive", "decoded_remember"];

let scene: Scene;
beforeAll(async () => {
  scene = await openScene({ tree: { [recording]: batteryFile(40) } });
});
afterAll(() => scene?.close());

const run = () => scene.start(["--decode", "--decode-formats", "csv,json"]);
const held = () => new Map(results.map((key) => [key, scene.s3.object(scene.bucket, key)?.bytes().toString("hex")]));

it("the next run finishes: the same bytes, nothing sent twice", { timeout: 240_000 }, async () => {
  const undisturbed = await run().ended;
  expect(undisturbed, undisturbed.output).toMatchObject({ code: 0, summary: { totalFiles: 3, filesUploaded: 3 } });
  const wanted = held();
  expect([...wanted.values()]).not.toContain(undefined);
  await scene.reset();

  const finished = async (through: Through): Promise<void> => {
    const ended = await through(run);
    expect(ended, ended.output).toMatchObject({ code: 0, summary: { status: "completed", filesFailed: 0 } });
    expect([...scene.s3.keys(scene.bucket)].sort()).toEqual([...results, `${prefix}/${recording}`].sort());
    expect(held()).toEqual(wanted);
    expect(writtenTwice(scene.s3, scene.bucket)).toEqual([]);
    const rows = await scene.sql(
      `select s3_key, status, derived_from is not null as made from :"schema".file_uploads order by s3_key`,
    );
    const row = (s3_key: string, made: boolean) => ({ s3_key, status: "uploaded", made });
    expect(rows).toEqual([...results.map((key) => row(key, true)), row(`${prefix}/${recording}`, false)]);
    const remembered = await scene.sql(`select samples from :"schema".decoded_recordings`);
    expect(remembered.map(({ samples }) => Number(samples))).toEqual([40]);
    // What the dead have left of their results goes with the next that makes some.
    expect(readdirSync(join(scene.state, "decoding")).length).toBeLessThanOrEqual(1);
  };
  const moments = [...statements, ...[`${prefix}/${recording}`, ...results].map((key) => `PUT ${key}`)];
  await walk(scene, around(moments), finished);
});
