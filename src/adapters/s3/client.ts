/** Signed requests to one bucket, with the request level's retries: one loop for every call of this adapter. */
import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type BackoffPlan, backoffMs } from "../../core/backoff.ts";
import { UploaderError } from "../../core/errors.ts";
import { type Address, addressOf, encodePath, encodeStrictly } from "./address.ts";
import type { Answer } from "./answer.ts";
import { createCredentialSource } from "./credentials.ts";
import {
  type Failure,
  failureOfAnswer,
  failureOfThrown,
  isElsewhere,
  isStrangers,
  type StorePlace,
  storeCodeOf,
} from "./failures.ts";
import type { S3Options } from "./options.ts";
import { proxyFor } from "./proxy.ts";
import { type Credentials, createSigner, emptyPayloadHash, unsignedPayload } from "./signature.ts";
import { trusting } from "./socket.ts";
import { openWire, type Wire } from "./wire.ts";
import { textOf } from "./xml.ts";

export interface Call {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** null: the bucket itself. */
  key: string | null;
  query?: Readonly<Record<string, string>>;
  /** Lower-case names, ASCII values. */
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array;
  /** Its SHA-256 in hex, where that is known already. */
  bodyHash?: string | null;
  /** Statuses from 300 on, and store codes, that the caller wants to see; all others are failures. */
  accept?: readonly (number | string)[];
  /** What is being done, for messages: "sending a.wav". */
  subject: string;
  signal: AbortSignal;
  /**
   * What a success looks like. Any other 2xx is a failure: Complete answers 200 with `<Error>`, and the page of some
   * proxy or login portal is a 200 too.
   */
  isSuccess?: (answer: Answer) => boolean;
  /** Times the usual idle deadline, for answers that take the store long to work out. */
  patience?: number;
  onBytes?: (sentBytes: number) => void;
}

export interface Reply {
  answer: Answer;
  /** The store has verified a signed SHA-256 of the body. */
  payloadSigned: boolean;
  /** Whether an earlier attempt of this call may have been carried out without our hearing of it. */
  doubtful: boolean;
}

export interface Client {
  call(call: Call): Promise<Reply>;
  /** The endpoint echoes our checksums: over TLS, payloads need no signature of their own from now on. */
  trustEcho(): void;
  /** Whether the SHA-256 of a PUT's body will be asked for. */
  signsPayloads(): boolean;
  region(): string;
  place(): StorePlace;
  close(): void;
}

/** For the store's logs; not signed, as proxies may rewrite it. */
const userAgent = "user-agent: uploader\r\n";
const attemptsAtMost = 4;
const backoffs: Partial<Record<Failure["remedy"], BackoffPlan>> = {
  again: { baseMs: 100, capMs: 20_000 },
  slower: { baseMs: 500, capMs: 20_000 },
};
const longestRetryAfterMs = 60_000;
/** The store refuses requests 15 minutes off; a Date header this far away means the clock, not a slow part. */
const skewMs = 5 * 60_000;

export function openClient(options: S3Options): Client {
  const { env, now, deadlines } = options;
  const chosenRegion = options.region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? null;
  const sign = createSigner();
  const wires = new Map<string, Wire>();
  let region = chosenRegion ?? "us-east-1";
  let relocated = false;
  let address = locate();
  let echoTrusted = false;
  const credentials = createCredentialSource({ profile: options.profile, region, env, now });

  const place = (): StorePlace => ({
    bucket: options.bucket,
    endpoint: options.endpoint ?? "AWS",
    region,
    expectedBucketOwner: options.expectedBucketOwner,
  });

  function locate(): Address {
    return addressOf({ ...options, region });
  }

  function wireTo({ protocol, hostname, port }: Address): Wire {
    const origin = `${protocol}//${hostname}:${port}`;
    let wire = wires.get(origin);
    if (wire === undefined) {
      wire = openWire({
        route: {
          protocol,
          hostname,
          port,
          proxy: proxyFor(address, env),
          secureContext: protocol === "https:" ? trusting(readBundle(env.AWS_CA_BUNDLE)) : null,
          session: { ticket: null },
        },
        maxConnections: options.connections,
        connectMs: deadlines.connectMs,
        tickMs: Math.min(Math.max(deadlines.idleMs / 8, 5), 1_000),
        bandwidth: options.bandwidth,
      });
      wires.set(origin, wire);
    }
    return wire;
  }

  /** True when the request is worth sending again to another region. */
  function relocate(answer: Answer, usedRegion: string): boolean {
    if (region !== usedRegion) return true;
    const named = answer.headers["x-amz-bucket-region"] ?? textOf(answer.body.toString("utf8"), "Region");
    if (!named || named === region || relocated || !/^[a-z0-9-]+$/.test(named)) return false;
    relocated = true;
    if (chosenRegion !== null) {
      options.onNotice(`the bucket ${options.bucket} is in ${named}, not ${region}: using ${named} from here on`);
    }
    region = named;
    address = locate();
    return true;
  }

  async function remedied(failure: Failure, answer: Answer | null, used: Used, attempt: number): Promise<boolean> {
    const { remedy, error } = failure;
    if (attempt >= attemptsAtMost) return false;
    if (remedy === "relocate") return relocate(answer!, used.region);
    if (remedy === "renew") return (await credentials.renew(used.credentials)) !== null;
    const plan = backoffs[remedy];
    if (plan === undefined) return false;
    const retryAfterMs = error.retryAfterMs ?? 0;
    if (retryAfterMs > longestRetryAfterMs) return false;
    await delay(backoffMs(plan, attempt, options.random(), retryAfterMs), undefined, { signal: used.signal });
    return true;
  }

  const signsPayloads = (protocol: string): boolean =>
    !options.unsignedPayload && (protocol === "http:" || !echoTrusted);

  return {
    signsPayloads: () => signsPayloads(address.protocol),
    async call(call) {
      const { method, key, body, signal, subject } = call;
      const query = canonicalQuery(call.query);
      const headers: Record<string, string> = { ...call.headers };
      if (options.expectedBucketOwner !== null) headers["x-amz-expected-bucket-owner"] = options.expectedBucketOwner;
      if (method === "PUT" || method === "POST") headers["content-length"] = String(body?.length ?? 0);
      const bodyBytes = body?.length ?? 0;
      let bodyHash: string | null = bodyBytes === 0 ? emptyPayloadHash : (call.bodyHash ?? null);
      let doubtful = false;
      for (let attempt = 1; ; attempt++) {
        signal.throwIfAborted();
        const used: Used = { credentials: await credentials.current(), region, signal };
        const { host, basePath, protocol } = address;
        const path = key === null ? basePath || "/" : `${basePath}/${encodePath(key)}`;
        const payloadSigned = method === "PUT" ? signsPayloads(protocol) : !options.unsignedPayload;
        if (payloadSigned) bodyHash ??= hash("sha256", body!, "hex");
        const payloadHash = payloadSigned || bodyBytes === 0 ? bodyHash! : unsignedPayload;
        const headerLines = sign(
          { method, path, query, host, headers, payloadHash },
          used.credentials,
          used.region,
          now(),
        );
        let answer: Answer | null = null;
        let failure: Failure;
        try {
          answer = await wireTo(address).send(
            {
              method,
              target: query === "" ? path : `${path}?${query}`,
              headerLines: headerLines + userAgent,
              body: body ?? null,
            },
            {
              signal,
              idleMs: deadlines.idleMs * (call.patience ?? 1),
              totalMs: deadlines.totalMs(bodyBytes),
              ...(call.onBytes === undefined ? {} : { onBytes: call.onBytes }),
            },
          );
          if (isFine(answer, call, used.region)) return { answer, payloadSigned, doubtful };
          failure = failureOfAnswer(answer, subject, { ...place(), region: used.region });
          if (failure.remedy === "clock") failure = clockFailure(failure, answer, subject, now());
        } catch (thrown) {
          signal.throwIfAborted();
          const known = failureOfThrown(thrown, subject, place());
          if (known === null) throw thrown;
          failure = known;
        }
        const { code, retryAfterMs } = failure.error;
        if (answer === null || answer.status >= 500 || answer.status < 300) doubtful = true;
        if (code === "store_busy" || code === "timed_out") options.onThrottle?.(code, retryAfterMs ?? null);
        if (!(await remedied(failure, answer, used, attempt))) throw failure.error;
      }
    },
    trustEcho() {
      echoTrusted = true;
    },
    region: () => region,
    place,
    close() {
      for (const wire of wires.values()) wire.close();
      wires.clear();
    },
  };
}

interface Used {
  credentials: Credentials;
  region: string;
  signal: AbortSignal;
}

function isFine(answer: Answer, call: Call, region: string): boolean {
  if (answer.status >= 300) {
    if (call.accept === undefined || isElsewhere(answer, region) || isStrangers(answer)) return false;
    return call.accept.includes(answer.status) || call.accept.includes(storeCodeOf(answer));
  }
  return call.isSuccess?.(answer) ?? true;
}

function clockFailure(failure: Failure, answer: Answer, subject: string, nowMs: number): Failure {
  const aheadMs = nowMs - Date.parse(answer.headers.date ?? "");
  if (Number.isNaN(aheadMs)) return failure;
  if (Math.abs(aheadMs) <= skewMs) {
    const error = new UploaderError("timed_out", `${subject}: the request took more than 15 minutes to arrive`, {
      hint: "the link is too slow for this many requests at once: lower the concurrency",
      ...(failure.error.requestId === undefined ? {} : { requestId: failure.error.requestId }),
    });
    return { ...failure, remedy: "again", error };
  }
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const { hint, requestId } = failure.error;
  const error = new UploaderError(
    "clock_skewed",
    `${subject}: this machine's clock is ${seconds} s ${aheadMs > 0 ? "ahead of" : "behind"} the store's`,
    { ...(hint === undefined ? {} : { hint }), ...(requestId === undefined ? {} : { requestId }) },
  );
  return { ...failure, error };
}

function canonicalQuery(query: Readonly<Record<string, string>> | undefined): string {
  if (query === undefined) return "";
  return Object.keys(query)
    .sort()
    .map((name) => `${encodeStrictly(name)}=${encodeStrictly(query[name]!)}`)
    .join("&");
}

function readBundle(path: string | undefined): string | null {
  if (!path) return null;
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new UploaderError("config_invalid", "the certificate bundle named by AWS_CA_BUNDLE cannot be read", {
      hint: "correct AWS_CA_BUNDLE, or unset it",
      cause,
    });
  }
}
