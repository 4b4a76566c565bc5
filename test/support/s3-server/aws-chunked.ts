import { createHash, hash } from "node:crypto";
import { Refusal } from "./refusals.ts";
import type { ChunkSigner } from "./signature.ts";

const maxLineBytes = 8192;
/** Only the last chunk of data may be smaller (S3: InvalidChunkSizeError). */
const minChunkBytes = 8192;

export interface ChunkedDecoder {
  push(bytes: Buffer): void;
  /** The trailers, by lower-case name. Throws when the body ended too early. */
  finish(): Record<string, string>;
}

type State = "size" | "data" | "end-of-data" | "trailer" | "done";

/**
 * Decodes the aws-chunked content encoding: `<hex size>[;chunk-signature=…]CRLF data CRLF … 0 CRLF trailers CRLF`.
 * With a signer every chunk's signature, and that of the trailers, is checked in its place in the chain.
 */
export function decodeChunks(onData: (bytes: Buffer) => void, signer: ChunkSigner | null): ChunkedDecoder {
  let state: State = "size";
  let line = Buffer.alloc(0);
  let remaining = 0;
  let previousSize: number | null = null;
  let claimed = "";
  let chunkHash = createHash("sha256");
  const trailers: Record<string, string> = {};

  function startChunk(header: string): void {
    const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(header);
    if (!match || (signer !== null && match[2] === undefined)) throw new Refusal("IncompleteBody");
    remaining = Number.parseInt(match[1]!, 16);
    claimed = match[2] ?? "";
    if (remaining > 0 && previousSize !== null && previousSize < minChunkBytes) {
      throw new Refusal("InvalidChunkSizeError", { elements: { Chunk: String(previousSize) } });
    }
    previousSize = remaining;
    chunkHash = createHash("sha256");
    if (remaining === 0) endChunk();
    state = remaining === 0 ? "trailer" : "data";
  }

  function endChunk(): void {
    if (signer && signer.next(chunkHash.digest("hex")) !== claimed) throw new Refusal("SignatureDoesNotMatch");
  }

  function readTrailer(text: string): void {
    if (text === "") {
      state = "done";
      return;
    }
    const split = text.indexOf(":");
    if (split < 1) throw new Refusal("MalformedTrailerError");
    trailers[text.slice(0, split).trim().toLowerCase()] = text.slice(split + 1).trim();
  }

  const lineReaders: Partial<Record<State, (text: string) => void>> = {
    size: startChunk,
    trailer: readTrailer,
    "end-of-data": (text) => {
      if (text !== "") throw new Refusal("IncompleteBody");
      endChunk();
      state = "size";
    },
  };

  /** Takes bytes up to the end of a line; returns how many. */
  function pushLine(bytes: Buffer): number {
    const end = bytes.indexOf(0x0a);
    const taken = end < 0 ? bytes : bytes.subarray(0, end + 1);
    line = line.length === 0 ? Buffer.from(taken) : Buffer.concat([line, taken]);
    if (line.length > maxLineBytes) throw new Refusal("IncompleteBody");
    if (end >= 0) {
      const text = line.toString("latin1");
      line = Buffer.alloc(0);
      if (!text.endsWith("\r\n")) throw new Refusal("IncompleteBody");
      lineReaders[state]?.(text.slice(0, -2));
    }
    return taken.length;
  }

  function pushData(bytes: Buffer): number {
    const data = bytes.subarray(0, remaining);
    if (signer) chunkHash.update(data);
    onData(data);
    remaining -= data.length;
    if (remaining === 0) state = "end-of-data";
    return data.length;
  }

  function checkTrailerSignature(): void {
    const { "x-amz-trailer-signature": signature, ...signed } = trailers;
    if (!signer || Object.keys(trailers).length === 0) return;
    const canonical = Object.entries(signed).map(([name, value]) => `${name}:${value}\n`);
    if (signer.trailer(hash("sha256", canonical.join(""))) !== signature) throw new Refusal("SignatureDoesNotMatch");
  }

  return {
    push(bytes) {
      for (let offset = 0; offset < bytes.length; ) {
        const rest = bytes.subarray(offset);
        if (state === "done") throw new Refusal("IncompleteBody");
        offset += state === "data" ? pushData(rest) : pushLine(rest);
      }
    },
    finish() {
      if (state !== "done") throw new Refusal("IncompleteBody");
      checkTrailerSignature();
      return trailers;
    },
  };
}
