/** Layers of settings by dotted path, best first, and how they become one tree. */
import type { JsonObject, JsonValue } from "./json-text.ts";

export interface Setting {
  value: JsonValue;
  /** `flag --s3-profile`, `argument source`, `environment UPLOADER_S3_PROFILE`, `file reef.json:12`, `borrowed AWS_PROFILE`, `default`. */
  origin: string;
  /** What relative paths are relative to. */
  baseDirectory: string;
  /** A flag or a variable emptied the key on purpose: layers below do not fill it. A file's `null` is a gap. */
  isFinal: boolean;
}

export type Layer = ReadonlyMap<string, Setting>;

/** For each path the best layer's setting; `null` yields to a lower layer's value unless it is final. */
export function mergeLayers(layers: readonly Layer[]): Map<string, Setting> {
  const merged = new Map<string, Setting>();
  for (const layer of layers) {
    for (const [path, setting] of layer) {
      const better = merged.get(path);
      const isGap = better === undefined || (better.value === null && !better.isFinal);
      if (isGap && (better === undefined || setting.value !== null)) merged.set(path, setting);
    }
  }
  return merged;
}

/** `{"s3.region": …}` as `{"s3": {"region": …}}`. */
export function treeOf(settings: Layer): JsonObject {
  const tree: JsonObject = {};
  for (const [path, { value }] of settings) {
    const segments = path.split(".");
    const last = segments.pop()!;
    let group = tree;
    for (const segment of segments) {
      group[segment] ??= {};
      group = group[segment] as JsonObject;
    }
    group[last] = value;
  }
  return tree;
}
