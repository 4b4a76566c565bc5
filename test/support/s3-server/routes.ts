type Level = "service" | "bucket" | "object";

interface Route {
  method: string;
  level: Level;
  /** Query parameters that make the request this operation. */
  query?: readonly string[];
  /** Sub-resource parameters it may carry besides. */
  with?: readonly string[];
  header?: string;
  /** The permission it needs (IAM's name). */
  action: string;
}

/** First match wins, so the more particular row stands before the plainer one. */
export const routes = {
  ListBuckets: { method: "GET", level: "service", action: "s3:ListAllMyBuckets" },
  CreateBucket: { method: "PUT", level: "bucket", action: "s3:CreateBucket" },
  DeleteBucket: { method: "DELETE", level: "bucket", action: "s3:DeleteBucket" },
  HeadBucket: { method: "HEAD", level: "bucket", action: "s3:ListBucket" },
  GetBucketLocation: { method: "GET", level: "bucket", query: ["location"], action: "s3:GetBucketLocation" },
  ListMultipartUploads: { method: "GET", level: "bucket", query: ["uploads"], action: "s3:ListBucketMultipartUploads" },
  ListObjectsV2: { method: "GET", level: "bucket", query: ["list-type"], action: "s3:ListBucket" },
  DeleteObjects: { method: "POST", level: "bucket", query: ["delete"], action: "s3:DeleteObject" },
  CreateMultipartUpload: { method: "POST", level: "object", query: ["uploads"], action: "s3:PutObject" },
  CompleteMultipartUpload: { method: "POST", level: "object", query: ["uploadId"], action: "s3:PutObject" },
  UploadPart: { method: "PUT", level: "object", query: ["uploadId", "partNumber"], action: "s3:PutObject" },
  AbortMultipartUpload: { method: "DELETE", level: "object", query: ["uploadId"], action: "s3:AbortMultipartUpload" },
  ListParts: { method: "GET", level: "object", query: ["uploadId"], action: "s3:ListMultipartUploadParts" },
  GetObjectAttributes: {
    method: "GET",
    level: "object",
    query: ["attributes"],
    with: ["versionId"],
    action: "s3:GetObjectAttributes",
  },
  GetObjectTagging: {
    method: "GET",
    level: "object",
    query: ["tagging"],
    with: ["versionId"],
    action: "s3:GetObjectTagging",
  },
  PutObjectTagging: {
    method: "PUT",
    level: "object",
    query: ["tagging"],
    with: ["versionId"],
    action: "s3:PutObjectTagging",
  },
  CopyObject: { method: "PUT", level: "object", header: "x-amz-copy-source", action: "s3:PutObject" },
  PutObject: { method: "PUT", level: "object", action: "s3:PutObject" },
  GetObject: { method: "GET", level: "object", with: ["versionId", "partNumber"], action: "s3:GetObject" },
  HeadObject: { method: "HEAD", level: "object", with: ["versionId", "partNumber"], action: "s3:GetObject" },
  DeleteObject: { method: "DELETE", level: "object", with: ["versionId"], action: "s3:DeleteObject" },
} as const satisfies Record<string, Route>;

export type Operation = keyof typeof routes;

/** Parameters that select a sub-resource: one that no route names must not be taken for the plain operation. */
const subResources = new Set(
  (
    "accelerate acl analytics attributes cors delete encryption intelligent-tiering inventory legal-hold lifecycle " +
    "list-type location logging metrics notification object-lock ownershipControls partNumber policy policyStatus " +
    "publicAccessBlock replication requestPayment restore retention select session tagging torrent uploadId uploads " +
    "versionId versioning versions website renameObject"
  ).split(" "),
);

const table: [Operation, Route][] = Object.entries(routes) as [Operation, Route][];

export interface RouteQuestion {
  method: string;
  level: Level;
  query: ReadonlyMap<string, string>;
  headers: Readonly<Record<string, string>>;
}

/** Which operation is this? `undefined` for anything we do not serve. */
export function findOperation({ method, level, query, headers }: RouteQuestion): Operation | undefined {
  const asked = [...query.keys()].filter((name) => subResources.has(name));
  return table.find(([, route]) => {
    if (route.method !== method || route.level !== level) return false;
    if (route.header !== undefined && headers[route.header] === undefined) return false;
    const required = route.query ?? [];
    const allowed = [...required, ...(route.with ?? [])];
    return required.every((name) => query.has(name)) && asked.every((name) => allowed.includes(name));
  })?.[0];
}
