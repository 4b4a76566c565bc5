// Compiles src/ into dist/. Every file is put in its place by a rename, and only if it differs: a program that starts
// meanwhile finds each of its files, old or new. A file that is gone from src/ must not live on in the package.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

const filesBelow = (folder) =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));

const bytesOf = (path) => {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "EISDIR") return null;
    throw error;
  }
};

const fresh = `dist.${process.pid}`;
const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--outDir", fresh], {
  stdio: "inherit",
});
if (status !== 0) {
  rmSync(fresh, { recursive: true, force: true });
  process.exit(status ?? 1);
}
mkdirSync("dist", { recursive: true });
const made = filesBelow(fresh);
for (const file of made) {
  const place = join("dist", file);
  if (bytesOf(place)?.equals(bytesOf(join(fresh, file)))) continue;
  mkdirSync(dirname(place), { recursive: true });
  renameSync(join(fresh, file), place);
}
const wanted = new Set(made);
for (const file of filesBelow("dist")) if (!wanted.has(file)) rmSync(join("dist", file), { force: true });
rmSync(fresh, { recursive: true, force: true });
// Who asks whether dist/ is newer than src/ looks at this file.
utimesSync("dist/cli/main.js", new Date(), new Date());
