/** The bundled PostgreSQL: found running, or started, for whoever has no server of their own. */
import { setTimeout as delay } from "node:timers/promises";
import { UploaderError } from "../core/errors.ts";
import { startKeeper } from "./embedded/keeper-start.ts";
import { lockHolder } from "./embedded/lock.ts";
import type { KeeperReport } from "./embedded/report.ts";
import { readServer } from "./embedded/server.ts";
import { addressAt, answers, type EmbeddedAddress } from "./embedded/session.ts";
import { databaseUrlHint, openStateDirectory, type StatePaths, stateError } from "./embedded/state-directory.ts";

export type { EmbeddedAddress } from "./embedded/session.ts";
export { defaultStateDirectory } from "./embedded/state-directory.ts";

export interface EmbeddedOptions {
  stateDirectory: string;
  /** How long a server without clients goes on; counts for a server that this call starts. Default 60. */
  idleSeconds?: number;
  /** Where to look for TMPDIR and XDG_RUNTIME_DIR; default: this process's. */
  env?: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  /** How long to wait for a server that starts, recovers from a crash or stops. Default 120,000. */
  timeoutMs?: number;
}

/**
 * The address of a server that answers, started if none runs. To be called again whenever the server is lost. Throws
 * `database_unreachable`, `database_refused`, `database_newer` or `database_foreign`, the server's log as cause.
 */
export async function ensureEmbedded(options: EmbeddedOptions): Promise<EmbeddedAddress> {
  const { idleSeconds = 60, env = process.env, signal = new AbortController().signal, timeoutMs = 120_000 } = options;
  const paths = openStateDirectory(options.stateDirectory);
  try {
    return await findOrStart({ paths, idleMs: idleSeconds * 1000, env, signal }, performance.now() + timeoutMs);
  } catch (error) {
    throw stateError(paths.root, error);
  }
}

/** For psql of the same user. */
export function embeddedUrl({ host, port, user, database }: EmbeddedAddress): string {
  const [path, socket, name] = [database, host, user].map(encodeURIComponent);
  return `postgresql:///${path}?host=${socket}&port=${port}&user=${name}`;
}

async function findOrStart(start: Parameters<typeof startKeeper>[0], deadline: number): Promise<EmbeddedAddress> {
  const { paths, signal } = start;
  let deaths = 0;
  while (performance.now() < deadline) {
    // A server whose keeper is gone goes on, but nobody would stop it: a new keeper adopts it.
    if (lockHolder(paths.lock) === null) {
      const report = await startKeeper(start);
      if (report.kind === "died") deaths += 1;
      if (report.kind === "failed" || deaths === 5) throw keeperError(report, paths);
    }
    const server = readServer(paths.data);
    if (server?.ready) {
      const address = addressAt(server.socketDirectory);
      if (await answers(address)) return address;
    }
    await delay(20, undefined, { signal });
  }
  throw new UploaderError("database_unreachable", `the bundled PostgreSQL in ${paths.root} did not answer in time`, {
    hint: `look into ${paths.log}; after a crash, recovery may take longer: try again`,
  });
}

function keeperError(report: KeeperReport, paths: StatePaths): UploaderError {
  const failed = report.kind === "failed";
  const log = "log" in report ? report.log : "";
  return new UploaderError(
    failed ? report.code : "database_unreachable",
    failed ? report.message : `The keeper of the bundled PostgreSQL died (${paths.root})`,
    { hint: (failed && report.hint) || `Look into ${paths.log}, ${databaseUrlHint}`, cause: log || undefined },
  );
}
