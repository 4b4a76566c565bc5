import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { describe, expect, test } from "vitest";
import { editDistance, nearestKey } from "../../src/config/nearest.ts";
import { configSchemaText } from "../../src/config/schema.ts";
import { parseDuration, parseSize } from "../../src/config/sizes.ts";
import { splitList } from "../../src/config/text-value.ts";
import { configForSource, describeFlags, loadConfig } from "../../src/config.ts";
import { openWorkspace } from "./workspace.ts";

const root = new URL("../../", import.meta.url);

test("config.schema.json is fresh; if not: npm run build && node scripts/config-schema.js", () => {
  expect(readFileSync(new URL("config.schema.json", root), "utf8")).toBe(configSchemaText());
});

test("config.example.json runs without any environment", () => {
  const { config, notices } = loadConfig({ flags: {}, configPath: "config.example.json", env: {}, cwd: root.pathname });
  expect(config).toMatchObject({
    project: "sample",
    source: `${root.pathname}samples`,
    destination: { kind: "folder", path: `${root.pathname}archive` },
    database: { connection: { kind: "embedded" } },
  });
  expect(notices).toEqual([]);
});

describe("flags", () => {
  const flags = describeFlags();
  const flagOf = (path: string) => flags.filter((spec) => spec.path === path);

  test("every key has one, with its variable", () => {
    expect(flagOf("s3.profile")).toEqual([
      {
        path: "s3.profile",
        flag: "--s3-profile <profile>",
        aliases: [],
        env: "UPLOADER_S3_PROFILE",
        description: "AWS profile that gives the credentials",
        takesValue: true,
        repeatable: false,
      },
    ]);
    expect(flagOf("s3.kmsKeyId")[0]).toMatchObject({ flag: "--s3-kms-key-id <id>", env: "UPLOADER_S3_KMS_KEY_ID" });
    expect(flagOf("stateDirectory")[0]?.env).toBe("UPLOADER_STATE_DIR");
    expect(flagOf("onConflict")[0]).toMatchObject({ flag: "--on-conflict <fail|skip|replace>" });
    expect(flagOf("bytesInFlight")[0]?.description).toContain("(default: 96MiB)");
    expect(flagOf("include")[0]).toMatchObject({ repeatable: true });
    expect(flags.some((spec) => /sources|schema$/.test(spec.path) && spec.path !== "database.schema")).toBe(false);
  });

  test("yes or no makes two, habit's names are there", () => {
    expect(flagOf("decode.enabled").map(({ flag, aliases, takesValue }) => ({ flag, aliases, takesValue }))).toEqual([
      { flag: "--decode-enabled", aliases: ["--decode"], takesValue: false },
      { flag: "--no-decode-enabled", aliases: ["--no-decode"], takesValue: false },
    ]);
    const aliases = flags.flatMap((spec) => spec.aliases);
    expect(aliases).toEqual(expect.arrayContaining(["-j", "--region", "--endpoint-url", "--interval", "--settle"]));
  });

  test("no flag takes a secret", () => {
    expect(flags.filter(({ flag }) => /password|secret|token|api-key/.test(flag))).toEqual([]);
  });

  test("commander takes them all, and what it reads is a configuration", () => {
    const command = new Command();
    for (const spec of flags) command.addOption(new Option([...spec.aliases, spec.flag].join(", "), spec.description));
    command.parse(["-j", "8", "--endpoint-url", "http://s3", "--no-decode", "--s3-unsigned-payload"], { from: "user" });
    expect(command.opts()).toEqual({
      concurrency: "8",
      s3Endpoint: "http://s3",
      decodeEnabled: false,
      s3UnsignedPayload: true,
    });
  });

  test("an unknown path is refused", () => {
    expect(openWorkspace().fail({ flags: { "s3.profil": "x" } })).toMatchObject({
      code: "usage",
      hint: "the nearest is s3.profile",
    });
  });

  test("every variable is read, with a value its key takes", () => {
    const samples: Record<string, string> = {
      "s3.endpoint": "http://s3",
      "trigger.url": "http://hook",
      "database.url": "postgres://db/x",
      "s3.expectedBucketOwner": "123456789012",
      "s3.storageClass": "STANDARD_IA",
      "s3.serverSideEncryption": "aws:kms",
      "decode.formats": "csv",
      bytesInFlight: "64MiB",
      "database.schema": "reef",
      http: "127.0.0.1:9464",
      logKeep: "7",
    };
    for (const { path, env, takesValue, flag } of flags) {
      const choice = /<([^|>]+)\|/.exec(flag)?.[1];
      const text = samples[path] ?? (!takesValue ? "true" : choice && choice !== "n" ? choice : "200000");
      const small = /attempts|concurrency|Seconds|Minutes/.test(path) ? "60" : text;
      const given = {
        [env]: small,
        ...(path === "s3.kmsKeyId" ? { UPLOADER_S3_SERVER_SIDE_ENCRYPTION: "aws:kms" } : {}),
      };
      const { origins } = openWorkspace().load({ env: given });
      expect(origins.get(path)).toBe(`environment ${env}`);
    }
  });
});

describe("sources", () => {
  const space = () => {
    const workspace = openWorkspace();
    workspace.write("all.json", {
      destination: "s3://reef/C2",
      attempts: 9,
      onConflict: "skip",
      s3: { region: "eu-west-1", profile: "field" },
      sources: [
        { name: "cards", source: "cards" },
        {
          name: "ecg",
          source: "/ecg",
          destination: "s3://hospital",
          layout: "ecg-reports",
          usersFile: "people.json",
          expectEverySeconds: "15m",
          onConflict: "fail",
          s3: { profile: "clinic" },
        },
      ],
    });
    return workspace;
  };

  test("an entry overrides the top level, key by key", () => {
    const workspace = space();
    const { config } = workspace.load({ configPath: "all.json" });
    expect(configForSource(config, "cards")).toMatchObject({
      project: "reef",
      source: `${workspace.root}/cards`,
      destination: { bucket: "reef", prefix: "C2" },
      attempts: 9,
      onConflict: "skip",
    });
    const ecg = configForSource(config, "ecg");
    expect(ecg).toMatchObject({
      project: "hospital",
      destination: { bucket: "hospital", prefix: "" },
      layout: "ecg-reports",
      usersFile: `${workspace.root}/people.json`,
      expectEverySeconds: 900,
      attempts: 9,
      onConflict: "fail",
      s3: { region: "eu-west-1", profile: "clinic" },
      concurrency: "auto",
    });
    expect(ecg).not.toHaveProperty("name");
  });

  test("flags and variables come before an entry, except for what makes it a source of its own", () => {
    const { config } = space().load({
      configPath: "all.json",
      flags: { onConflict: "replace", source: "/elsewhere" },
      env: { UPLOADER_S3_PROFILE: "mine", UPLOADER_DESTINATION: "s3://elsewhere" },
    });
    expect(configForSource(config, "ecg")).toMatchObject({
      source: "/ecg",
      destination: { bucket: "hospital" },
      onConflict: "replace",
      s3: { profile: "mine" },
    });
    expect(configForSource(config, "cards").destination).toMatchObject({ bucket: "elsewhere" });
  });

  test("an unknown name is a usage error that lists the names", () => {
    const { config } = space().load({ configPath: "all.json" });
    expect(() => configForSource(config, "ECG")).toThrow(
      expect.objectContaining({ code: "usage", hint: "there are cards, ecg" }),
    );
  });
});

describe("words", () => {
  test.each([
    ["96MiB", 96 * 2 ** 20],
    ["200M", 200 * 2 ** 20],
    ["200m", 200 * 2 ** 20],
    ["1GB", 1e9],
    ["1.5 GiB", 1.5 * 2 ** 30],
    ["10MiB/s", 10 * 2 ** 20],
    ["512", 512],
    ["7B", 7],
    ["1t", 2 ** 40],
    ["", null],
    ["-1M", null],
    ["1MM", null],
    ["99999999T", null],
    ["1e6", null],
  ])("size %j", (text, sizeBytes) => {
    expect(parseSize(text)).toBe(sizeBytes);
  });

  test.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["1.5 min", 90_000],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["1d", 86_400_000],
    ["30", null],
    ["1w", null],
  ])("duration %j", (text, durationMs) => {
    expect(parseDuration(text)).toBe(durationMs);
  });

  test.each([
    ["", "abc", 3],
    ["kitten", "sitting", 3],
    ["reigon", "region", 1],
    ["same", "same", 0],
    ["ca", "abc", 3],
  ])("edits from %j to %j", (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
    expect(editDistance(b, a)).toBe(edits);
  });

  test("nearestKey prefers the whole to the last segment", () => {
    expect(nearestKey("profile", ["decode.profile", "profiles"])?.key).toBe("decode.profile");
    expect(nearestKey("s3_profile", ["decode.profile", "s3.profile"])).toEqual({ key: "s3.profile", edits: 0 });
    expect(nearestKey("x", [])).toBeNull();
  });

  test("lists are split outside brackets", () => {
    expect(splitList("**/*.{wav,flac}, @(a,b)/[x,y],\nz,,")).toEqual(["**/*.{wav,flac}", "@(a,b)/[x,y]", "z"]);
    expect(splitList("a},b")).toEqual(["a}", "b"]);
  });
});
