/** libpq's connection service file, which node-postgres does not read. */
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

export interface Service {
  fields: DatabaseFields;
  password: string | null;
  notices: string[];
}

/**
 * From PGSERVICEFILE or `~/.pg_service.conf`, then from PGSYSCONFDIR (PostgreSQL manual, "The Connection Service File").
 * Throws `config_invalid` when no file has the service.
 */
export function readService(name: string, lookup: Lookup, cwd: string): Service {
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
