/** What a look has found goes into the database. */
import { asUploaderError } from "../../core/errors.ts";
import type { FoundObject } from "../../core/ports.ts";
import type { Candidate } from "../../core/store.ts";
import { tellRefused } from "../register.ts";
import type { SyncContext } from "./context.ts";
import type { Findings } from "./look.ts";

export async function registerFindings(
  cx: SyncContext,
  { sessionId, destinationId }: { sessionId: number; destinationId: number },
  found: Findings,
): Promise<void> {
  const store = cx.looking;
  const busyFiles = new Set<Candidate>();
  const register = async (files: readonly Candidate[], expect: "absent" | "found" | "known"): Promise<void> => {
    const { busy } = await store.register(sessionId, destinationId, files, expect);
    // It is news again at the next look: by then the other session may have sent it.
    for (const { file } of busy) busyFiles.add(file);
  };

  await store.refuse(sessionId, destinationId, found.refused);
  tellRefused(cx, sessionId, found.refused);
  const listed = await listing(cx, found.fresh);
  await register(
    found.fresh.filter(({ key }) => !listed?.has(key)),
    "absent",
  );
  await register(
    found.fresh.filter(({ key }) => listed?.has(key)),
    "found",
  );
  await register(found.known, "known");
  if (found.renewed.length > 0) {
    await store.rekey(sessionId, found.renewed);
    const renewed = await store.renew(sessionId, destinationId, found.renewed);
    if (renewed < found.renewed.length) await register(found.renewed, "known");
  }
  await store.leftOut(sessionId, destinationId, found.leftOut);
  await store.rekey(sessionId, found.waiting);
  await store.wait(sessionId, destinationId, found.waiting);
  for (const { keys, reason } of found.gone) await store.leave(sessionId, destinationId, keys, reason);
  if (busyFiles.size > 0) {
    const message = `${busyFiles.size} keys are open in another session: looked at again at the next pass`;
    cx.emit({ type: "notice", sessionId, level: "detail", message });
  }
  found.done(busyFiles);
}

/** A store that is away tells nothing about its keys: the conditional write finds out when it is back. */
async function listing(cx: SyncContext, files: readonly Candidate[]): Promise<Map<string, FoundObject> | null> {
  if (files.length === 0) return null;
  try {
    return await cx.destination.find(
      files.map(({ key }) => key),
      cx.stopping,
    );
  } catch (error) {
    const { code } = asUploaderError(error);
    if (code === "internal" || cx.stopping.aborted) throw error;
    return null;
  }
}
