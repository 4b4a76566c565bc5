/** Places become absolute: those of the file from its folder, all others from the working directory. */
import { existsSync, realpathSync } from "node:fs";
import { sep } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { type DestinationPlace, parseDestination, parseFolder, projectNameOf } from "./destination.ts";
import type { Layer } from "./layers.ts";

export type Placed<T> = Omit<T, "destination"> & { destination: DestinationPlace | null };

interface Places {
  project: string | null;
  source: string | null;
  destination: string | null;
  usersFile: string | null;
}

/** `from` says where each was written. Without a project, the destination's name becomes it. */
export function place<T extends Places>(settings: T, from: Layer, cwd: string): Placed<T> {
  const folder = (path: "source" | "usersFile") =>
    readPlace(path, settings[path], from, cwd, (text, base) => parseFolder(text, base, path));
  const destination = readPlace("destination", settings.destination, from, cwd, parseDestination);
  return {
    ...settings,
    source: folder("source"),
    usersFile: folder("usersFile"),
    destination,
    project: settings.project ?? (destination === null ? null : projectNameOf(destination)),
  };
}

/** An error says where the place was written. */
export function readPlace<T>(
  path: string,
  text: string | null,
  from: Layer,
  cwd: string,
  read: (text: string, baseDirectory: string) => T,
): T | null {
  if (text === null) return null;
  const setting = from.get(path);
  try {
    return read(text, setting?.baseDirectory ?? cwd);
  } catch (error) {
    if (!(error instanceof UploaderError) || setting === undefined) throw error;
    const code = /^(flag|argument) /.test(setting.origin) ? "usage" : error.code;
    const details = error.hint === undefined ? {} : { hint: error.hint };
    throw new UploaderError(code, `${setting.origin}: ${error.message}`, { ...details, cause: error.cause });
  }
}

/** Is a folder one of these, or below one? */
export function isWithin(folder: string, roots: readonly (string | null)[]): boolean {
  const here = realPath(folder);
  return roots.some((root) => {
    if (root === null) return false;
    const real = realPath(root);
    return here === real || here.startsWith(real.endsWith(sep) ? real : real + sep);
  });
}

const realPath = (path: string): string => (existsSync(path) ? realpathSync(path) : path);
