/** Looking keys up in the bucket's listing: pages are read where the keys are, and gaps jumped over. */
import { compareKeys } from "../../core/key.ts";
import type { FoundObject } from "../../core/ports.ts";
import { listObjects } from "./calls.ts";
import type { Client } from "./client.ts";

export interface Listing {
  /** Null when listing is not permitted. */
  find(keys: readonly string[], signal: AbortSignal): Promise<Map<string, FoundObject> | null>;
  /** What was read is out of date: something has been written. */
  forget(): void;
}

/** What one answer told: everything in the bucket above `after`, up to and including `upTo` (null: to the end). */
interface Page {
  after: string;
  upTo: string | null;
  objects: Map<string, FoundObject>;
  readAtMs: number;
}

/** A page serves the next batch of keys as well, but not for long: others write to the bucket too. */
const pageServesMs = 5_000;

export function createListing(client: Client, now: () => number): Listing {
  let page: Page | null = null;

  function covers(key: string): boolean {
    if (page === null || now() - page.readAtMs > pageServesMs) return false;
    return compareKeys(key, page.after) > 0 && (page.upTo === null || compareKeys(key, page.upTo) <= 0);
  }

  return {
    async find(keys, signal) {
      const found = new Map<string, FoundObject>();
      for (const key of [...keys].sort(compareKeys)) {
        if (!covers(key)) {
          const after = keyBefore(key);
          const listed = await listObjects(client, { startAfter: after }, signal);
          if (listed === null) return null;
          const objects = new Map(listed.objects.map((object) => [object.key, object.found]));
          page = {
            after,
            upTo: listed.truncated ? (listed.objects.at(-1)?.key ?? null) : null,
            objects,
            readAtMs: now(),
          };
        }
        const object = page?.objects.get(key);
        if (object !== undefined) found.set(key, object);
      }
      return found;
    },
    forget() {
      page = null;
    },
  };
}

/**
 * Where to list from to see this key: below it, with few strangers between. Drops the last character and, where that
 * leaves printable text, steps to just before it.
 */
function keyBefore(key: string): string {
  const characters = [...key];
  const last = characters.pop()?.codePointAt(0) ?? 0;
  const stem = characters.join("");
  const printable = last > 0x21 && last < 0x7f;
  return printable ? `${stem}${String.fromCharCode(last - 1)}~` : stem;
}
