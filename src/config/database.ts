/** Which PostgreSQL is named, by whichever of the usual ways (design A10). */
import { UploaderError } from "../core/errors.ts";
import { borrowedOrigin, type Lookup } from "./environment.ts";
import { type DatabaseFields, readService } from "./service-file.ts";

/**
 * `url` as the user wrote it, perhaps with a password in it, or made of what was named one by one, without one. The
 * password in the configuration's `secrets` comes first; what is left out is node-postgres' default.
 */
export type DatabaseConnection = { kind: "url"; url: string } | { kind: "embedded" };

export interface NamedDatabase {
  connection: DatabaseConnection;
  password: string | null;
  origin: string;
  notices: string[];
}

/** What the older program took when a part was not named (OR 5.2). */
const olderDefaults: DatabaseFields = { host: "localhost", port: "5432", dbname: "data_uploader", user: "uploader" };

const olderNames: DatabaseFields = { host: "DB_HOST", port: "DB_PORT", dbname: "DB_NAME", user: "DB_USER" };

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
  /** `database.url` from a flag, one of our variables, or the file; `null` when nobody named one. */
  url: { text: string; origin: string } | null;
  /** The older flat keys `db_*` of the file. */
  older: { fields: DatabaseFields; password: string | null; origin: string } | null;
  lookup: Lookup;
  cwd: string;
}

/** The first way that names a database counts; without any it is the embedded one. */
export function nameDatabase(question: DatabaseQuestion): NamedDatabase {
  for (const way of ways) {
    const named = way(question);
    if (named !== null) return named;
  }
  return { connection: { kind: "embedded" }, password: null, origin: "default", notices: [] };
}

type Way = (question: DatabaseQuestion) => NamedDatabase | null;

const ways: readonly Way[] = [
  ({ url, lookup }) => url && namedUrl(url.text, url.origin, lookup),

  // Of the older program's settings some often stood in the file, and the password in the environment.
  ({ older, lookup }) => {
    if (older === null) return null;
    const fields = { ...olderDefaults, ...fieldsOf(olderNames, lookup), ...older.fields };
    return namedFields(fields, older.password ?? textOf(lookup, "DB_PASSWORD"), older.origin);
  },

  ({ lookup }) => {
    const found = lookup("DATABASE_URL");
    if (found === null) return null;
    assertPostgresUrl(found.text, borrowedOrigin(found));
    return namedUrl(found.text, borrowedOrigin(found), lookup);
  },

  ({ lookup }) => {
    const found = lookup("DB_HOST");
    if (found === null) return null;
    const fields = { ...olderDefaults, ...fieldsOf(olderNames, lookup) };
    return namedFields(fields, textOf(lookup, "DB_PASSWORD"), borrowedOrigin(found));
  },

  // As libpq has it: a service's settings come before the variables.
  ({ lookup, cwd }) => {
    const found = lookup("PGSERVICE");
    if (found === null) return null;
    const { password, fields, notices } = readService(found.text, lookup, cwd);
    const all = { ...fieldsOf(libpqNames, lookup), ...fields };
    return { ...namedFields(all, password ?? textOf(lookup, "PGPASSWORD"), borrowedOrigin(found)), notices };
  },

  ({ lookup }) => {
    const found = lookup("PGHOST");
    return found && namedFields(fieldsOf(libpqNames, lookup), textOf(lookup, "PGPASSWORD"), borrowedOrigin(found));
  },
];

const textOf = (lookup: Lookup, name: string): string | null => lookup(name)?.text ?? null;

const namedUrl = (url: string, origin: string, lookup: Lookup): NamedDatabase => ({
  connection: { kind: "url", url },
  password: hasPassword(url) ? null : textOf(lookup, "PGPASSWORD"),
  origin,
  notices: [],
});

const namedFields = (fields: DatabaseFields, password: string | null, origin: string): NamedDatabase => ({
  connection: { kind: "url", url: urlOf(fields) },
  password,
  origin,
  notices: [],
});

/** As a connection string, with the user and the rest where node-postgres and psql both find them. */
function urlOf({ host = "localhost", port, dbname = "", user, ...rest }: DatabaseFields): string {
  const isSocket = host.startsWith("/");
  const authority = isSocket
    ? ""
    : `${user ? `${encodeURIComponent(user)}@` : ""}${host.includes(":") ? `[${host}]` : host}${port ? `:${port}` : ""}`;
  const parameters = Object.entries({ ...(isSocket ? { host, port, user } : {}), ...rest })
    .filter(([, value]) => value)
    .map(([name, value]) => `${name}=${encodeURIComponent(value!)}`);
  const query = parameters.length > 0 ? `?${parameters.join("&")}` : "";
  return `postgresql://${authority}/${encodeURIComponent(dbname)}${query}`;
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

const hasPassword = (url: string): boolean => /^\w+:\/\/[^/@?]*:[^/@?]+@/.test(url) || /[?&]password=./.test(url);

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
