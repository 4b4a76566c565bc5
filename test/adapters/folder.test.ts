import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openFolderDestination } from "../../src/adapters/folder.ts";
import { describeDestinationPromises } from "../support/destination-promises.ts";
import { temporaryFolder } from "../support/tree.ts";

function filesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

function readOrNull(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

const noLinks = async () => {
  throw Object.assign(new Error("no links here"), { code: "EPERM", syscall: "link" });
};

for (const [name, link] of [
  ["folder", undefined],
  ["folder without hard links", noLinks],
] as const) {
  describeDestinationPromises(
    name,
    async () => {
      const folder = temporaryFolder();
      const root = join(folder.path, "not", "yet");
      const destination = await openFolderDestination({ root, createRoot: true, ...(link && { link }) });
      return {
        destination,
        read: async (key) => readOrNull(join(root, key)),
        plant: async (key, bytes) => {
          await mkdir(dirname(join(root, key)), { recursive: true });
          writeFileSync(join(root, key), bytes);
        },
        keys: async () => filesBelow(root),
        close: async () => {
          await destination.close();
          folder.remove();
        },
      };
    },
    { largeBytes: 1_000_003 },
  );
}
