/** Where a bucket lives: host, path style, identity; and how a key becomes a path. */
import { isIP } from "node:net";
import { UploaderError } from "../../core/errors.ts";

export interface AddressInput {
  bucket: string;
  region: string;
  /** `http(s)://host[:port][/path]`; null for AWS. */
  endpoint: string | null;
  /** undefined: path style for custom endpoints and for bucket names that no certificate covers. */
  forcePathStyle: boolean | undefined;
}

export interface Address {
  protocol: "http:" | "https:";
  hostname: string;
  port: number;
  /** Value of the Host header: no port where it is the protocol's own. */
  host: string;
  /** What stands before the key: "" or "/bucket", behind any path of the endpoint. Never ends in a slash. */
  basePath: string;
}

/** DNS suffixes of the partitions; every other region is in the first. */
const partitions = [
  { prefix: "cn-", suffix: "amazonaws.com.cn" },
  { prefix: "us-iso-", suffix: "c2s.ic.gov" },
  { prefix: "us-isob-", suffix: "sc2s.sgov.gov" },
  { prefix: "", suffix: "amazonaws.com" },
];

export function addressOf(input: AddressInput): Address {
  const { bucket, region } = input;
  const url = endpointUrl(input.endpoint) ?? new URL(`https://s3.${region}.${suffixOf(region)}`);
  const usual = input.endpoint === null || isAws(url.hostname);
  const bare = url.hostname.replace(/^\[|\]$/g, "");
  const pathStyle = input.forcePathStyle ?? (!usual || !isHostLabel(bucket, url.protocol));
  const hostname = pathStyle || isIP(bare) ? bare : `${bucket}.${bare}`;
  const inPath = hostname === bare;
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  const named = isIP(hostname) === 6 ? `[${hostname}]` : hostname;
  return {
    protocol: url.protocol === "https:" ? "https:" : "http:",
    hostname,
    port,
    host: url.port === "" ? named : `${named}:${url.port}`,
    basePath: url.pathname.replace(/\/+$/, "") + (inPath ? `/${encodePath(bucket)}` : ""),
  };
}

/** Who the bucket is, for ever: the region and the way to reach AWS are not part of it. */
export function identityOf(bucket: string, endpoint: string | null): string {
  const url = endpointUrl(endpoint);
  if (url === null || isAws(url.hostname)) return `s3://${bucket}`;
  const path = url.pathname.replace(/\/+$/, "");
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return `s3+${url.protocol}//${url.hostname}:${port}${path}/${bucket}`;
}

/** Every byte but `A-Z a-z 0-9 - . _ ~ /` as %XX: SigV4's encoding for S3, applied once, nothing normalised. */
export function encodePath(key: string): string {
  return encodeStrictly(key).replaceAll("%2F", "/");
}

/** The same for a value in a query, where a slash is encoded too. */
export function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function endpointUrl(endpoint: string | null): URL | null {
  if (endpoint === null) return null;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.hostname === "") {
    throw new UploaderError("config_invalid", `the endpoint ${JSON.stringify(endpoint)} is not an http or https URL`, {
      hint: "write s3.endpoint like https://s3.example.org:9000",
    });
  }
  return url;
}

function suffixOf(region: string): string {
  return partitions.find(({ prefix }) => region.startsWith(prefix))!.suffix;
}

function isAws(hostname: string): boolean {
  return /(^|\.)amazonaws\.com(\.cn)?$/.test(hostname);
}

/** A dot in the bucket's name breaks the wildcard certificate, so such buckets go in the path over https. */
function isHostLabel(bucket: string, protocol: string): boolean {
  if (protocol === "https:" && bucket.includes(".")) return false;
  return /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) && !bucket.includes("..");
}
