/** A session token that expires in the middle of a run: with new credentials nobody notices, without them one sentence. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Child, startUploader } from "../support/kill-driver.ts";
import { temporaryFolder } from "../support/tree.ts";
import { bucket, MiB, openScene, prefix, type Scene } from "./scene.ts";
import { expectComplete, partsSentTwice } from "./soundness.ts";

let scene: Scene;
let home: ReturnType<typeof temporaryFolder>;
beforeEach(async () => {
  const small = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`${n}.wav`, 100 + n]));
  scene = await openScene({ tree: { ...small, "large.wav": 17 * MiB } });
  home = temporaryFolder();
});
afterEach(async () => {
  await scene.close();
  home.remove();
});

let tokens = 0;
/** What the store takes from now on, and nothing else. */
function issue() {
  const { credentials } = scene.s3;
  for (const [id, credential] of credentials) credentials.set(id, { ...credential, expired: true });
  const credential = {
    accessKeyId: `ASIA${tokens++}`,
    secretAccessKey: "secretsecret",
    sessionToken: `token-${tokens}`,
  };
  credentials.set(credential.accessKeyId, credential);
  return credential;
}

type Issued = ReturnType<typeof issue>;

/** Where credentials come from, and how new ones get there. */
const sources: Record<string, (issued: Issued) => void> = {
  "the credentials file": ({ accessKeyId, secretAccessKey, sessionToken }) =>
    writeFileSync(
      join(home.path, "credentials"),
      `[field]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\naws_session_token = ${sessionToken}\n`,
    ),
  "a credential process": ({ accessKeyId, secretAccessKey, sessionToken }) => {
    const answer = {
      Version: 1,
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      SessionToken: sessionToken,
    };
    writeFileSync(join(home.path, "answer.json"), JSON.stringify(answer));
    writeFileSync(
      join(home.path, "config"),
      `[profile field]\ncredential_process = cat ${join(home.path, "answer.json")}\n`,
    );
  },
};

const start = (flags: string[] = []): Child =>
  startUploader(
    [
      ...["upload", scene.root, `s3://${bucket}/${prefix}`, "--endpoint-url", scene.store.endpoint],
      ...["--database-url", scene.postgres.url, "--database-schema", scene.schema, "--region", scene.s3.region],
      ...["--s3-profile", "field", "-j", "2", ...flags],
    ],
    {
      AWS_SHARED_CREDENTIALS_FILE: join(home.path, "credentials"),
      AWS_CONFIG_FILE: join(home.path, "config"),
      UPLOADER_STATE_DIR: scene.state,
    },
  );

/** Called when the store has taken so many parts and files. */
function afterPuts(count: number, then: () => void): void {
  let puts = 0;
  scene.store.onRequest = async (name, at) => {
    if (at === "answer" && name.startsWith("PUT") && ++puts === count) then();
    return true;
  };
}

const told = (output: string, type: string): { code?: string; cause?: string }[] =>
  output
    .split("\n")
    .filter((line) => line.startsWith(`{"type":"${type}"`))
    .map((line) => JSON.parse(line));

it.each(Object.entries(sources))("new ones in %s: the run goes on and says nothing", async (_, put) => {
  put(issue());
  afterPuts(6, () => put(issue()));
  const ended = await start().ended;
  expect(ended, ended.output).toMatchObject({ code: 0, summary: { status: "completed", filesFailed: 0 } });
  for (const type of ["pause", "error"]) expect(told(ended.output, type), ended.output).toEqual([]);
  await expectComplete(scene, scene.root, scene.paths);
});

it("none yet: one message and a pause, and it goes on by itself when they come", async () => {
  const put = sources["the credentials file"]!;
  put(issue());
  let next: Issued | null = null;
  afterPuts(6, () => {
    next = issue();
  });
  const child = start();
  expect(await child.said(({ type }) => type === "pause")).toMatchObject({ cause: "credentials_expired" });
  put(next!);
  const ended = await child.ended;
  expect(ended, ended.output).toMatchObject({ code: 0, summary: { status: "completed", filesFailed: 0 } });
  expect(told(ended.output, "pause")).toHaveLength(1);
  expect(told(ended.output, "resume")).toMatchObject([{ cause: "credentials_expired" }]);
  await expectComplete(scene, scene.root, scene.paths);
});

it("none at all: exit 12 with one message, nothing failed, and the next run sends what is left", async () => {
  const put = sources["the credentials file"]!;
  put(issue());
  let next: Issued | null = null;
  afterPuts(6, () => {
    next = issue();
  });
  const ended = await start(["--max-outage-minutes", "0.02"]).ended;
  expect(ended, ended.output).toMatchObject({ code: 12, summary: { status: "failed", filesFailed: 0, exitCode: 12 } });
  expect(told(ended.output, "error")).toMatchObject([{ code: "credentials_expired" }]);
  expect(told(ended.output, "pause")).toHaveLength(1);
  put(next!);
  scene.store.onRequest = async () => true;
  const again = await start().ended;
  expect(again, again.output).toMatchObject({ code: 0, summary: { status: "completed" } });
  expect(partsSentTwice(scene.s3)).toEqual([]);
  await expectComplete(scene, scene.root, scene.paths);
});
