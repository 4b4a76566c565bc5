import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import type { DeliveryRecipe } from "../../src/core/deliveries.ts";
import { readAnswer, retryAfterMs, verdictOf } from "../../src/core/delivery-answer.ts";
import {
  basicOf,
  filePath,
  headersOf,
  missingSecret,
  renderBody,
  rootPath,
  startSignature,
  unspeakable,
} from "../../src/core/delivery-message.ts";
import type { SessionRow } from "../../src/core/store.ts";

const session = {
  id: 12,
  destinationKind: "s3",
  destinationIdentity: "s3://reef",
  prefix: "C2",
  source: "/media/SD01",
  totalFiles: 5,
  filesUploaded: 4,
  totalSizeBytes: 6,
} as SessionRow;

const recipe = (over: Partial<DeliveryRecipe> = {}): DeliveryRecipe => ({
  format: "session",
  listFiles: false,
  jobName: null,
  functionName: null,
  moduleName: null,
  sqsQueue: null,
  sqsRegion: null,
  ...over,
});

describe("the body", () => {
  it("session: field by field, in the seed's order", () => {
    expect(renderBody(session, recipe())).toEqual({
      head: '{"session_id":12,"bucket_name":"reef","s3_prefix":"C2","total_files":5,"files_uploaded":4,"total_size_bytes":6,"local_directory":"/media/SD01"}',
      tail: null,
    });
  });

  it("with a list: what stands before and after it", () => {
    const { head, tail } = renderBody(session, recipe({ listFiles: true }));
    expect(JSON.parse(`${head}"a","b"${tail}`)).toMatchObject({ session_id: 12, files: ["a", "b"] });
    const job = renderBody(session, recipe({ format: "job", listFiles: true, jobName: 'a "name" with ] and [' }));
    expect(JSON.parse(`${job.head}"a"${job.tail}`)).toMatchObject({
      job: { arguments: [["a"]], keywords: {}, name: 'a "name" with ] and [' },
    });
    expect(JSON.parse(`${job.head}${job.tail}`)).toMatchObject({ job: { arguments: [[]] } });
  });

  it("job: the prefix is its one path", () => {
    const path = (over: Partial<SessionRow>) =>
      JSON.parse(renderBody({ ...session, ...over }, recipe({ format: "job" })).head).job.arguments;
    expect(path({})).toEqual([["s3://reef/C2"]]);
    expect(path({ prefix: "" })).toEqual([["s3://reef"]]);
    expect(path({ destinationIdentity: "s3+http://nas:9000/reef" })).toEqual([["s3://reef/C2"]]);
    expect(path({ destinationKind: "folder", destinationIdentity: "file:///mnt/nas", prefix: "" })).toEqual([
      ["file:///mnt/nas"],
    ]);
  });

  it("paths: keys as they are", () => {
    expect(filePath(session, "C2/a b%2F+é.wav")).toBe("s3://reef/C2/a b%2F+é.wav");
    expect(rootPath({ ...session, destinationIdentity: "s3+https://s3.example.org:9000/reef" })).toBe("s3://reef");
  });
});

describe("the signature", () => {
  const secret = `whsec_${Buffer.from("0123456789abcdef0123456789abcdef").toString("base64")}`;

  it("is what Standard Webhooks says, in pieces or whole", () => {
    const body = '{"é":"🐋"}';
    const nowS = Math.floor(Date.now() / 1000);
    const signature = startSignature([secret], "msg_1", nowS);
    for (const piece of ['{"é"', ":", '"🐋"}']) signature.update(piece);
    const signed = { id: "msg_1", timestampS: nowS, signature: signature.value() };
    const headers = headersOf("session", { signing: [secret], apiKey: null }, signed);
    expect(new Webhook(secret).verify(body, headers)).toEqual({ é: "🐋" });
    expect(() => new Webhook(secret).verify(`${body} `, headers)).toThrow();
    expect(new Webhook(secret).sign("msg_1", new Date(nowS * 1000), body)).toBe(signed.signature);
  });

  it("one for each secret, a blank between", () => {
    const two = startSignature([secret, "whsec_AAAA"], "msg_1", 1);
    two.update("{}");
    const by = (key: Buffer) => `v1,${createHmac("sha256", key).update("msg_1.1.{}").digest("base64")}`;
    expect(two.value()).toBe(`${by(Buffer.from("0123456789abcdef0123456789abcdef"))} ${by(Buffer.from([0, 0, 0]))}`);
  });

  it("session wants a secret; job wants an API key, and is signed when there is a secret", () => {
    const none = { signing: [], apiKey: null };
    expect([missingSecret.session(none), missingSecret.job(none)]).toEqual([
      "UPLOADER_TRIGGER_SECRET",
      "UPLOADER_TRIGGER_API_KEY",
    ]);
    const signed = { id: "m", timestampS: 1, signature: "v1,x" };
    expect(headersOf("job", { signing: [], apiKey: "k" }, signed)).toEqual({
      "content-type": "application/json",
      accept: "application/json",
      "webhook-id": "m",
      "webhook-timestamp": "1",
      api_key: "k",
    });
    expect(headersOf("session", { signing: [secret], apiKey: "k" }, signed)).not.toHaveProperty("api_key");
  });
});

describe("the answer", () => {
  it.each([
    [200, "delivered"],
    [201, "delivered"],
    [202, "delivered"],
    [203, "later"],
    [204, "delivered"],
    [206, "later"],
    [301, "later"],
    [307, "later"],
    [400, "later"],
    [401, "later"],
    [403, "later"],
    [404, "later"],
    [407, "later"],
    [408, "again"],
    [409, "refused"],
    [410, "gone"],
    [413, "refused"],
    [415, "refused"],
    [422, "refused"],
    [425, "again"],
    [429, "again"],
    [451, "later"],
    [500, "again"],
    [503, "again"],
    [599, "again"],
  ] as const)("%i: %s", (status, verdict) => expect(verdictOf(status).verdict).toBe(verdict));

  it("a job's id is kept where there is one", () => {
    expect(readAnswer('{"job_id":"j-1","status":"queued"}', [])).toEqual({
      answer: '{"job_id":"j-1","status":"queued"}',
      jobId: "j-1",
    });
    expect(readAnswer('{"job_id":17}', []).jobId).toBe("17");
    expect(readAnswer('{"job_id": 12345678901234567890}', []).jobId).toBe("12345678901234567890");
    expect(readAnswer('{"job_id":{"a":1}}', []).jobId).toBeNull();
    expect(readAnswer('{"job_id":"cut o', [])).toEqual({ answer: '{"job_id":"cut o', jobId: null });
    expect(readAnswer("<html>\0</html>", [])).toEqual({ answer: "<html></html>", jobId: null });
    expect(readAnswer(" \n", [])).toEqual({ answer: null, jobId: null });
    expect(readAnswer("x".repeat(10_000), []).answer).toHaveLength(2_000);
    expect(readAnswer(`${"x".repeat(1_999)}🐋`, []).answer).toBe("x".repeat(1_999));
  });

  it("secrets that an endpoint echoes are not kept", () => {
    const secrets = { signing: ["whsec_abcd"], apiKey: "key-1" };
    const plan = {
      url: "https://u:pa55word@x.example/h?token=t0ken&n=1",
      shownUrl: "https://x.example/",
      recipe: recipe(),
    };
    const hidden = unspeakable(secrets, plan);
    expect(readAnswer('{"job_id":"key-1","said":"whsec_abcd pa55word t0ken n=1"}', hidden)).toEqual({
      answer: '{"job_id":"***","said":"*** *** *** n=1"}',
      jobId: "***",
    });
    expect(readAnswer(`Basic ${btoa("u:pa55word")}`, hidden).answer).toBe("Basic ***");
    expect(unspeakable(secrets, { ...plan, shownUrl: plan.url })).toEqual(["whsec_abcd", "key-1"]);
    expect(atob(basicOf(new URL("http://u%40:50%zz%3a@x.example/")))).toBe("u@:50%zz:");
  });

  it("Retry-After: seconds or a date, a day at most; nonsense is none", () => {
    const nowMs = Date.UTC(2026, 10, 21, 12);
    expect(retryAfterMs("120", nowMs)).toBe(120_000);
    expect(retryAfterMs("Sat, 21 Nov 2026 12:01:00 GMT", nowMs)).toBe(60_000);
    expect(retryAfterMs("Sat, 21 Nov 2026 11:00:00 GMT", nowMs)).toBe(0);
    expect(retryAfterMs("999999999", nowMs)).toBe(86_400_000);
    expect([retryAfterMs(null, nowMs), retryAfterMs("soon", nowMs), retryAfterMs("-5", nowMs)].slice(0, 2)).toEqual([
      null,
      null,
    ]);
  });
});
