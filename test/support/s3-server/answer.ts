import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Reply } from "./exchange.ts";
import type { FaultAction } from "./faults.ts";

/** RST on a plain socket; TLS has none, there the connection just ends. */
export function resetConnection(socket: Socket): void {
  if ("encrypted" in socket) socket.destroy();
  else socket.resetAndDestroy();
}

/** Reads and forgets the rest of a body; ends early when the client goes away. */
export function drain(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    request.on("end", resolve).on("close", resolve).on("error", resolve).resume();
  });
}

/** Reads so many bytes of the body, at most. */
export function readSome(request: IncomingMessage, sizeBytes: number): Promise<void> {
  return new Promise((resolve) => {
    let seen = 0;
    request.on("data", (chunk: Buffer) => {
      seen += chunk.length;
      if (seen >= sizeBytes) resolve();
    });
    request.on("end", resolve).on("close", resolve).on("error", resolve);
  });
}

function bodyLength({ body }: Reply): number {
  return typeof body === "string" ? Buffer.byteLength(body) : body.end - body.start;
}

function* bodyChunks({ body }: Reply): Generator<Buffer> {
  if (typeof body !== "string") yield* body.blob.read(body.start, body.end);
  else if (body !== "") yield Buffer.from(body);
}

/** Resolves when the client has read what was written, or is gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    function done(): void {
      response.off("drain", done).off("close", done);
      resolve();
    }
    response.on("drain", done).on("close", done);
  });
}

/** Writes chunks no faster than the client reads them. Returns the bytes written. */
async function writeChunks(response: ServerResponse, chunks: Iterable<Buffer>): Promise<number> {
  let written = 0;
  for (const chunk of chunks) {
    if (response.destroyed) break;
    written += chunk.length;
    if (!response.write(chunk)) await drained(response);
  }
  return written;
}

function* firstBytes(chunks: Iterable<Buffer>, sizeBytes: number): Generator<Buffer> {
  let left = sizeBytes;
  for (const chunk of chunks) {
    if (left <= 0) return;
    yield chunk.subarray(0, left);
    left -= chunk.length;
  }
}

/** 200 and blanks while the work seems to go on, the document behind them: how S3 answers a long Complete. */
async function sendBehindSpaces(
  response: ServerResponse,
  reply: Reply,
  { count, intervalMs }: { count: number; intervalMs: number },
): Promise<number> {
  const [declaration = "", ...rest] = String(reply.body).split("\n");
  response.writeHead(reply.status, reply.headers);
  response.write(`${declaration}\n`);
  for (let i = 0; i < count; i++) {
    await sleep(intervalMs);
    response.write(" ");
  }
  response.end(rest.join("\n"));
  return bodyLength(reply);
}

/** Announces the whole answer and breaks off in its body, or in its head when there is no body. */
async function sendTruncated(response: ServerResponse, reply: Reply, bytes: number | undefined): Promise<number> {
  const length = bodyLength(reply);
  let written = 0;
  if (length === 0) {
    response.socket?.write(
      `HTTP/1.1 ${reply.status} OK\r\nx-amz-request-id: ${reply.headers["x-amz-request-id"]}\r\nET`,
    );
  } else {
    response.writeHead(reply.status, { ...reply.headers, "content-length": String(length) });
    written = await writeChunks(response, firstBytes(bodyChunks(reply), bytes ?? Math.floor(length / 2)));
  }
  response.socket?.destroySoon();
  return written;
}

/** Sends an answer, spoiled in transport if the fault says so. Returns the bytes of its body that were written. */
export async function sendReply(response: ServerResponse, reply: Reply, fault: FaultAction | null): Promise<number> {
  if (fault?.kind === "spaces" && reply.status === 200) return sendBehindSpaces(response, reply, fault);
  if (fault?.kind === "truncate") return sendTruncated(response, reply, fault.bytes);
  const bare = response.req.method === "HEAD" || reply.status === 204 || reply.status === 304;
  const length = bare ? 0 : bodyLength(reply);
  const headers = bare ? reply.headers : { ...reply.headers, "content-length": String(length) };
  response.writeHead(reply.status, headers);
  if (bare || typeof reply.body === "string") {
    response.end(bare ? undefined : reply.body);
    return length;
  }
  const written = await writeChunks(response, bodyChunks(reply));
  response.end();
  return written;
}
