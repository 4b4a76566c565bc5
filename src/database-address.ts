/** Which Postgres: the one that is named, or the embedded one (design A10). */
import type { ClientConfig } from "pg";
import type { Config } from "./config.ts";
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
  const { url } = connection;
  return { connect: async () => ({ connectionString: url }), url: async () => url, description: "the database" };
}
