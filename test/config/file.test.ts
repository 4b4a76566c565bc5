import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseJsonText } from "../../src/config/json-text.ts";
import { openWorkspace } from "./workspace.ts";

const errorOf = (text: string | Uint8Array | object) => {
  const space = openWorkspace();
  space.write("reef.json", text);
  return space.fail({ configPath: "reef.json" });
};

describe("the file itself", () => {
  test("missing, or a folder", () => {
    const space = openWorkspace();
    mkdirSync(join(space.root, "folder"));
    expect(space.fail({ configPath: "reef.json" })).toMatchObject({
      code: "config_invalid",
      message: `the configuration file: ${join(space.root, "reef.json")} does not exist`,
    });
    expect(space.fail({ configPath: "folder" }).message).toMatch(/folder is a folder, not a file$/);
  });

  test("a BOM is tolerated", () => {
    const space = openWorkspace();
    space.write("reef.json", '\ufeff{"project": "é"}');
    expect(space.load({ configPath: "reef.json" }).config.project).toBe("é");
  });

  test("other encodings are named", () => {
    expect(errorOf(Buffer.from('\ufeff{"project":"x"}', "utf16le")).message).toBe("reef.json is UTF-16");
    expect(errorOf(Buffer.from('{"project":"é"}', "latin1")).message).toBe("reef.json is not UTF-8");
  });

  test("something else than an object", () => {
    expect(errorOf("[]").message).toBe('file reef.json: expected an object: { "key": value }');
  });
});

describe("JSON errors show the place", () => {
  test("a missing comma", () => {
    expect(errorOf('{\n  "project": "reef"\n  "source": "x"\n}').message).toBe(
      ['reef.json:3:3: expected "," or "}", found a text', '    3 |   "source": "x"', "      |   ^"].join("\n"),
    );
  });

  test.each([
    ["{", 'reef.json:1:2: expected a key in double quotes or "}", found the end of the file'],
    ['{"a": 1,}', 'reef.json:1:9: expected a key in double quotes, found "}"'],
    ['{"a" 1}', 'reef.json:1:6: expected ":" after the key "a", found "1"'],
    ["{'a': 1}", `reef.json:1:2: expected a key in double quotes or "}", found "'"`],
    ['{"a": True}', 'reef.json:1:7: expected a value, found "True"'],
    ['{"a": "x\ny"}', "reef.json:1:7: expected a value, found a text without an end"],
    ['{"a": 1} {}', 'reef.json:1:10: expected the end of the file, found "{"'],
    ['{"a": [1 2]}', 'reef.json:1:10: expected "," or "]", found "2"'],
    ['{"a": 01}', 'reef.json:1:8: expected "," or "}", found "1"'],
    ['{"a": nullify}', 'reef.json:1:7: expected a value, found "nullify"'],
    ["", "reef.json:1:1: expected a value, found the end of the file"],
  ])("%j", (text, message) => {
    expect(errorOf(text).message.split("\n")[0]).toBe(message);
  });

  test("a comment has a hint", () => {
    expect(errorOf('{\n  // here\n  "a": 1 }').hint).toBe("JSON has no comments: remove it");
  });

  test("the caret fits in long lines and behind tabs, and secrets in the line are masked", () => {
    const error = errorOf(`{"database": {\t"url": "postgres://u:hush@db/x"},${" ".repeat(200)}"a": tru}`);
    const [, line, caret] = error.message.split("\n");
    expect(line![caret!.indexOf("^")]).toBe("t");
    const near = errorOf('{"database": {\t"url": "postgres://u:hush@db/x" "apiKey": "quiet"').message.split("\n");
    expect(near[1]).toContain("postgres://u:****@db/x");
    expect(near[1]![near[2]!.indexOf("^")]).toBe('"');
    expect(near.join()).not.toMatch(/hush|quiet/);
  });

  test("too many levels are refused before the stack is", () => {
    expect(errorOf("[".repeat(100_000)).message).toContain("expected at most 64 levels");
  });

  test("a key given twice names both lines", () => {
    expect(errorOf('{\n "s3": {\n  "region": "a",\n\n  "region": "b" } }').message).toBe(
      'reef.json:5: "region" is given twice, in line 3 and in line 5',
    );
  });
});

test("whatever JSON.parse takes is taken with the same value", () => {
  const texts = [
    '{"a":[1,-2.5e3,0,true,false,null,"\\u00e9\\n\\"/",{}],"b":{"c":[[]]}}',
    ' \r\n\t"text" ',
    "-0.0",
    '{"__proto__": {"x": 1}, "": 2}',
    '"😀"',
  ];
  for (const text of texts) {
    expect(JSON.stringify(parseJsonText(text, "x").value)).toBe(JSON.stringify(JSON.parse(text)));
  }
});

describe("unknown keys", () => {
  test.each([
    [{ projct: "x" }, "projct", 'the nearest known key is "project"'],
    [{ s3: { reigon: "x" } }, "s3.reigon", 'the nearest known key is "region"'],
    [{ region: "x" }, "region", 'the nearest known key is "region" inside "s3"'],
    [{ "s3.region": "x" }, "s3.region", 'the nearest known key is "region" inside "s3"'],
    [{ s3: { onConflict: "x" } }, "s3.onConflict", 'the nearest known key is "onConflict" at the top level'],
    [{ on_conflict: "x" }, "on_conflict", 'the nearest known key is "onConflict"'],
    [{ __proto: 1 }, "__proto", "the nearest known key is"],
    [{ constructor: 1 }, "constructor", "the nearest known key is"],
    [
      { sources: [{ name: "a", concurrency: 2 }] },
      "sources[0].concurrency",
      "the nearest known key is concurrency at the top level, for all sources",
    ],
    [{ sources: [{ nme: "a" }] }, "sources[0].nme", "the nearest known key is"],
  ])("%j", (content, key, hint) => {
    const error = errorOf(content);
    expect(error.message).toMatch(/^file reef\.json:\d+: there is no key /);
    expect(error.message).toContain(JSON.stringify(key));
    expect(error.hint).toContain(hint);
    expect(error.exitCode).toBe(2);
  });

  test("$schema is allowed", () => {
    const space = openWorkspace();
    space.write("reef.json", { $schema: "./config.schema.json" });
    expect(space.load({ configPath: "reef.json" }).config).not.toHaveProperty("$schema");
  });
});

describe("secrets have no place in the file", () => {
  test.each([
    [{ trigger: { apiKey: "quiet" } }, "trigger.apiKey", "UPLOADER_TRIGGER_API_KEY"],
    [{ trigger: { secret: "quiet" } }, "trigger.secret", "UPLOADER_TRIGGER_SECRET"],
    [{ database: { password: "quiet" } }, "database.password", "UPLOADER_DATABASE_PASSWORD_FILE"],
    [{ s3: { secretAccessKey: "quiet" } }, "s3.secretAccessKey", "s3.profile"],
    [{ aws_access_key_id: "quiet" }, "aws_access_key_id", "s3.profile"],
  ])("%j", (content, key, hint) => {
    const error = errorOf(content);
    expect(error.message).toContain(`${key} is a secret`);
    expect(error.hint).toContain(hint);
    expect(error.message).not.toContain("quiet");
  });
});

describe("wrong values say what was expected and what was found", () => {
  test.each([
    [
      { concurrency: "many" },
      'file reef.json:2: concurrency: expected "auto" or a whole number from 1 to 10000, found "many"',
    ],
    [{ concurrency: 0 }, 'file reef.json:2: concurrency: expected "auto" or a whole number from 1 to 10000, found 0'],
    [{ attempts: 2.5 }, "file reef.json:2: attempts: expected a whole number from 1 to 100, found 2.5"],
    [{ attempts: null }, "file reef.json:2: attempts: expected a whole number from 1 to 100, found null"],
    [
      { include: "**/*.wav" },
      'file reef.json:2: include: expected a list of patterns like ["**/*.wav"], found "**/*.wav"',
    ],
    [{ include: ["a", 1] }, 'file reef.json:2: include: expected a list of patterns like ["**/*.wav"], found ["a",1]'],
    [{ s3: "eu-west-1" }, 'file reef.json:2: s3: expected an object: { "key": value }'],
    [{ s3: { region: "a b" } }, 'file reef.json:3: s3.region: expected a region like "eu-west-1", found "a b"'],
    [
      { s3: { endpoint: "localhost:9000" } },
      'file reef.json:3: s3.endpoint: expected a URL like "https://s3.example.org:9000", found another text',
    ],
    [
      { bytesInFlight: "12 parsecs" },
      'file reef.json:2: bytesInFlight: expected a size of at least 1MiB, like "96MiB", found "12 parsecs"',
    ],
    [
      { bytesInFlight: "5k" },
      'file reef.json:2: bytesInFlight: expected a size of at least 1MiB, like "96MiB", found "5k"',
    ],
    [
      { sync: { settleSeconds: "3d" } },
      'file reef.json:3: sync.settleSeconds: expected seconds from 0 to 3600, as a number or like "30s", found "3d"',
    ],
    [
      { decode: { formats: [] } },
      'file reef.json:3: decode.formats: expected a list of "json", "csv", "mat" or "parquet", found []',
    ],
    [
      { database: { url: "mysql://root:hush@db/x" } },
      'file reef.json:3: database.url: expected a URL like "postgresql://user@host:5432/name", found another text',
    ],
    [{ s: 1, sources: {} }, 'file reef.json:2: there is no key "s"'],
    [{ sources: {} }, "file reef.json:2: sources: expected a list of sources, found an object"],
    [{ sources: [3] }, "file reef.json:3: sources[0]: expected an object with a name"],
    [
      { sources: [{ source: "/x" }] },
      "file reef.json:3: sources[0].name: expected a name of letters, digits, dots, dashes and underscores, found nothing",
    ],
    [
      { sources: [{ name: "a", s3: { region: 3 } }] },
      'file reef.json:6: sources[0].s3.region: expected a region like "eu-west-1", found 3',
    ],
    [{ sources: [{ name: "a" }, { name: "a" }] }, 'file reef.json:2: two sources are called "a"'],
    [{ s3: { kmsKeyId: "alias/x" } }, 'file reef.json:3: s3.kmsKeyId needs s3.serverSideEncryption "aws:kms"'],
    [
      { destination: "s3://Reef/C2" },
      'file reef.json:2: the bucket\'s name "Reef" is not valid: only lower-case letters, digits, dots and dashes are allowed',
    ],
  ])("%j", (content, message) => {
    expect(errorOf(content)).toMatchObject({ code: "config_invalid", message });
  });

  test("what an entry of sources makes impossible is found", () => {
    const s3 = { serverSideEncryption: "aws:kms", kmsKeyId: "alias/x" };
    expect(errorOf({ s3, sources: [{ name: "a", s3: { serverSideEncryption: "AES256" } }] }).message).toContain(
      "s3.kmsKeyId needs",
    );
  });

  test("a near choice is suggested", () => {
    expect(errorOf({ existing: "checksums" }).hint).toBe('did you mean "checksum"?');
  });

  test("all of them at once, a line each; flags alone are a usage error", () => {
    const space = openWorkspace();
    space.write("reef.json", { attempts: "x", onConflict: 3 });
    const both = space.fail({ configPath: "reef.json", flags: { concurrency: "y" } });
    expect(both.message.split("\n")).toEqual([
      'file reef.json:2: attempts: expected a whole number from 1 to 100, found "x"',
      'file reef.json:3: onConflict: expected "fail", "skip" or "replace", found 3',
      'flag --concurrency: expected "auto" or a whole number from 1 to 10000, found "y"',
    ]);
    expect(both.code).toBe("config_invalid");
    expect(space.fail({ flags: { concurrency: "y" } }).code).toBe("usage");
    expect(space.fail({ flags: { destination: "gs://x" } }).code).toBe("usage");
    expect(space.fail({ env: { UPLOADER_ATTEMPTS: "x" } }).message).toMatch(/^environment UPLOADER_ATTEMPTS: expected/);
  });
});

describe("older flat keys", () => {
  const older = {
    local_directory: "/media/SD01",
    bucket_name: "reef-recordings",
    s3_prefix: "C2/",
    max_workers: 20,
    aws_region: "eu-west-1",
    times_to_retry: 3,
    aws_profile: "field",
    use_find: "yes",
    endpoint_url: null,
  };

  test("keep their meaning, with one notice", () => {
    const space = openWorkspace();
    space.write("old.json", older);
    const { config, notices, origins } = space.load({
      configPath: "old.json",
      env: { AWS_ENDPOINT_URL: "http://lent" },
    });
    expect(config).toMatchObject({
      project: "reef-recordings",
      source: "/media/SD01",
      destination: { kind: "s3", bucket: "reef-recordings", prefix: "C2" },
      concurrency: 20,
      attempts: 4,
      s3: { region: "eu-west-1", profile: "field", endpoint: "http://lent" },
      database: { connection: { kind: "embedded" } },
    });
    expect(notices).toHaveLength(1);
    expect(notices[0]).toContain("max_workers → concurrency");
    expect(origins.get("concurrency")).toBe("file old.json:5");
  });

  test("of the database go together with DB_* variables", () => {
    const space = openWorkspace();
    space.write("old.json", { ...older, db_host: "db.example.org", db_port: 6432 });
    const { config } = space.load({
      configPath: "old.json",
      env: { DB_HOST: "other", DB_NAME: "n", DB_PASSWORD: "hush", DATABASE_URL: "postgres://x/y" },
    });
    expect(config.database.connection).toEqual({ kind: "url", url: "postgresql://uploader@db.example.org:6432/n" });
    expect(config.secrets.databasePassword).toBe("hush");
  });

  test("beside their successors are refused", () => {
    expect(errorOf({ bucket_name: "reef", destination: "s3://reef" }).message).toBe(
      "file reef.json:2: bucket_name and destination (line 3) say the same twice",
    );
    expect(errorOf({ aws_region: "a", s3: { region: "b" } }).message).toContain("aws_region and s3.region (line 4)");
    expect(errorOf({ s3_prefix: "C2" }).message).toBe("file reef.json:2: s3_prefix needs bucket_name");
  });

  test("are checked under their new name", () => {
    expect(errorOf({ ...older, max_workers: "x" }).message).toBe(
      'file reef.json:5: concurrency: expected "auto" or a whole number from 1 to 10000, found "x"',
    );
  });
});
