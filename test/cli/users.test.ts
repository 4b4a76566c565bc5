/** Whoever runs it: the embedded database, a folder, and nothing else. */

import { chownSync, existsSync, mkdirSync, statSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { removeFolder } from "../support/remove-folder.ts";
import { filesBelow, openWorkplace, stopServer, type Workplace } from "./workplace.ts";

let place: Workplace;
const isRoot = process.getuid?.() === 0;
const nobody = 65534;
beforeAll(async () => {
  place = await openWorkplace();
  place.tree("card", { "a/1.wav": 100, "b/2.wav": 200 });
});
afterAll(() => place?.close());

const embedded = {
  UPLOADER_DATABASE_URL: undefined,
  UPLOADER_DATABASE_SCHEMA: undefined,
  UPLOADER_STATE_DIR: undefined,
};

/** A first run and one after it, in a folder of the user's own. */
async function used(name: string, env: Record<string, string | undefined>, uid?: number): Promise<void> {
  const own = place.path(name);
  mkdirSync(own, { recursive: true });
  if (uid !== undefined) chownSync(own, uid, uid);
  const options = { cwd: own, env: { ...embedded, ...env }, ...(uid === undefined ? {} : { uid }) };
  const first = await place.run(["upload", "../card", "archive"], options);
  expect(first.stderr).toMatch(/^the folder .* does not exist yet.*\nsession 1: .*\n$/);
  expect(first.stdout).toMatch(/^session 1 complete: .*\n {2}2 files, 300 B: 2 uploaded\n/);
  expect(first.exitCode).toBe(0);
  expect(filesBelow(`${own}/archive`)).toEqual(["a/1.wav", "b/2.wav"]);
  expect(statSync(`${own}/archive/a/1.wav`).uid).toBe(uid ?? process.getuid?.());
  const second = await place.run(["upload", "../card", "archive", "-q"], options);
  expect(second).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  expect(await place.run(["doctor"], options)).toMatchObject({ exitCode: 0 });
}

describe.concurrent("uploader upload CARD archive, with nothing installed", () => {
  it("as whoever runs this test", async () => {
    await used("mine", { XDG_STATE_HOME: place.path("mine/state") }).finally(() =>
      stopServer(place.path("mine/state/uploader")),
    );
  });

  it.skipIf(!isRoot)("as an ordinary user", async () => {
    await used("ordinary", { HOME: place.path("ordinary") }, nobody).finally(() =>
      stopServer(place.path("ordinary/.local/state/uploader")),
    );
  });

  it.skipIf(!isRoot)("as a user without a home", async ({ skip }) => {
    const state = `/var/tmp/uploader-${nobody}`;
    if (existsSync(state)) skip(`${state} is somebody's`);
    try {
      await used("homeless", { HOME: undefined }, nobody);
    } finally {
      stopServer(state);
      await removeFolder(state);
    }
  });

  it.skipIf(!isRoot)("as a user who may not write the state folder: exit 13, and what to do", async () => {
    const env = { ...embedded, UPLOADER_STATE_DIR: "/uploader-state-of-nobody" };
    const ended = await place.run(["status"], { env, uid: nobody });
    expect([ended.exitCode, ended.stdout]).toEqual([13, ""]);
    expect(ended.stderr).toMatch(
      /^error: the state folder \S+ cannot be used: permission denied\n {2}set UPLOADER_STATE_DIR/,
    );
  });
});
