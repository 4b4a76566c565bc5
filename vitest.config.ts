import { defineConfig } from "vitest/config";
import { long } from "./vitest.long.config.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/referee/**", ...long, "node_modules/**"],
    globalSetup: ["test/support/global-setup.ts"],
    // Far more than anything takes: a machine that pauses is no failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000, interval: 20 } },
    pool: "forks",
    // One more than the two cores that are promised: tests of real programs wait for them a third of their time.
    maxWorkers: 3,
  },
});
