/** What ~/.aws/config and ~/.aws/credentials say of a profile, read as the AWS tools read them. */
import { UploaderError } from "../../core/errors.ts";
import type { Env } from "./proxy.ts";

/** The region of the profile in use; null when it names none. Throws `config_invalid` for a profile nobody knows. */
export async function profileRegion(named: string | null, env: Env): Promise<string | null> {
  const { loadSharedConfigFiles } = await import("@smithy/core/config");
  const { configFile, credentialsFile } = await loadSharedConfigFiles({
    ignoreCache: true,
    ...(env.AWS_CONFIG_FILE ? { configFilepath: env.AWS_CONFIG_FILE } : {}),
    ...(env.AWS_SHARED_CREDENTIALS_FILE ? { filepath: env.AWS_SHARED_CREDENTIALS_FILE } : {}),
  });
  const profile = named ?? env.AWS_PROFILE ?? null;
  const known = new Set([...Object.keys(configFile), ...Object.keys(credentialsFile)]);
  if (profile !== null && !known.has(profile)) {
    throw new UploaderError("config_invalid", `there is no AWS profile ${JSON.stringify(profile)}`, {
      hint:
        known.size > 0
          ? `there are ${[...known].sort().join(", ")}`
          : "~/.aws/config has no profiles: run aws configure",
    });
  }
  const name = profile ?? "default";
  return configFile[name]?.region ?? credentialsFile[name]?.region ?? null;
}
