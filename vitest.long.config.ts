import { defineConfig } from "vitest/config";

/** What takes too long for `npm test`: dying at every boundary, several processes on one session, a fault at every statement, 24 simulated hours. */
export const long = [
  "test/**/*-kill.test.ts",
  "test/faults/kill.test.ts",
  "test/faults/kill-moves.test.ts",
  "test/faults/several.test.ts", // waits for a real heartbeat
  "test/faults/database.test.ts",
  "test/operations/sync-day.test.ts",
];

export default defineConfig({
  test: {
    include: long,
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000, interval: 20 } },
    pool: "forks",
    maxWorkers: 2,
  },
});
