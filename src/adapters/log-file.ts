/** A log that never fills the disk: beyond a size it is put aside as FILE.1, that as FILE.2, and the oldest goes. */
import { closeSync, fstatSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { UploaderError } from "../core/errors.ts";
import { errnoOf } from "./errno.ts";

export interface LogFileOptions {
  path: string;
  maxSizeBytes: number;
  /** How many that were put aside stay; 0: none. */
  keep: number;
  /** Gets what the file could not take, a full disk for example. */
  onFailure(text: string): void;
}

export interface LogFile {
  write(text: string): void;
  /** For somebody else's rotation: from now on the file of this name. */
  reopen(): void;
  close(): void;
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such folder",
  ENOTDIR: "a part of its path is a file",
  EISDIR: "it is a folder",
  EACCES: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
};

/** Newest first. */
export const putAside = (path: string, keep: number): string[] =>
  Array.from({ length: keep }, (_, i) => `${path}.${i + 1}`);

/** Readable by the owner and the group: names of files stand in it. */
const mode = 0o640;

/** Lines are written at once and whole, so several processes may share a file. Errors: config_invalid. */
export function openLogFile({ path, maxSizeBytes, keep, onFailure }: LogFileOptions): LogFile {
  let descriptor = open();

  function open(): number {
    try {
      return openSync(path, "a", mode);
    } catch (error) {
      throw new UploaderError(
        "config_invalid",
        `the log file ${path} cannot be written: ${reasons[errnoOf(error) ?? ""] ?? String(error)}`,
        {
          cause: error,
          hint: "make its folder, or name another one: --log-file",
        },
      );
    }
  }

  const reopen = (): void => {
    const fresh = open();
    closeSync(descriptor);
    descriptor = fresh;
  };

  /** Another process may have put it aside already: then only its successor is opened. */
  const rotate = (): void => {
    if (statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(descriptor).ino) {
      const names = [path, ...putAside(path, keep)];
      for (let i = names.length - 1; i > 0; i--) {
        if (statSync(names[i - 1]!, { throwIfNoEntry: false })) renameSync(names[i - 1]!, names[i]!);
      }
      if (keep === 0) rmSync(path);
    }
    reopen();
  };

  return {
    write(text) {
      try {
        const { size } = fstatSync(descriptor);
        if (size > 0 && size + Buffer.byteLength(text) > maxSizeBytes) rotate();
        writeSync(descriptor, text);
      } catch {
        // What cannot be logged must not stop what is being logged.
        onFailure(text);
      }
    },
    reopen() {
      try {
        reopen();
      } catch (error) {
        onFailure(`${(error as Error).message}\n`);
      }
    },
    close: () => closeSync(descriptor),
  };
}
