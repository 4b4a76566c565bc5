/** kill -9 around a delivery: before and after each statement, and at each moment that the receiver sees. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openScene, type Scene } from "../faults/scene.ts";
import { type Boundary, type Child, runUntil, startUploader } from "../support/kill-driver.ts";
import { answers, type Receiver, secret, startReceiver } from "../support/receiver.ts";
import { candidate, fact, openWork } from "../support/session.ts";

let scene: Scene;
let receiver: Receiver;
beforeAll(async () => {
  scene = await openScene({ tree: { "a/1.wav": 10, "a/2.wav": 20 } });
  receiver = await startReceiver();
});
afterAll(async () => {
  await receiver?.close();
  await scene?.close();
});

/** The wire calls a COMMIT by what it commits. */
const around = (...names: string[]): Boundary[] => names.flatMap((name) => [`before ${name}`, `after ${name}`]);
/** Its head is there · it is there, and not answered · it is answered. */
const seen = ["head", "body", "answer"] as const;
const sending = around(
  "deliveries_next",
  "deliveries_leased",
  "deliveries_claim",
  "deliveries_read",
  "deliveries_record",
);

const uploading = [
  ...around("deliveries_promise", "sessions_close", "deliveries_ripe", "deliveries_recipe", "deliveries_piece"),
  ...around("deliveries_list_session", "deliveries_freeze", "commit of deliveries_freeze"),
  ...sending,
  ...seen,
];
const triggering = [
  ...around(
    "deliveries_same",
    "deliveries_insert",
    "deliveries_freeze",
    "commit of deliveries_redirect",
    "deliveries_get",
  ),
  ...sending,
  ...seen,
];

const environment = (): NodeJS.ProcessEnv => ({
  UPLOADER_STATE_DIR: scene.state,
  UPLOADER_TRIGGER_SECRET: secret,
  UPLOADER_TRIGGER_LIST_FILES: "true",
  AWS_ACCESS_KEY_ID: scene.s3.credential.accessKeyId,
  AWS_SECRET_ACCESS_KEY: scene.s3.credential.secretAccessKey,
});

const where = (): string[] => ["--database-url", scene.postgres.url, "--database-schema", scene.schema];

const upload = (): Child =>
  startUploader(
    [
      "upload",
      scene.root,
      "s3://reef/C1",
      "--endpoint-url",
      scene.store.endpoint,
      "--region",
      scene.s3.region,
      ...where(),
      "--trigger-url",
      receiver.url,
    ],
    environment(),
  );
const trigger = (): Child =>
  startUploader(["trigger", "latest", "--url", receiver.url, "--project", "reef", ...where()], environment());

/** Runs the child until the moment, kills it there, and says whether there was such a moment. */
async function killAt(start: () => Child, moment: Boundary): Promise<boolean> {
  if (!seen.some((each) => each === moment)) {
    const { killedAt } = await runUntil(scene, start, (boundary) => boundary === moment);
    // To the dead nobody answers; to the next one, everybody.
    scene.store.onRequest = async () => true;
    return killedAt !== null;
  }
  let killed = false;
  let child: Child | null = null;
  const kill = async (): Promise<void> => {
    killed = true;
    await child!.kill();
  };
  if (moment === "head") {
    receiver.onHead = () => {
      receiver.onHead = null;
      void kill();
      return false;
    };
  }
  if (moment === "body") receiver.script = [kill];
  if (moment === "answer") {
    receiver.script = [
      async (got, response) => {
        // The answer is on its way, and whether it arrives nobody knows.
        await answers(200)(got, response);
        await kill();
      },
    ];
  }
  child = start();
  await child.ended;
  return killed;
}

interface Row extends Record<string, unknown> {
  webhook_id: string;
  status: string;
}

/** Whatever was killed: one delivery, delivered; the receiver saw one id, one body, and signatures that hold. */
async function expectOneDelivery(): Promise<void> {
  const rows = await scene.sql<Row>(`select webhook_id, status from :"schema".deliveries`);
  expect(rows).toEqual([{ webhook_id: receiver.received[0]!.id, status: "delivered" }]);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1);
  const whole = receiver.received.filter(({ headers, body }) => body.length === Number(headers["content-length"]));
  expect(new Set(whole.map(({ body }) => body.toString())).size).toBe(1);
  expect((whole[0]!.json() as { files: string[] }).files).toEqual(["s3://reef/C1/a/1.wav", "s3://reef/C1/a/2.wav"]);
  for (const got of whole) receiver.verify(got);
}

async function afresh(): Promise<void> {
  await scene.reset();
  receiver.received.length = 0;
  receiver.script = [];
  receiver.onHead = null;
}

/** A session whose files are there, past the wire: who sent them is not this test's matter. */
async function uploaded(): Promise<void> {
  const db = scene.direct();
  const opened = await openWork(db);
  const files = scene.paths.map((path) => candidate(path));
  await db.store.register(opened.sessionId, opened.destinationId, files, "absent");
  const claimed = await db.store.claim(opened.sessionId, opened.workerId, 0, 10, 3);
  const end = { requestId: null, durationMs: 1 };
  await db.store.settle(
    opened.workerId,
    claimed.map((file) => ({ move: "settle", file, object: fact(file), ...end })),
  );
  await db.store.scanned(opened.sessionId, 0, 0, true);
  await db.store.endWorker(opened.workerId, "done");
  await db.store.closeSession(opened.sessionId);
}

let kills = 0;

describe("kill -9", { timeout: 300_000 }, () => {
  it.each(uploading)("of an upload that tells, at: %s", async (moment) => {
    await afresh();
    expect(await killAt(upload, moment)).toBe(true);
    kills++;
    const ended = await upload().ended;
    expect(ended.code, ended.output).toBe(0);
    await expectOneDelivery();
  });

  it.each(triggering)("of a trigger, at: %s", async (moment) => {
    await afresh();
    await uploaded();
    expect(await killAt(trigger, moment)).toBe(true);
    kills++;
    const ended = await trigger().ended;
    expect(ended.code, ended.output).toBe(0);
    await expectOneDelivery();
  });

  it("fifty of them", () => expect(kills).toBeGreaterThanOrEqual(50));
});
