/** CLOUD_UPLOAD_ENABLED=false: what sync would send is said, nothing is sent and nothing written. */
import type { Config } from "../config.ts";
import { asUploaderError } from "../core/errors.ts";
import type { DryRun } from "../operations/upload.ts";
import type { SyncOptions } from "./sync.ts";
import { tryUpload } from "./upload.ts";
import { mayComeBack, stoppedBy } from "./waiting.ts";

/** Exit 4 while something waits to be sent, for 0 means that everything is confirmed. */
export async function reportOnly(
  { emit, emitFor, onBeat, stopping, dropping, watch, config, stopSignal, reloading }: SyncOptions,
  sources: readonly { name: string; config: Config }[],
): Promise<number | "reload"> {
  const ending = reloading ? AbortSignal.any([stopping, reloading]) : stopping;
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
      if (ending.aborted) break;
      onBeat?.(name);
      const tell = emitFor?.(name) ?? emit;
      const say = (message: string): void => {
        if (said.get(name) !== message) tell({ type: "notice", sessionId: null, level: "info", message });
        said.set(name, message);
      };
      let found: DryRun;
      try {
        found = await tryUpload({ config: own, emit: tell, stopping, dropping });
      } catch (error) {
        const { code, message } = asUploaderError(error);
        if (!watch || !mayComeBack.has(code)) throw error;
        say(`${name}: ${message}; waiting for it`);
        continue;
      }
      waiting += found.toSend + found.changed + found.found + found.waiting;
      say(
        `${name}: ${found.files} ${found.files === 1 ? "file" : "files"} seen, ${found.safeFiles} safe, ${found.toSend + found.changed} would be sent`,
      );
    }
    if (!watch && !stopping.aborted) return waiting > 0 ? 4 : 0;
    await sleep(config.sync.intervalSeconds * 1000, undefined, { signal: ending }).catch(() => undefined);
    if (stopping.aborted) return stoppedBy(stopSignal());
    if (ending.aborted) return "reload";
  }
}
