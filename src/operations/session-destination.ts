import { UploaderError } from "../core/errors.ts";
import type { Destination } from "../core/ports.ts";
import type { SessionRow } from "../core/store.ts";

/** A session's rows say what is in its own destination: files sent to another one would be lost to it. */
export function assertDestinationOf(session: SessionRow, destination: Destination): void {
  if (session.destinationIdentity === destination.identity) return;
  throw new UploaderError(
    "config_invalid",
    `session ${session.id} goes to ${session.destinationIdentity}, not to ${destination.identity}`,
    { hint: "leave the destination out, or use the configuration that the session was made with" },
  );
}
