import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isRunning } from "./process-identity.ts";
import { type EmbeddedAddress, openSession, type Session } from "./session.ts";
import { socketFile } from "./socket-directory.ts";

export interface IdleWatch {
  address: EmbeddedAddress;
  serverPid: number;
  idleMs: number;
  signal: AbortSignal;
  /** Asked at every look: false ends the watch. */
  goOn(): boolean;
}

/** Sessions of others now, and sessions ever begun, so that a short one between two looks counts as well. */
const activity = `
  SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
         (SELECT sum(sessions) FROM pg_stat_database)`;

/** Returns when the server has had no client for `idleMs`, is dead or out of reach, or somebody says so. */
export async function watchUntilIdle({ address, serverPid, idleMs, signal, goOn }: IdleWatch): Promise<void> {
  const lookMs = Math.min(500, Math.max(50, idleMs / 10));
  let session: Session | null = null;
  let begunBefore: string | undefined;
  let quietSince = performance.now();
  // A logout takes away XDG_RUNTIME_DIR and a cleaner the temporary folder: then a new server must make a new socket.
  while (!signal.aborted && goOn() && isRunning(serverPid) && existsSync(socketFile(address.host))) {
    try {
      session ??= await openSession(address);
      const [[open, begun] = []] = await session.query(activity);
      if (open !== "0" || begun !== begunBefore) quietSince = performance.now();
      else if (performance.now() - quietSince >= idleMs) break;
      begunBefore = begun;
    } catch (error) {
      // The server is recovering from a crash, or all connections are taken: the next look tells.
      process.stderr.write(`keeper: ${error instanceof Error ? error.message : String(error)}\n`);
      session = null;
      quietSince = performance.now();
    }
    // Rejects only when the signal comes, which the next round sees.
    await delay(lookMs, undefined, { signal }).catch(() => undefined);
  }
  session?.close();
}
