// Compiles src/ into dist/, afresh: a file that is gone from src/ must not live on in the package.
import { spawnSync } from "node:child_process";
import { renameSync, rmSync, utimesSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

const fresh = `dist.${process.pid}`;
const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--outDir", fresh], {
  stdio: "inherit",
});
if (status !== 0) {
  rmSync(fresh, { recursive: true, force: true });
  process.exit(status ?? 1);
}
rmSync("dist", { recursive: true, force: true });
renameSync(fresh, "dist");
utimesSync("dist/cli/main.js", new Date(), new Date());
