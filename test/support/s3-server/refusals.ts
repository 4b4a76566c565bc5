/** Every refusal the server knows: HTTP status and the sentence S3 sends with it. */
export const refusals = {
  AccessDenied: [403, "Access Denied"],
  AuthorizationHeaderMalformed: [400, "The authorization header that you provided is not valid."],
  AuthorizationQueryParametersError: [400, "The query parameters of the presigned URL are not valid."],
  BadDigest: [400, "The checksum that you specified did not match what we received."],
  BucketAlreadyOwnedByYou: [409, "The bucket exists and belongs to you."],
  BucketNotEmpty: [409, "The bucket that you tried to delete is not empty."],
  ConditionalRequestConflict: [409, "A conflicting conditional operation is going on against this resource."],
  EntityTooLarge: [400, "The proposed upload exceeds the maximum allowed size."],
  EntityTooSmall: [400, "The proposed upload is smaller than the minimum allowed size."],
  ExpiredToken: [400, "The provided token has expired."],
  IncompleteBody: [400, "The request body is shorter or longer than its length header says."],
  InternalError: [500, "We encountered an internal error. Please try again."],
  InvalidAccessKeyId: [403, "The access key id does not exist in our records."],
  InvalidArgument: [400, "Invalid argument."],
  InvalidBucketName: [400, "The specified bucket is not valid."],
  InvalidChunkSizeError: [403, "Only the last chunk may be smaller than 8192 bytes."],
  InvalidDigest: [400, "The Content-MD5 you specified is not valid."],
  InvalidPart: [400, "One or more of the specified parts could not be found, or differs from what was uploaded."],
  InvalidPartOrder: [400, "The list of parts was not in ascending order."],
  InvalidPartNumber: [416, "The requested partnumber is not satisfiable."],
  InvalidRange: [416, "The requested range is not satisfiable."],
  InvalidRequest: [400, "Invalid request."],
  InvalidStorageClass: [400, "The storage class you specified is not valid."],
  InvalidTag: [400, "The tag provided was not a valid tag."],
  InvalidToken: [400, "The provided token is malformed or otherwise not valid."],
  InvalidURI: [400, "The specified URI could not be parsed."],
  KeyTooLongError: [400, "Your key is too long."],
  MalformedTrailerError: [400, "The request contained trailing data that was not well-formed."],
  MalformedXML: [400, "The XML you provided was not well-formed or did not validate against our schema."],
  MetadataTooLarge: [400, "Your metadata headers exceed the maximum allowed metadata size."],
  MethodNotAllowed: [405, "The specified method is not allowed against this resource."],
  MissingContentLength: [411, "You must provide the Content-Length HTTP header."],
  MissingSecurityHeader: [400, "Your request was missing a required header."],
  NoSuchBucket: [404, "The specified bucket does not exist."],
  NoSuchKey: [404, "The specified key does not exist."],
  NoSuchUpload: [404, "The specified multipart upload does not exist: never begun, aborted, or completed."],
  NoSuchVersion: [404, "The specified version does not exist."],
  NotImplemented: [501, "A header or parameter you provided implies functionality that is not implemented."],
  NotModified: [304, "Not modified."],
  PermanentRedirect: [301, "The bucket must be addressed at the endpoint of its own region."],
  PreconditionFailed: [412, "At least one of the preconditions you specified did not hold."],
  RequestTimeTooSkewed: [403, "The difference between the request time and the server's time is too large."],
  RequestTimeout: [400, "Your socket connection was not read from or written to within the timeout period."],
  SignatureDoesNotMatch: [403, "The request signature we calculated does not match the signature you provided."],
  SlowDown: [503, "Please reduce your request rate."],
  ServiceUnavailable: [503, "Service is unable to handle request."],
  TooManyRequests: [429, "Too many requests."],
  XAmzContentSHA256Mismatch: [400, "The provided x-amz-content-sha256 header does not match what was computed."],
} as const satisfies Record<string, readonly [status: number, message: string]>;

export type RefusalCode = keyof typeof refusals;

export interface RefusalDetails {
  message?: string;
  /** Further elements of the error document, for instance `{ Region: "eu-west-1" }`. */
  elements?: Record<string, string>;
  headers?: Record<string, string>;
}

/** Thrown anywhere below a request; the server turns it into an S3 error answer. */
export class Refusal extends Error {
  readonly code: RefusalCode;
  readonly elements: Record<string, string>;
  readonly headers: Record<string, string>;

  constructor(code: RefusalCode, details: RefusalDetails = {}) {
    super(details.message ?? refusals[code][1]);
    this.name = "Refusal";
    this.code = code;
    this.elements = details.elements ?? {};
    this.headers = details.headers ?? {};
  }

  get status(): number {
    return refusals[this.code][0];
  }
}
