import type { Store, WorkerIdentity } from "../core/store.ts";
import type { Database } from "./database.ts";
import { decodingMethods } from "./decodings.ts";
import { outbox } from "./deliveries.ts";
import { tellingMethods } from "./devices.ts";
import { ecgMemory } from "./ecg.ts";
import { fileMethods } from "./files.ts";
import { inquiryMethods } from "./inquiries.ts";
import { createRunner } from "./runner.ts";
import { sessionMethods } from "./sessions.ts";
import { sourceMethods } from "./sources.ts";
import { loadStatements } from "./statements.ts";
import { syncMethods } from "./sync.ts";
import { uploadMemory } from "./uploads.ts";

/** The state machine on a migrated database. `isAlive` answers null for processes of other hosts or boots. */
export function openStore(
  database: Database,
  schema: string,
  isAlive: (worker: WorkerIdentity) => boolean | null,
): Store {
  const run = createRunner(database, loadStatements(schema));
  return {
    ...sessionMethods(database, run, isAlive),
    ...fileMethods(run),
    ...inquiryMethods(run),
    ...decodingMethods(database, run),
    ...tellingMethods(database, run),
    ...syncMethods(database, run, isAlive),
    ...sourceMethods(run),
    uploads: uploadMemory(run),
    deliveries: outbox(database, run, isAlive),
    ecg: ecgMemory(database, run),
    close: () => database.close(),
  };
}
