/** Credentials of the SDK's default chain: kept while they are good, asked for again when they expire or are refused. */
import { UploaderError } from "../../core/errors.ts";
import type { Env } from "./proxy.ts";
import type { Credentials } from "./signature.ts";

export interface CredentialSource {
  current(): Promise<Credentials>;
  /** The store refused these as expired: asks the chain again, past its caches. Null when it has none but these. */
  renew(refused: Credentials): Promise<Credentials | null>;
}

export interface CredentialOptions {
  profile: string | null;
  region: string;
  env: Env;
  now(): number;
}

/** Renewed this long before they expire, so that none runs out under way; the SDK's own margin. */
const marginMs = 5 * 60_000;

export function createCredentialSource(options: CredentialOptions): CredentialSource {
  const { env, now } = options;
  const profile = options.profile ?? env.AWS_PROFILE ?? null;
  let held: Credentials | null = null;
  let asking: Promise<Credentials> | null = null;

  const leftMs = (credentials: Credentials) => (credentials.expiration?.getTime() ?? Number.POSITIVE_INFINITY) - now();

  function ask(): Promise<Credentials> {
    asking ??= resolve()
      .then((credentials) => {
        held = credentials;
        return credentials;
      })
      .finally(() => {
        asking = null;
      });
    return asking;
  }

  async function resolve(): Promise<Credentials> {
    const own = profile === null ? fromEnv(env) : null;
    if (own !== null) return own;
    try {
      const { fromNodeProviderChain } = await import("@aws-sdk/credential-providers");
      // A fresh chain each time, past its file cache: a profile renewed on disk must be seen.
      const chain = fromNodeProviderChain({
        ...(profile === null ? {} : { profile }),
        clientConfig: { region: options.region },
        ignoreCache: true,
        maxRetries: 2,
        timeout: 3_000,
      });
      return await chain();
    } catch (error) {
      throw missing(profile, error);
    }
  }

  return {
    async current() {
      if (held !== null && leftMs(held) > marginMs) return held;
      try {
        return await ask();
      } catch (error) {
        if (held !== null && leftMs(held) > 0) return held;
        throw error;
      }
    },
    async renew(refused) {
      if (held !== null && !sameKeys(held, refused)) return held;
      const renewed = await ask();
      return sameKeys(renewed, refused) ? null : renewed;
    },
  };
}

/** The chain's first link. Reading it here spares the import of the SDK: 50 ms and 11 MB. */
function fromEnv(env: Env): Credentials | null {
  const accessKeyId = env.AWS_ACCESS_KEY_ID;
  const secretAccessKey = env.AWS_SECRET_ACCESS_KEY;
  if (!accessKeyId || !secretAccessKey) return null;
  const expiration = env.AWS_CREDENTIAL_EXPIRATION;
  return {
    accessKeyId,
    secretAccessKey,
    sessionToken: env.AWS_SESSION_TOKEN || undefined,
    expiration: expiration ? new Date(expiration) : undefined,
  };
}

function sameKeys(a: Credentials, b: Credentials): boolean {
  return (
    a.accessKeyId === b.accessKeyId && a.secretAccessKey === b.secretAccessKey && a.sessionToken === b.sessionToken
  );
}

function missing(profile: string | null, cause: unknown): UploaderError {
  if (profile === null) {
    return new UploaderError("credentials_missing", "no AWS credentials were found", {
      hint: "set AWS_PROFILE or s3.profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
      cause,
    });
  }
  const name = JSON.stringify(profile);
  return new UploaderError("credentials_missing", `the AWS profile ${name} gives no credentials`, {
    hint: `run "aws sso login --profile ${profile}" if it uses single sign-on, else check its entry with "aws configure list"`,
    cause,
  });
}
