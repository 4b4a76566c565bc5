/** SESSION is a session's number, or `latest`: the highest of the configured project. */
import { type Config, parseDestination } from "../config.ts";
import { UploaderError } from "../core/errors.ts";
import type { SessionRow, Store } from "../core/store.ts";

const listThem = "see: uploader sessions --all";

export async function sessionOf(store: Store, argument: string | number, project: string | null): Promise<SessionRow> {
  if (argument === "latest") {
    const id = project === null ? ((await store.sessions(null, 1))[0]?.id ?? null) : await store.latestSession(project);
    const row = id === null ? null : await store.session(id);
    if (row) return row;
    throw new UploaderError(
      "session_unknown",
      project === null ? "there is no session yet" : `project ${project} has no session yet`,
      { hint: listThem },
    );
  }
  if (!/^\d{1,15}$/.test(String(argument))) {
    throw new UploaderError("usage", `"${argument}" is no session`, { hint: "give its number, or: latest" });
  }
  const row = await store.session(Number(argument));
  if (row) return row;
  throw new UploaderError("session_unknown", `there is no session ${argument} in this database`, { hint: listThem });
}

/** A session knows its destination; what the configuration does not name comes from there. */
export function withPlacesOf(session: SessionRow, config: Config): Config {
  if (config.destination !== null) return config;
  // `s3+http://host:port/bucket`: an endpoint of its own.
  const endpoint = /^s3\+(.+)\/[^/]+$/.exec(session.destinationIdentity)?.[1] ?? null;
  return {
    ...config,
    destination: parseDestination(session.destination, "/"),
    s3: { ...config.s3, endpoint: config.s3.endpoint ?? endpoint },
  };
}
