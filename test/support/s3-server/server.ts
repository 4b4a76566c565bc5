import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { drain, readSome, resetConnection, sendReply } from "./answer.ts";
import { receiveBody, receiveDocument } from "./body.ts";
import { bucketHandlers } from "./buckets.ts";
import { type Call, readCall, readHeaders } from "./call.ts";
import { type Exchange, type Handler, type Reply, refusalReply } from "./exchange.ts";
import { createFaults, type FaultAction, type Faults, spoilReply, substitute } from "./faults.ts";
import { admit, permits } from "./gate.ts";
import { createInspector, type Inspector } from "./inspector.ts";
import { createJournal, type Journal, type JournalEntry } from "./journal.ts";
import { listingHandlers } from "./listing.ts";
import { multipartHandlers } from "./multipart.ts";
import { objectHandlers } from "./objects.ts";
import { Refusal } from "./refusals.ts";
import type { Operation } from "./routes.ts";
import { type Credential, createKeyring } from "./signature.ts";
import { fileStorage, memoryStorage } from "./storage.ts";
import { createBucket, findBucket, type Quirks, type World } from "./world.ts";

export interface S3ServerOptions {
  /** Default 0: any free port. Always on 127.0.0.1. */
  port?: number;
  /** Region of the endpoint, and of buckets that name no other. Default us-east-1. */
  region?: string;
  /** Default: one bucket named `bucket`. */
  buckets?: readonly (string | { name: string; region?: string; versioning?: boolean })[];
  /** Default: AKIDEXAMPLE / secretsecret, which may do everything. */
  credentials?: readonly Credential[];
  /** Account id for x-amz-expected-bucket-owner. */
  ownerId?: string;
  /** Bodies go to one file in this folder instead of memory. */
  directory?: string;
  /** Smallest part but the last; S3's 5 MiB unless a test needs less. */
  minPartBytes?: number;
  quirks?: Partial<Quirks>;
  /** PEM. */
  tls?: { key: string; cert: string };
  /** `bucket.<domain>` in Host names a bucket. Default: localhost. */
  domains?: readonly string[];
  /** The server's clock: Date headers, skew, expiry. */
  now?: () => Date;
  /** Entries kept in `log`. Default 10,000. */
  logEntries?: number;
  /** Idle connections are closed after this. Default 60 s. */
  keepAliveMs?: number;
}

export interface S3Server extends Journal, Inspector {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  readonly port: number;
  readonly region: string;
  /** The first key pair. */
  readonly credential: Credential;
  /** By access key id; may be changed while the server runs. */
  readonly credentials: Map<string, Credential>;
  readonly faults: Faults;
  /** May be changed while the server runs. */
  readonly quirks: Quirks;
  /** Resets every connection and stops. */
  close(): Promise<void>;
}

const handlers: Record<Operation, Handler> = {
  ...bucketHandlers,
  ...objectHandlers,
  ...multipartHandlers,
  ...listingHandlers,
};

const strict: Quirks = {
  checksums: "verify",
  trailers: "accept",
  defaultChecksum: "crc64nvme",
  etags: "md5",
  conditions: "honour",
  repeatedComplete: "same",
};

const mebibyte = 1024 ** 2;

function createWorld(options: S3ServerOptions): World {
  const region = options.region ?? "us-east-1";
  const buckets = (options.buckets ?? ["bucket"]).map((row) => (typeof row === "string" ? { name: row } : row));
  const credentials = options.credentials ?? [{ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secretsecret" }];
  return {
    region,
    ownerId: options.ownerId ?? "123456789012",
    minPartBytes: options.minPartBytes ?? 5 * mebibyte,
    quirks: { ...strict, ...options.quirks },
    storage: options.directory === undefined ? memoryStorage() : fileStorage(options.directory),
    credentials: new Map(credentials.map((credential) => [credential.accessKeyId, credential])),
    buckets: new Map(
      buckets.map((row) => [row.name, createBucket(row.name, row.region ?? region, row.versioning ?? false)]),
    ),
    completed: new Map(),
    now: options.now ?? (() => new Date()),
  };
}

/** A strict S3 server in this process; see README.md beside this file. */
export async function startS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  const world = createWorld(options);
  const domains = options.domains ?? ["localhost"];
  const journal = createJournal(options.logEntries ?? 10_000);
  const faults = createFaults();
  const verifier = { credentials: world.credentials, signingKey: createKeyring(), now: world.now };
  let requests = 0;

  async function carryOut(call: Call, entry: JournalEntry, request: IncomingMessage, proceed: () => void) {
    const authentication = admit(call, world, verifier);
    entry.authMode = authentication.mode;
    entry.payload = authentication.payload;
    const exchange: Exchange = {
      call,
      world,
      bucket: () => findBucket(world, call.bucket),
      may: (action) => permits(authentication.credential, action),
      async receiveObject(defaultChecksum) {
        proceed();
        const rules = defaultChecksum ? { ...world.quirks, defaultChecksum } : world.quirks;
        const body = await receiveBody(call, authentication, request, world.storage, rules);
        entry.bytesIn = body.blob.sizeBytes;
        return body;
      },
      receiveDocument() {
        proceed();
        return receiveDocument(call, authentication, request, world.quirks);
      },
    };
    return handlers[call.operation](exchange);
  }

  /** What happens before the request is looked at. False when the client is gone by then. */
  async function playBefore(fault: FaultAction | null, entry: JournalEntry, request: IncomingMessage) {
    if (fault?.kind === "reset") {
      if (fault.afterBytes !== undefined) await readSome(request, fault.afterBytes);
      return false;
    }
    if (fault?.kind !== "stall") return true;
    entry.state = "stalled";
    journal.changed(entry);
    const gone = new Promise<void>((resolve) => request.socket.once("close", resolve));
    await Promise.race([faults.released(), gone]);
    entry.state = "open";
    return !request.socket.destroyed;
  }

  async function decide(
    call: Call,
    fault: FaultAction | null,
    entry: JournalEntry,
    request: IncomingMessage,
    proceed: () => void,
  ): Promise<Reply> {
    const instead = fault && substitute(fault, call.requestId, world.now());
    if (instead) {
      if (!(fault.kind === "error" && fault.early)) {
        proceed();
        await drain(request);
      }
      return instead;
    }
    try {
      const reply = await carryOut(call, entry, request, proceed);
      return fault ? spoilReply(fault, reply) : reply;
    } catch (error) {
      if (error instanceof Refusal) return refusalReply(error, call.requestId);
      throw error;
    }
  }

  function openEntry(requestId: string, request: IncomingMessage, call: Call | null): JournalEntry {
    const partNumber = call?.query.get("partNumber");
    return journal.enter({
      requestId,
      method: request.method ?? "",
      operation: call?.operation ?? "Unknown",
      bucket: call?.bucket ?? "",
      key: call?.key ?? "",
      partNumber: partNumber === undefined ? null : Number(partNumber),
      uploadId: call?.query.get("uploadId") ?? null,
      headers: call?.headers ?? readHeaders(request.rawHeaders),
      authMode: null,
      payload: null,
      fault: null,
      state: "open",
      status: null,
      code: null,
      bytesIn: 0,
      bytesOut: 0,
    });
  }

  async function send(response: ServerResponse, reply: Reply, entry: JournalEntry, fault: FaultAction | null) {
    const common = { "x-amz-request-id": entry.requestId, "x-amz-id-2": "strict-test-server", server: "AmazonS3" };
    const headers = { ...(fault?.kind === "html" ? {} : common), date: world.now().toUTCString(), ...reply.headers };
    entry.status = reply.status;
    entry.code = reply.code ?? null;
    entry.bytesOut = await sendReply(response, { ...reply, headers }, fault);
    entry.state = "answered";
  }

  async function play(call: Call, entry: JournalEntry, request: IncomingMessage, response: ServerResponse) {
    const fault = faults.pick(call);
    entry.fault = fault?.kind ?? null;
    let awaited = /^100-continue$/i.test(request.headers.expect ?? "");
    function proceed(): void {
      if (awaited) response.writeContinue();
      awaited = false;
    }
    if (!(await playBefore(fault, entry, request))) return false;
    const reply = await decide(call, fault, entry, request, proceed);
    if (fault?.kind === "delay") await sleep(fault.delayMs);
    if (fault?.kind === "loseAnswer") {
      entry.status = reply.status;
      return false;
    }
    // A client that was never told to continue will not send its body: this connection is of no further use.
    if (awaited) response.shouldKeepAlive = false;
    await send(response, reply, entry, fault);
    return true;
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = (++requests).toString(16).toUpperCase().padStart(16, "0");
    let call: Call | null = null;
    let refusal: Refusal | null = null;
    try {
      call = readCall(request, requestId, domains);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refusal = error;
    }
    const entry = openEntry(requestId, request, call);
    let answered = false;
    try {
      if (call) answered = await play(call, entry, request, response);
      else if (refusal) {
        await send(response, refusalReply(refusal, requestId), entry, null);
        answered = true;
      }
    } finally {
      if (!answered) {
        entry.state = "reset";
        resetConnection(request.socket);
      }
      journal.leave(entry);
    }
  }

  /** Anything but a Refusal is the client's going away, or a fault of this server that a test must see. */
  function listen(request: IncomingMessage, response: ServerResponse): void {
    serve(request, response).catch((error: unknown) => {
      if (!request.destroyed || request.complete) throw error;
    });
  }

  const server = options.tls ? createHttpsServer(options.tls, listen) : createHttpServer(listen);
  server.on("checkContinue", listen);
  server.keepAliveTimeout = options.keepAliveMs ?? 60_000;
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const [credential] = world.credentials.values();
  if (!credential) throw new Error("the server needs at least one credential");

  // Onto the journal itself: its getters must stay getters.
  return Object.assign(journal, createInspector(world), {
    endpoint: `${options.tls ? "https" : "http"}://127.0.0.1:${port}`,
    port,
    region: world.region,
    credential,
    credentials: world.credentials,
    faults,
    quirks: world.quirks,
    async close() {
      faults.clear();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      world.storage.close();
    },
  });
}
