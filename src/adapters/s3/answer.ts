/** Reading HTTP/1.1 answers: strict about framing, and anything odd ends the connection. RFC 9112. */
import { UploaderError } from "../../core/errors.ts";

export interface Answer {
  status: number;
  /** Lower-case names; repeated ones joined with ", ". */
  headers: Readonly<Record<string, string | undefined>>;
  body: Buffer;
}

export interface AnswerReader {
  /** True once the answer is complete. Throws `store_failed` when the bytes are no HTTP answer. */
  push(chunk: Buffer): boolean;
  /** The peer closed: true when that completes the answer (a body without a length). */
  end(): boolean;
  answer(): Answer;
  /** Whether the connection can carry another request. */
  keepAlive(): boolean;
}

const maxHeadBytes = 64 * 1024;
/** A page of 1,000 keys of 1,024 escaped bytes each is 3 MB. */
const maxBodyBytes = 16 * 1024 * 1024;
const headEnd = Buffer.from("\r\n\r\n");

const empty: Buffer = Buffer.alloc(0);

function bad(what: string): UploaderError {
  return new UploaderError("store_failed", `the store's answer is not HTTP: ${what}`, {
    hint: "check the endpoint's address and any proxy between",
  });
}

type Framing =
  | { kind: "none" }
  | { kind: "length"; leftBytes: number }
  | { kind: "chunked"; chunks: ChunkReader }
  | { kind: "until_close" };

export function createAnswerReader(method: string): AnswerReader {
  let held: Buffer = empty;
  let head: Head | null = null;
  let framing: Framing = { kind: "none" };
  let complete = false;
  let surplus = false;
  let bodyBytes = 0;
  const body: Buffer[] = [];

  function keep(bytes: Buffer): void {
    bodyBytes += bytes.length;
    if (bodyBytes > maxBodyBytes) throw bad("its body is too long");
    if (bytes.length > 0) body.push(bytes);
  }

  function pushBody(bytes: Buffer): boolean {
    switch (framing.kind) {
      case "none":
        surplus = bytes.length > 0;
        return true;
      case "length": {
        const taken = bytes.subarray(0, framing.leftBytes);
        keep(taken);
        framing.leftBytes -= taken.length;
        surplus = taken.length < bytes.length;
        return framing.leftBytes === 0;
      }
      case "chunked": {
        const taken = framing.chunks.push(bytes, keep);
        surplus = taken < bytes.length;
        return framing.chunks.finished();
      }
      case "until_close":
        keep(bytes);
        return false;
    }
  }

  return {
    push(chunk) {
      let rest = chunk;
      while (head === null) {
        held = held.length === 0 ? rest : Buffer.concat([held, rest]);
        const end = held.indexOf(headEnd);
        if (end < 0) {
          if (held.length > maxHeadBytes) throw bad("its head is too long");
          return false;
        }
        const parsed = parseHead(held.toString("latin1", 0, end));
        rest = held.subarray(end + headEnd.length);
        held = empty;
        // 1xx answers only announce the real one.
        if (parsed.status < 200) continue;
        head = parsed;
        framing = framingOf(method, parsed);
      }
      complete = pushBody(rest);
      return complete;
    },
    end() {
      if (head !== null && framing.kind === "until_close") complete = true;
      return complete;
    },
    answer() {
      if (head === null) throw bad("it never came");
      const whole = body.length === 1 ? body[0]! : body.length === 0 ? empty : Buffer.concat(body);
      return { status: head.status, headers: head.headers, body: whole };
    },
    keepAlive() {
      return complete && !surplus && head?.keepAlive === true && framing.kind !== "until_close";
    },
  };
}

interface Head {
  status: number;
  headers: Record<string, string | undefined>;
  keepAlive: boolean;
}

function parseHead(text: string): Head {
  const lines = text.split("\r\n");
  const start = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: |$)/.exec(lines[0]!);
  if (start === null) throw bad("its first line is no status line");
  const headers: Record<string, string | undefined> = Object.create(null);
  for (let at = 1; at < lines.length; at++) {
    const line = lines[at]!;
    const colon = line.indexOf(":");
    if (colon <= 0) throw bad("a header has no name");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const earlier = headers[name];
    headers[name] = earlier === undefined ? value : `${earlier}, ${value}`;
  }
  const connection = headers.connection?.toLowerCase() ?? "";
  const keepAlive = start[1] === "1" ? !connection.includes("close") : connection.includes("keep-alive");
  return { status: Number(start[2]), headers, keepAlive };
}

function framingOf(method: string, head: Head): Framing {
  const { status, headers } = head;
  if (method === "HEAD" || status === 204 || status === 304) return { kind: "none" };
  if (method === "CONNECT" && status < 300) return { kind: "none" };
  const coding = headers["transfer-encoding"];
  const length = headers["content-length"];
  if (coding !== undefined) {
    if (coding.toLowerCase() !== "chunked" || length !== undefined) throw bad("its length is ambiguous");
    return { kind: "chunked", chunks: createChunkReader() };
  }
  if (length === undefined) return { kind: "until_close" };
  if (!/^[0-9]{1,15}$/.test(length)) throw bad("its length is no number");
  return { kind: "length", leftBytes: Number(length) };
}

interface ChunkReader {
  /** Returns how many bytes belonged to the body. */
  push(bytes: Buffer, keep: (data: Buffer) => void): number;
  finished(): boolean;
}

/** Chunked transfer coding, RFC 9112 section 7.1; extensions and trailers are skipped. */
function createChunkReader(): ChunkReader {
  let state: "size" | "data" | "after_data" | "trailer" | "finished" = "size";
  let line = "";
  let leftBytes = 0;

  function endLine(): void {
    if (state === "after_data") {
      if (line !== "") throw bad("a chunk is longer than it said");
      state = "size";
    } else if (state === "trailer") {
      if (line === "") state = "finished";
    } else {
      const size = /^[0-9a-f]{1,8}(?=$|[\s;])/i.exec(line);
      if (size === null) throw bad("a chunk has no size");
      leftBytes = Number.parseInt(size[0], 16);
      state = leftBytes === 0 ? "trailer" : "data";
    }
    line = "";
  }

  return {
    push(bytes, keep) {
      let at = 0;
      while (at < bytes.length && state !== "finished") {
        if (state === "data") {
          const data = bytes.subarray(at, at + leftBytes);
          keep(data);
          at += data.length;
          leftBytes -= data.length;
          if (leftBytes === 0) state = "after_data";
          continue;
        }
        const newline = bytes.indexOf(10, at);
        line += bytes.toString("latin1", at, newline < 0 ? bytes.length : newline);
        if (line.length > maxHeadBytes) throw bad("a chunk's size line is too long");
        if (newline < 0) return bytes.length;
        at = newline + 1;
        if (line.endsWith("\r")) line = line.slice(0, -1);
        endLine();
      }
      return at;
    },
    finished: () => state === "finished",
  };
}
