/** Which sessions are about the same work: project, source, destination and prefix. Used by whatever opens one. */
import type { Work } from "../core/store.ts";
import { int8Array } from "./arrays.ts";
import type { Query } from "./database.ts";
import type { Run } from "./runner.ts";

export interface Scope {
  [column: string]: unknown;
  projectId: number;
  destinationId: number;
  source: string;
  prefix: string;
}

export function scopeMoves(run: Run) {
  /** Makes the rows of the project and of the destination. */
  const scopeOf = async (work: Work, query: Query): Promise<Scope> => {
    const { kind, identity, prefix } = work.destination;
    const [project] = await run<{ id: number }>("projects_ensure", { name: work.project }, query);
    const [destination] = await run<{ id: number }>("destinations_ensure", { kind, identity }, query);
    return { projectId: project!.id, destinationId: destination!.id, source: work.source, prefix };
  };

  /**
   * The session takes over what earlier ones of its scope left failed, and `left` besides; of those, derived files get rows
   * at once, for the scan cannot find them. How many failed files it took over.
   */
  const supersede = async (
    scope: Scope,
    sessionId: number,
    left: readonly { id: number }[],
    query: Query,
  ): Promise<number> => {
    const superseded = await run<{ id: number }>("files_supersede", { ...scope, sessionId }, query);
    const ids = [...left, ...superseded].map(({ id }) => id);
    if (ids.length > 0) await run("files_rederive", { sessionId, ids: int8Array(ids) }, query);
    return superseded.length;
  };

  return { scopeOf, supersede };
}
