/** The outbox on a real database, and what an endpoint may do to it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openWebhook } from "../../src/adapters/webhook.ts";
import type { DeliveryPlan, Trigger } from "../../src/core/deliveries.ts";
import type { Event } from "../../src/core/events.ts";
import { type DeliveryContext, promiseDelivery, sendDue, tellPass } from "../../src/operations/deliveries.ts";
import { type TriggerInput, trigger } from "../../src/operations/trigger.ts";
import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { answers, olderSecret, type Receiver, secret, startReceiver } from "../support/receiver.ts";
import { fact, openWork, rowIn } from "../support/session.ts";

let db: TestDatabase;
let receiver: Receiver;
let project = 0;
beforeAll(async () => {
  db = await testDatabase({ isAlive: ({ pid }) => (pid >= 100 ? false : null) });
});
afterAll(() => db?.drop());
beforeEach(async () => {
  receiver = await startReceiver();
  project++;
});
afterEach(() => receiver.close());

const reef = (): string => `reef-${project}`;

const planTo = (url: string, over: Partial<DeliveryPlan["recipe"]> = {}): DeliveryPlan => ({
  url,
  shownUrl: url,
  recipe: {
    format: "session",
    listFiles: false,
    jobName: null,
    functionName: null,
    moduleName: null,
    sqsQueue: null,
    sqsRegion: null,
    ...over,
  },
});

interface Options {
  plan?: DeliveryPlan | null;
  signing?: string[];
  apiKey?: string | null;
  waitMs?: number;
  pid?: number;
}

/** Time goes on only when something is waited for; the database's is moved along with it. */
function context(options: Options = {}) {
  const events: Event[] = [];
  const slept: number[] = [];
  /** When each of those pauses was asked for, by `performance.now()`. */
  const askedMs: number[] = [];
  const stopping = new AbortController();
  let nowMs = 0;
  const own: Trigger = {
    plan: options.plan === undefined ? planTo(receiver.url) : options.plan,
    secrets: { signing: options.signing ?? [secret], apiKey: options.apiKey ?? null },
    webhook: openWebhook({ allowLinkLocal: false, env: {} }),
    timeoutMs: 5_000,
    waitMs: options.waitMs ?? 120_000,
  };
  const cx: DeliveryContext & { trigger: Trigger } = {
    store: db.store,
    me: worker(options.pid ?? 1),
    now: () => nowMs,
    wallClock: Date.now,
    random: Math.random,
    async sleep(delayMs) {
      slept.push(delayMs);
      askedMs.push(performance.now());
      nowMs += delayMs;
      await passes(delayMs);
    },
    emit: (event) => events.push(event),
    stopping: stopping.signal,
    dropping: new AbortController().signal,
    trigger: own,
  };
  const said = (): string => events.flatMap((event) => (event.type === "notice" ? [event.message] : [])).join("\n");
  return { ...cx, events, slept, askedMs, said, stop: () => stopping.abort() };
}

/** As if so much time had gone by in the database. */
const passes = (delayMs: number): Promise<unknown> =>
  db.sql(
    `update :"schema".deliveries set next_attempt_at = next_attempt_at - make_interval(secs => $1),
       lease_until = lease_until - make_interval(secs => $1), asked_until = asked_until - make_interval(secs => $1)`,
    [delayMs / 1000],
  );

/** A closed session of this test's project with so many files in these states. */
async function session(uploaded: number, failed = 0, over: { close?: boolean; command?: string } = {}) {
  const opened = await openWork(db, {
    project: reef(),
    source: `/cards/${project}`,
    command: over.command ?? "upload",
  });
  for (let n = 0; n < uploaded; n++) await rowIn(db, opened, "uploaded");
  for (let n = 0; n < failed; n++) await rowIn(db, opened, "failed");
  if (over.close !== false) await close(opened);
  return opened;
}

async function close(opened: { sessionId: number; workerId: number }): Promise<void> {
  await db.store.scanned(opened.sessionId, 0, 0, true);
  await db.store.endWorker(opened.workerId, "done");
  await db.store.closeSession(opened.sessionId);
}

async function tell(cx: ReturnType<typeof context>, sessionId: number, over: Partial<TriggerInput> = {}) {
  return trigger(cx, {
    session: (await db.store.session(sessionId))!,
    plan: cx.trigger.plan,
    force: false,
    waitMs: cx.trigger.waitMs,
    stopSignal: () => null,
    ...over,
  });
}

const statusOf = async (deliveryId: number) => (await db.store.deliveries.delivery(deliveryId))!.status;

describe("what is said", () => {
  it("session format: the seed's fields, signed, and the answer is kept", async () => {
    const { sessionId } = await session(3);
    receiver.otherwise = answers(202, '{"status":"queued","job_id":"job-7","message":"ok"}');
    const told = await tell(context(), sessionId);
    expect(told).toMatchObject({
      exitCode: 0,
      delivery: { status: "delivered", httpStatus: 202, jobId: "job-7", attempts: 1, files: 3 },
    });
    const [got] = receiver.received;
    expect(got!.json()).toEqual({
      session_id: sessionId,
      bucket_name: "reef",
      s3_prefix: "C1",
      total_files: 3,
      files_uploaded: 3,
      total_size_bytes: 30,
      local_directory: `/cards/${project}`,
    });
    receiver.verify(got!);
    expect(got!.headers).toMatchObject({
      "content-type": "application/json",
      "content-length": String(got!.body.length),
    });
    expect(got!.headers).not.toHaveProperty("api_key");
    expect(got!.id).toBe(told.delivery.webhookId);
  });

  it("job format: the envelope, one path or all of them in the order of ids, and the API key", async () => {
    const { sessionId } = await session(2);
    const cx = context({ plan: planTo(receiver.url, { format: "job" }), apiKey: "key-1" });
    await tell(cx, sessionId);
    const listed = context({
      plan: planTo(receiver.url, {
        format: "job",
        listFiles: true,
        jobName: "night",
        functionName: "f",
        moduleName: "m.n",
        sqsQueue: "q",
        sqsRegion: "eu-north-1",
      }),
      apiKey: "key-1",
    });
    await tell(listed, sessionId);
    const [first, second] = receiver.received;
    expect(first!.json()).toEqual({
      job: {
        arguments: [["s3://reef/C1"]],
        function_name: "register_audiofiles",
        keywords: {},
        module_name: "madxxx_workbench.audio.register_audio",
        name: `session_${sessionId}_register_audiofiles`,
      },
      sqs_queue: "madXXX_tasks_data_registration",
      sqs_region: "eu-west-1",
    });
    const files = await db.store.files(sessionId, "uploaded", 0, 10);
    expect(second!.json()).toEqual({
      job: {
        arguments: [files.map(({ s3Key }) => `s3://reef/${s3Key}`)],
        function_name: "f",
        keywords: {},
        module_name: "m.n",
        name: "night",
      },
      sqs_queue: "q",
      sqs_region: "eu-north-1",
    });
    for (const got of receiver.received) {
      receiver.verify(got);
      expect(got.headers).toMatchObject({ api_key: "key-1", accept: "application/json" });
      expect(got.headers).not.toHaveProperty("authorization");
    }
  });

  it("several secrets: each of them verifies", async () => {
    const { sessionId } = await session(1);
    await tell(context({ signing: [secret, olderSecret] }), sessionId);
    receiver.verify(receiver.received[0]!, secret);
    receiver.verify(receiver.received[0]!, olderSecret);
    const other = `whsec_${Buffer.from("nobody ever agreed on this one..").toString("base64")}`;
    expect(() => receiver.verify(receiver.received[0]!, other)).toThrow();
  });

  it("names of any characters, over several pieces, and the same bytes in every attempt", async () => {
    const opened = await session(0, 0, { close: false });
    const odd = ['quo"te', "back\\slash", "new\nline", "émoji 🐋 %2F+", "\u0001\u2028", "tab\t"];
    const names = Array.from({ length: 2_503 }, (_, n) => `${odd[n % odd.length]} ${n}.wav`);
    const files = names.map((path) => ({ path, key: `C1/${path}`, sizeBytes: 1, mtimeNs: 1n }));
    await db.store.register(opened.sessionId, opened.destinationId, files, "absent");
    const claimed = await db.store.claim(opened.sessionId, opened.workerId, 0, 3_000, 3);
    await db.store.settle(
      opened.workerId,
      claimed.map((file) => ({ move: "settle", file, object: fact(file), requestId: null, durationMs: 1 })),
    );
    await close(opened);
    receiver.script = [answers(500), answers(503), answers(200)];
    const told = await tell(context({ plan: planTo(receiver.url, { listFiles: true }) }), opened.sessionId);
    expect(told.delivery).toMatchObject({ status: "delivered", attempts: 3, files: 2_503 });
    const body = receiver.received[0]!.json() as { files: string[] };
    const inOrder = [...claimed].sort((a, b) => a.id - b.id).map(({ key }) => `s3://reef/${key}`);
    expect(body.files).toEqual(inOrder);
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1);
    for (const got of receiver.received) {
      expect(got.body.equals(receiver.received[0]!.body)).toBe(true);
      receiver.verify(got);
    }
    // Whatever becomes of the rows, a replay says what was said.
    await db.sql(`update :"schema".file_uploads set s3_key = s3_key || 'x' where session_id = $1`, [opened.sessionId]);
    await tell(context(), opened.sessionId, { plan: null, replay: { deliveryId: null } });
    expect(receiver.received.at(-1)!.body.equals(receiver.received[0]!.body)).toBe(true);
    expect(receiver.received.at(-1)!.id).toBe(receiver.received[0]!.id);
  });
});

describe("what is answered", () => {
  it.each([200, 201, 202, 204])("%i: delivered", async (status) => {
    const { sessionId } = await session(1);
    receiver.otherwise = answers(status, status === 204 ? "" : "fine");
    expect(await tell(context(), sessionId)).toMatchObject({
      exitCode: 0,
      delivery: { status: "delivered", jobId: null },
    });
  });

  it.each([
    [500, 10],
    [503, 2],
    [429, 1],
    [408, 1],
  ])("%i, %i times: tried again with growing, jittered pauses under one id", async (status, times) => {
    const { sessionId } = await session(1);
    receiver.script = Array.from({ length: times }, () => answers(status));
    const cx = context({ waitMs: 3_600_000 });
    const told = await tell(cx, sessionId);
    expect(told).toMatchObject({ exitCode: 0, delivery: { status: "delivered", attempts: times + 1 } });
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1);
    expect(cx.slept).toHaveLength(times);
    cx.slept.forEach((ms, n) => {
      const ceiling = Math.min(300_000, 1000 * 2 ** n);
      // The pause counts from the answer: what has gone by since is no longer waited for.
      const goneMs = cx.askedMs[n]! - receiver.received[n]!.atMs;
      expect(ms).toBeGreaterThan(ceiling / 2 - goneMs - 2);
      expect(ms).toBeLessThanOrEqual(ceiling + 1);
    });
    const history = await db.store.deliveries.attempts(sessionId);
    expect(history.map(({ verdict, httpStatus }) => [verdict, httpStatus])).toEqual([
      ...Array.from({ length: times }, () => ["again", status]),
      ["delivered", 200],
    ]);
  });

  it("two minutes of it: left due, exit 16; the next run of the project sends it", async () => {
    const { sessionId } = await session(1);
    receiver.otherwise = answers(500);
    const cx = context();
    const told = await tell(cx, sessionId);
    expect(told).toMatchObject({ exitCode: 16, delivery: { status: "due", httpStatus: 500 } });
    expect(cx.slept.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(120_000);
    expect(cx.slept.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(60_000);
    expect(cx.said()).toContain("still due");
    receiver.otherwise = answers(200);
    await passes(300_000);
    const next = context({ plan: null });
    expect(await sendDue(next, { project: reef(), sessionId: null, waitMs: 0 })).toMatchObject({
      delivered: 1,
      due: 0,
    });
    expect(receiver.received.at(-1)!.id).toBe(told.delivery.webhookId);
    expect(await statusOf(told.delivery.id)).toBe("delivered");
  });

  it("Retry-After is obeyed, also by whoever asks again at once", async () => {
    const { sessionId } = await session(1);
    receiver.script = [answers(503, "", { "retry-after": "40" })];
    const cx = context();
    expect(await tell(cx, sessionId)).toMatchObject({ exitCode: 0 });
    expect(cx.slept[0]).toBeGreaterThan(30_000);
    receiver.script = [answers(429, "", { "retry-after": new Date(Date.now() + 3_600_000).toUTCString() })];
    const { sessionId: second } = await session(1);
    const impatient = context();
    expect(await tell(impatient, second)).toMatchObject({ exitCode: 16 });
    const before = receiver.received.length;
    for (let n = 0; n < 3; n++) expect(await tell(context(), second)).toMatchObject({ exitCode: 16 });
    expect(receiver.received).toHaveLength(before);
    await passes(3_600_000);
    expect(await tell(context(), second)).toMatchObject({ exitCode: 0 });
  });

  it("410: never again to this URL by itself; asked for, it is", async () => {
    const { sessionId } = await session(1);
    receiver.otherwise = answers(410);
    const told = await tell(context(), sessionId);
    expect(told).toMatchObject({ exitCode: 16, delivery: { status: "gone", attempts: 1 } });
    await passes(86_400_000);
    await sendDue(context(), { project: reef(), sessionId: null, waitMs: 0 });
    // The next session's is not sent either, and that is said.
    const other = await openWork(db, { project: reef(), source: "/cards/other" });
    const cx = context();
    await promiseDelivery(cx, other.sessionId);
    await rowIn(db, other, "uploaded");
    await close(other);
    expect(await sendDue(cx, { project: reef(), sessionId: other.sessionId, waitMs: 0 })).toEqual({
      delivered: 0,
      due: 0,
      refused: 1,
    });
    expect(cx.said()).toContain("gone (410)");
    expect(receiver.received).toHaveLength(1);
    receiver.otherwise = answers(200);
    expect(await tell(context(), sessionId)).toMatchObject({
      exitCode: 0,
      delivery: { id: told.delivery.id, attempts: 2 },
    });
  });

  it.each([405, 413, 415, 422])("%i: this body never; sent again only when asked", async (status) => {
    const { sessionId } = await session(1);
    receiver.script = [answers(status, "no such field")];
    const told = await tell(context(), sessionId);
    expect(told).toMatchObject({
      exitCode: 16,
      delivery: { status: "refused", httpStatus: status, answer: "no such field", attempts: 1 },
    });
    await passes(86_400_000);
    await sendDue(context(), { project: reef(), sessionId: null, waitMs: 0 });
    expect(receiver.received).toHaveLength(1);
    expect(await tell(context(), sessionId, { plan: null, replay: { deliveryId: told.delivery.id } })).toMatchObject({
      exitCode: 0,
    });
    expect(receiver.received[1]!.id).toBe(receiver.received[0]!.id);
  });

  it.each([400, 401, 403, 404])("%i: settings; not again in this run, and due in the next", async (status) => {
    const { sessionId } = await session(1);
    receiver.script = [answers(status)];
    const cx = context();
    expect(await tell(cx, sessionId)).toMatchObject({ exitCode: 16, delivery: { status: "due", attempts: 1 } });
    expect(cx.slept).toEqual([]);
    expect(await tell(context(), sessionId)).toMatchObject({ exitCode: 0, delivery: { attempts: 2 } });
  });

  it("a redirect is not followed, and where it points to is said", async () => {
    const { sessionId } = await session(1);
    receiver.script = [
      answers(307, "", { location: `${receiver.url.replace("//", "//us:pa55word@")}/elsewhere?k=t0ken` }),
    ];
    const cx = context();
    expect(await tell(cx, sessionId)).toMatchObject({ exitCode: 16, delivery: { status: "due", httpStatus: 307 } });
    expect(receiver.received).toHaveLength(1);
    expect(cx.said()).toContain("/elsewhere");
    expect(cx.said()).not.toMatch(/pa55word|t0ken/);
  });

  it("no one there: left due", async () => {
    const { sessionId } = await session(1);
    await receiver.close();
    const told = await tell(context({ waitMs: 0 }), sessionId);
    expect(told).toMatchObject({
      exitCode: 16,
      delivery: { status: "due", httpStatus: null, errorCode: "network_lost" },
    });
  });
});

describe("which sessions", () => {
  it("one that runs, is unfinished, has failed files or uploaded nothing is said; --force tells all the same", async () => {
    const running = await session(1, 0, { close: false });
    const refused = (sessionId: number, message: RegExp) =>
      expect(tell(context(), sessionId)).rejects.toMatchObject({
        code: "usage",
        message: expect.stringMatching(message),
        hint: expect.stringContaining("--force"),
      });
    await refused(running.sessionId, /still being worked on/);
    await db.store.endWorker(running.workerId, "interrupted");
    await db.store.failSession(running.sessionId, null);
    await refused(running.sessionId, /not finished: interrupted/);
    project++;
    const failed = await session(2, 1);
    await refused(failed.sessionId, /1 failed file$/);
    project++;
    const empty = await session(0);
    await refused(empty.sessionId, /uploaded nothing/);
    expect(receiver.received).toEqual([]);
    for (const { sessionId } of [running, failed, empty]) {
      expect(await tell(context(), sessionId, { force: true })).toMatchObject({ exitCode: 0 });
    }
    expect(receiver.received).toHaveLength(3);
  });

  it("told already: said, nothing sent; --force makes another with an id of its own", async () => {
    const { sessionId } = await session(1);
    const first = await tell(context(), sessionId);
    const second = await tell(context(), sessionId);
    expect(second).toMatchObject({ already: true, exitCode: 0, delivery: { id: first.delivery.id } });
    expect(receiver.received).toHaveLength(1);
    const third = await tell(context(), sessionId, { force: true });
    expect(third).toMatchObject({ already: false, exitCode: 0 });
    expect(third.delivery.webhookId).not.toBe(first.delivery.webhookId);
    // Another question is another delivery.
    const listed = await tell(context({ plan: planTo(receiver.url, { listFiles: true }) }), sessionId);
    expect(listed.already).toBe(false);
    expect(receiver.received).toHaveLength(3);
  });

  it("a URL that was wrong: the same delivery goes to the right one", async () => {
    const { sessionId } = await session(1);
    const wrong = await tell(context({ plan: planTo("http://127.0.0.1:1/nobody"), waitMs: 0 }), sessionId);
    expect(wrong.exitCode).toBe(16);
    const right = await tell(context(), sessionId);
    expect(right).toMatchObject({
      exitCode: 0,
      delivery: { id: wrong.delivery.id, url: receiver.url, status: "delivered" },
    });
    const other = await tell(
      context({ plan: planTo("http://127.0.0.1:1/nobody", { listFiles: true }), waitMs: 0 }),
      sessionId,
    );
    const both = await tell(context({ plan: planTo(receiver.url, { format: "job" }), apiKey: "k" }), sessionId);
    expect(both.exitCode).toBe(0);
    expect(await statusOf(other.delivery.id)).toBe("dropped");
  });

  it("nothing to replay is said", async () => {
    const { sessionId } = await session(1);
    await expect(tell(context(), sessionId, { plan: null, replay: { deliveryId: null } })).rejects.toMatchObject({
      code: "usage",
    });
  });
});

describe("promised when a session begins", () => {
  it("sent once when it is complete, whoever comes by", async () => {
    const opened = await openWork(db, { project: reef() });
    const cx = context();
    await promiseDelivery(cx, opened.sessionId);
    await promiseDelivery(cx, opened.sessionId);
    await rowIn(db, opened, "uploaded");
    expect(await sendDue(cx, { project: reef(), sessionId: null, waitMs: 0 })).toEqual({
      delivered: 0,
      due: 0,
      refused: 0,
    });
    await close(opened);
    const other = context({ plan: null });
    expect(await sendDue(other, { project: reef(), sessionId: null, waitMs: 0 })).toMatchObject({ delivered: 1 });
    expect(await sendDue(other, { project: reef(), sessionId: null, waitMs: 0 })).toMatchObject({ delivered: 0 });
    expect(receiver.received).toHaveLength(1);
  });

  it("not while files have failed; a session that takes them afresh brings both", async () => {
    const first = await openWork(db, { project: reef() });
    const cx = context();
    await promiseDelivery(cx, first.sessionId);
    await rowIn(db, first, "uploaded");
    await rowIn(db, first, "failed");
    await close(first);
    await sendDue(cx, { project: reef(), sessionId: null, waitMs: 0 });
    expect(receiver.received).toEqual([]);
    expect(await db.store.deliveries.held(first.sessionId)).not.toBeNull();
    const second = await openWork(db, { project: reef() }, 2);
    expect(second).toMatchObject({ resumed: false, superseded: 1 });
    await promiseDelivery(cx, second.sessionId);
    await rowIn(db, second, "uploaded");
    await close(second);
    await sendDue(cx, { project: reef(), sessionId: null, waitMs: 0 });
    expect(receiver.received.map((got) => (got.json() as { session_id: number }).session_id)).toEqual([
      first.sessionId,
      second.sessionId,
    ]);
  });

  it("nothing uploaded, or told by force already with the same files: nothing is sent", async () => {
    const empty = await openWork(db, { project: reef() });
    const cx = context();
    await promiseDelivery(cx, empty.sessionId);
    await close(empty);
    await sendDue(cx, { project: reef(), sessionId: null, waitMs: 0 });
    expect(await db.store.deliveries.history(empty.sessionId)).toEqual([]);
    const told = await session(1);
    await tell(cx, told.sessionId);
    await promiseDelivery(cx, told.sessionId);
    await sendDue(cx, { project: reef(), sessionId: null, waitMs: 0 });
    expect(receiver.received).toHaveLength(1);
  });
});

describe("a pass of sync", () => {
  it("names what was uploaded since, each file once; a file sent again is named again", async () => {
    const opened = await session(2, 0, { close: false, command: "sync" });
    const cx = context();
    const pass = async (): Promise<string[]> => {
      await tellPass(cx, opened.sessionId);
      await sendDue(cx, { project: reef(), sessionId: opened.sessionId, waitMs: 0 });
      return (receiver.received.at(-1)!.json() as { files: string[] }).files;
    };
    const keys = async () =>
      (await db.store.files(opened.sessionId, "uploaded", 0, 10)).map(({ s3Key }) => `s3://reef/${s3Key}`);
    const first = await keys();
    expect(await pass()).toEqual(first);
    expect(await tellPass(cx, opened.sessionId)).toBeNull();
    await rowIn(db, opened, "uploaded");
    expect(await pass()).toEqual((await keys()).slice(2));
    await db.sql(`update :"schema".file_uploads set uploaded_at = now() where s3_key = $1`, [
      first[0]!.replace("s3://reef/", ""),
    ]);
    expect(await pass()).toEqual([first[0]]);
    expect(receiver.received).toHaveLength(3);
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(3);
  });
});

describe("several at once", () => {
  it("two processes that send what is due share it: each delivery goes once", async () => {
    const opened = await session(0, 0, { close: false, command: "sync" });
    const cx = context();
    for (let n = 0; n < 8; n++) {
      await rowIn(db, opened, "uploaded");
      await tellPass(cx, opened.sessionId);
    }
    const input = { project: reef(), sessionId: null, waitMs: 60_000 };
    const [one, two] = await Promise.all([sendDue(context({ pid: 1 }), input), sendDue(context({ pid: 2 }), input)]);
    expect(one.delivered + two.delivered).toBe(8);
    expect(receiver.received).toHaveLength(8);
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(8);
  });

  it("what another process has in hand is left to it while it lives, and taken over when it is dead", async () => {
    const { sessionId } = await session(1);
    const cx = context();
    const plan = planTo(receiver.url);
    await db.store.deliveries.tell(sessionId, plan, { webhookId: `msg_${project}`, force: false });
    const means = { formats: ["session"] as const, hiddenUrl: null };
    const held = await db.store.deliveries.claim(reef(), worker(50), means, { leaseMs: 60_000, first: null });
    expect(held).not.toBeNull();
    expect(await sendDue(cx, { project: reef(), sessionId, waitMs: 10_000 })).toMatchObject({ delivered: 0, due: 1 });
    expect(receiver.received).toEqual([]);
    await passes(70_000);
    const dead = await db.store.deliveries.claim(reef(), worker(100), means, { leaseMs: 60_000, first: null });
    expect(dead).toMatchObject({ id: held!.id, attempt: 2 });
    expect(await sendDue(cx, { project: reef(), sessionId, waitMs: 0 })).toMatchObject({ delivered: 1 });
    // The one that was thought dead comes back with a failure: what was delivered was delivered.
    const late = {
      verdict: "again",
      httpStatus: 500,
      errorCode: null,
      message: null,
      answer: null,
      jobId: null,
      delayMs: 0,
      askedMs: null,
      durationMs: 1,
    } as const;
    await db.store.deliveries.record(held!, late);
    expect(await statusOf(held!.id)).toBe("delivered");
    const attempts = await db.store.deliveries.attempts(sessionId);
    expect(attempts.map(({ verdict }) => verdict)).toEqual(["again", null, "delivered"]);
  });

  it("one that fails again and again keeps no other back", async () => {
    const opened = await session(0, 0, { close: false, command: "sync" });
    const cx = context({ waitMs: 0 });
    await rowIn(db, opened, "uploaded");
    const poison = await tellPass(cx, opened.sessionId);
    receiver.otherwise = (got, response) => void response.writeHead(got.id === poisonId ? 500 : 200).end();
    const poisonId = (await db.store.deliveries.delivery(poison!))!.webhookId;
    await sendDue(cx, { project: reef(), sessionId: null, waitMs: 0 });
    for (let n = 0; n < 3; n++) {
      await rowIn(db, opened, "uploaded");
      await tellPass(cx, opened.sessionId);
    }
    await passes(1_000);
    expect(await sendDue(cx, { project: reef(), sessionId: null, waitMs: 0 })).toMatchObject({ delivered: 3, due: 1 });
  });
});

it("a trigger by hand does not wait for other deliveries of the project", async () => {
  const { sessionId: other } = await session(1);
  expect(await tell(context({ plan: planTo("http://127.0.0.1:1/nobody"), waitMs: 0 }), other)).toMatchObject({
    exitCode: 16,
  });
  await passes(60_000);
  const { sessionId } = await session(1);
  const cx = context();
  expect(await tell(cx, sessionId)).toMatchObject({ exitCode: 0, othersDue: 1 });
  expect(cx.slept).toEqual([]);
});

describe("secrets that are not here", () => {
  it("a URL with a token is remembered without it, and sent to only by who knows it", async () => {
    const { sessionId } = await session(1);
    const hidden = { ...planTo(`${receiver.url}?token=s3cr3t`), shownUrl: `${receiver.url}?token=***` };
    receiver.script = [answers(500)];
    const told = await tell(context({ plan: hidden, waitMs: 0 }), sessionId);
    expect(told).toMatchObject({ exitCode: 16, delivery: { url: `${receiver.url}?token=***` } });
    await passes(300_000);
    const stranger = context({ plan: null });
    expect(await sendDue(stranger, { project: reef(), sessionId: null, waitMs: 0 })).toMatchObject({
      delivered: 0,
      due: 1,
    });
    expect(stranger.said()).toContain("cannot be sent from here");
    expect(await sendDue(context({ plan: hidden }), { project: reef(), sessionId: null, waitMs: 0 })).toMatchObject({
      delivered: 1,
    });
    expect(receiver.received.at(-1)!.path).toBe("/hook?token=s3cr3t");
    const all = await db.sql(
      `select * from :"schema".deliveries d join :"schema".delivery_attempts a on a.delivery_id = d.id`,
    );
    expect(JSON.stringify(all)).not.toContain("s3cr3t");
  });
});
