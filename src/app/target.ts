/** Where a run sends to, and how the database calls its work: the same for `upload` and `sync`. */
import { openConcurrency, openDestination, requireDestination, type World } from "../app.ts";
import { destinationText } from "../config.ts";
import { asUploaderError, type ErrorCode } from "../core/errors.ts";
import type { Emit } from "../core/events.ts";
import type { Bandwidth, Destination } from "../core/ports.ts";
import type { Work } from "../core/store.ts";

/** `root` is the source's own folder; one that overlaps a folder destination is refused (config_invalid). */
export async function openTarget(
  world: World,
  root: string,
  bandwidth: Bandwidth,
  closing: (() => Promise<void>)[],
): Promise<{
  destination: Destination;
  concurrency: Awaited<ReturnType<typeof openConcurrency>>;
  workOf(command: Work["command"]): Work;
}> {
  const { config } = world;
  const target = requireDestination(config);
  if (target.kind === "folder") {
    const { assertDisjoint } = await import("../adapters/folder.ts");
    await assertDisjoint(root, target.path);
  }
  const concurrency = await openConcurrency(world);
  const destination = await openDestination(world, concurrency, bandwidth);
  closing.push(() => destination.close());
  const { kind, identity } = destination;
  const prefix = target.kind === "s3" ? target.prefix : "";
  return {
    destination,
    concurrency,
    workOf: (command) => ({
      project: config.project ?? "default",
      source: root,
      destination: { kind, identity, text: destinationText(target), prefix },
      command,
    }),
  };
}

/** Throws what the store answers, unless `mayWait` says that it may be away for now. */
export async function checkTarget(
  { emit, stopping }: { emit: Emit; stopping: AbortSignal },
  destination: Pick<Destination, "check">,
  mayWait: (code: ErrorCode) => boolean = () => false,
): Promise<void> {
  const say = (message: string): void => emit({ type: "notice", sessionId: null, level: "info", message });
  try {
    for (const message of (await destination.check(stopping)).notices) say(message);
  } catch (error) {
    const { code, message } = asUploaderError(error);
    if (!mayWait(code)) throw error;
    say(`${message}; files are queued until it is back`);
  }
}
