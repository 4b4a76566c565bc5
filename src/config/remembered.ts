/** How a session spoke to its store: what a later command without its configuration goes on with. */
import type { Config, LoadedConfig } from "./load.ts";
import { configSchema } from "./schema.ts";

/**
 * The session's `s3.*` settings (from config_history) in place of those that nobody gave now. The endpoint is not among
 * them: it is part of where the session goes. `restored` names the settings that became other than their default.
 */
export function withRememberedStore(
  { config, origins }: Pick<LoadedConfig, "config" | "origins">,
  remembered: unknown,
): { config: Config; restored: string[] } {
  const { shape } = configSchema();
  const then = (remembered as { s3?: Record<string, unknown> } | null)?.s3 ?? {};
  const usual = shape.s3.parse({}) as Record<string, unknown>;
  const s3: Record<string, unknown> = { ...config.s3 };
  const restored: string[] = [];
  for (const name of Object.keys(usual).filter((each) => each !== "endpoint" && each in then)) {
    const path = `s3.${name}`;
    if ((origins.get(path) ?? "default") !== "default" || then[name] === usual[name]) continue;
    // What an older or newer version wrote may be nothing that this one takes.
    if (!shape.s3.safeParse({ [name]: then[name] }).success) continue;
    s3[name] = then[name];
    restored.push(path);
  }
  return { config: { ...config, s3: s3 as Config["s3"] }, restored };
}
