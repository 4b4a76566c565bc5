import { createHash, createHmac, hash, timingSafeEqual } from "node:crypto";
import type { Call } from "./call.ts";
import { Refusal } from "./refusals.ts";

/** A key pair that the server knows; the object may be changed while the server runs. */
export interface Credential {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** Answer 400 ExpiredToken from now on. */
  expired?: boolean;
  /** Permissions (`s3:PutObject`, `s3:*`); everything when absent. */
  allow?: readonly string[];
}

export type AuthMode = "header" | "presigned";

/** How a request with a chunked body goes on signing: each chunk's signature covers the one before. */
export interface ChunkSigner {
  next(chunkHash: string): string;
  trailer(trailerHash: string): string;
}

export interface Authentication {
  credential: Credential;
  mode: AuthMode;
  region: string;
  /** Value of x-amz-content-sha256; `UNSIGNED-PAYLOAD` for a presigned URL without it. */
  payload: string;
  chunkSigner: ChunkSigner;
}

/** What a signature claims, before it is checked. */
export interface Claim {
  mode: AuthMode;
  accessKeyId: string;
  /** YYYYMMDD */
  day: string;
  region: string;
  service: string;
  signedHeaders: string[];
  signature: string;
  /** YYYYMMDD'T'HHMMSS'Z' */
  time: string;
  expiresSeconds: number | null;
  token: string | undefined;
  payload: string;
}

const algorithm = "AWS4-HMAC-SHA256";
const emptyHash = hash("sha256", "");
const maxSkewMs = 15 * 60_000;
const maxExpiresSeconds = 7 * 24 * 3600;

/** RFC 3986 as SigV4 wants it: everything but unreserved characters. */
export function uriEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function malformed(message: string): never {
  throw new Refusal("AuthorizationHeaderMalformed", { message });
}

function readScope(credential: string) {
  // An access key may hold slashes in theory; the scope is always the last four.
  const parts = credential.split("/");
  const [day, region, service, terminator] = parts.slice(-4);
  if (parts.length < 5 || day === undefined || region === undefined || service === undefined)
    malformed("The credential is malformed; expecting <access key id>/YYYYMMDD/<region>/s3/aws4_request.");
  if (terminator !== "aws4_request") malformed("The credential's scope must end in aws4_request.");
  if (service !== "s3") malformed(`The credential names the service "${service}"; this service is "s3".`);
  return { accessKeyId: parts.slice(0, -4).join("/"), day, region, service };
}

function readHeaderClaim(call: Call, authorization: string): Claim {
  if (!authorization.startsWith(`${algorithm} `)) {
    throw new Refusal("InvalidRequest", { message: `The authorization mechanism must be ${algorithm}.` });
  }
  const fields = new Map(
    authorization
      .slice(algorithm.length + 1)
      .split(",")
      .map((field) => {
        const split = field.indexOf("=");
        return [field.slice(0, split).trim(), field.slice(split + 1).trim()];
      }),
  );
  const credential = fields.get("Credential") ?? malformed("Credential is missing.");
  const signedHeaders = fields.get("SignedHeaders") ?? malformed("SignedHeaders is missing.");
  const signature = fields.get("Signature") ?? malformed("Signature is missing.");
  const payload = call.headers["x-amz-content-sha256"];
  if (payload === undefined) {
    throw new Refusal("MissingSecurityHeader", { message: "Missing required header: x-amz-content-sha256" });
  }
  return {
    mode: "header",
    ...readScope(credential),
    signedHeaders: signedHeaders.split(";"),
    signature,
    time: call.headers["x-amz-date"] ?? httpDate(call.headers.date),
    expiresSeconds: null,
    token: call.headers["x-amz-security-token"],
    payload,
  };
}

function httpDate(date: string | undefined): string {
  const time = Date.parse(date ?? "");
  if (Number.isNaN(time)) {
    throw new Refusal("AccessDenied", { message: "A valid Date or x-amz-date header is required." });
  }
  return new Date(time).toISOString().replace(/[-:]|\.\d+/g, "");
}

function readPresignedClaim(call: Call): Claim {
  const get = (name: string) =>
    call.query.get(name) ?? missing(`Query-string authentication requires the parameter ${name}.`);
  const expiresSeconds = Number(get("X-Amz-Expires"));
  if (get("X-Amz-Algorithm") !== algorithm) missing(`X-Amz-Algorithm only supports ${algorithm}.`);
  if (!Number.isInteger(expiresSeconds) || expiresSeconds < 1 || expiresSeconds > maxExpiresSeconds) {
    missing("X-Amz-Expires must be between 1 second and a week.");
  }
  return {
    mode: "presigned",
    ...readScope(get("X-Amz-Credential")),
    signedHeaders: get("X-Amz-SignedHeaders").split(";"),
    signature: get("X-Amz-Signature"),
    time: get("X-Amz-Date"),
    expiresSeconds,
    token: call.query.get("X-Amz-Security-Token"),
    payload: call.headers["x-amz-content-sha256"] ?? "UNSIGNED-PAYLOAD",
  };
}

function missing(message: string): never {
  throw new Refusal("AuthorizationQueryParametersError", { message });
}

/** Who says what, unchecked. An anonymous request is refused: no bucket here is public. */
export function readClaim(call: Call): Claim {
  const { authorization } = call.headers;
  if (authorization !== undefined) return readHeaderClaim(call, authorization);
  if (call.query.has("X-Amz-Signature")) return readPresignedClaim(call);
  throw new Refusal("AccessDenied");
}

function checkTime(claim: Claim, now: Date): void {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(claim.time);
  const [, year, month, day, hour, minute, second] = (parts ?? []).map(Number);
  const time = Date.UTC(year ?? Number.NaN, (month ?? 0) - 1, day, hour, minute, second);
  if (Number.isNaN(time)) throw new Refusal("AccessDenied", { message: "The request time is not valid." });
  if (!claim.time.startsWith(claim.day)) malformed("The date in the credential's scope differs from the request's.");
  const ageMs = now.getTime() - time;
  const times = { RequestTime: claim.time, ServerTime: now.toISOString() };
  if (claim.expiresSeconds === null) {
    if (Math.abs(ageMs) > maxSkewMs) {
      throw new Refusal("RequestTimeTooSkewed", {
        elements: { ...times, MaxAllowedSkewMilliseconds: String(maxSkewMs) },
      });
    }
  } else if (ageMs > claim.expiresSeconds * 1000 || ageMs < -maxSkewMs) {
    throw new Refusal("AccessDenied", { message: "Request has expired", elements: times });
  }
}

function checkToken(claim: Claim, credential: Credential): void {
  if (credential.expired) throw new Refusal("ExpiredToken");
  if (claim.token !== credential.sessionToken) throw new Refusal("InvalidToken");
}

/** Host and every x-amz-* header that was sent must be signed; and no header may be signed that was not sent. */
function checkSignedHeaders(call: Call, claim: Claim): void {
  if (!claim.signedHeaders.includes("host")) malformed("SignedHeaders must include host.");
  if ([...claim.signedHeaders].sort().join() !== claim.signedHeaders.join()) malformed("SignedHeaders must be sorted.");
  const unsigned = Object.keys(call.headers).filter(
    (name) => name.startsWith("x-amz-") && !claim.signedHeaders.includes(name) && !isHoisted(call, claim, name),
  );
  if (unsigned.length > 0) {
    throw new Refusal("AccessDenied", {
      message: "There were headers present in the request which were not signed",
      elements: { HeadersNotSigned: unsigned.join(", ") },
    });
  }
}

function isHoisted(call: Call, claim: Claim, name: string): boolean {
  return claim.mode === "presigned" && [...call.query.keys()].some((parameter) => parameter.toLowerCase() === name);
}

function canonicalQuery(query: ReadonlyMap<string, string>): string {
  return [...query]
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

function canonicalRequest(call: Call, claim: Claim): string {
  const headers = claim.signedHeaders.map((name) => {
    const value = call.headers[name] ?? "";
    return `${name}:${value.trim().replace(/ {2,}/g, " ")}\n`;
  });
  const path = call.path.split("/").map(uriEncode).join("/");
  return [
    call.method,
    path,
    canonicalQuery(call.query),
    headers.join(""),
    claim.signedHeaders.join(";"),
    claim.payload,
  ].join("\n");
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** Derived keys, remembered: four HMACs a day and region instead of four a request. */
export function createKeyring(): (secret: string, day: string, region: string) => Buffer {
  const keys = new Map<string, Buffer>();
  return (secret, day, region) => {
    const name = `${day}/${region}/${secret}`;
    const known = keys.get(name);
    if (known) return known;
    const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), "s3"), "aws4_request");
    keys.set(name, key);
    return key;
  };
}

function createChunkSigner(key: Buffer, claim: Claim, scope: string): ChunkSigner {
  let previous = claim.signature;
  function advance(kind: string, hashes: string[]): string {
    previous = hmac(key, [`${algorithm}-${kind}`, claim.time, scope, previous, ...hashes].join("\n")).toString("hex");
    return previous;
  }
  return {
    next: (chunkHash) => advance("PAYLOAD", [emptyHash, chunkHash]),
    trailer: (trailerHash) => advance("TRAILER", [trailerHash]),
  };
}

export interface Verifier {
  credentials: ReadonlyMap<string, Credential>;
  signingKey(secret: string, day: string, region: string): Buffer;
  now(): Date;
}

/** Checks a claim completely; the region was compared with the bucket's before. */
export function verify(call: Call, claim: Claim, verifier: Verifier): Authentication {
  const credential = verifier.credentials.get(claim.accessKeyId);
  if (!credential) throw new Refusal("InvalidAccessKeyId", { elements: { AWSAccessKeyId: claim.accessKeyId } });
  checkTime(claim, verifier.now());
  checkToken(claim, credential);
  checkSignedHeaders(call, claim);
  const scope = `${claim.day}/${claim.region}/${claim.service}/aws4_request`;
  const canonical = canonicalRequest(call, claim);
  // Header values arrive as Latin-1 and everything else is ASCII, so these are the bytes on the wire.
  const canonicalHash = createHash("sha256").update(canonical, "latin1").digest("hex");
  const key = verifier.signingKey(credential.secretAccessKey, claim.day, claim.region);
  const expected = hmac(key, [algorithm, claim.time, scope, canonicalHash].join("\n"));
  const given = Buffer.from(claim.signature, "hex");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new Refusal("SignatureDoesNotMatch", { elements: { CanonicalRequest: canonical } });
  }
  return {
    credential,
    mode: claim.mode,
    region: claim.region,
    payload: claim.payload,
    chunkSigner: createChunkSigner(key, claim, scope),
  };
}
