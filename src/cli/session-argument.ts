import { UploaderError } from "../core/errors.ts";
import type { SessionRow, Store } from "../core/store.ts";

/** SESSION is a session's number, or `latest`: the highest of the configured project. */
export async function sessionOf(store: Store, argument: string, project: string | null): Promise<SessionRow> {
  if (argument === "latest") {
    const id = project === null ? ((await store.sessions(null, 1))[0]?.id ?? null) : await store.latestSession(project);
    const row = id === null ? null : await store.session(id);
    if (row) return row;
    throw new UploaderError(
      "session_unknown",
      project === null ? "there is no session yet" : `project ${project} has no session yet`,
      { hint: "see `uploader sessions --all`" },
    );
  }
  const id = /^\d{1,15}$/.test(argument) ? Number(argument) : Number.NaN;
  if (Number.isNaN(id)) {
    throw new UploaderError("usage", `"${argument}" is no session`, { hint: "give its number, or: latest" });
  }
  const row = await store.session(id);
  if (!row)
    throw new UploaderError("session_unknown", `there is no session ${id} in this database`, {
      hint: "see `uploader sessions --all`",
    });
  return row;
}
