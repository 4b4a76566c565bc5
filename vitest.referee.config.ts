import { defineConfig } from "vitest/config";

/**
 * The suite against real servers from Debian packages, slow to start, one file at a time; and the walks that take too long
 * for `npm test`, in full.
 */
export default defineConfig({
  test: {
    include: ["test/referee/**/*.referee.test.ts", "test/**/*-kill.test.ts", "test/faults/database.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    env: { UPLOADER_TESTS: "whole" },
    testTimeout: 120_000,
    hookTimeout: 180_000,
    pool: "forks",
    fileParallelism: false,
  },
});
