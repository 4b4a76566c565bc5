/** What the store's and the network's errors mean: by code or status, never by sentence. */
import { type ErrorCode, UploaderError } from "../../core/errors.ts";
import type { Answer } from "./answer.ts";
import { textOf } from "./xml.ts";

/** What the request level does about it: send the same request again, slower, with fresh credentials or region, or not. */
export type Remedy = "none" | "again" | "slower" | "renew" | "relocate" | "clock";

export interface Failure {
  remedy: Remedy;
  error: UploaderError;
  /** The store's own code, "" when it gave none. */
  storeCode: string;
}

/** Which store was asked, for messages and for what an answer means. */
export interface StorePlace {
  bucket: string;
  /** "AWS", or the URL of another store. */
  endpoint: string;
  /** The one the request was signed for. */
  region: string;
  expectedBucketOwner: string | null;
}

/** {bucket}, {endpoint} and {owner} stand for those of the place. */
interface Row {
  code: ErrorCode;
  remedy: Remedy;
  says: string;
  hint?: string;
}

const inWords = (text: string, { bucket, endpoint, expectedBucketOwner }: StorePlace): string =>
  text
    .replace("{bucket}", bucket)
    .replace("{endpoint}", endpoint)
    .replace("{owner}", expectedBucketOwner ?? "");

const busy: Row = { code: "store_busy", remedy: "slower", says: "the store asks to slow down" };
const failed: Row = { code: "store_failed", remedy: "again", says: "the store failed" };
const contended: Row = { code: "key_busy", remedy: "again", says: "another writer is at work on this key" };
const slow: Row = { code: "timed_out", remedy: "again", says: "the store waited too long for bytes" };
const expired: Row = {
  code: "credentials_expired",
  remedy: "renew",
  says: "the credentials have expired",
  hint: "renew them (for single sign-on: aws sso login)",
};
const invalid: Row = {
  code: "credentials_invalid",
  remedy: "none",
  says: "the store does not accept the credentials",
  hint: "check the access key and its secret, and that they belong to this endpoint",
};
const denied: Row = {
  code: "access_denied",
  remedy: "none",
  says: "the store denied access",
  hint: "the policy must allow s3:PutObject on the destination's prefix (and the KMS key, if one is used)",
};
/** The store says the same whether a policy denies it or another account owns the bucket. */
const deniedToOwner: Row = {
  ...denied,
  hint: `does account {owner} (s3.expectedBucketOwner) own the bucket {bucket}? ${denied.hint}`,
};
const elsewhere: Row = {
  code: "bucket_region",
  remedy: "relocate",
  says: "the bucket is in another region",
  hint: "set s3.region (or AWS_REGION) to the bucket's region",
};
const misused: Row = {
  code: "settings_refused",
  remedy: "none",
  says: "the store refuses how it is asked to keep objects",
  hint: "check s3.storageClass, s3.serverSideEncryption and s3.kmsKeyId against what the bucket allows",
};
const full: Row = { code: "disk_full", remedy: "none", says: "the store has no room left" };
const refused: Row = { code: "store_refused", remedy: "none", says: "the store refused the request" };
const noBucket: Row = {
  code: "bucket_missing",
  remedy: "none",
  says: "the bucket {bucket} does not exist",
  hint: "check the bucket's name and the account; the uploader never creates buckets",
};
const impossible: Row = { code: "key_impossible", remedy: "none", says: "the store does not take this key" };
const tooLarge: Row = { code: "file_too_large", remedy: "none", says: "the store does not take a file of this size" };
const damaged: Row = { code: "checksum_mismatch", remedy: "again", says: "the bytes arrived damaged" };
const skewed: Row = {
  code: "clock_skewed",
  remedy: "clock",
  says: "this machine's clock is wrong",
  hint: "set the clock (timedatectl set-ntp true); the store refuses requests more than 15 minutes off",
};
const proxyLocked: Row = {
  code: "store_unreachable",
  remedy: "none",
  says: "the proxy refused the request",
  hint: "the proxy wants a user and password in HTTP_PROXY",
};

const between: Row = {
  code: "store_unreachable",
  remedy: "none",
  says: "a proxy or gateway between here and the store ({endpoint}) answered in its place",
  hint: "check what the network lets through, its login page if it has one, and HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
};

const byStoreCode: Readonly<Record<string, Row>> = {
  SlowDown: busy,
  ServiceUnavailable: busy,
  TooManyRequests: busy,
  Throttling: busy,
  ThrottlingException: busy,
  RequestLimitExceeded: busy,
  BandwidthLimitExceeded: busy,
  InternalError: failed,
  OperationAborted: contended,
  ConditionalRequestConflict: contended,
  RequestTimeout: slow,
  RequestTimeTooSkewed: skewed,
  ExpiredToken: expired,
  ExpiredTokenException: expired,
  TokenRefreshRequired: expired,
  InvalidAccessKeyId: invalid,
  SignatureDoesNotMatch: invalid,
  InvalidToken: invalid,
  InvalidSecurity: invalid,
  AccessDenied: denied,
  AllAccessDisabled: denied,
  AccountProblem: denied,
  "KMS.DisabledException": misused,
  "KMS.NotFoundException": misused,
  "KMS.InvalidStateException": misused,
  "KMS.KMSInvalidStateException": misused,
  KMSKeyNotFound: misused,
  InvalidStorageClass: misused,
  InvalidEncryptionAlgorithmError: misused,
  InsufficientCapacity: full,
  NotImplemented: refused,
  NoSuchBucket: noBucket,
  PermanentRedirect: elsewhere,
  TemporaryRedirect: elsewhere,
  AuthorizationHeaderMalformed: elsewhere,
  IllegalLocationConstraintException: elsewhere,
  BadDigest: damaged,
  XAmzContentSHA256Mismatch: damaged,
  XAmzContentChecksumMismatch: damaged,
  IncompleteBody: damaged,
  EntityTooLarge: tooLarge,
  KeyTooLongError: impossible,
  InvalidURI: impossible,
  NoSuchUpload: {
    code: "upload_gone",
    remedy: "none",
    says: "the store no longer knows the multipart upload",
  },
};

const byStatus: Readonly<Record<number, Row>> = {
  301: elsewhere,
  307: elsewhere,
  403: denied,
  407: proxyLocked,
  408: slow,
  409: contended,
  413: tooLarge,
  414: impossible,
  425: busy,
  429: busy,
  500: failed,
  501: refused,
  502: failed,
  503: busy,
  507: full,
  504: failed,
};

/** Of the answers that are not the store's: these mean the same whoever gives them, all others that it is not asked. */
const anybodys: ReadonlySet<number> = new Set([407, 408, 413, 414, 425, 429, 500, 502, 503, 504]);

const unreachable: Row = {
  code: "store_unreachable",
  remedy: "again",
  says: "the store ({endpoint}) cannot be reached",
  hint: "check the network, the endpoint's address and any proxy",
};
const lost: Row = { code: "network_lost", remedy: "again", says: "the connection was lost" };
const crowded: Row = {
  code: "network_lost",
  remedy: "again",
  says: "this machine has no more sockets or open files to give",
  hint: "raise the limit of open files (ulimit -n) or lower the concurrency",
};
const noTls: Row = {
  code: "store_unreachable",
  remedy: "none",
  says: "no TLS connection could be agreed on",
  hint: "is the endpoint http rather than https, or its port another one?",
};
const untrusted: Row = {
  code: "store_unreachable",
  remedy: "none",
  says: "the store's certificate is not trusted",
  hint: "if the certificate is your own, name its authority in AWS_CA_BUNDLE",
};

const byErrno: Readonly<Record<string, Row>> = {
  ENOTFOUND: unreachable,
  EAI_AGAIN: unreachable,
  ECONNREFUSED: unreachable,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  ENETDOWN: unreachable,
  EADDRNOTAVAIL: unreachable,
  ETIMEDOUT: unreachable,
  ECONNRESET: lost,
  ECONNABORTED: lost,
  EPIPE: lost,
  ERR_STREAM_DESTROYED: lost,
  EMFILE: crowded,
  ENFILE: crowded,
  ENOBUFS: crowded,
  EPROTO: noTls,
  ERR_TLS_CERT_ALTNAME_INVALID: untrusted,
  CERT_HAS_EXPIRED: untrusted,
  CERT_NOT_YET_VALID: { ...untrusted, hint: "is this machine's clock right (timedatectl)?" },
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
};

/** Of our own errors, those that another request may not meet. */
const passing: ReadonlySet<ErrorCode> = new Set(["timed_out", "network_lost", "store_failed", "store_unreachable"]);

/** Code of an answer that says no; also that of a 200 whose body is an error. */
export function storeCodeOf(answer: Answer): string {
  return answer.body.length === 0 ? "" : (textOf(answer.body.toString("utf8"), "Code") ?? "");
}

/** The store names the bucket's region, and it is not ours: all that the bodiless answer to a HEAD tells. */
export function isElsewhere(answer: Answer, region: string): boolean {
  const named = answer.headers["x-amz-bucket-region"];
  return [301, 307, 400].includes(answer.status) && named !== undefined && named !== region;
}

/**
 * Not the store's answer: a proxy, a gateway or a login page. A store gives a request id or a code of its own, and answers
 * to HEAD, which have neither everywhere, are never HTML.
 */
export function isStrangers({ headers, ...answer }: Answer): boolean {
  if (headers["x-amz-request-id"] !== undefined) return false;
  if (/^text\/html\b/i.test(headers["content-type"] ?? "")) return true;
  return answer.body.length > 0 && storeCodeOf({ headers, ...answer }) === "";
}

function rowOf(answer: Answer, storeCode: string, { region, expectedBucketOwner }: StorePlace): Row {
  const { status } = answer;
  if (isElsewhere(answer, region)) return elsewhere;
  if (isStrangers(answer) && !anybodys.has(status)) return between;
  const row = byStoreCode[storeCode] ?? byStatus[status] ?? (status >= 500 || status < 300 ? failed : refused);
  return row === denied && expectedBucketOwner !== null ? deniedToOwner : row;
}

/** `subject`: what was being done, for the message. */
export function failureOfAnswer(answer: Answer, subject: string, place: StorePlace): Failure {
  const storeCode = storeCodeOf(answer);
  const row = rowOf(answer, storeCode, place);
  const details = answer.body.toString("utf8");
  const requestId = answer.headers["x-amz-request-id"] ?? textOf(details, "RequestId");
  const retryAfter = retryAfterMs(answer);
  const http = `HTTP ${answer.status}`;
  const named = row === between ? [http, answer.headers.server] : [storeCode, http];
  const error = new UploaderError(
    row.code,
    `${subject}: ${inWords(row.says, place)} (${named.filter(Boolean).join(", ")})`,
    {
      ...(row.hint === undefined ? {} : { hint: inWords(row.hint, place) }),
      ...(retryAfter === null ? {} : { retryAfterMs: retryAfter }),
      ...(requestId === null ? {} : { requestId }),
    },
  );
  return { remedy: row.remedy, error, storeCode };
}

/** Anything thrown below; null when it is no failure of the network (a bug, or the caller's own abort). */
export function failureOfThrown(thrown: unknown, subject: string, place: StorePlace): Failure | null {
  if (thrown instanceof UploaderError) {
    return { remedy: passing.has(thrown.code) ? "again" : "none", error: thrown, storeCode: "" };
  }
  const row = byErrno[errnoOf(thrown)];
  if (row === undefined) return null;
  const error = new UploaderError(row.code, `${subject}: ${inWords(row.says, place)} (${errnoOf(thrown)})`, {
    ...(row.hint === undefined ? {} : { hint: row.hint }),
    cause: thrown,
  });
  return { remedy: row.remedy, error, storeCode: "" };
}

/** Errors of connecting to several addresses come in a bundle: the first speaks for all. */
function errnoOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return errnoOf(thrown.errors[0]);
  const code = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined;
  if (code === undefined) return "";
  return code.startsWith("ERR_SSL_") ? "EPROTO" : code;
}

/** Seconds or a date, RFC 9110 section 10.2.3. */
function retryAfterMs(answer: Answer): number | null {
  const text = answer.headers["retry-after"];
  if (text === undefined) return null;
  if (/^[0-9]+$/.test(text)) return Number(text) * 1000;
  const untilMs = Date.parse(text) - Date.parse(answer.headers.date ?? "");
  return Number.isNaN(untilMs) ? null : Math.max(untilMs, 0);
}
