import pg from "pg";
import { describe, expect, test } from "vitest";
import { redactConfig, withPassword } from "../../src/config.ts";
import { openWorkspace } from "./workspace.ts";

const databaseOf = (env: NodeJS.ProcessEnv, space = openWorkspace()) => {
  const { config, origins, notices } = space.load({ env: { HOME: space.root, ...env } });
  const { connection } = config.database;
  return {
    url: connection.kind === "url" ? connection.url : null,
    password: config.secrets.databasePassword,
    origin: origins.get("database.connection"),
    notices,
  };
};

describe("which settings name a database, best first", () => {
  const ways: [env: NodeJS.ProcessEnv, url: string, password: string | null, origin: string][] = [
    [
      { UPLOADER_DATABASE_URL: "postgresql://own@a/x" },
      "postgresql://own@a/x",
      null,
      "environment UPLOADER_DATABASE_URL",
    ],
    [{ DATABASE_URL: "postgres://lent:pw@b/y" }, "postgres://lent:pw@b/y", null, "borrowed DATABASE_URL"],
    [{ DB_HOST: "c", DB_PASSWORD: "pw c" }, "postgresql://uploader@c:5432/data_uploader", "pw c", "borrowed DB_HOST"],
    [
      { PGHOST: "d", PGUSER: "u@x", PGDATABASE: "n", PGPORT: "6432", PGSSLMODE: "verify-full", PGPASSWORD: "pw d" },
      "postgresql://u%40x@d:6432/n?sslmode=verify-full",
      "pw d",
      "borrowed PGHOST",
    ],
  ];
  test.each(ways)("%j", (env, url, password, origin) => {
    expect(databaseOf(env)).toMatchObject({ url, password, origin });
  });

  test("each comes before those after it", () => {
    for (let at = 0; at < ways.length; at++) {
      const env = Object.assign({}, ...ways.slice(at).map(([one]) => one));
      expect(databaseOf(env).url).toBe(ways[at]![1]);
    }
  });

  test("a port, a user or a password alone names none", () => {
    expect(databaseOf({ PGPORT: "1", PGUSER: "u", PGPASSWORD: "p", DB_NAME: "n", DB_PASSWORD: "p" })).toMatchObject({
      url: null,
      password: null,
      origin: "default",
    });
  });

  test("a DATABASE_URL of another kind is refused, without its password", () => {
    const space = openWorkspace();
    const error = space.fail({ env: { DATABASE_URL: "mysql+driver://root:hush@db/x" } });
    expect(error.message).toContain('found one that begins with "mysql+driver:"');
    expect(error.message).not.toContain("hush");
  });
});

describe("PGSERVICE", () => {
  const file = [
    "# offices",
    "[other]",
    "host=elsewhere",
    "[reef]",
    "host = db.example.org",
    "port=6432",
    "dbname=reef",
    "password=hush=1",
    "target_session_attrs=read-write",
    "",
  ].join("\n");

  test("is looked up in ~/.pg_service.conf, over the variables", () => {
    const space = openWorkspace();
    space.write(".pg_service.conf", file);
    const found = databaseOf({ PGSERVICE: "reef", PGHOST: "ignored", PGUSER: "u", PGPASSWORD: "ignored" }, space);
    expect(found).toMatchObject({
      url: "postgresql://u@db.example.org:6432/reef",
      password: "hush=1",
      origin: "borrowed PGSERVICE",
    });
    expect(found.notices).toEqual([expect.stringContaining("target_session_attrs")]);
  });

  test("is looked up where PGSERVICEFILE and PGSYSCONFDIR say", () => {
    const space = openWorkspace();
    space.write("etc/services", "[reef]\nhost=own\n");
    space.write("etc/pg_service.conf", "[reef]\nhost=all\n");
    const ofFile = { PGSERVICE: "reef", PGSERVICEFILE: "etc/services", PGSYSCONFDIR: "etc" };
    expect(databaseOf(ofFile, space).url).toBe("postgresql://own/");
    expect(databaseOf({ PGSERVICE: "reef", PGSYSCONFDIR: "etc" }, space).url).toBe("postgresql://all/");
  });

  test("that is nowhere is an error, and so is a missing PGSERVICEFILE", () => {
    const space = openWorkspace();
    expect(space.fail({ env: { HOME: space.root, PGSERVICE: "reef" } })).toMatchObject({
      code: "config_invalid",
      message: 'PGSERVICE: there is no service "reef"',
    });
    expect(space.fail({ env: { PGSERVICE: "reef", PGSERVICEFILE: "nowhere" } }).message).toContain("does not exist");
  });
});

test("node-postgres understands every address we make", () => {
  const understood = (env: NodeJS.ProcessEnv) => {
    const { url, password } = databaseOf(env);
    const client = new pg.Client({ connectionString: withPassword(url!, password) });
    return {
      host: client.host,
      port: client.port,
      user: client.user,
      database: client.database,
      password: client.password,
    };
  };
  const rest = { port: 6432, user: "u ser", database: "d é", password: "p@:/?#%é" };
  const variables = { PGPORT: "6432", PGUSER: "u ser", PGDATABASE: "d é", PGPASSWORD: "p@:/?#%é" };
  for (const host of ["db.example.org", "/run/postgresql", "127.0.0.1"]) {
    expect(understood({ ...variables, PGHOST: host })).toEqual({ ...rest, host });
  }
});

describe("withPassword", () => {
  test.each([
    ["postgresql://u@h/x", "postgresql://u:p%40@h/x"],
    ["postgresql://u:old@h/x?sslmode=require", "postgresql://u:p%40@h/x?sslmode=require"],
    ["postgresql://h:5432/x", "postgresql://:p%40@h:5432/x"],
    ["postgresql:///x?host=/run&user=u", "postgresql:///x?host=/run&user=u&password=p%40"],
    ["postgresql:///x", "postgresql:///x?password=p%40"],
  ])("%s", (url, expected) => {
    expect(withPassword(url, "p@")).toBe(expected);
    expect(withPassword(url, null)).toBe(url);
  });
});

describe("secrets", () => {
  const key = (bytes: string) => `whsec_${Buffer.from(bytes.repeat(8)).toString("base64")}`;

  test("come from variables or from the files they name", () => {
    const space = openWorkspace();
    space.write("secrets/key", `${key("abc")}, ${key("8 bytes.")}\n`);
    space.write("secrets/database", "  hush\r\n");
    const { secrets } = space.load({
      env: {
        UPLOADER_TRIGGER_SECRET_FILE: "secrets/key",
        UPLOADER_DATABASE_PASSWORD_FILE: `${space.root}/secrets/database`,
        UPLOADER_TRIGGER_API_KEY: "k",
        MADXXX_API_KEY: "lent",
      },
    }).config;
    expect(secrets).toEqual({
      databasePassword: "hush",
      triggerSecrets: [key("abc"), key("8 bytes.")],
      triggerApiKey: "k",
      pseudonymKey: null,
    });
  });

  test("faults are named without the secret", () => {
    const space = openWorkspace();
    space.write("empty", "\n");
    const messageOf = (env: NodeJS.ProcessEnv) => space.fail({ env }).message;
    expect(messageOf({ UPLOADER_TRIGGER_API_KEY_FILE: "nowhere" })).toMatch(
      /^UPLOADER_TRIGGER_API_KEY_FILE: .*nowhere does not exist$/,
    );
    expect(messageOf({ UPLOADER_TRIGGER_API_KEY_FILE: "empty" })).toContain("is empty");
    expect(messageOf({ UPLOADER_PSEUDONYM_KEY: "hush hush hush" })).toMatch(
      /^UPLOADER_PSEUDONYM_KEY: .*16 characters$/,
    );
    expect(messageOf({ UPLOADER_DATABASE_PASSWORD: "a", UPLOADER_DATABASE_PASSWORD_FILE: "b" })).toContain("both set");
    const of = (sizeBytes: number) => `whsec_${Buffer.alloc(sizeBytes, "hush").toString("base64")}`;
    for (const bad of ["hush", "whsec_", "whsec_hu$h", `${key("abc")},hush`, of(3), of(23), of(65)]) {
      const message = messageOf({ UPLOADER_TRIGGER_SECRET: bad });
      expect(message).toContain("whsec_ and base64");
      expect(message).not.toContain("hush");
    }
  });

  test("are gone from what is shown and stored; the rest stays", () => {
    const { config } = openWorkspace().load({
      flags: { destination: "s3://reef/C2" },
      env: {
        UPLOADER_DATABASE_URL: "postgresql://u:hush@h/x?sslmode=require&password=hush",
        UPLOADER_DATABASE_PASSWORD: "hush",
        UPLOADER_TRIGGER_SECRET: key("hush"),
        UPLOADER_TRIGGER_API_KEY: "hush",
        UPLOADER_PSEUDONYM_KEY: "hush hush hush hush",
        UPLOADER_TRIGGER_URL: "https://u:hush@example.org/hook?token=hush&x=hush#hush",
        UPLOADER_S3_ENDPOINT: "http://u:hush@s3.example.org:9000",
      },
    });
    const shown = redactConfig(config);
    expect(JSON.stringify(shown)).not.toMatch(/hush|aHVza/);
    expect(shown).toMatchObject({
      destination: "s3://reef/C2",
      concurrency: "auto",
      database: { connection: { kind: "url", url: "postgresql://u:***@h/x?sslmode=require&password=***" } },
      secrets: {
        databasePassword: "(hidden)",
        triggerSecrets: "(hidden)",
        triggerApiKey: "(hidden)",
        pseudonymKey: "(hidden)",
      },
      s3: { endpoint: "http://u:***@s3.example.org:9000/" },
    });
  });

  test("a URL without secrets is shown as it is written", () => {
    const { config } = openWorkspace().load({ env: { DATABASE_URL: "postgresql://u@h/x?sslmode=require" } });
    expect(redactConfig(config)).toMatchObject({
      database: { connection: { url: "postgresql://u@h/x?sslmode=require" } },
      secrets: { databasePassword: null },
    });
  });
});
