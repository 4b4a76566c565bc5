import { defineConfig } from "vitest/config";

/** The suite against real servers from Debian packages: slow to start, one file at a time. */
export default defineConfig({
  test: {
    include: ["test/referee/**/*.referee.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    pool: "forks",
    fileParallelism: false,
  },
});
