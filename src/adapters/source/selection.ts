import picomatch from "picomatch";
import { UploaderError } from "../../core/errors.ts";
import { defaultInclude, mayBeShimmer } from "../../core/file-kinds.ts";

type Matcher = (path: string) => boolean;

/** Which paths of a tree are taken. Paths are relative to the root, NFC, `/` between segments. */
export interface Selection {
  /** Is this path, or the folder it names with all below it, left out by name? Comes before everything else. */
  isExcluded(path: string): boolean;
  /** Is a file of this path taken: yes, no, or only if it starts with a Shimmer header? */
  takes(path: string): "yes" | "no" | "by_header";
}

export interface SelectionOptions {
  /** Empty means the default: recordings by kind. */
  include: readonly string[];
  exclude: readonly string[];
  /** Exact relative paths left out with all below them: our own state, config and destination. */
  excludePaths: readonly string[];
}

/** `!(a|b)` is an extended glob, `!a` a negation. */
const isNegative = (pattern: string) => pattern.startsWith("!") && pattern[1] !== "(";
const positive = (pattern: string) => (isNegative(pattern) ? pattern.slice(1) : pattern);

const plainExtension = /^\*\*\/\*(\.[\p{L}\p{N}_-]+)$/u;

function compileGlobs(patterns: readonly string[]): Matcher {
  if (patterns.length === 0) return () => false;
  const matchers = patterns.map((pattern) => {
    try {
      // Without the flag `.` stops at a newline, and names may hold one.
      return picomatch(pattern, { dot: true, flags: "s" });
    } catch (cause) {
      throw new UploaderError("config_invalid", `the pattern ${JSON.stringify(pattern)} cannot be used`, { cause });
    }
  });
  return (path) => matchers.some((matches) => matches(path));
}

// Globs with fast-glob's meaning, dot files included. A pattern that names just an extension, `**/*.wav`, matches it in
// any case, because cards write `.WAV`; it is looked up in a set, as regular expressions cost 300,000 files far more.
function compile(patterns: readonly string[]): Matcher {
  const normal = patterns.map((pattern) => positive(pattern).normalize("NFC"));
  const extensions = new Set(normal.flatMap((pattern) => plainExtension.exec(pattern)?.[1]?.toLowerCase() ?? []));
  const matchesGlob = compileGlobs(normal.filter((pattern) => !plainExtension.test(pattern)));
  return (path) => {
    const dot = path.lastIndexOf(".");
    return (dot >= 0 && extensions.has(path.slice(dot).toLowerCase())) || matchesGlob(path);
  };
}

export function compileSelection({ include, exclude, excludePaths }: SelectionOptions): Selection {
  const wanted = include.filter((pattern) => !isNegative(pattern));
  const isDefault = wanted.length === 0;
  const isIncluded = compile(isDefault ? defaultInclude : wanted);
  const isUnwanted = compile([...exclude, ...include.filter(isNegative)]);
  const exact = new Set(excludePaths);
  return {
    isExcluded: (path) => exact.has(path) || isUnwanted(path),
    takes(path) {
      if (isIncluded(path)) return "yes";
      return isDefault && mayBeShimmer(path) ? "by_header" : "no";
    },
  };
}

/** The patterns behind a selection, for telling people: each compiled by itself, so not for whole trees. */
export interface DecidingPatterns {
  /** No include pattern is given: recordings by kind. */
  isDefault: boolean;
  /** As the user wrote it; null: none. */
  excludedBy(path: string): string | null;
  includedBy(path: string): string | null;
}

export function decidingPatterns({ include, exclude }: Omit<SelectionOptions, "excludePaths">): DecidingPatterns {
  const wanted = include.filter((pattern) => !isNegative(pattern));
  const isDefault = wanted.length === 0;
  const first = (patterns: readonly string[], path: string) =>
    patterns.find((pattern) => compile([pattern])(path)) ?? null;
  return {
    isDefault,
    excludedBy: (path) => first([...exclude, ...include.filter(isNegative)], path),
    includedBy: (path) => first(isDefault ? defaultInclude : wanted, path),
  };
}
