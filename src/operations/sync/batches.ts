import type { Oddity } from "../../core/ports.ts";
import type { FolderChanges, SeenFile } from "../../core/sync.ts";

/** Files that are looked up in the database together. */
export interface Batch {
  files: SeenFile[];
  oddities: Oddity[];
  isAnew: boolean;
  done(files: readonly SeenFile[]): void;
}

/** Folders put together, about `size` files at a time. */
export async function* inBatches(changes: AsyncIterable<FolderChanges>, size: number): AsyncGenerator<Batch> {
  let folders: FolderChanges[] = [];
  let count = 0;
  const batchOf = (some: FolderChanges[]): Batch => ({
    files: some.flatMap(({ files }) => files),
    oddities: some.flatMap(({ oddities }) => oddities),
    isAnew: some.some(({ isAnew }) => isAnew),
    done(files) {
      const dealtWith = new Set(files);
      for (const folder of some) folder.done(folder.files.filter((file) => dealtWith.has(file)));
    },
  });
  for await (const folder of changes) {
    folders.push(folder);
    count += folder.files.length + folder.oddities.length;
    if (count < size) continue;
    yield batchOf(folders);
    folders = [];
    count = 0;
  }
  if (folders.length > 0) yield batchOf(folders);
}
