/** Variables: the process's own, and below them those of `.env` that we know. */

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "dotenv";
import { UploaderError } from "../core/errors.ts";

export interface Variable {
  text: string;
  /** `environment AWS_PROFILE` or `.env AWS_PROFILE`. */
  origin: string;
}

/** How a name that is not ours stands among the origins. */
export const borrowedOrigin = (found: Variable): string => found.origin.replace(/^environment /, "borrowed ");

/** The first of these names that has a value. An empty variable counts as none, but keeps `.env` out. */
export type Lookup = (...names: string[]) => Variable | null;

export function createLookup(env: NodeJS.ProcessEnv, dotenv: Record<string, string>): Lookup {
  return (...names) => {
    for (const name of names) {
      if (env[name]) return { text: env[name], origin: `environment ${name}` };
      if (env[name] === undefined && dotenv[name]) return { text: dotenv[name], origin: `.env ${name}` };
    }
    return null;
  };
}

export interface DotenvFile {
  /** Known names only. */
  variables: Record<string, string>;
  notices: string[];
}

/** Names for which the AWS SDK is asked, never `.env`. */
const credentialNames = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/** `.env` of this folder; `null` when there is none. */
export function readDotenv(directory: string, known: ReadonlySet<string>): DotenvFile | null {
  let text: string;
  try {
    text = readFileSync(join(directory, ".env"), "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EISDIR") return null;
    return { variables: {}, notices: [`.env cannot be read (${code}) and is left out`] };
  }
  const all = parse(text.replace(/^\ufeff/, ""));
  const variables = Object.fromEntries(Object.entries(all).filter(([name]) => known.has(name)));
  const credentials = credentialNames.filter((name) => all[name]);
  const notices =
    credentials.length === 0
      ? []
      : [
          `.env: ${credentials.join(", ")} ${credentials.length === 1 ? "is" : "are"} not read from there; export them, or use a profile`,
        ];
  return { variables, notices };
}

export interface Secrets {
  /** Comes before a password within a URL. */
  databasePassword: string | null;
  /** Signing keys of the trigger, `whsec_` and base64 each; the first signs, the others still count. */
  triggerSecrets: string[];
  triggerApiKey: string | null;
  /** Makes pseudonyms of patients. */
  pseudonymKey: string | null;
}

export const secretNames = [
  "UPLOADER_DATABASE_PASSWORD",
  "UPLOADER_TRIGGER_SECRET",
  "UPLOADER_TRIGGER_API_KEY",
  "UPLOADER_PSEUDONYM_KEY",
];

/** Whoever tries all identifiers must not be able to try all keys as well. */
const pseudonymKeyAtLeast = 16;

/** Of the Standard Webhooks specification, "Signature scheme". */
const signingBytes = { min: 24, max: 64 };

function isSigningSecret(text: string): boolean {
  const base64 = /^whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4}))$/.exec(
    text,
  )?.[1];
  const sizeBytes = Buffer.byteLength(base64 ?? "", "base64");
  return sizeBytes >= signingBytes.min && sizeBytes <= signingBytes.max;
}

/** Each from its variable, or from the file that `…_FILE` names, relative to `cwd`. */
export function readSecrets(lookup: Lookup, cwd: string): Secrets {
  const [databasePassword, triggerSecret, ownApiKey, pseudonymKey] = secretNames.map((name) =>
    readSecret(lookup, name, cwd),
  );
  const triggerSecrets = (triggerSecret ?? "")
    .split(",")
    .map((secret) => secret.trim())
    .filter((secret) => secret !== "");
  if (!triggerSecrets.every(isSigningSecret)) {
    throw new UploaderError(
      "config_invalid",
      `UPLOADER_TRIGGER_SECRET: expected whsec_ and base64 of ${signingBytes.min} to ${signingBytes.max} bytes, several with commas between`,
      {
        hint: 'make one with: echo "whsec_$(openssl rand -base64 24)"',
      },
    );
  }
  if (pseudonymKey && pseudonymKey.length < pseudonymKeyAtLeast) {
    throw new UploaderError(
      "config_invalid",
      `UPLOADER_PSEUDONYM_KEY: expected at least ${pseudonymKeyAtLeast} characters`,
      { hint: "make one with: openssl rand -base64 32; keep it: another key makes other pseudonyms" },
    );
  }
  return {
    databasePassword: databasePassword ?? null,
    triggerSecrets,
    triggerApiKey: ownApiKey ?? lookup("MADXXX_API_KEY")?.text ?? null,
    pseudonymKey: pseudonymKey ?? null,
  };
}

function readSecret(lookup: Lookup, name: string, cwd: string): string | null {
  const direct = lookup(name);
  const file = lookup(`${name}_FILE`);
  if (direct !== null && file !== null) {
    throw new UploaderError("config_invalid", `${name} and ${name}_FILE are both set`, { hint: "set one of them" });
  }
  if (file === null) return direct?.text ?? null;
  const text = readSecretFile(resolve(cwd, file.text), `${name}_FILE`).trim();
  if (text !== "") return text;
  throw new UploaderError("config_invalid", `${name}_FILE: ${file.text} is empty`);
}

const readReasons: Record<string, string> = {
  ENOENT: "does not exist",
  EISDIR: "is a folder, not a file",
  EACCES: "may not be read by this user",
  ENOTDIR: "does not exist: a part of its path is a file",
};

/** `what` asked for the file, for messages. */
export function readConfigured(path: string, what: string, hint?: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    throw new UploaderError("config_invalid", `${what}: ${path} ${readReasons[code] ?? `cannot be read (${code})`}`, {
      ...(hint === undefined ? {} : { hint }),
      cause,
    });
  }
}

const readSecretFile = (path: string, name: string): string => readConfigured(path, name).toString("utf8");
