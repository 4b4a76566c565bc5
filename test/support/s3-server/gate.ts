import type { Call } from "./call.ts";
import { checkKnownHeaders } from "./object-head.ts";
import { Refusal } from "./refusals.ts";
import { routes } from "./routes.ts";
import { type Authentication, type Claim, type Credential, readClaim, type Verifier, verify } from "./signature.ts";
import type { Bucket, World } from "./world.ts";

/** A request signed for another region is sent where it belongs, in the two ways S3 does it. */
function checkRegion(call: Call, claim: Claim, bucket: Bucket | undefined, world: World): void {
  const expected = bucket?.region ?? world.region;
  if (claim.region === expected) return;
  const headers = { "x-amz-bucket-region": expected };
  if (claim.region === world.region) {
    const elements = { Endpoint: `s3.${expected}.amazonaws.com`, Bucket: call.bucket, Region: expected };
    throw new Refusal("PermanentRedirect", { headers, elements });
  }
  throw new Refusal("AuthorizationHeaderMalformed", {
    message: `The region '${claim.region}' is wrong; expecting '${expected}'`,
    elements: { Region: expected },
    headers,
  });
}

export function permits(credential: Credential, action: string): boolean {
  return !credential.allow || credential.allow.includes("s3:*") || credential.allow.includes(action);
}

/** Signature, region, owner and permission: everything that is checked before an operation looks at the bucket. */
export function admit(call: Call, world: World, verifier: Verifier): Authentication {
  const claim = readClaim(call);
  const bucket = world.buckets.get(call.bucket);
  checkRegion(call, claim, bucket, world);
  const authentication = verify(call, claim, verifier);
  checkKnownHeaders(call.headers);
  const owner = call.headers["x-amz-expected-bucket-owner"];
  if (owner !== undefined && owner !== world.ownerId) throw new Refusal("AccessDenied");
  if (!permits(authentication.credential, routes[call.operation].action)) {
    throw new Refusal("AccessDenied", { headers: bucket ? { "x-amz-bucket-region": bucket.region } : {} });
  }
  return authentication;
}
