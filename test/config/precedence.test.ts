import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openWorkspace } from "./workspace.ts";

test("without anything there are only defaults", () => {
  const { config, origins, notices, configPath } = openWorkspace().load();
  expect(config).toMatchObject({
    project: null,
    source: null,
    destination: null,
    include: [],
    exclude: [],
    layout: "mirror",
    dateFrom: "recording",
    concurrency: "auto",
    bytesInFlight: 96 * 2 ** 20,
    bwlimit: null,
    attempts: 5,
    maxOutageMinutes: 15,
    existing: "checksum",
    onConflict: "fail",
    onChange: null,
    checksum: "auto",
    s3: { region: null, profile: null, endpoint: null, unsignedPayload: false, storageClass: null },
    database: { url: null, schema: "public", connection: { kind: "embedded" } },
    decode: { enabled: false, formats: ["json"], profile: "vendor" },
    trigger: { url: null, format: "session", timeoutMs: 30_000 },
    sync: { intervalSeconds: 15, settleSeconds: 5 },
    sources: [],
    secrets: { databasePassword: null, triggerSecrets: [], triggerApiKey: null, pseudonymKey: null },
    cloudUploadEnabled: true,
    configPath: null,
  });
  expect(new Set(origins.values())).toEqual(new Set(["default"]));
  expect(notices).toEqual([]);
  expect(configPath).toBeNull();
});

test("flag, then own variable, then file, then .env's borrowed name, then borrowed name", () => {
  const space = openWorkspace();
  space.write("reef.json", { s3: { profile: "of-file", region: "of-file" }, attempts: 7, onConflict: "skip" });
  space.write(".env", "UPLOADER_S3_REGION=of-dotenv\nUPLOADER_ATTEMPTS=8\nAWS_ENDPOINT_URL=http://of-dotenv\n");
  const { config, origins } = space.load({
    configPath: "reef.json",
    flags: { "s3.profile": "of-flag" },
    env: { UPLOADER_S3_PROFILE: "of-variable", UPLOADER_ATTEMPTS: "9", AWS_PROFILE: "lent", AWS_REGION: "lent" },
  });
  expect(config.s3).toMatchObject({ profile: "of-flag", region: "of-dotenv", endpoint: "http://of-dotenv" });
  expect(config).toMatchObject({ attempts: 9, onConflict: "skip" });
  expect(Object.fromEntries(origins)).toMatchObject({
    "s3.profile": "flag --s3-profile",
    "s3.region": ".env UPLOADER_S3_REGION",
    "s3.endpoint": ".env AWS_ENDPOINT_URL",
    attempts: "environment UPLOADER_ATTEMPTS",
    onConflict: "file reef.json:7",
    onChange: "default",
  });
});

test("a borrowed name fills the gap that a file's null leaves, but not one that a flag made", () => {
  const space = openWorkspace();
  space.write("a.json", { s3: { profile: null, endpoint: null }, database: { url: null } });
  const env = {
    AWS_PROFILE: "lent",
    AWS_ENDPOINT_URL_S3: "http://s3",
    AWS_ENDPOINT_URL: "http://all",
    DATABASE_URL: "postgres://db/x",
  };
  const { config, origins } = space.load({ configPath: "a.json", env });
  expect(config.s3).toMatchObject({ profile: "lent", endpoint: "http://s3" });
  expect(config.database.connection).toEqual({ kind: "url", url: "postgres://db/x" });
  expect(origins.get("s3.profile")).toBe("borrowed AWS_PROFILE");
  expect(origins.get("database.connection")).toBe("borrowed DATABASE_URL");

  const emptied = space.load({
    configPath: "a.json",
    env,
    flags: { "s3.endpoint": "none", "database.url": "none" },
  }).config;
  expect(emptied.s3.endpoint).toBeNull();
  expect(emptied.database.connection).toEqual({ kind: "embedded" });
});

test("an empty variable counts as none, and keeps .env out", () => {
  const space = openWorkspace();
  space.write(".env", "AWS_PROFILE=of-dotenv\nAWS_REGION=of-dotenv\n");
  const { s3 } = space.load({ env: { AWS_PROFILE: "" } }).config;
  expect(s3).toMatchObject({ profile: null, region: "of-dotenv" });
});

test("texts of flags and variables become what the key wants", () => {
  const { config } = openWorkspace().load({
    flags: { concurrency: "128", bytesInFlight: "1GB", include: "**/*.{wav,flac},**/*.pdf", "s3.forcePathStyle": true },
    env: {
      UPLOADER_BWLIMIT: "200M",
      UPLOADER_DECODE_ENABLED: "yes",
      UPLOADER_DECODE_FORMATS: "json, csv",
      UPLOADER_SYNC_INTERVAL_SECONDS: "2m",
      UPLOADER_PROJECT: "2026",
      UPLOADER_TRIGGER_TIMEOUT_MS: "1.5s",
      UPLOADER_EXCLUDE: "**/tmp/**",
    },
  });
  expect(config).toMatchObject({
    concurrency: 128,
    bytesInFlight: 1e9,
    include: ["**/*.{wav,flac}", "**/*.pdf"],
    exclude: ["**/tmp/**"],
    bwlimit: 200 * 2 ** 20,
    project: "2026",
    s3: { forcePathStyle: true },
    decode: { enabled: true, formats: ["json", "csv"] },
    sync: { intervalSeconds: 120 },
    trigger: { timeoutMs: 1500 },
  });
});

test("a repeated flag is a list as it stands", () => {
  const { config } = openWorkspace().load({ flags: { include: ["**/a,b.wav", "*.pdf"] } });
  expect(config.include).toEqual(["**/a,b.wav", "*.pdf"]);
});

test("places of the file are relative to it, all others to the working directory", () => {
  const space = openWorkspace();
  space.write("etc/reef.json", {
    source: "card",
    destination: "../archive",
    stateDirectory: "state",
    usersFile: "users.json",
  });
  const ofFile = space.load({ configPath: "etc/reef.json" }).config;
  expect(ofFile).toMatchObject({
    source: join(space.root, "etc/card"),
    destination: { kind: "folder", path: join(space.root, "archive") },
    stateDirectory: join(space.root, "etc/state"),
    usersFile: join(space.root, "etc/users.json"),
    project: "archive",
    configPath: join(space.root, "etc/reef.json"),
  });
  const ofOthers = space.load({
    configPath: "etc/reef.json",
    flags: { source: "card" },
    env: { UPLOADER_DESTINATION: "archive", UPLOADER_STATE_DIR: "state" },
  }).config;
  expect(ofOthers).toMatchObject({
    source: join(space.root, "card"),
    destination: { kind: "folder", path: join(space.root, "archive") },
    stateDirectory: join(space.root, "state"),
  });
});

test("UPLOADER_CONFIG names the file, --config comes before it", () => {
  const space = openWorkspace();
  space.write("a.json", { project: "a" });
  space.write("b.json", { project: "b" });
  const env = { UPLOADER_CONFIG: "a.json" };
  expect(space.load({ env }).config.project).toBe("a");
  expect(space.load({ env, configPath: "b.json" }).config.project).toBe("b");
});

describe("project", () => {
  test.each([
    ["s3://reef-recordings/C2", "reef-recordings"],
    ["file:///mnt/nas/archive", "archive"],
    ["/", "root"],
  ])("is called after %s when it has no name", (destination, project) => {
    expect(openWorkspace().load({ flags: { destination } }).config.project).toBe(project);
  });
});

describe(".env", () => {
  test("is read for known names only", () => {
    const space = openWorkspace();
    space.write(
      ".env",
      "\ufeffexport AWS_PROFILE='field'\nNODE_OPTIONS=--bad\nPGHOST=db # the office\nAWS_ACCESS_KEY_ID=AKIA\n",
    );
    const { config, notices, origins } = space.load();
    expect(config.s3.profile).toBe("field");
    expect(origins.get("database.connection")).toBe(".env PGHOST");
    expect(notices).toEqual([".env: AWS_ACCESS_KEY_ID is not read from there; export them, or use a profile"]);
  });

  test("is left out inside a source, also by a link, also when it names the source itself", () => {
    const space = openWorkspace();
    const card = join(space.root, "card");
    mkdirSync(join(card, "DCIM"), { recursive: true });
    space.write("card/.env", "UPLOADER_ATTEMPTS=99\nAWS_S3_BUCKET=elsewhere\n");
    space.write("card/DCIM/.env", "UPLOADER_ATTEMPTS=99\n");
    for (const cwd of [card, join(card, "DCIM")]) {
      const { config, notices } = space.load({ cwd, flags: { source: card } });
      expect(config).toMatchObject({ attempts: 5, destination: null });
      expect(notices).toEqual([".env is left out, because it lies inside a source"]);
    }
    expect(space.load({ cwd: card, flags: { source: "/elsewhere" } }).config.attempts).toBe(99);
    space.write("card/.env", "UPLOADER_SOURCE=.\nUPLOADER_ATTEMPTS=99\n");
    expect(space.load({ cwd: card }).config).toMatchObject({ attempts: 5, source: null });
  });

  test("is left out inside one of several sources", () => {
    const space = openWorkspace();
    space.write("card/.env", "UPLOADER_ATTEMPTS=99\n");
    space.write("all.json", {
      sources: [
        { name: "other", source: "/x" },
        { name: "card", source: "card" },
      ],
    });
    const { config } = space.load({ cwd: join(space.root, "card"), configPath: "../all.json" });
    expect(config.attempts).toBe(5);
  });
});

test("a name close to one of ours is worth a notice, others are not", () => {
  const { notices } = openWorkspace().load({ env: { UPLOADER_CONCURENCY: "4", UPLOADER_SERVICE_HOST: "10.0.0.1" } });
  expect(notices).toEqual(["environment UPLOADER_CONCURENCY is not known; UPLOADER_CONCURRENCY is"]);
});

describe("older ECG switches", () => {
  test("anything but true keeps uploads off", () => {
    const space = openWorkspace();
    for (const [text, enabled] of [
      ["true", true],
      ["TRUE ", true],
      ["false", false],
      ["1", false],
    ] as const) {
      const { config, origins } = space.load({ env: { CLOUD_UPLOAD_ENABLED: text, CLOUD_SERVICE: "s3" } });
      expect(config.cloudUploadEnabled).toBe(enabled);
      expect(origins.get("cloudUploadEnabled")).toBe("borrowed CLOUD_UPLOAD_ENABLED");
    }
  });

  test("another service than S3 is refused, a bucket is borrowed", () => {
    const space = openWorkspace();
    expect(space.fail({ env: { CLOUD_SERVICE: "azure" } })).toMatchObject({ code: "config_invalid", exitCode: 2 });
    const { config } = space.load({
      env: { CLOUD_SERVICE: "S3", AWS_S3_BUCKET: "ecg-box", AWS_S3_REGION: "eu-west-3" },
    });
    expect(config.destination).toEqual({ kind: "s3", bucket: "ecg-box", prefix: "" });
    expect(config.s3.region).toBe("eu-west-3");
  });
});

describe("MADXXX names", () => {
  const env = {
    MADXXX_API_URL: "https://example.org/jobs",
    MADXXX_API_KEY: "k",
    MADXXX_API_TIMEOUT: "12",
    MADXXX_FUNCTION_NAME: "f",
    MADXXX_MODULE_NAME: "m",
    MADXXX_SQS_QUEUE: "q",
    MADXXX_SQS_REGION: "eu-west-1",
  };

  test("set the trigger up as the older program had it", () => {
    const { trigger, secrets } = openWorkspace().load({ env }).config;
    expect(trigger).toMatchObject({
      url: "https://example.org/jobs",
      format: "job",
      timeoutMs: 12_000,
      functionName: "f",
      moduleName: "m",
      sqsQueue: "q",
      sqsRegion: "eu-west-1",
    });
    expect(secrets.triggerApiKey).toBe("k");
  });

  test("do not change the format of a trigger that we name ourselves", () => {
    const { trigger } = openWorkspace().load({ env, flags: { "trigger.url": "https://own.example.org" } }).config;
    expect(trigger).toMatchObject({ url: "https://own.example.org", format: "session" });
  });
});
