/** `uploader doctor` for what is more than one upload: several sources, a trigger, a policy, a database that says no. */
import { writeFileSync } from "node:fs";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../support/daemons.ts";
import { openWorkplace, type Workplace } from "./workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

const findings = async (args: readonly string[], env: Record<string, string | undefined> = {}) =>
  Object.fromEntries((await place.run(["doctor", "--json", ...args], { env })).events().map((row) => [row.name, row]));

describe("uploader doctor", () => {
  it("looks at every source and destination of the configuration, and at the trigger", async () => {
    place.tree("ecg", { "a.pdf": 10 });
    const config = {
      sources: [
        { name: "ecg", source: "ecg", destination: "s3://reef/ecg" },
        { name: "dock", source: "absent", destination: "s3://missing/dock" },
      ],
      trigger: { url: "https://example.org/hook" },
    };
    writeFileSync(place.path("clinic.json"), JSON.stringify(config));
    const found = await findings(["--config", "clinic.json"]);
    expect(found["source of ecg"]).toMatchObject({ ok: true, detail: expect.stringMatching(/1 file, 10 B selected$/) });
    expect(found["destination of ecg"]).toMatchObject({ ok: true });
    expect(found["source of dock"]).toMatchObject({ ok: false, detail: expect.stringContaining("absent") });
    expect(found["destination of dock"]).toMatchObject({
      ok: false,
      detail: expect.stringContaining("bucket missing"),
    });
    expect(found.trigger).toMatchObject({ ok: false, fix: expect.stringContaining("UPLOADER_TRIGGER_SECRET") });
    const signed = await findings(["--config", "clinic.json"], {
      UPLOADER_TRIGGER_SECRET: `whsec_${Buffer.alloc(24, 7).toString("base64")}`,
    });
    expect(signed.trigger).toMatchObject({ ok: true, detail: expect.stringContaining("nothing was sent") });
  });

  it("does not propose itself", async () => {
    const url = `postgres://127.0.0.1:${await freePort()}/x`;
    const ended = await place.run(["doctor"], { env: { UPLOADER_DATABASE_URL: url } });
    expect(ended.exitCode).toBe(10);
    expect(ended.stdout).toMatch(/^FAULT {2}database .*\n +fix: is it running, and is database\.url right\?$/m);
    expect(ended.stdout).not.toContain("uploader doctor");
  });

  it("says that a user may make no tables, before the first run tries to", async () => {
    const role = `r_${place.db.schema}`;
    const admin = new pg.Client({ connectionString: place.db.url });
    await admin.connect();
    await admin.query(`create role ${role} login`);
    try {
      const url = new URL(place.db.url);
      url.searchParams.set("user", role);
      const found = await findings([], { UPLOADER_DATABASE_URL: url.href, UPLOADER_DATABASE_SCHEMA: "not_there" });
      expect(found.database).toMatchObject({
        ok: false,
        detail: expect.stringContaining('may not make tables in schema "not_there"'),
        fix: expect.stringContaining("grant create"),
      });
    } finally {
      await admin.query(`drop role ${role}`);
      await admin.end();
    }
  });

  it("--iam-policy: a policy on stdout and nothing else; for a folder there is none", async () => {
    const ended = await place.run(["doctor", "--iam-policy", "--destination", "s3://reef/C2", "--patient-tags"]);
    expect(ended.exitCode).toBe(0);
    const policy = JSON.parse(ended.stdout) as { Statement: { Sid: string; Resource: string }[] };
    expect(policy.Statement.map(({ Sid }) => Sid)).toEqual(expect.arrayContaining(["Upload", "TagRecordings"]));
    expect(policy.Statement[0]!.Resource).toBe("arn:aws:s3:::reef/C2/*");
    expect(ended.stderr).toMatch(
      /^Needed to upload: Upload\. The others may be left out as a whole:\n {2}without Resume/,
    );
    expect(ended.stderr).toMatch(/without TagRecordings: objects do not say who wore the sensor/);
    const key = ["--s3-server-side-encryption", "aws:kms", "--s3-kms-key-id", "alias/lab"];
    const encrypted = await place.run(["doctor", "--iam-policy", "--destination", "s3://reef/C2", ...key]);
    expect(encrypted.stderr).toMatch(/^Needed to upload: Upload and EncryptWithKey\./);
    expect(encrypted.stderr).not.toContain("TagRecordings");
    const none = await place.run(["doctor", "--iam-policy", "--destination", "./archive"]);
    expect(none).toMatchObject({ exitCode: 2, stdout: "" });
    expect(none.stderr).toMatch(/is about a bucket/);
  });
});
