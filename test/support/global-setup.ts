/** One embedded server for all test files, as `uploader` itself starts it; or TEST_DATABASE_URL. */

import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { embeddedUrl, ensureEmbedded } from "../../src/store/embedded.ts";
import { removeFolder } from "./remove-folder.ts";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const named = process.env.TEST_DATABASE_URL;
  if (named) {
    project.provide("databaseUrl", named);
    return async () => undefined;
  }
  // Everybody may enter: as root, the server runs as another user.
  const stateDirectory = join(mkdtempSync(join(tmpdir(), "uploader-tests-")), "state");
  const address = await ensureEmbedded({ stateDirectory, idleSeconds: 60 });
  // One client for the whole run: between two test files there may be none, and the keeper would stop the server.
  const presence = new pg.Client({ ...address });
  presence.on("error", () => undefined);
  await presence.connect();
  // Commits need not reach the disk: a test in which the server dies has one of its own.
  await presence.query("alter role current_user set synchronous_commit = off");
  project.provide("databaseUrl", embeddedUrl(address));
  return async () => {
    await presence.end();
    const pid = Number(readFileSync(join(stateDirectory, "database", "postmaster.pid"), "utf8").split("\n")[0]);
    process.kill(pid, "SIGINT");
    await removeFolder(join(stateDirectory, ".."));
  };
}
