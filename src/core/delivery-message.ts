/** What another system is told of a session, and how it is signed. Pure. */
import { createHmac, type Hmac } from "node:crypto";
import type { DeliveryFormat, DeliveryPlan, DeliveryRecipe, DeliverySecrets } from "./deliveries.ts";
import type { SessionRow } from "./store.ts";

/** The older program's (OR 5.2), for whoever moves over without naming others. */
const jobDefaults = {
  functionName: "register_audiofiles",
  moduleName: "madxxx_workbench.audio.register_audio",
  sqsQueue: "madXXX_tasks_data_registration",
  sqsRegion: "eu-west-1",
};

/** Stands where the list of paths comes; no text of a database or of a configuration's JSON column can hold it. */
const listMark = "\0paths\0";

type Paths = readonly string[];

const bodies: Record<DeliveryFormat, (session: SessionRow, recipe: DeliveryRecipe, paths: Paths) => unknown> = {
  /** The seed's fields (OR 5.7, version 1), and `files` when they are listed. */
  session: (session, { listFiles }, paths) => ({
    session_id: session.id,
    bucket_name: bucketOf(session),
    s3_prefix: session.prefix,
    total_files: session.totalFiles,
    files_uploaded: session.filesUploaded,
    total_size_bytes: session.totalSizeBytes,
    local_directory: session.source,
    ...(listFiles ? { files: paths } : {}),
  }),
  /** OR 5.7, version 2: one path, that of the prefix, unless files are listed. */
  job: (session, recipe, paths) => {
    const functionName = recipe.functionName ?? jobDefaults.functionName;
    return {
      job: {
        arguments: [recipe.listFiles ? paths : [prefixPath(session)]],
        function_name: functionName,
        keywords: {},
        module_name: recipe.moduleName ?? jobDefaults.moduleName,
        name: recipe.jobName ?? `session_${session.id}_${functionName}`,
      },
      sqs_queue: recipe.sqsQueue ?? jobDefaults.sqsQueue,
      sqs_region: recipe.sqsRegion ?? jobDefaults.sqsRegion,
    };
  },
};

/** The JSON before and after the list of paths (each of them JSON text, commas between); without a list `tail` is null. */
export function renderBody(session: SessionRow, recipe: DeliveryRecipe): { head: string; tail: string | null } {
  const text = JSON.stringify(bodies[recipe.format](session, recipe, [listMark]));
  const [head, tail = null] = text.split(JSON.stringify(listMark));
  return { head: head!, tail };
}

/** `s3://bucket` or `file:///real/path`; a bucket of another endpoint is called by its name alone. */
export const rootPath = (session: SessionRow): string =>
  session.destinationIdentity.replace(/^s3\+.*\/([^/]+)$/, "s3://$1").replace(/\/+$/, "");

/** Keys as they are, not percent-encoded, as the older program and the AWS tools write them. */
export const filePath = (session: SessionRow, key: string): string => `${rootPath(session)}/${key}`;

const prefixPath = (session: SessionRow): string =>
  session.prefix === "" ? rootPath(session) : filePath(session, session.prefix);

const bucketOf = (session: SessionRow): string =>
  session.destinationKind === "s3" ? rootPath(session).slice("s3://".length) : rootPath(session);

/** Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`, one signature for each secret. */
export function startSignature(secrets: readonly string[], id: string, timestampS: number) {
  const hmacs: Hmac[] = secrets.map((secret) =>
    createHmac("sha256", Buffer.from(secret.replace(/^whsec_/, ""), "base64")).update(`${id}.${timestampS}.`),
  );
  return {
    update(text: string): void {
      for (const hmac of hmacs) hmac.update(text, "utf8");
    },
    /** For `webhook-signature`: `v1,<base64>`, a blank between. */
    value: (): string => hmacs.map((hmac) => `v1,${hmac.digest("base64")}`).join(" "),
  };
}

/** A URL's user and password for an `authorization` header; a percent sign that escapes nothing stands for itself. */
export function basicOf({ username, password }: URL): string {
  const plain = (text: string): string => text.replace(/(?:%[0-9a-f]{2})+/gi, unescaped);
  return Buffer.from(`${plain(username)}:${plain(password)}`).toString("base64");
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

/** What must not be kept of what an endpoint says: our secrets, and what a hidden URL hides. */
export function unspeakable({ signing, apiKey }: DeliverySecrets, plan: DeliveryPlan | null): string[] {
  const url = plan !== null && plan.url !== plan.shownUrl && URL.canParse(plan.url) ? new URL(plan.url) : null;
  const hidden =
    url === null
      ? []
      : [
          url.password,
          // As the header of the request has it.
          url.password && basicOf(url),
          ...url.searchParams.values(),
        ];
  return [...signing, ...(apiKey === null ? [] : [apiKey]), ...hidden].filter((secret) => secret.length > 3);
}

/** Which secrets a format cannot do without. Both are signed when there is something to sign with. */
export const missingSecret: Record<DeliveryFormat, (secrets: DeliverySecrets) => string | null> = {
  session: ({ signing }) => (signing.length > 0 ? null : "UPLOADER_TRIGGER_SECRET"),
  job: ({ apiKey }) => (apiKey !== null ? null : "UPLOADER_TRIGGER_API_KEY"),
};

/** `api_key` is the older program's own header (OR 5.7), explicitly not a bearer token. */
export const headersOf = (
  format: DeliveryFormat,
  secrets: DeliverySecrets,
  signed: { id: string; timestampS: number; signature: string },
): Record<string, string> => ({
  "content-type": "application/json",
  accept: "application/json",
  "webhook-id": signed.id,
  "webhook-timestamp": String(signed.timestampS),
  ...(secrets.signing.length > 0 ? { "webhook-signature": signed.signature } : {}),
  ...(format === "job" && secrets.apiKey !== null ? { api_key: secrets.apiKey } : {}),
});
