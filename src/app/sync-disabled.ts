/** CLOUD_UPLOAD_ENABLED=false: what sync would send is said, nothing is sent and nothing written. */
import type { Config } from "../config.ts";
import type { SyncOptions } from "./sync.ts";
import { tryUpload } from "./upload.ts";

/** Exit 4 while something waits to be sent, for 0 means that everything is confirmed. */
export async function reportOnly(
  { emit, emitFor, onBeat, stopping, dropping, watch, config }: SyncOptions,
  sources: readonly { name: string; config: Config }[],
): Promise<number> {
  const { setTimeout: sleep } = await import("node:timers/promises");
  const said = new Map<string, string>();
  emit({
    type: "notice",
    sessionId: null,
    level: "info",
    message: "CLOUD_UPLOAD_ENABLED is false: files are looked at, nothing is sent",
  });
  if (watch) emit({ type: "ready", sources: sources.length });
  for (;;) {
    let waiting = 0;
    for (const { name, config: own } of sources) {
      if (stopping.aborted) return 0;
      onBeat?.(name);
      const tell = emitFor?.(name) ?? emit;
      const found = await tryUpload({ config: own, emit: tell, stopping, dropping });
      waiting += found.toSend + found.changed + found.found + found.waiting;
      const message = `${name}: ${found.files} files seen, ${found.safeFiles} safe, ${found.toSend + found.changed} would be sent`;
      if (said.get(name) !== message) tell({ type: "notice", sessionId: null, level: "info", message });
      said.set(name, message);
    }
    if (!watch) return waiting > 0 ? 4 : 0;
    await sleep(config.sync.intervalSeconds * 1000, undefined, { signal: stopping }).catch(() => undefined);
    if (stopping.aborted) return 0;
  }
}
