import { Refusal } from "./refusals.ts";
import { findOperation, type Operation } from "./routes.ts";

/** One request as S3 understands it, before anyone has looked at its signature or body. */
export interface Call {
  requestId: string;
  method: string;
  operation: Operation;
  /** Empty for the service itself. */
  bucket: string;
  /** Empty for a bucket. */
  key: string;
  /** Decoded. */
  query: ReadonlyMap<string, string>;
  /** Lower-case names; several values of one name joined by a comma. Bytes, read as Latin-1. */
  headers: Readonly<Record<string, string>>;
  /** Path as S3 reads it, decoded; the signature covers its canonical encoding. */
  path: string;
}

const maxKeyBytes = 1024;

/** Header names in lower case; repeated headers joined as the signature wants them. */
export function readHeaders(rawHeaders: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const value = rawHeaders[i + 1]!;
    headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`;
  }
  return headers;
}

/** Percent-decoding as S3 does it: a bare `+` is a blank, the rest must be UTF-8. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text.includes("+") ? text.replaceAll("+", " ") : text);
  } catch {
    throw new Refusal("InvalidURI");
  }
}

function readQuery(text: string): Map<string, string> {
  const query = new Map<string, string>();
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const split = pair.indexOf("=");
    query.set(decode(split < 0 ? pair : pair.slice(0, split)), split < 0 ? "" : decode(pair.slice(split + 1)));
  }
  return query;
}

/** `bucket.<domain>` names a bucket; anything else is path style. */
function hostBucket(host: string, domains: readonly string[]): string | undefined {
  const name = host.replace(/:\d+$/, "").toLowerCase();
  const domain = domains.find((candidate) => name.endsWith(`.${candidate}`));
  return domain === undefined ? undefined : name.slice(0, -domain.length - 1);
}

/**
 * A presigned URL may carry x-amz-* headers as query parameters; S3 treats them as headers.
 * The parameters of the signature itself stay where they are.
 */
function hoisted(query: ReadonlyMap<string, string>, headers: Record<string, string>): Record<string, string> {
  if (!query.has("X-Amz-Signature")) return headers;
  const own = /^x-amz-(algorithm|credential|date|expires|signedheaders|signature|security-token)$/;
  for (const [name, value] of query) {
    const lower = name.toLowerCase();
    if (lower.startsWith("x-amz-") && !own.test(lower)) headers[lower] ??= value;
  }
  return headers;
}

/** Reads method, target and headers. Throws a Refusal for what S3 could not parse or we do not serve. */
export function readCall(
  request: { method?: string | undefined; url?: string | undefined; rawHeaders: readonly string[] },
  requestId: string,
  domains: readonly string[],
): Call {
  const method = request.method ?? "";
  const url = request.url ?? "/";
  const split = url.indexOf("?");
  const path = decode(split < 0 ? url : url.slice(0, split));
  const query = readQuery(split < 0 ? "" : url.slice(split + 1));
  const headers = hoisted(query, readHeaders(request.rawHeaders));

  const virtual = hostBucket(headers.host ?? "", domains);
  const slash = path.indexOf("/", 1);
  const bucket = virtual ?? (slash < 0 ? path.slice(1) : path.slice(1, slash));
  const key = virtual !== undefined ? path.slice(1) : slash < 0 ? "" : path.slice(slash + 1);
  if (Buffer.byteLength(key) > maxKeyBytes) {
    throw new Refusal("KeyTooLongError", {
      elements: { Size: String(Buffer.byteLength(key)), MaxSizeAllowed: String(maxKeyBytes) },
    });
  }

  const level = bucket === "" ? "service" : key === "" ? "bucket" : "object";
  const operation = findOperation({ method, level, query, headers });
  if (operation === undefined) throw new Refusal("NotImplemented");
  return { requestId, method, operation, bucket, key, query, headers, path };
}
