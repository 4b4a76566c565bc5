import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openFolderDestination } from "../../src/adapters/folder.ts";
import type { Destination } from "../../src/core/ports.ts";
import { runUpload, testContext } from "../support/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let db: TestDatabase;
let scratch: string;
let to: Destination;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), "uploader-test-"));
  mkdirSync(join(scratch, "card/a/b"), { recursive: true });
  for (let n = 0; n < 30; n++) writeFileSync(join(scratch, `card/a/b/${n}.wav`), `recording ${n}`);
  to = await openFolderDestination({ root: join(scratch, "archive"), createRoot: true });
});
afterEach(async () => {
  await to.close();
  rmSync(scratch, { recursive: true, force: true });
});
const context = (policy = {}) => testContext({ db, destination: to, root: join(scratch, "card"), policy });

describe("upload to a folder", () => {
  it("sends every selected file, and the second run sends none", async () => {
    const cx = context();
    const first = await runUpload(cx);
    expect(first).toMatchObject({
      status: "completed",
      exitCode: 0,
      totalFiles: 30,
      filesUploaded: 30,
      filesThisRun: 30,
    });
    expect(readFileSync(join(scratch, "archive/C1/a/b/7.wav"), "utf8")).toBe("recording 7");
    const second = await runUpload(context());
    expect(second).toMatchObject({
      status: "completed",
      exitCode: 0,
      totalFiles: 30,
      filesUploaded: 0,
      filesSkipped: 30,
      filesThisRun: 0,
    });
    expect(second.sessionId).toBeGreaterThan(first.sessionId!);
  });

  it("a card with the same names and other bytes does not overwrite the first", async () => {
    await runUpload(context());
    writeFileSync(join(scratch, "card/a/b/3.wav"), "another card's recording");
    const again = await runUpload(context());
    expect(again).toMatchObject({ status: "completed_with_errors", exitCode: 3, filesFailed: 1, filesSkipped: 29 });
    expect(readFileSync(join(scratch, "archive/C1/a/b/3.wav"), "utf8")).toBe("recording 3");
    const replaced = await runUpload(context({ onChange: "replace" }));
    expect(replaced).toMatchObject({ exitCode: 0, filesUploaded: 1, filesSkipped: 29 });
    expect(readFileSync(join(scratch, "archive/C1/a/b/3.wav"), "utf8")).toBe("another card's recording");
  });
});
