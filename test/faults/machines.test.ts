/** Two machines on one session: host names of their own, so that neither can look for the other's process. */
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { openScene } from "./scene.ts";
import { expectComplete } from "./soundness.ts";

const files = Number(process.env.UPLOADER_FAULT_FILES ?? 200);
const paths = Array.from({ length: files }, (_, n) => `${n % 100}/${n}.wav`);
/** Needs no more than the right to name a machine: root, or nothing here to test. */
const canName = spawnSync("unshare", ["-u", "hostname", "machine-one"]).status === 0;
const on = (machine: string): string[] => ["unshare", "-u", "sh", "-c", `hostname ${machine}; exec "$@"`, "sh"];

it.runIf(canName)(
  `share ${files} files: each sent once, and status says who does what`,
  { timeout: 300_000 },
  async () => {
    const scene = await openScene({
      tree: Object.fromEntries(paths.map((path) => [path, 100])),
      s3: { logEntries: 2 * files + 10_000 },
    });
    try {
      const held: (() => void)[] = [];
      let puts = 0;
      let open = false;
      scene.store.onRequest = async (name, at) => {
        if (at !== "request" || !name.startsWith("PUT")) return true;
        puts++;
        if (open) return true;
        await new Promise<void>((resolve) => held.push(resolve));
        return true;
      };
      const one = scene.start(["-j", "4"], undefined, on("machine-one"));
      await expect.poll(() => held.length).toBe(4);
      const [{ id } = { id: 0 }] = await scene.sql<{ id: number }>(`select max(id) as id from :"schema".sync_sessions`);
      const two = scene.start(["-j", "4", "--join", String(id)], undefined, on("machine-two"));
      // Both have work in their hands before either may go on.
      await expect.poll(() => held.length).toBe(8);
      const status = await scene.start([], ["status", String(id)], on("machine-three")).ended;
      for (const machine of ["machine-one", "machine-two"]) expect(status.output).toContain(machine);
      open = true;
      for (const go of held) go();
      const ends = await Promise.all([one.ended, two.ended]);
      for (const { code, output } of ends) expect(code, output.slice(-2000)).toBe(0);
      const shares = ends.map(({ summary }) => summary?.filesThisRun ?? 0);
      if (files > 200) console.log(`${puts} PUTs for ${files} files: ${shares.join(" + ")}`);
      expect(puts).toBe(files);
      expect(shares[0]! + shares[1]!).toBe(files);
      expect(Math.min(...shares)).toBeGreaterThan(0);
      await expectComplete(scene, scene.root, paths);
    } finally {
      await scene.close();
    }
  },
);
