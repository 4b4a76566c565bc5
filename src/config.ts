// STUB until the configuration room lands.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
export type Destination = { kind: "s3"; bucket: string; prefix: string } | { kind: "folder"; path: string };
export interface Config {
  project: string; source: string | null; destination: Destination | null; include: string[]; exclude: string[];
  concurrency: "auto" | number; bytesInFlight: number; attempts: number; maxOutageMinutes: number;
  existing: "checksum" | "size"; onConflict: "fail" | "skip" | "replace"; onChange: "fail" | "replace" | null;
  checksum: "auto" | "crc32" | "crc64nvme" | "sha256";
  s3: { region: string | null; profile: string | null; endpoint: string | null; forcePathStyle: boolean | null; unsignedPayload: boolean; storageClass: string | null; serverSideEncryption: string | null; kmsKeyId: string | null; expectedBucketOwner: string | null };
  database: { schema: string; connection: { kind: "embedded" } | { kind: "url"; url: string } };
  sync: { settleSeconds: number; intervalSeconds: number }; stateDirectory: string | null; configPath: string | null;
}
export interface LoadedConfig { config: Config; origins: Map<string, string>; notices: string[]; configPath: string | null }
export const destinationText = (d: Destination): string => d.kind === "s3" ? `s3://${d.bucket}${d.prefix ? `/${d.prefix}` : ""}` : `file://${d.path}`;
export const redactConfig = (c: Config): unknown => c;
const specs = ["project","source","destination","include","exclude","concurrency","bytesInFlight","attempts","maxOutageMinutes","existing","onConflict","onChange","checksum","s3.region","s3.profile","s3.endpoint","s3.forcePathStyle","s3.unsignedPayload","s3.storageClass","s3.serverSideEncryption","s3.kmsKeyId","s3.expectedBucketOwner","database.url","database.schema"];
export function describeFlags() { return specs.map((path) => ({ path, flag: `--${path.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`).replaceAll(".", "-")} <value>`, aliases: path === "concurrency" ? ["-j"] : [] as string[], env: "", description: path, takesValue: true })); }
export function loadConfig(input: { flags: Record<string, string | boolean | number>; configPath: string | null; env: NodeJS.ProcessEnv; cwd: string }): LoadedConfig {
  const file = input.configPath ? JSON.parse(readFileSync(input.configPath, "utf8")) : {};
  const get = (k: string): any => input.flags[k] ?? k.split(".").reduce((o: any, p) => o?.[p], file) ?? null;
  const d = get("destination") as string | null;
  const destination: Destination | null = d === null ? null : d.startsWith("s3://") ? { kind: "s3", bucket: d.slice(5).split("/")[0]!, prefix: d.slice(5).split("/").slice(1).join("/") } : { kind: "folder", path: resolve(input.cwd, d.replace("file://", "")) };
  const url = get("database.url") ?? input.env.DATABASE_URL ?? null;
  const c = get("concurrency");
  const config: Config = { project: get("project") ?? (destination?.kind === "s3" ? destination.bucket : destination ? destination.path.split("/").at(-1)! : "default"), source: get("source"), destination, include: get("include") ?? [], exclude: get("exclude") ?? [], concurrency: c === null || c === "auto" ? "auto" : Number(c), bytesInFlight: 96 * 1024 * 1024, attempts: Number(get("attempts") ?? 5), maxOutageMinutes: Number(get("maxOutageMinutes") ?? 15), existing: get("existing") ?? "checksum", onConflict: get("onConflict") ?? "fail", onChange: get("onChange"), checksum: "auto",
    s3: { region: get("s3.region") ?? input.env.AWS_REGION ?? null, profile: get("s3.profile") ?? input.env.AWS_PROFILE ?? null, endpoint: get("s3.endpoint") ?? input.env.AWS_ENDPOINT_URL_S3 ?? null, forcePathStyle: null, unsignedPayload: false, storageClass: null, serverSideEncryption: null, kmsKeyId: null, expectedBucketOwner: null },
    database: { schema: get("database.schema") ?? "public", connection: url ? { kind: "url", url } : { kind: "embedded" } }, sync: { settleSeconds: 5, intervalSeconds: 15 }, stateDirectory: input.env.UPLOADER_STATE_DIR ?? null, configPath: input.configPath };
  return { config, origins: new Map(), notices: [], configPath: input.configPath };
}
