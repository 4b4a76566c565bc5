/** Secrets leave the program nowhere: what is shown, stored or quoted goes through here. */
import { destinationText } from "./destination.ts";
import type { Config, SourceConfig } from "./load.ts";

const stars = (text: string): string => "*".repeat(text.length);

/** A line of a configuration file for an error message: secrets become stars, and nothing moves. */
export function maskLine(line: string): string {
  return line
    .replace(
      /("[^"]*(?:password|passwd|secret|token|api_?key|pseudonym_?key|access_?key)[^"]*"?\s*:\s*"?)([^",}\s][^",}]*)/gi,
      (_, key: string, secret: string) => key + stars(secret),
    )
    .replace(/(:\/\/[^/@\s"]*:)([^@\s"]+)(?=@)/g, (_, head: string, secret: string) => head + stars(secret))
    .replace(/([?&][\w.-]+=)([^&\s"]+)/g, (_, head: string, secret: string) => head + stars(secret));
}

/** Query parameters of a connection string that say where and how, not with what secret. */
const openParameters = new Set(
  "host port user dbname sslmode sslrootcert sslcert sslkey application_name connect_timeout schema".split(" "),
);

/** A URL without its password and without the values of its query, which may be tokens. */
export function redactUrl(url: string): string {
  if (!URL.canParse(url)) return url.includes("@") || url.includes("?") ? "(hidden)" : url;
  const parsed = new URL(url);
  if (parsed.password !== "") parsed.password = "***";
  if (parsed.hash !== "") parsed.hash = "***";
  for (const name of [...parsed.searchParams.keys()]) {
    if (!openParameters.has(name)) parsed.searchParams.set(name, "***");
  }
  // As it was written, unless something had to go.
  return parsed.href === new URL(url).href ? url : parsed.href;
}

/** For `config show` and `config_history`: a plain object, of secrets only whether there are any, places as text. */
export function redactConfig(config: Config): Record<string, unknown> {
  const { secrets, database, sources } = config;
  const { connection } = database;
  return {
    ...withOpenUrls(config),
    database: {
      ...database,
      url: database.url && redactUrl(database.url),
      connection: connection.kind === "url" ? { ...connection, url: redactUrl(connection.url) } : connection,
    },
    sources: sources.map(withOpenUrls),
    secrets: {
      databasePassword: hidden(secrets.databasePassword !== null),
      triggerSecrets: hidden(secrets.triggerSecrets.length > 0),
      triggerApiKey: hidden(secrets.triggerApiKey !== null),
      pseudonymKey: hidden(secrets.pseudonymKey !== null),
    },
  };
}

const hidden = (isSet: boolean): string | null => (isSet ? "(hidden)" : null);

function withOpenUrls(config: SourceConfig | Config): Record<string, unknown> {
  const { s3, trigger, destination } = config;
  return {
    ...config,
    destination: destination && destinationText(destination),
    s3: { ...s3, endpoint: s3.endpoint && redactUrl(s3.endpoint) },
    trigger: { ...trigger, url: trigger.url && redactUrl(trigger.url) },
  };
}
