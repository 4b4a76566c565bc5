/** Names of other programs and of our forerunners: they fill gaps, and nothing else (design A3). */
import { UploaderError } from "../core/errors.ts";
import { databaseVariables } from "./database.ts";
import { borrowedOrigin, type Lookup } from "./environment.ts";
import type { JsonValue } from "./json-text.ts";
import type { Layer, Setting } from "./layers.ts";

interface Loan {
  path: string;
  /** The first that has a value counts. */
  names: string[];
  read?(text: string): JsonValue;
  /** Only while this key is not set by ourselves. */
  unless?: string;
}

const asItIs = (text: string): JsonValue => text;
/** The older trigger counted seconds. */
const milliseconds = (text: string): JsonValue => (/^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1000 : text);

const loans: readonly Loan[] = [
  { path: "destination", names: ["AWS_S3_BUCKET"], read: (bucket) => `s3://${bucket}` },
  { path: "s3.region", names: ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_S3_REGION"] },
  { path: "s3.profile", names: ["AWS_PROFILE"] },
  { path: "s3.endpoint", names: ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] },
  { path: "trigger.url", names: ["MADXXX_API_URL"] },
  { path: "trigger.format", names: ["MADXXX_API_URL"], read: () => "job", unless: "trigger.url" },
  { path: "trigger.timeoutMs", names: ["MADXXX_API_TIMEOUT"], read: milliseconds },
  { path: "trigger.functionName", names: ["MADXXX_FUNCTION_NAME"] },
  { path: "trigger.moduleName", names: ["MADXXX_MODULE_NAME"] },
  { path: "trigger.sqsQueue", names: ["MADXXX_SQS_QUEUE"] },
  { path: "trigger.sqsRegion", names: ["MADXXX_SQS_REGION"] },
];

export const borrowedNames: readonly string[] = [
  ...loans.flatMap(({ names }) => names),
  ...databaseVariables,
  ...["DATABASE_URL", "MADXXX_API_KEY", "CLOUD_UPLOAD_ENABLED", "CLOUD_SERVICE"],
];

export function borrowedLayer(lookup: Lookup, isSet: (path: string) => boolean, cwd: string): Layer {
  const layer = new Map<string, Setting>();
  for (const { path, names, read = asItIs, unless } of loans) {
    const found = lookup(...names);
    if (found === null || (unless !== undefined && isSet(unless))) continue;
    layer.set(path, { value: read(found.text), origin: borrowedOrigin(found), baseDirectory: cwd, isFinal: false });
  }
  return layer;
}

/** The older ECG program's switches: anything but "true" keeps uploads off; other services than S3 are refused. */
export function readCloudSwitches(lookup: Lookup): { cloudUploadEnabled: boolean; origin: string } {
  const service = lookup("CLOUD_SERVICE");
  if (service !== null && service.text.trim().toLowerCase() !== "s3") {
    throw new UploaderError(
      "config_invalid",
      `${service.origin}: ${JSON.stringify(service.text)} is not supported, only "s3"`,
      {
        hint: 'unset CLOUD_SERVICE or set it to "s3"; a folder destination needs none',
      },
    );
  }
  const enabled = lookup("CLOUD_UPLOAD_ENABLED");
  return {
    cloudUploadEnabled: enabled === null || enabled.text.trim().toLowerCase() === "true",
    origin: enabled === null ? "default" : borrowedOrigin(enabled),
  };
}
