/**
 * HTTP/1.1 exchanges over kept-alive connections, one request at a time each, with deadlines of our own.
 *
 * Why not a library: none shows whether the bytes of a large body still move, which is what tells a slow link from a
 * dead one, nor lets a body be encrypted slice by slice from a reused buffer. Measured with undici's dispatch in this
 * file's place (20,000 files of 4-64 KB; 4 of 512 MB): CPU 5-10 % more for small files and equal for large ones,
 * 35-45 MB more memory, 75 ms longer to load.
 */
import type { Socket } from "node:net";
import { UploaderError } from "../../core/errors.ts";
import type { Bandwidth } from "../../core/ports.ts";
import { type Answer, type AnswerReader, createAnswerReader } from "./answer.ts";
import { openSocket, proxyHeaders, type Route } from "./socket.ts";

export interface WireRequest {
  method: string;
  /** Encoded path and query, sent as they are: no normalisation. */
  target: string;
  /** `name: value\r\n` for each header; ASCII. */
  headerLines: string;
  body: Uint8Array | null;
}

export interface SendOptions {
  signal: AbortSignal;
  /** No byte moved either way for this long: `timed_out`. */
  idleMs: number;
  totalMs: number;
  /** Called with bytes of the body handed to the network since the last call. */
  onBytes?: (sentBytes: number) => void;
}

export interface Wire {
  /** Rejects with the socket's own error, or with UploaderError for deadlines, early closes and answers that are no HTTP. */
  send(request: WireRequest, options: SendOptions): Promise<Answer>;
  close(): void;
}

export interface WireOptions {
  route: Route;
  maxConnections: number;
  connectMs: number;
  /** Resolution of the deadlines. */
  tickMs: number;
  /** For the bodies; absent: unlimited. */
  bandwidth?: Bandwidth | undefined;
}

/** Servers close idle connections after 5 s and more; one that is about to be closed costs a retry. */
const reuseWithinMs = 4_000;

/**
 * Body bytes handed to the socket at once: the unit of progress, and over TLS of the copy that encryption makes. Small
 * enough at first to move within the idle deadline where sixty connections share a link of 500 KB/s; doubled while
 * slices leave at once, which saves a tenth of the CPU at 1 GB/s.
 */
const slices = { leastBytes: 64 * 1024, mostBytes: 1024 * 1024, quickMs: 100 };

interface Line {
  socket: Socket;
  exchange: Exchange | null;
  exchanges: number;
  idleSinceMs: number;
}

interface Exchange {
  reader: AnswerReader;
  lastMoveMs: number;
  idleMs: number;
  endsMs: number;
  answerBytes: number;
  written: boolean;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

export function openWire(options: WireOptions): Wire {
  const { route, maxConnections, connectMs, tickMs, bandwidth } = options;
  const idle: Line[] = [];
  const busy = new Set<Line>();
  const waiting: { resolve(): void }[] = [];
  const { targetPrefix, lines: proxyLines } = proxyHeaders(route);
  let openCount = 0;
  let closed = false;

  const sweeper = setInterval(() => {
    const nowMs = performance.now();
    for (const line of busy) {
      const exchange = line.exchange!;
      if (nowMs >= exchange.endsMs) fail(line, timedOut("the request took longer than its deadline"));
      else if (nowMs - exchange.lastMoveMs >= exchange.idleMs) {
        fail(line, timedOut(`no byte moved for ${exchange.idleMs} ms`));
      }
    }
    while (idle.length > 0 && nowMs - idle[0]!.idleSinceMs > reuseWithinMs) drop(idle.shift()!);
  }, tickMs);
  sweeper.unref();

  function timedOut(what: string): UploaderError {
    return new UploaderError("timed_out", `${route.hostname} stalled: ${what}`, { hint: "check the network" });
  }

  const wakeNext = (): void => waiting.shift()?.resolve();

  /** A line leaves for good; whoever waits may open a new one in its place. */
  function drop(line: Line): void {
    openCount--;
    line.socket.destroy();
    wakeNext();
  }

  function fail(line: Line, error: unknown): void {
    const { exchange } = line;
    if (exchange === null) return;
    line.exchange = null;
    busy.delete(line);
    drop(line);
    exchange.reject(error);
  }

  function finish(line: Line): void {
    const exchange = line.exchange!;
    line.exchange = null;
    busy.delete(line);
    line.exchanges++;
    // An answer that overtook its own body (a refusal, mostly): the rest of it must neither be read as a request
    // nor be sent from a buffer that has found its next file.
    const flushed = exchange.written && line.socket.writableLength === 0;
    if (flushed && exchange.reader.keepAlive() && !closed) {
      line.idleSinceMs = performance.now();
      idle.push(line);
      wakeNext();
    } else drop(line);
    exchange.resolve(exchange.reader.answer());
  }

  function onClosed(line: Line, error: Error | null): void {
    const at = idle.indexOf(line);
    if (at >= 0) {
      idle.splice(at, 1);
      drop(line);
      return;
    }
    const { exchange } = line;
    if (exchange === null) return;
    if (error === null && exchange.reader.end()) finish(line);
    else fail(line, error ?? Object.assign(new Error("the store closed the connection"), { code: "ECONNRESET" }));
  }

  async function openLine(): Promise<Line> {
    openCount++;
    try {
      const socket = await openSocket(route, connectMs);
      if (closed) socket.destroy();
      const line: Line = { socket, exchange: null, exchanges: 0, idleSinceMs: 0 };
      socket.on("data", (chunk: Buffer) => {
        const { exchange } = line;
        if (exchange === null) return void socket.destroy();
        exchange.lastMoveMs = performance.now();
        exchange.answerBytes += chunk.length;
        try {
          if (exchange.reader.push(chunk)) finish(line);
        } catch (thrown) {
          fail(line, thrown);
        }
      });
      let failure: Error | null = null;
      socket.on("error", (error) => {
        failure = error;
      });
      socket.on("end", () => onClosed(line, null));
      socket.on("close", () => onClosed(line, failure));
      return line;
    } catch (error) {
      openCount--;
      wakeNext();
      throw error;
    }
  }

  async function takeLine(signal: AbortSignal, fresh: boolean): Promise<Line> {
    for (;;) {
      signal.throwIfAborted();
      if (closed) throw new UploaderError("internal", "the connection to the store was closed while in use");
      if (fresh && idle.length > 0) drop(idle.pop()!);
      const line = idle.pop();
      if (line !== undefined) {
        if (performance.now() - line.idleSinceMs <= reuseWithinMs) return line;
        drop(line);
      } else if (openCount < maxConnections) {
        return await openLine();
      } else {
        await waitTurn(signal);
        // The abort that ended the exchange before may be its own: the turn is not used.
        if (signal.aborted) wakeNext();
      }
    }
  }

  function waitTurn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = {
        resolve: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        waiting.splice(waiting.indexOf(entry), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      waiting.push(entry);
    });
  }

  function exchangeOn(line: Line, request: WireRequest, send: SendOptions): Promise<Answer> {
    const { signal, idleMs, totalMs, onBytes } = send;
    return new Promise<Answer>((resolve, reject) => {
      const nowMs = performance.now();
      const onAbort = () => fail(line, signal.reason);
      const exchange: Exchange = {
        reader: createAnswerReader(request.method),
        lastMoveMs: nowMs,
        idleMs,
        endsMs: nowMs + totalMs,
        answerBytes: 0,
        written: false,
        resolve: (answer) => {
          signal.removeEventListener("abort", onAbort);
          resolve(answer);
        },
        reject: (error) => {
          signal.removeEventListener("abort", onAbort);
          reject(error);
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      line.exchange = exchange;
      busy.add(line);
      const { socket } = line;
      if (signal.aborted) return onAbort();
      if (socket.destroyed) return onClosed(line, null);
      const { body } = request;
      const head = `${request.method} ${targetPrefix}${request.target} HTTP/1.1\r\n${request.headerLines}${proxyLines}\r\n`;
      const bodyBytes = body?.length ?? 0;
      let sentBytes = 0;
      let sliceBytes = slices.leastBytes;
      const wroteSlice = (error?: Error | null) => {
        if (error || line.exchange !== exchange) return;
        const movedMs = performance.now();
        const quick = movedMs - exchange.lastMoveMs < slices.quickMs;
        sliceBytes = quick ? Math.min(sliceBytes * 2, slices.mostBytes) : slices.leastBytes;
        exchange.lastMoveMs = movedMs;
        writeNext();
      };
      const writeNext = () => {
        if (sentBytes === bodyBytes) {
          exchange.written = true;
          return;
        }
        if (!bandwidth || bandwidth.limit === null) return writeSlice(sliceBytes);
        const piece = Math.min(sliceBytes, bandwidth.pieceBytes, bodyBytes - sentBytes);
        const { endsMs } = exchange;
        const sinceMs = performance.now();
        // Our own turn is waited for, not the store: no deadline runs meanwhile.
        exchange.endsMs = exchange.lastMoveMs = Number.POSITIVE_INFINITY;
        bandwidth.queue(piece, () => {
          if (line.exchange !== exchange) return false;
          exchange.lastMoveMs = performance.now();
          exchange.endsMs = endsMs + exchange.lastMoveMs - sinceMs;
          writeSlice(piece);
          return true;
        });
      };
      const writeSlice = (size: number) => {
        const slice = body!.subarray(sentBytes, sentBytes + size);
        sentBytes += slice.length;
        onBytes?.(slice.length);
        // The last slice needs no callback: its answer tells that it was read.
        if (sentBytes === bodyBytes) {
          exchange.written = true;
          socket.write(slice);
        } else socket.write(slice, wroteSlice);
      };
      socket.cork();
      socket.write(head, "latin1");
      writeNext();
      socket.uncork();
    });
  }

  return {
    async send(request, send) {
      const line = await takeLine(send.signal, false);
      const reused = line.exchanges > 0;
      let exchange: Exchange | null = null;
      try {
        const sent = exchangeOn(line, request, send);
        exchange = line.exchange;
        return await sent;
      } catch (error) {
        // A kept-alive connection that the server closed just then: not the store's fault, so no attempt is lost.
        // Not for POST: whoever completes an upload must hear that an answer may have been lost.
        const stale =
          reused && request.method !== "POST" && exchange?.answerBytes === 0 && isReset(error) && !send.signal.aborted;
        if (!stale) throw error;
        return await exchangeOn(await takeLine(send.signal, true), request, send);
      }
    },
    close() {
      closed = true;
      clearInterval(sweeper);
      for (const line of [...busy]) fail(line, new UploaderError("network_lost", "the connection was closed"));
      for (const line of idle.splice(0)) drop(line);
      while (waiting.length > 0) wakeNext();
    },
  };
}

function isReset(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === "ECONNRESET" || code === "EPIPE";
}
