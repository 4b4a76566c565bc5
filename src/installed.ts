/** Where the package lies: its SQL, its schema, its programs. The sources, the modules in build/ and dist/ all find the same. */
import { existsSync, readFileSync } from "node:fs";

/** The nearest folder above that holds package.json. */
export const packageRoot = nearest(new URL(".", import.meta.url));

function nearest(folder: URL): URL {
  return existsSync(new URL("package.json", folder)) ? folder : nearest(new URL("..", folder));
}

/** A program of its own, for a thread or a child: as built, whoever asks. */
export const programOf = (name: "keeper" | "decoding-worker" | "reading-thread"): URL =>
  new URL(`dist/${name}.js`, packageRoot);

export const versionOf = (): string =>
  (JSON.parse(readFileSync(new URL("package.json", packageRoot), "utf8")) as { version: string }).version;
