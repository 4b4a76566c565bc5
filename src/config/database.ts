/** Which PostgreSQL is named, by whichever of the usual ways (design A10). */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { type Lookup, readConfigured } from "./environment.ts";

/** libpq's keywords, as connection strings and service files write them; the password is kept apart. */
const fieldNames = [
  "host",
  "port",
  "dbname",
  "user",
  "sslmode",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "connect_timeout",
  "application_name",
] as const;
export type DatabaseFields = Partial<Record<(typeof fieldNames)[number], string>>;

/**
 * `url` as the user wrote it, perhaps with a password in it; `fields` from variables or a service file. A password in
 * the configuration's `secrets` comes first; what is left out is node-postgres' or the server's default.
 */
export type DatabaseConnection =
  | { kind: "url"; url: string }
  | { kind: "environment"; fields: DatabaseFields }
  | { kind: "embedded" };

export interface NamedDatabase {
  connection: DatabaseConnection;
  password: string | null;
  origin: string;
  notices: string[];
}

/** What the older program took when a part was not named (OR 5.2). */
const olderDefaults: DatabaseFields = { host: "localhost", port: "5432", dbname: "data_uploader", user: "uploader" };

export const olderNames: DatabaseFields = { host: "DB_HOST", port: "DB_PORT", dbname: "DB_NAME", user: "DB_USER" };

const libpqNames: DatabaseFields = {
  host: "PGHOST",
  port: "PGPORT",
  dbname: "PGDATABASE",
  user: "PGUSER",
  sslmode: "PGSSLMODE",
  sslrootcert: "PGSSLROOTCERT",
  sslcert: "PGSSLCERT",
  sslkey: "PGSSLKEY",
  connect_timeout: "PGCONNECT_TIMEOUT",
  application_name: "PGAPPNAME",
};

export const databaseVariables = [
  ...Object.values(olderNames),
  ...Object.values(libpqNames),
  ...["DB_PASSWORD", "PGPASSWORD", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR"],
];

export interface DatabaseQuestion {
  /** `database.url`, wherever it came from; `null` when nobody named one. */
  url: { text: string; origin: string } | null;
  /** `database.url` was emptied on purpose: nothing else is asked. */
  isEmptied: boolean;
  /** The older flat keys `db_*` of the file. */
  older: { fields: DatabaseFields; password: string | null; origin: string } | null;
  lookup: Lookup;
  cwd: string;
}

/** The first that is named: `database.url`, older keys of the file, `DATABASE_URL`, `DB_HOST`, `PGSERVICE`, `PGHOST`. */
export function nameDatabase({ url, isEmptied, older, lookup, cwd }: DatabaseQuestion): NamedDatabase {
  const named = (connection: DatabaseConnection, password: string | null, origin: string, notices: string[] = []) => ({
    connection,
    password,
    origin,
    notices,
  });
  if (isEmptied) return named({ kind: "embedded" }, null, "default");
  if (url !== null) return named({ kind: "url", url: url.text }, ownPassword(url.text, lookup), url.origin);
  const olderPassword = lookup("DB_PASSWORD")?.text ?? null;
  if (older !== null) {
    const fields = { ...olderDefaults, ...fieldsOf(olderNames, lookup), ...older.fields };
    return named({ kind: "environment", fields }, older.password ?? olderPassword, older.origin);
  }
  const borrowed = lookup("DATABASE_URL");
  if (borrowed !== null) {
    assertPostgresUrl(borrowed.text, borrowed.origin);
    return named({ kind: "url", url: borrowed.text }, ownPassword(borrowed.text, lookup), borrowed.origin);
  }
  const host = lookup("DB_HOST");
  if (host !== null) {
    const fields = { ...olderDefaults, ...fieldsOf(olderNames, lookup) };
    return named({ kind: "environment", fields }, olderPassword, host.origin);
  }
  const libpqPassword = lookup("PGPASSWORD")?.text ?? null;
  const service = lookup("PGSERVICE");
  if (service !== null) {
    const { password, fields, notices } = readService(service.text, lookup, cwd);
    // As libpq has it: a service's settings come before the variables.
    const all = { ...fieldsOf(libpqNames, lookup), ...fields };
    return named({ kind: "environment", fields: all }, password ?? libpqPassword, service.origin, notices);
  }
  const libpqHost = lookup("PGHOST");
  if (libpqHost === null) return named({ kind: "embedded" }, null, "default");
  return named({ kind: "environment", fields: fieldsOf(libpqNames, lookup) }, libpqPassword, libpqHost.origin);
}

/** A connection string without a password; `null` for the embedded server, whose address only it knows. */
export function connectionUrl(connection: DatabaseConnection): string | null {
  if (connection.kind === "embedded") return null;
  if (connection.kind === "url") return connection.url;
  const { host = "localhost", port, dbname = "", user, ...rest } = connection.fields;
  const url = new URL("postgresql://");
  const isSocket = host.startsWith("/");
  const authority = isSocket
    ? ""
    : `${user ? `${encodeURIComponent(user)}@` : ""}${host.includes(":") ? `[${host}]` : host}${port ? `:${port}` : ""}`;
  for (const [name, value] of Object.entries({ ...(isSocket ? { host, port, user } : {}), ...rest })) {
    if (value) url.searchParams.set(name, value);
  }
  return `postgresql://${authority}/${encodeURIComponent(dbname)}${url.search}`;
}

/** The same address with this password in it. */
export function withPassword(url: string, password: string | null): string {
  if (password === null) return url;
  const [, scheme = "", user = "", rest = ""] = /^(\w+:\/\/)(?:([^/@?]*)@)?(.*)$/s.exec(url) ?? [];
  // With a socket the authority is empty, and the user stands among the parameters, as the password must.
  if (rest.startsWith("/")) {
    return `${url}${url.includes("?") ? "&" : "?"}password=${encodeURIComponent(password)}`;
  }
  return `${scheme}${user.split(":")[0]}:${encodeURIComponent(password)}@${rest}`;
}

const hasPassword = (url: string): boolean =>
  /^\w+:\/\/[^/@?]*:[^/@?]+@/.test(url) || /[?&]password=./.test(url);

const ownPassword = (url: string, lookup: Lookup): string | null =>
  hasPassword(url) ? null : (lookup("PGPASSWORD")?.text ?? null);

function assertPostgresUrl(url: string, origin: string): void {
  if (/^postgres(?:ql)?:\/\/./.test(url)) return;
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1];
  throw new UploaderError(
    "config_invalid",
    `${origin}: expected a URL like "postgresql://user@host:5432/name"${scheme ? `, found one that begins with "${scheme}:"` : ""}`,
    { hint: "unset it, or name the database with UPLOADER_DATABASE_URL" },
  );
}

function fieldsOf(names: DatabaseFields, lookup: Lookup): DatabaseFields {
  const found = Object.entries(names).map(([field, name]) => [field, lookup(name)?.text] as const);
  return Object.fromEntries(found.filter(([, text]) => text !== undefined));
}

/** node-postgres knows no services: libpq's file is read here (PostgreSQL manual, "The Connection Service File"). */
function readService(name: string, lookup: Lookup, cwd: string) {
  const explicit = lookup("PGSERVICEFILE");
  const systemWide = lookup("PGSYSCONFDIR");
  const home = lookup("HOME")?.text ?? homedir();
  const files = [
    explicit ? resolve(cwd, explicit.text) : join(home, ".pg_service.conf"),
    ...(systemWide ? [join(resolve(cwd, systemWide.text), "pg_service.conf")] : []),
  ];
  for (const [at, file] of files.entries()) {
    const settings = sectionOf(file, name, explicit !== null && at === 0);
    if (settings === null) continue;
    const { password = null, ...rest } = settings;
    const known = fieldNames.filter((field) => rest[field] !== undefined);
    const ignored = Object.keys(rest).filter((key) => !(fieldNames as readonly string[]).includes(key));
    return {
      password,
      fields: Object.fromEntries(known.map((field) => [field, rest[field]])) as DatabaseFields,
      notices: ignored.length > 0 ? [`service ${name}: ${ignored.join(", ")} in ${file} is not used`] : [],
    };
  }
  throw new UploaderError("config_invalid", `PGSERVICE: there is no service ${JSON.stringify(name)}`, {
    hint: `looked into ${files.join(" and ")}`,
  });
}

function sectionOf(file: string, name: string, isDemanded: boolean): Record<string, string> | null {
  let text: string;
  try {
    text = readConfigured(file, "PGSERVICEFILE").toString("utf8");
  } catch (error) {
    const { cause } = error as UploaderError;
    if (!isDemanded && (cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  let section: string | null = null;
  let found: Record<string, string> | null = null;
  for (const line of text.split(/\r?\n/).map((raw) => raw.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    section = /^\[(.*)\]$/.exec(line)?.[1] ?? section;
    if (section !== name) continue;
    found ??= {};
    const equals = line.indexOf("=");
    if (equals > 0 && !line.startsWith("[")) found[line.slice(0, equals).trim()] ??= line.slice(equals + 1).trim();
  }
  return found;
}
