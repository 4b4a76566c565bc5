import { connect, type Socket } from "node:net";
import { UploaderError } from "../../core/errors.ts";
import { port, socketFile } from "./socket-directory.ts";

export interface EmbeddedAddress {
  /** The socket's folder, which libpq and pg take for a host. */
  host: string;
  port: number;
  user: string;
  database: string;
}

/** The bundled server's own names for its owner and its database; who may enter the socket's folder needs no password. */
export const addressAt = (socketDirectory: string): EmbeddedAddress => ({
  host: socketDirectory,
  port,
  user: "uploader",
  database: "uploader",
});

/** One connection, by hand: the part of the protocol we need is smaller than the time it takes to load pg. */
export interface Session {
  /** Rows of texts. Any error ends the session. */
  query(text: string): Promise<string[][]>;
  close(): void;
}

/** What Postgres says no with; `code` is the SQLSTATE. */
type Refusal = Error & { code: string };

/** Connects and waits until the server is ready for a query. PostgreSQL manual, "Message Flow" and "Message Formats". */
export async function openSession(address: EmbeddedAddress): Promise<Session> {
  const socket = connect({ path: socketFile(address.host) });
  socket.setTimeout(10_000, () => socket.destroy(new Error("The database does not answer.")));
  const input = messages(socket);
  try {
    socket.write(startup(address));
    await untilReady(input);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    async query(text) {
      socket.write(message("Q", `${text}\0`));
      return untilReady(input);
    },
    close: () => socket.end(message("X", "")),
  };
}

/** Whether a server that refuses a connection serves others, by SQLSTATE; any other refusal is an error of ours. */
const refusals: Record<string, boolean> = {
  "57P03": false, // starting up, recovering or shutting down
  "57P01": false, // shut down while we connected
  "57P02": false, // a crash of another backend sends everybody away
  "53300": true, // all connections are taken
};

/** Whether a server takes connections here. */
export async function answers(address: EmbeddedAddress): Promise<boolean> {
  try {
    (await openSession(address)).close();
    return true;
  } catch (error) {
    if (!isRefusal(error)) return false; // nobody there (ENOENT, ECONNREFUSED), or gone while we talked
    const verdict = refusals[error.code];
    if (verdict !== undefined) return verdict;
    throw new UploaderError("database_refused", `the bundled database refused us: ${error.message} (${error.code})`);
  }
}

const isRefusal = (error: unknown): error is Refusal =>
  error instanceof Error && "code" in error && /^[0-9A-Z]{5}$/.test(String(error.code));

type Message = { type: string; body: Buffer };

/** A message is a letter, the length of the rest including itself (4 bytes), and the rest. */
async function* messages(socket: Socket): AsyncGenerator<Message, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5) {
      const end = 1 + rest.readUInt32BE(1);
      if (rest.length < end) break;
      yield { type: rest.toString("latin1", 0, 1), body: rest.subarray(5, end) };
      rest = rest.subarray(end);
    }
  }
}

/** The rows up to ReadyForQuery. */
async function untilReady(input: AsyncGenerator<Message, undefined>): Promise<string[][]> {
  const rows: string[][] = [];
  for (;;) {
    const { value } = await input.next();
    if (value === undefined) throw new Error("The database closed the connection.");
    if (value.type === "Z") return rows;
    if (value.type === "D") rows.push(columns(value.body));
    if (value.type === "E") throw refusal(value.body);
  }
}

function startup({ user, database }: EmbeddedAddress): Buffer {
  const body = Buffer.from(`\0\0\0\0\0\x03\0\0user\0${user}\0database\0${database}\0\0`);
  body.writeUInt32BE(body.length, 0);
  return body;
}

function message(type: string, text: string): Buffer {
  const bytes = Buffer.from(`${type}\0\0\0\0${text}`);
  bytes.writeUInt32BE(bytes.length - 1, 1);
  return bytes;
}

/** DataRow: the number of columns (2 bytes), then a length (4 bytes, -1 for null) and the text of each. */
function columns(body: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 2; at < body.length; ) {
    const sizeBytes = Math.max(0, body.readInt32BE(at));
    texts.push(body.toString("utf8", at + 4, at + 4 + sizeBytes));
    at += 4 + sizeBytes;
  }
  return texts;
}

/** ErrorResponse: a letter and a NUL-terminated text each; C is the SQLSTATE, M the message. */
function refusal(body: Buffer): Refusal {
  const texts = body.toString("utf8").split("\0");
  const field = (letter: string) => texts.find((text) => text.startsWith(letter))?.slice(1) ?? "";
  return Object.assign(new Error(field("M")), { code: field("C") });
}
