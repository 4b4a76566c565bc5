/**
 * What claimed files will want of the database, asked together with the claim: an outage that begins afterwards stops none
 * of them. What happens to their uploads meanwhile is remembered here too, for a file may be tried again before anybody
 * could be told.
 */
import { multipartFromBytes } from "../core/part-size.ts";
import type { OpenUpload, UploadMemory } from "../core/ports.ts";
import type { ClaimedFile, KnownObject } from "../core/store.ts";
import type { Context } from "./context.ts";
import type { Recorder } from "./recorder.ts";

export interface Provisions {
  /** Resolves when what these files need is at hand. */
  fetch(files: readonly ClaimedFile[]): Promise<void>;
  /** What `objects` says of the file's key. */
  known(file: ClaimedFile): Promise<KnownObject | null>;
  readonly uploads: UploadMemory;
  /** The file's attempt has ended. */
  forget(file: ClaimedFile): void;
}

export function createProvisions(
  cx: Pick<Context, "store" | "wallClock">,
  destinationId: number,
  recorder: Pick<Recorder, "record">,
): Provisions {
  const objects = new Map<string, KnownObject | null>();
  const uploads = new Map<number, OpenUpload | null>();
  const nothing = (): void => undefined;
  const openOf = (uploadId: string): [fileId: number, upload: OpenUpload] | null => {
    for (const [fileId, upload] of uploads) if (upload?.uploadId === uploadId) return [fileId, upload];
    return null;
  };

  return {
    async fetch(files) {
      const keys = files.filter(({ expect }) => expect === "known").map(({ key }) => key);
      const large = files.filter(({ sizeBytes }) => sizeBytes >= multipartFromBytes).map(({ id }) => id);
      const [known, open] = await Promise.all([
        keys.length > 0 ? cx.store.known(destinationId, keys) : null,
        large.length > 0 ? cx.store.uploads.findAll(large) : null,
      ]);
      for (const key of keys) objects.set(key, known?.get(key) ?? null);
      for (const id of large) uploads.set(id, open?.get(id) ?? null);
    },
    async known({ key }) {
      const fetched = objects.get(key);
      return fetched === undefined ? ((await cx.store.known(destinationId, [key])).get(key) ?? null) : fetched;
    },
    uploads: {
      async find(fileId) {
        const fetched = uploads.get(fileId);
        const upload = fetched === undefined ? await cx.store.uploads.find(fileId) : fetched;
        // A copy: parts are added here while the finder works with what it found.
        return upload && { ...upload, parts: [...upload.parts] };
      },
      async begin(fileId, upload) {
        await recorder.record({ call: "begin", fileId, upload, atMs: cx.wallClock() }, nothing);
        uploads.set(fileId, { ...upload, parts: [] });
      },
      async part(uploadId, part) {
        await recorder.record({ call: "part", uploadId, part }, nothing);
        openOf(uploadId)?.[1].parts.push(part);
      },
      async end(uploadId, state) {
        await recorder.record({ call: "end", uploadId, state }, nothing);
        const open = openOf(uploadId);
        if (open) uploads.set(open[0], null);
      },
    },
    forget({ id, key }) {
      objects.delete(key);
      uploads.delete(id);
    },
  };
}
