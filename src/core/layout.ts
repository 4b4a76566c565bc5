/** Where a source's files go: the port between a scan and registration. `upload` and `sync` ask the same one. */
import type { ObjectType } from "./object-metadata.ts";

/** A scanned file that has a possible key. */
export interface LayoutFile {
  /** Relative to the source, as on disk. */
  path: string;
  /** Relative key by the folders: the path in NFC (ScannedFile.key). */
  key: string;
  sizeBytes: number;
  mtimeNs: bigint;
}

/** Lower goes first. What a person waits for comes before bulk. */
export const priorities = { signup: 1, package: 2, report: 3, bulk: 5 } as const;

/** A file that is to be sent, and where. */
export interface Placement {
  /** Of the source file; of a made body, of the file that it was made from. */
  path: string;
  /** Relative to the destination's prefix. */
  key: string;
  sizeBytes: number;
  /** Of a made body: when this state was first seen, so that the same state is safe for ever. */
  mtimeNs: bigint;
  type: ObjectType;
  priority: number;
  /** Bytes that the layout made; null: the source file itself. */
  body: Uint8Array | null;
}

/** A file that is not to be sent yet. */
export interface Waiting extends LayoutFile {
  /** A word for `reason`: settling, package_incomplete … */
  reason: string;
  /** Wall clock, ms: when it is worth another look; null: at the next pass. */
  untilMs: number | null;
}

/** A file that is not sent for good, which a row says (`skipped`). */
export interface LeftOut extends LayoutFile {
  reason: string;
}

export interface LayoutPlan {
  placements: Placement[];
  waiting: Waiting[];
  leftOut: LeftOut[];
  /** For the user, once each: what could not be understood. */
  notices: string[];
}

export interface LayoutQuestion {
  destinationId: number;
  /** The destination's prefix: full keys are joinKey(prefix, key). */
  prefix: string;
  /** Wall clock, ms. */
  nowMs: number;
  /** Size, mtime and inode have rested for as long as asked, over two looks. `upload` takes every file as it is. */
  isSettled(file: LayoutFile): boolean;
}

export interface Layout {
  /** Whether `plan` may be asked batch by batch, or needs all files of the source in one call. */
  readonly takes: "batches" | "folder";
  plan(files: readonly LayoutFile[], question: LayoutQuestion): Promise<LayoutPlan>;
}

/** Keys as the folders are. */
export const mirrorLayout: Layout = {
  takes: "batches",
  plan: async (files) => ({
    // Field by field: the spread costs 3 us a file.
    placements: files.map(({ path, key, sizeBytes, mtimeNs }) => {
      return { path, key, sizeBytes, mtimeNs, type: "recording", priority: priorities.bulk, body: null };
    }),
    waiting: [],
    leftOut: [],
    notices: [],
  }),
};
