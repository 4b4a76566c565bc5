/** One POST over node:http or node:https, with deadlines of its own, to addresses that may be asked. */
import { lookup as dnsLookup } from "node:dns";
import * as http from "node:http";
import * as https from "node:https";
import { BlockList, isIP, isIPv6, type LookupFunction, type Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Webhook, WebhookAnswer, WebhookMessage } from "../core/deliveries.ts";
import { basicOf } from "../core/delivery-message.ts";
import { UploaderError } from "../core/errors.ts";
import { type Env, proxyFor } from "./s3/proxy.ts";
import { openSocket, proxyHeaders, type Route, trusting } from "./s3/socket.ts";

export interface WebhookOptions {
  /** Ask link-local and metadata addresses too. */
  allowLinkLocal: boolean;
  env: Env;
  /** Names to addresses; a test's own. */
  lookup?: typeof dnsLookup;
}

/** So much of an answer is read; then the connection is cut. */
const answerBytes = 64 * 1024;
const connectMs = 10_000;
/** The slowest line on which a large body is still waited for. */
const slowestBytesPerSecond = 64 * 1024;

/**
 * connect: until there is a connection · idle: without a byte in either direction, and for the first of the answer ·
 * total: from the first to the last.
 */
export const deadlines = (timeoutMs: number, bodyBytes: number) => ({
  connectMs: Math.min(connectMs, timeoutMs),
  idleMs: timeoutMs,
  totalMs: timeoutMs + (bodyBytes / slowestBytesPerSecond) * 1000,
});

/**
 * Where a machine keeps its credentials and its neighbours, and nobody a webhook (OWASP, server-side request forgery):
 * this network, link-local (with the metadata of AWS, Google, Azure, Oracle …), Azure's and Alibaba's own, multicast.
 * Private and loopback addresses may be asked: a laboratory's receiver stands in its own network.
 */
const forbidden = new BlockList();
for (const [address, bits] of [
  ["0.0.0.0", 8],
  ["169.254.0.0", 16],
  ["168.63.129.16", 32],
  ["100.100.100.200", 32],
  ["192.0.0.192", 32],
  ["224.0.0.0", 3],
] as const) {
  forbidden.addSubnet(address, bits, "ipv4");
  // NAT64 (RFC 6052): the same place behind an IPv6 address. Mapped ones (::ffff:0:0/96) BlockList knows itself.
  const hex = address.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  forbidden.addSubnet(`64:ff9b::${hex[0]}${hex[1]}:${hex[2]}${hex[3]}`, 96 + bits, "ipv6");
}
for (const [address, bits] of [
  ["::", 128],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
  ["fd00:ec2::254", 128],
  ["fd20:ce::254", 128],
  ["fd00:c1::a9fe:a9fe", 128],
] as const) {
  forbidden.addSubnet(address, bits, "ipv6");
}

export const isForbidden = (address: string): boolean =>
  forbidden.check(address.replace(/%.*$/, ""), isIPv6(address.replace(/%.*$/, "")) ? "ipv6" : "ipv4");

function refuse(address: string, url: URL): never {
  throw new UploaderError(
    "config_invalid",
    `${url.hostname} is ${address === bare(url) ? "" : `${address}, `}a link-local or metadata address, which is not asked`,
    { hint: "name another trigger.url, or set trigger.allowLinkLocal" },
  );
}

/** What can be said of a URL without asking for its name. Errors: config_invalid. */
export function assertAskable(text: string, allowLinkLocal: boolean): void {
  const url = parsed(text);
  if (!allowLinkLocal && isIP(bare(url)) && isForbidden(bare(url))) refuse(bare(url), url);
}

export function openWebhook(options: WebhookOptions): Webhook {
  const assertAllowed = (address: string, url: URL): void => {
    if (!options.allowLinkLocal && isForbidden(address)) refuse(address, url);
  };

  /** Every address that a name has is looked at, and only what was looked at is connected to: no second answer counts. */
  const guarded =
    (url: URL): LookupFunction =>
    (hostname, how, done) => {
      (options.lookup ?? dnsLookup)(hostname, { ...how, all: true }, (error, addresses) => {
        if (error) return done(error, "", 0);
        try {
          for (const { address } of addresses) assertAllowed(address, url);
        } catch (refusal) {
          return done(refusal as Error, "", 0);
        }
        if (how.all) done(null, addresses);
        else done(null, addresses[0]!.address, addresses[0]!.family);
      });
    };

  return {
    async post(message, signal) {
      const url = parsed(message.url);
      assertAskable(message.url, options.allowLinkLocal);
      const limits = deadlines(message.timeoutMs, message.bodyBytes);
      const late = new AbortController();
      const total = setTimeout(() => late.abort("total"), limits.totalMs);
      try {
        const request = await openRequest(url, message, limits.connectMs, options.env, guarded(url), signal);
        request.on("socket", (socket) => checkPeer(socket, request, (address) => assertAllowed(address, url)));
        return await exchange(request, message, limits, AbortSignal.any([signal, late.signal]));
      } catch (error) {
        throw translated(error, url, late.signal.aborted ? limits.totalMs : null);
      } finally {
        clearTimeout(total);
      }
    },
  };
}

function parsed(text: string): URL {
  if (URL.canParse(text)) return new URL(text);
  throw new UploaderError("config_invalid", "the URL of the webhook is none", { hint: "correct trigger.url" });
}

const bare = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "");

/** Straight, or through the proxy that the environment names; then the proxy finds the address. */
async function openRequest(
  url: URL,
  { headers, bodyBytes }: WebhookMessage,
  connectMs: number,
  env: Env,
  lookup: LookupFunction,
  signal: AbortSignal,
): Promise<http.ClientRequest> {
  const secure = url.protocol === "https:";
  const port = Number(url.port || (secure ? 443 : 80));
  const hostname = bare(url);
  const proxy = proxyFor({ protocol: url.protocol, hostname, port }, env);
  const sent = {
    ...headers,
    "user-agent": "uploader",
    "accept-encoding": "identity",
    "content-length": String(bodyBytes),
    ...(url.username === "" ? {} : { authorization: `Basic ${basicOf(url)}` }),
  };
  const base = { method: "POST", headers: sent, signal } as const;
  if (proxy === null) {
    const ask = secure ? https.request : http.request;
    const to = { ...base, agent: false, hostname, port, path: url.pathname + url.search, lookup };
    return ask(secure && !isIP(hostname) ? { ...to, servername: hostname } : to);
  }
  const secureContext = secure ? trusting(null) : null;
  const protocol = secure ? "https:" : "http:";
  const route: Route = { protocol, hostname, port, proxy, secureContext, session: { ticket: null } };
  const socket = await openSocket(route, connectMs);
  const { targetPrefix, lines } = proxyHeaders(route);
  const [name = "", value = ""] = lines.trim().split(": ");
  return http.request({
    ...base,
    headers: { ...sent, host: url.host, ...(name === "" ? {} : { [name]: value }) },
    path: targetPrefix + url.pathname + url.search,
    createConnection: () => socket,
  });
}

/** The last word: who answers the connection that was made. Through a proxy that is the proxy. */
function checkPeer(socket: Socket, request: http.ClientRequest, assertAllowed: (address: string) => void): void {
  socket.once("connect", () => {
    try {
      if (socket.remoteAddress !== undefined) assertAllowed(socket.remoteAddress);
    } catch (refusal) {
      request.destroy(refusal as Error);
    }
  });
}

async function exchange(
  request: http.ClientRequest,
  message: WebhookMessage,
  limits: ReturnType<typeof deadlines>,
  signal: AbortSignal,
): Promise<WebhookAnswer> {
  const idle = (what: string, ms: number) => () =>
    request.destroy(Object.assign(new Error(`${what} within ${ms} ms`), { code: "ETIMEDOUT" }));
  const connecting = setTimeout(idle("no connection", limits.connectMs), limits.connectMs);
  request.on("socket", (socket) => {
    const ready = (): void => {
      clearTimeout(connecting);
      socket.setTimeout(limits.idleMs, idle("no byte", limits.idleMs));
    };
    if (!socket.connecting) ready();
    else socket.once("connect", ready);
  });
  const abort = (): void => void request.destroy(Object.assign(new Error("stopped"), { code: "ETIMEDOUT" }));
  signal.addEventListener("abort", abort, { once: true });
  try {
    if (signal.aborted) abort();
    const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
      request.once("response", resolve);
      request.on("error", reject);
      request.on("close", () => reject(Object.assign(new Error("closed without an answer"), { code: "ECONNRESET" })));
    });
    const written = pipeline(Readable.from(message.body), request);
    // An endpoint may answer before it has read all, and close: its answer is what counts.
    const response = await Promise.race([answered, written.then(() => answered)]).catch(async (error: unknown) => {
      // The body's own error (a database that is away) is not the endpoint's.
      await written;
      throw error;
    });
    written.catch(() => undefined);
    return await readAnswer(response);
  } finally {
    clearTimeout(connecting);
    signal.removeEventListener("abort", abort);
    request.destroy();
  }
}

/** Status and headers are the answer; of the body what comes, up to the limit: a job's id is nice to have. */
async function readAnswer(response: http.IncomingMessage): Promise<WebhookAnswer> {
  const { "retry-after": retryAfter = null, location = null } = response.headers;
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= answerBytes) break;
    }
  } catch (error) {
    // Cut off in the middle: what it says is said by its status already.
    if (codeOf(error) === "") throw error;
  }
  const text = Buffer.concat(chunks).subarray(0, answerBytes).toString("utf8");
  return { status: response.statusCode ?? 0, retryAfter, location, text };
}

const timeouts = new Set(["ETIMEDOUT", "ESOCKETTIMEDOUT", "UND_ERR_CONNECT_TIMEOUT"]);

/** By code, never by sentence. */
function translated(error: unknown, url: URL, totalMs: number | null): UploaderError {
  if (error instanceof UploaderError && error.code !== "store_unreachable") return error;
  const where = url.host;
  const code = codeOf(error);
  if (totalMs !== null) {
    return new UploaderError("timed_out", `${where} did not take the message and answer within ${totalMs} ms`, {
      cause: error,
    });
  }
  // Without a code it is not the network's, but a bug.
  if (code === "") throw error;
  const says = error instanceof Error ? error.message : code;
  if (timeouts.has(code)) return new UploaderError("timed_out", `${where}: ${says}`, { cause: error });
  return new UploaderError("network_lost", `${where}: ${code === "store_unreachable" ? says : code}`, { cause: error });
}

function codeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "";
}
