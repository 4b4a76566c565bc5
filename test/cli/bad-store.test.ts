/** Stores that refuse, are not there, or are full: one sentence, exit 12 or 14, and nothing half done. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../support/daemons.ts";
import { filesBelow, openWorkplace, type RunOptions, type Workplace } from "./workplace.ts";

const keys = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secretsecret" };
let place: Workplace;
let card: string;
beforeAll(async () => {
  place = await openWorkplace({
    buckets: ["reef", { name: "far", region: "eu-west-1" }],
    ownerId: "111122223333",
    credentials: [
      keys,
      { accessKeyId: "EXPIRED", secretAccessKey: "secretsecret", sessionToken: "token", expired: true },
      { accessKeyId: "NOTHING", secretAccessKey: "secretsecret", allow: [] },
      { accessKeyId: "PUTONLY", secretAccessKey: "secretsecret", allow: ["s3:PutObject"] },
    ],
  });
  card = place.tree("card", { "a/1.wav": 100, "a/2.wav": 200, "b/3.flac": 300 });
  await place.run(["sessions"]);
});
afterAll(() => place?.close());
afterEach(() => place.s3.faults.clear());

const under = (prefix: string): string[] => place.s3.keys("reef").filter((key) => key.startsWith(`${prefix}/`));
const sessionsOf = (project: string): Promise<{ status: string; error_code: string | null }[]> =>
  place.db.sql(
    `select status, error_code from :"schema".sync_sessions s join :"schema".projects p on p.id = s.project_id
     where p.name = $1`,
    [project],
  );

interface Refusal extends RunOptions {
  destination?: string;
  args?: readonly string[];
  exitCode: number;
  message: RegExp;
  /** When the first file found it out. */
  ends?: string;
}

async function refused(project: string, { destination, args = [], exitCode, message, ends, ...options }: Refusal) {
  const line = ["upload", card, destination ?? `s3://reef/${project}`, "--project", project, ...args];
  const ended = await place.run(line, options);
  expect(ended.stderr).toMatch(message);
  expect(ended.stderr).not.toContain("secretsecret");
  expect(ended.exitCode).toBe(exitCode);
  const sessions = await sessionsOf(project);
  if (ends === undefined) {
    expect(ended.stdout).toBe("");
    expect(sessions).toEqual([]);
  } else {
    expect(ended.stdout).toMatch(/^session \d+ stopped: the same command goes on from here once the cause is mended\n/);
    expect(ended.stdout).toMatch(/3 files, 600 B: 0 uploaded, 3 left\n/);
    expect(sessions).toEqual([{ status: "failed", error_code: ends }]);
    expect((await place.rows(project)).map(({ status }) => status)).toEqual(["pending", "pending", "pending"]);
  }
  expect(under(project)).toEqual([]);
}

describe.concurrent("buckets", () => {
  it("uploader upload CARD s3://missing/x", () =>
    refused("missing", {
      destination: "s3://missing/x",
      exitCode: 14,
      message: /^error: .*the bucket missing does not exist \(NoSuchBucket.*\n {2}check the bucket's name/,
    }));

  it("uploader upload CARD s3://far/x, in another region: named, and used there", async () => {
    const { exitCode, stderr } = await place.run(["upload", card, "s3://far/x", "--project", "far"]);
    expect(stderr).toMatch(/^the bucket far is in eu-west-1, not us-east-1: using eu-west-1/);
    expect(exitCode).toBe(0);
    expect(place.s3.keys("far")).toEqual(["x/a/1.wav", "x/a/2.wav", "x/b/3.flac"]);
  });

  it("uploader upload CARD s3://reef/not-ours --s3-expected-bucket-owner 999999999999", () =>
    refused("not-ours", {
      args: ["--s3-expected-bucket-owner", "999999999999"],
      exitCode: 12,
      message:
        /error: .*denied access.*\n {2}does account 999999999999 \(s3\.expectedBucketOwner\) own the bucket reef\? .*s3:PutObject/,
      ends: "access_denied",
    }));

  it("uploader upload CARD s3://reef/ours --s3-expected-bucket-owner 111122223333", async () => {
    const args = ["--s3-expected-bucket-owner", "111122223333", "--project", "ours"];
    expect(await place.run(["upload", card, "s3://reef/ours", ...args])).toMatchObject({ exitCode: 0 });
    expect(under("ours")).toHaveLength(3);
  });
});

describe.concurrent("credentials", () => {
  it("AWS_SECRET_ACCESS_KEY=wrong uploader upload …", () =>
    refused("wrong", {
      env: { AWS_SECRET_ACCESS_KEY: "wrong" },
      exitCode: 12,
      message: /^error: .*does not accept the credentials.*\n {2}check the access key and its secret/,
    }));

  it("AWS_ACCESS_KEY_ID=UNKNOWN uploader upload …", () =>
    refused("unknown", {
      env: { AWS_ACCESS_KEY_ID: "UNKNOWN" },
      exitCode: 12,
      message: /^error: .*does not accept the credentials \(InvalidAccessKeyId/,
    }));

  it("uploader upload …, without any credentials", () =>
    refused("none", {
      env: { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
      exitCode: 12,
      message: /^error: no AWS credentials were found\n {2}set AWS_PROFILE or s3\.profile/,
    }));

  it("uploader upload … --s3-profile nobody", () =>
    refused("profile", { args: ["--s3-profile", "nobody"], exitCode: 2, message: /^error: .*nobody.*\n {2}\S/ }));

  it("AWS_SESSION_TOKEN=(expired) uploader upload …", () =>
    refused("expired", {
      env: { AWS_ACCESS_KEY_ID: "EXPIRED", AWS_SESSION_TOKEN: "token" },
      exitCode: 12,
      message: /^error: .*credentials have expired.*\n {2}renew them \(for single sign-on: aws sso login\)\n$/,
    }));

  it("uploader upload …, with a policy that allows nothing: found by the first file, told once", async () => {
    await refused("nothing", {
      env: { AWS_ACCESS_KEY_ID: "NOTHING" },
      exitCode: 12,
      message: /error: .*denied access \(AccessDenied.*\n {2}the policy must allow s3:PutObject/,
      ends: "access_denied",
    });
    const again = await place.run(["upload", card, "s3://reef/nothing", "--project", "nothing"]);
    expect(again.stderr).toMatch(/^session \d+ goes on: /);
    expect(again).toMatchObject({ exitCode: 0 });
    expect(under("nothing")).toHaveLength(3);
  });

  it("uploader upload …, with a policy that allows s3:PutObject alone", async () => {
    const env = { AWS_ACCESS_KEY_ID: "PUTONLY" };
    expect(await place.run(["upload", card, "s3://reef/put", "--project", "put"], { env })).toMatchObject({
      exitCode: 0,
    });
    expect(under("put")).toHaveLength(3);
  });
});

describe("a store that fails before anything has begun", () => {
  it.each(["SlowDown", "InternalError"])(
    "uploader upload …, %s to every request: exit 14, not 3: no file was tried",
    async (code) => {
      place.s3.faults.push({ action: { kind: "error", code }, times: Number.POSITIVE_INFINITY });
      await refused(`fails-${code}`, { exitCode: 14, message: /^error: looking for the bucket reef: the store / });
    },
  );
});

describe("what another program put there", () => {
  it("uploader upload … --on-conflict fail|skip|replace", async () => {
    place.s3.plant("reef", "theirs/a/1.wav", Buffer.from("theirs"));
    place.s3.plant("reef", "theirs/a/2.wav", readFileSync(`${card}/a/2.wav`));
    const args = ["upload", card, "s3://reef/theirs", "--project", "theirs"];
    const failed = await place.run(args);
    expect(failed.exitCode).toBe(3);
    expect(failed.stderr).toMatch(
      /^failed: a\/1\.wav: the store holds other bytes under theirs\/a\/1\.wav, and uploader did not/m,
    );
    expect(failed.stdout).toMatch(/1 uploaded, 1 skipped, 1 failed\n/);
    const skipped = await place.run([...args, "--on-conflict", "skip"]);
    expect(skipped.exitCode).toBe(3);
    expect(skipped.stdout).toMatch(/^session \d+ finished, but some files were kept back: the store holds other bytes/);
    expect(place.s3.object("reef", "theirs/a/1.wav")).toMatchObject({ sizeBytes: 6, writes: 0 });
    expect(await place.run([...args, "--on-conflict", "replace"])).toMatchObject({ exitCode: 0 });
    expect(place.s3.object("reef", "theirs/a/1.wav")).toMatchObject({ sizeBytes: 100, writes: 1 });
    expect(place.s3.object("reef", "theirs/a/2.wav")).toMatchObject({ writes: 0 });
  });
});

describe("a store that is away", () => {
  it("AWS_ENDPOINT_URL_S3=http://127.0.0.1:(nobody) uploader upload …", async () => {
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    const message = new RegExp(
      `^error: .*the store \\(${endpoint}\\) cannot be reached \\(ECONNREFUSED\\)\\n {2}check the network, the endpoint`,
    );
    await refused("away", { env: { AWS_ENDPOINT_URL_S3: endpoint }, exitCode: 14, message });
  });

  it("uploader upload …, with a clock that is an hour off", async () => {
    place.s3.faults.push({ action: { kind: "clockSkew", offsetMs: 3_600_000 }, times: 100 });
    await refused("clock", { exitCode: 14, message: /^error: .*clock.*\n {2}\S/ });
  });
});

/** A file system of one MiB; null where none may be mounted. */
function smallDisk(at: string): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  mkdirSync(at);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", at], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

describe("a full disk", () => {
  it("uploader upload BIG /full/archive", async ({ skip }) => {
    const disk = place.path("disk");
    if (!smallDisk(disk)) skip("needs root and the right to mount a tmpfs");
    try {
      const files = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`${n % 4}/${n}.wav`, 50_000]));
      const args = ["upload", place.tree("big", files), `${disk}/archive`, "--project", "full", "-j", "4"];
      const full = await place.run([...args, "--max-outage-minutes", "0.01"]);
      expect(full.exitCode).toBe(14);
      expect(full.stderr.match(/^error: .*the disk is full.*$/gm)).toHaveLength(1);
      expect(full.stdout).toMatch(
        /^session \d+ stopped: the same command goes on from here once the cause is mended\n/,
      );
      expect(await sessionsOf("full")).toEqual([{ status: "failed", error_code: "disk_full" }]);
      const rows = await place.rows("full");
      const uploaded = rows.filter(({ status }) => status === "uploaded").map(({ key }) => key);
      expect(rows.filter(({ status }) => status !== "uploaded" && status !== "pending")).toEqual([]);
      // Nothing half written, and everything there is known.
      expect(filesBelow(`${disk}/archive`)).toEqual(uploaded);
      expect(uploaded.length).toBeGreaterThan(5);

      execFileSync("mount", ["-o", "remount,size=8m", disk]);
      expect(await place.run(args)).toMatchObject({ exitCode: 0 });
      expect(filesBelow(`${disk}/archive`)).toHaveLength(40);
    } finally {
      execFileSync("umount", [disk]);
    }
  });
});
