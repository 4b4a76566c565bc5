import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCredentialSource } from "../../src/adapters/s3/credentials.ts";
import { type Fixture, noise, openFixture } from "./s3-fixture.ts";

const failing = (code: string) => expect.objectContaining({ code });

describe("credentials", () => {
  let folder: string;
  let saved: NodeJS.ProcessEnv;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "uploader-aws-"));
    saved = { ...process.env };
    for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
    process.env.AWS_SHARED_CREDENTIALS_FILE = join(folder, "credentials");
    process.env.AWS_CONFIG_FILE = join(folder, "config");
    process.env.AWS_EC2_METADATA_DISABLED = "true";
  });
  afterEach(() => {
    process.env = saved;
    rmSync(folder, { recursive: true });
  });
  const write = (text: string) => writeFileSync(join(folder, "credentials"), text);
  const source = (changes: Partial<Parameters<typeof createCredentialSource>[0]> = {}) =>
    createCredentialSource({ profile: null, region: "us-east-1", env: {}, now: Date.now, ...changes });

  it("of the environment come first, and a profile that is named before them", async () => {
    write("[field]\naws_access_key_id = FROMPROFILE\naws_secret_access_key = s\n");
    const env = { AWS_ACCESS_KEY_ID: "FROMENV", AWS_SECRET_ACCESS_KEY: "s", AWS_SESSION_TOKEN: "t" };
    expect(await source({ env }).current()).toMatchObject({ accessKeyId: "FROMENV", sessionToken: "t" });
    expect(await source({ env, profile: "field" }).current()).toMatchObject({ accessKeyId: "FROMPROFILE" });
    expect(await source({ env: { ...env, AWS_PROFILE: "field" } }).current()).toMatchObject({
      accessKeyId: "FROMPROFILE",
    });
  });

  it("that are renewed on disk are seen when the store refuses the old ones", async () => {
    write("[field]\naws_access_key_id = OLD\naws_secret_access_key = s\n");
    const field = source({ profile: "field" });
    const old = await field.current();
    expect(await field.renew(old)).toBeNull();
    write("[field]\naws_access_key_id = NEW\naws_secret_access_key = s\n");
    expect(await field.current()).toMatchObject({ accessKeyId: "OLD" });
    expect(await field.renew(old)).toMatchObject({ accessKeyId: "NEW" });
    expect(await field.current()).toMatchObject({ accessKeyId: "NEW" });
  });

  it("that expire are asked for again before they do", async () => {
    let nowMs = Date.UTC(2026, 0, 1);
    let made = 0;
    const script = join(folder, "process.sh");
    writeFileSync(join(folder, "config"), `[profile job]\ncredential_process = sh ${script}\n`);
    const issue = (minutes: number) => {
      const Expiration = new Date(Date.now() + minutes * 60_000).toISOString();
      const given = { Version: 1, AccessKeyId: `KEY${++made}`, SecretAccessKey: "s", Expiration };
      writeFileSync(script, `echo '${JSON.stringify(given)}'\n`);
    };
    issue(60);
    const job = source({ profile: "job", now: () => nowMs });
    nowMs = Date.now();
    expect(await job.current()).toMatchObject({ accessKeyId: "KEY1" });
    issue(120);
    expect(await job.current()).toMatchObject({ accessKeyId: "KEY1" });
    nowMs += 56 * 60_000;
    expect(await job.current()).toMatchObject({ accessKeyId: "KEY2" });
  });

  it("that are nowhere are missing, in one sentence with a way out", async () => {
    await expect(source().current()).rejects.toThrow(failing("credentials_missing"));
    await expect(source({ profile: "nobody" }).current()).rejects.toThrow(
      expect.objectContaining({ code: "credentials_missing", message: expect.stringContaining('"nobody"') }),
    );
  });
});

describe("a token that expires under way", () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await openFixture();
  });
  afterEach(() => fixture.close());

  it("is renewed once, and the file goes through", async () => {
    const env: Record<string, string> = { ...(fixture.options.env as Record<string, string>) };
    const destination = await fixture.open({ env });
    const hooks = { signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined };
    await destination.put(fixture.job("a", fixture.file("a", noise(10))), hooks);
    fixture.s3.credential.expired = true;
    await expect(destination.put(fixture.job("b", fixture.file("b", noise(10))), hooks)).rejects.toThrow(
      failing("credentials_expired"),
    );
    fixture.s3.credentials.set("AKIDNEXT", { accessKeyId: "AKIDNEXT", secretAccessKey: "nextsecret" });
    env.AWS_ACCESS_KEY_ID = "AKIDNEXT";
    env.AWS_SECRET_ACCESS_KEY = "nextsecret";
    expect(await destination.put(fixture.job("b", fixture.file("b", noise(10))), hooks)).toMatchObject({
      outcome: "stored",
    });
  });
});
