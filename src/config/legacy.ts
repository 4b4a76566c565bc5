/** The flat keys of the older uploader's file (OR 5.2), read as what they are called now. */
import { UploaderError } from "../core/errors.ts";
import type { JsonObject, JsonValue } from "./json-text.ts";
import type { DatabaseFields } from "./service-file.ts";

/** Older key to the key of today; `null`: it has no effect any more. */
const successors: Record<string, string | null> = {
  local_directory: "source",
  bucket_name: "destination",
  s3_prefix: "destination",
  max_workers: "concurrency",
  aws_region: "s3.region",
  times_to_retry: "attempts",
  aws_profile: "s3.profile",
  endpoint_url: "s3.endpoint",
  use_find: null,
  db_host: "database.url",
  db_port: "database.url",
  db_name: "database.url",
  db_user: "database.url",
  db_password: "UPLOADER_DATABASE_PASSWORD",
};

const databaseFields: Record<string, keyof DatabaseFields> = {
  db_host: "host",
  db_port: "port",
  db_name: "dbname",
  db_user: "user",
};

export const isLegacyKey = (key: string): boolean => Object.hasOwn(successors, key);

export interface LegacyFile {
  /** Today's key, its value, and the older key that gave it. */
  settings: { path: string; value: JsonValue; key: string }[];
  database: { fields: DatabaseFields; password: string | null; key: string } | null;
  notice: string | null;
}

/** Throws `config_invalid` when a key is there under both its names. `file` is its name, for messages. */
export function readLegacy(root: JsonObject, file: string, lineOf: (key: string) => number): LegacyFile {
  const keys = Object.keys(root).filter(isLegacyKey);
  if (keys.length === 0) return { settings: [], database: null, notice: null };
  for (const key of keys) assertOnce(root, key, file, lineOf);

  const settings: LegacyFile["settings"] = [];
  for (const key of keys) {
    const [path, value] = [successors[key], root[key] ?? null];
    if (!path || path === "destination" || Object.hasOwn(databaseFields, key) || key === "db_password") continue;
    settings.push({ path, value: key === "times_to_retry" ? attemptsFor(value) : value, key });
  }
  const destination = destinationOf(root, file, lineOf);
  if (destination !== null) settings.push({ path: "destination", value: destination, key: "bucket_name" });

  const databaseKeys = keys.filter((key) => key.startsWith("db_") && root[key] !== null);
  const fields = databaseKeys.flatMap((key) => {
    const field = databaseFields[key];
    return field ? [[field, String(root[key])]] : [];
  });
  const password = root.db_password == null ? null : String(root.db_password);
  return {
    settings,
    database: databaseKeys.length > 0 ? { fields: Object.fromEntries(fields), password, key: databaseKeys[0]! } : null,
    notice: `${file}: older keys are still read; today they are called ${keys.map(renamed).join(", ")}`,
  };
}

function renamed(key: string): string {
  const now = successors[key];
  return now ? `${key} → ${now}` : `${key} → (no effect any more)`;
}

/** It counted repetitions; we count attempts. */
const attemptsFor = (value: JsonValue): JsonValue => (typeof value === "number" ? value + 1 : value);

function destinationOf(root: JsonObject, file: string, lineOf: (key: string) => number): JsonValue {
  const [bucket, prefix] = [root.bucket_name ?? null, root.s3_prefix ?? null];
  if (bucket === null && prefix === null) return null;
  if (bucket === null) {
    throw new UploaderError("config_invalid", `file ${file}:${lineOf("s3_prefix")}: s3_prefix needs bucket_name`, {
      hint: 'or write "destination": "s3://bucket/prefix"',
    });
  }
  return `s3://${String(bucket)}/${prefix === null ? "" : String(prefix)}`;
}

function assertOnce(root: JsonObject, key: string, file: string, lineOf: (key: string) => number): void {
  const [group = "", name] = (successors[key] ?? "").split(".");
  const holder = root[group] ?? null;
  const inner =
    name === undefined || holder === null || typeof holder !== "object" ? holder : (holder as JsonObject)[name];
  if (inner === undefined || inner === null) return;
  throw new UploaderError(
    "config_invalid",
    `file ${file}:${lineOf(key)}: ${key} and ${successors[key]} (line ${lineOf(successors[key]!)}) say the same twice`,
    { hint: `keep ${successors[key]}` },
  );
}
