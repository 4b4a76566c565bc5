/** Why one path is sent, or is not: the scan's own rules in the scan's own order, told instead of obeyed. */
import { lstat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { isNeverSent, kindOf, mayBeShimmer } from "../../core/file-kinds.ts";
import type { SelectionRules, SelectionVerdict } from "../../core/ports.ts";
import { errnoOf } from "../errno.ts";
import { realPathOf } from "../folder/root.ts";
import { createPace } from "../pace.ts";
import { lookAt } from "./file-look.ts";
import { decidingPatterns } from "./selection.ts";

export interface SelectionRulesOptions {
  root: string;
  include: readonly string[];
  exclude: readonly string[];
  /** Absolute paths never sent: our own state and configuration. */
  excludePaths: readonly string[];
}

export async function openSelectionRules(options: SelectionRulesOptions): Promise<SelectionRules> {
  const { root, include, exclude } = options;
  const real = await Promise.all(options.excludePaths.map(realPathOf));
  const own = new Set(real.map((path) => relative(root, path).normalize("NFC")));
  const patterns = decidingPatterns({ include, exclude });

  /** What a name alone decides about the path or a folder above it; null: nothing against it. */
  const against = (path: string, isFile: boolean): SelectionVerdict | null => {
    const no = (rule: SelectionVerdict["rule"], detail: string | null) => ({ selected: false, rule, detail, at: path });
    if (isFile && isNeverSent(basename(path))) return no("never_sent", basename(path));
    if (own.has(path)) return no("own_file", null);
    const pattern = patterns.excludedBy(path);
    return pattern === null ? null : no("exclude", pattern);
  };

  const byName = (path: string): SelectionVerdict => {
    const normal = path.normalize("NFC");
    for (const folder of foldersAbove(normal)) {
      const verdict = against(folder, false);
      if (verdict) return verdict;
    }
    const verdict = against(normal, true);
    if (verdict) return verdict;
    const pattern = patterns.includedBy(normal);
    const is = (rule: SelectionVerdict["rule"], detail: string | null, selected = true) => ({
      selected,
      rule,
      detail,
      at: path,
    });
    if (pattern !== null) return patterns.isDefault ? is("kind", kindOf(normal)) : is("include", pattern);
    if (patterns.isDefault && mayBeShimmer(normal)) return is("shimmer_header", null);
    return is("no_include", null, false);
  };

  return {
    byName,
    async onDisk(path) {
      for (const folder of foldersAbove(path)) {
        if (await isLink(join(root, folder))) return { selected: false, rule: "symlink", detail: null, at: folder };
      }
      const verdict = byName(path);
      const isByHeader = verdict.rule === "shimmer_header";
      const [look] = await lookAt([{ path: join(root, path), isByHeader }], createPace());
      if (look!.kind === "file") return verdict;
      if (look!.kind === "other") return { ...verdict, selected: false, rule: "no_shimmer_header" };
      if (look!.kind === "vanished" && (await isFolder(join(root, path)))) {
        return { selected: false, rule: "folder", detail: null, at: path };
      }
      return verdict.selected || look!.kind === "vanished"
        ? { selected: false, rule: look!.kind, detail: null, at: path }
        : verdict;
    },
  };
}

/** `a`, `a/b` of `a/b/c.wav`. */
function foldersAbove(path: string): string[] {
  const segments = path.split("/").slice(0, -1);
  return segments.map((_, at) => segments.slice(0, at + 1).join("/"));
}

async function isLink(path: string): Promise<boolean> {
  return (await statsOf(path))?.isSymbolicLink() ?? false;
}

async function isFolder(path: string): Promise<boolean> {
  return (await statsOf(path))?.isDirectory() ?? false;
}

async function statsOf(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
}
