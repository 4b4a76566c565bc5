/** Which Postgres: the one that is named, or the embedded one (design A10). */
import type { ClientConfig } from "pg";
import { type Config, redactUrl, withPassword } from "./config.ts";
import { defaultStateDirectory } from "./store/embedded/state-directory.ts";

export interface DatabaseAddress {
  connect(): Promise<ClientConfig>;
  url(): Promise<string>;
  /** For messages; without a password. */
  description: string;
}

export const stateDirectoryOf = (config: Config): string => config.stateDirectory ?? defaultStateDirectory(process.env);

export function databaseAddress(config: Config, signal: AbortSignal): DatabaseAddress {
  const { connection } = config.database;
  if (connection.kind === "embedded") {
    const ensure = async () => {
      const { ensureEmbedded } = await import("./store/embedded.ts");
      return ensureEmbedded({ stateDirectory: stateDirectoryOf(config), signal });
    };
    return {
      connect: ensure,
      async url() {
        const { embeddedUrl } = await import("./store/embedded.ts");
        return embeddedUrl(await ensure());
      },
      description: "the embedded database",
    };
  }
  const connectionString = withPassword(connection.url, config.secrets.databasePassword);
  return {
    connect: async () => ({ connectionString }),
    // For psql: a password from a file or a variable is found there again, and is not for a screen.
    url: async () => connection.url,
    description: redactUrl(connection.url),
  };
}
