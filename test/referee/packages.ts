import { describe, it } from "vitest";

/**
 * A suite that needs Debian packages. Where they are missing it fails in CI (`CI=true`) and is skipped, by name,
 * elsewhere: a referee that silently stays at home proves nothing.
 */
export function refereeSuite(name: string, missing: readonly string[], suite: () => void): void {
  if (missing.length === 0) {
    describe(name, suite);
    return;
  }
  const title = `${name}: not installed: ${missing.join(", ")}`;
  if (process.env.CI === "true") {
    it(title, () => {
      throw new Error(`the referee needs ${missing.join(", ")}`);
    });
  } else {
    it.skip(title);
  }
}
