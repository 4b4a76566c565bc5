/** kill -9 after every move that a run in which all goes well does not make. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { makeTree } from "../support/tree.ts";
import { bucket, openScene, prefix, type Scene } from "./scene.ts";
import { after, walk } from "./walk.ts";

let scene: Scene;
afterEach(() => scene.close());

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

  scene = await openScene({ tree });
  await walk(scene, after(moments), async (through) => {
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
