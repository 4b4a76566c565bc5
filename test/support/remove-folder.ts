import { rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** A server that is still ending makes files in folders that are being emptied: all of it again, until nothing is left. */
export async function removeFolder(path: string): Promise<void> {
  for (let left = 300; ; left--) {
    try {
      return rmSync(path, { recursive: true, force: true });
    } catch (error) {
      if (left === 0) throw error;
      await delay(100);
    }
  }
}
