/**
 * A wire between a client and a real Postgres on which things go wrong by script: it knows where a statement begins and
 * where its answer ends (PostgreSQL manual, "Message Flow"), so that both can be lost separately. It serves one statement
 * at a time per connection, which is how node-postgres asks, and no COPY.
 */
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

/** What a client asked for, complete but not yet passed on. */
export interface Asked {
  sql: string;
  /** As text; those sent in binary are not to be read. */
  values: readonly (string | null)[];
  /** What `nameOf` calls it. */
  name: string;
  /** Of the statement before it on this connection. */
  previous: string;
  inTransaction: boolean;
}

export type PostgresFault =
  /** Never reaches the server; the connection is reset. */
  | { kind: "cut" }
  /** Executed; the connection is reset instead of the answer. Of a COMMIT: nobody knows whether it happened. */
  | { kind: "loseAnswer" }
  /** Never reaches the server, which seems to answer with this error (fatal ones end the connection, as there). */
  | { kind: "error"; sqlstate: string }
  /** Passed on after a while. */
  | { kind: "delay"; delayMs: number }
  /** Half-open: from here on this connection answers nothing and stays open. */
  | { kind: "silence" }
  /** The test is called before the statement is passed on, or before its answer is; then the connection is reset. */
  | { kind: "call"; at: "statement" | "answer"; call(asked: Asked): Promise<void> };

export interface PostgresFaultRule {
  match: string | RegExp | ((asked: Asked) => boolean);
  fault: PostgresFault;
  /** Of the matching statements, counted from 1: only this one … */
  nth?: number;
  /** … or the first so many. Default: the first only. */
  times?: number;
}

/**
 * What happens to new connections: served · refused by the system · taken and never answered · taken and hung up, as a
 * balancer without a server behind it does · refused by the server.
 */
export type Door = "open" | "closed" | "silent" | "hangs up" | { sqlstate: string };

export interface PostgresProxy {
  readonly url: string;
  /** Names of all statements passed on or played with, in order. */
  readonly log: readonly string[];
  /** Faults played so far. */
  readonly played: number;
  /** Connections that the door kept out (not those refused by the system). */
  readonly turnedAway: number;
  script(...rules: PostgresFaultRule[]): void;
  /** Forgets rules and log; the door opens. */
  clear(): Promise<void>;
  setDoor(door: Door): Promise<void>;
  /** Resets every connection, whatever it does. */
  cutAll(): void;
  /** Resolves when it holds; looked at whenever something happens here. */
  until(holds: () => boolean): Promise<void>;
  close(): Promise<void>;
}

export interface PostgresProxyOptions {
  /** Where the real one is: TCP, or a socket's folder as its host. */
  url: string;
  nameOf?(sql: string, values: Asked["values"]): string;
}

/** As the server marks them: these end the session. */
const isFatal = (sqlstate: string): boolean => sqlstate.startsWith("57P") || sqlstate === "53300";

export async function startPostgresProxy(options: PostgresProxyOptions): Promise<PostgresProxy> {
  const { host, port, user, password, database } = new pg.Client({ connectionString: options.url });
  const nameOf = options.nameOf ?? ((sql: string) => sql);
  const wires = new Set<Wire>();
  let rules: { rule: PostgresFaultRule; seen: number }[] = [];
  let log: string[] = [];
  let door: Door = "open";
  let played = 0;
  let turnedAway = 0;
  let waiting: { holds(): boolean; resolve(): void }[] = [];

  const happened = (): void => {
    const due = waiting.filter((each) => each.holds());
    waiting = waiting.filter((each) => !due.includes(each));
    for (const each of due) each.resolve();
  };

  const pick = (asked: Asked): PostgresFault | null => {
    let due: PostgresFault | null = null;
    for (const entry of rules) {
      const { match, nth, times, fault } = entry.rule;
      const hit =
        typeof match === "function"
          ? match(asked)
          : typeof match === "string"
            ? match === asked.name
            : match.test(asked.sql);
      if (!hit) continue;
      entry.seen++;
      if (due === null && (nth === undefined ? entry.seen <= (times ?? 1) : entry.seen === nth)) due = fault;
    }
    if (due) played++;
    return due;
  };

  const connectUpstream = (): Socket =>
    host.startsWith("/") ? createConnection(`${host}/.s.PGSQL.${port}`) : createConnection(port, host);

  /** False: the connection is of no further use. */
  const exchange = async (wire: Wire, unit: Buffer, asked: Asked): Promise<boolean> => {
    const fault = pick(asked);
    log.push(asked.name);
    happened();
    if (fault?.kind === "cut") return false;
    if (fault?.kind === "silence") return await wire.silence();
    if (fault?.kind === "delay") await sleep(fault.delayMs);
    if (fault?.kind === "call" && fault.at === "statement") {
      await fault.call(asked);
      return false;
    }
    if (fault?.kind === "error") {
      const fatal = isFatal(fault.sqlstate);
      wire.client.write(errorResponse(fault.sqlstate, fatal ? "FATAL" : "ERROR"));
      if (!fatal) wire.client.write(readyForQuery(wire.inTransaction && asked.sql !== "commit" ? "E" : "I"));
      else wire.client.end();
      return !fatal;
    }
    wire.upstream.write(unit);
    const answer = await wire.answer();
    if (answer === null || fault?.kind === "loseAnswer") return false;
    if (fault?.kind === "call") {
      await fault.call(asked);
      return false;
    }
    wire.client.write(answer);
    return true;
  };

  const serve = async (client: Socket): Promise<void> => {
    const reader = createReader(client);
    const startup = await readStartup(client, reader);
    if (startup === null) return;
    if (door !== "open") {
      turnedAway++;
      happened();
      if (door === "silent") await reader.ended;
      client.end(typeof door === "object" ? errorResponse(door.sqlstate, "FATAL") : "");
      return;
    }
    const wire = createWire(client, connectUpstream());
    wires.add(wire);
    try {
      wire.upstream.write(startup);
      if (!(await logIn(wire, reader))) return;
      let previous = "";
      for (let unit = await readUnit(reader); unit !== null; unit = await readUnit(reader)) {
        const { sql, values, bytes } = unit;
        const name = nameOf(sql, values);
        const { inTransaction } = wire;
        if (!(await exchange(wire, bytes, { sql, values, name, previous, inTransaction }))) break;
        previous = name;
      }
    } finally {
      wires.delete(wire);
      wire.cut();
    }
  };

  let server: Server | null = null;
  const listen = async (at: number): Promise<number> => {
    const opened = createServer((client) => {
      client.on("error", () => undefined);
      client.setNoDelay(true);
      void serve(client);
    });
    await new Promise<void>((resolve, reject) => opened.once("error", reject).listen(at, "127.0.0.1", resolve));
    server = opened;
    const address = opened.address();
    if (address === null || typeof address === "string") throw new Error("no TCP address");
    return address.port;
  };
  const ownPort = await listen(0);

  const setDoor = async (next: Door): Promise<void> => {
    if (next === "closed") {
      server?.close();
      server = null;
    } else if (server === null) await listen(ownPort);
    door = next;
  };
  const cutAll = (): void => {
    for (const wire of wires) wire.cut();
  };
  const parameters = new URL(options.url.replace(/^postgres(ql)?:\/\/\//, "postgres://local/")).searchParams;
  for (const name of ["host", "port", "user"]) parameters.delete(name);
  const login = [user, password]
    .filter((each) => each)
    .map((each) => encodeURIComponent(String(each)))
    .join(":");

  return {
    url: `postgres://${login}@127.0.0.1:${ownPort}/${database ?? ""}?${parameters}`,
    get log() {
      return log;
    },
    get played() {
      return played;
    },
    get turnedAway() {
      return turnedAway;
    },
    script: (...added) => void rules.push(...added.map((rule) => ({ rule, seen: 0 }))),
    async clear() {
      rules = [];
      log = [];
      await setDoor("open");
    },
    setDoor,
    cutAll,
    until: (holds) => (holds() ? Promise.resolve() : new Promise((resolve) => waiting.push({ holds, resolve }))),
    async close() {
      cutAll();
      await setDoor("closed");
    },
  };
}

interface Wire {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly inTransaction: boolean;
  /** One message of the server; null when it has closed. */
  message(): Promise<Buffer | null>;
  /** Everything up to ReadyForQuery; null when the server closed before. What it said until then has been passed on. */
  answer(): Promise<Buffer | null>;
  /** Holds both ends open until the client goes. Resolves to false. */
  silence(): Promise<false>;
  cut(): void;
}

function createWire(client: Socket, upstream: Socket): Wire {
  upstream.on("error", () => undefined);
  upstream.setNoDelay(true);
  const reader = createReader(upstream);
  let inTransaction = false;
  let asking = false;
  let silent = false;
  // A server that goes away while nothing is asked of it (57P01 …) says so to the client as well.
  void reader.ended.then(() => {
    if (asking || silent) return;
    client.end(reader.rest());
  });
  return {
    client,
    upstream,
    get inTransaction() {
      return inTransaction;
    },
    message: () => reader.message(1),
    async answer() {
      asking = true;
      const frames: Buffer[] = [];
      try {
        for (;;) {
          const frame = await reader.message(1);
          if (frame === null) {
            client.end(Buffer.concat(frames));
            return null;
          }
          frames.push(frame);
          if (frame[0] !== 0x5a) continue; // Z, ReadyForQuery
          inTransaction = frame[5] !== 0x49; // I, idle
          return Buffer.concat(frames);
        }
      } finally {
        asking = false;
      }
    },
    async silence() {
      silent = true;
      await new Promise<void>((resolve) => client.once("close", () => resolve()));
      return false;
    },
    cut() {
      silent = true;
      if (!client.writableEnded) client.resetAndDestroy();
      upstream.destroy();
    },
  };
}

interface Reader {
  /** The next message: `typeBytes` (0 or 1), then its length and body. Null at the end. */
  message(typeBytes: 0 | 1): Promise<Buffer | null>;
  rest(): Buffer;
  readonly ended: Promise<void>;
}

function createReader(socket: Socket): Reader {
  let held: Buffer = Buffer.alloc(0);
  let over = false;
  let wake = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    for (const event of ["end", "close"]) {
      socket.once(event, () => {
        over = true;
        resolve();
        wake();
      });
    }
  });
  socket.on("data", (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    wake();
  });
  return {
    ended,
    rest: () => held,
    async message(typeBytes) {
      for (;;) {
        const sizeBytes = held.length < typeBytes + 4 ? null : typeBytes + held.readInt32BE(typeBytes);
        if (sizeBytes !== null && held.length >= sizeBytes) {
          const frame = held.subarray(0, sizeBytes);
          held = held.subarray(sizeBytes);
          return frame;
        }
        if (over) return null;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

const encryptionRequests = [80877103, 80877104]; // SSL, GSSAPI

/** The startup message; requests for encryption before it are declined. Null: the client went away, or cancels. */
async function readStartup(client: Socket, reader: Reader): Promise<Buffer | null> {
  for (;;) {
    const packet = await reader.message(0);
    if (packet === null) return null;
    if (encryptionRequests.includes(packet.readInt32BE(4))) client.write("N");
    else if (packet.readInt32BE(4) === 80877102) return null;
    else return packet;
  }
}

/** AuthenticationRequest codes that the client answers: clear text, MD5, SASL, SASL continued. */
const questions = [3, 5, 10, 11];

async function logIn(wire: Wire, reader: Reader): Promise<boolean> {
  for (;;) {
    const frame = await wire.message();
    if (frame === null) return false;
    wire.client.write(frame);
    const type = String.fromCharCode(frame[0]!);
    if (type === "Z") return true;
    if (type !== "R" || !questions.includes(frame.readInt32BE(5))) continue;
    const reply = await reader.message(1);
    if (reply === null) return false;
    wire.upstream.write(reply);
  }
}

interface Unit {
  bytes: Buffer;
  sql: string;
  values: (string | null)[];
}

/** One statement: a Query, or everything from Parse to Sync. Null: the client is done. */
async function readUnit(reader: Reader): Promise<Unit | null> {
  const frames: Buffer[] = [];
  let sql = "";
  let values: Unit["values"] = [];
  for (;;) {
    const frame = await reader.message(1);
    const type = frame === null ? "X" : String.fromCharCode(frame[0]!);
    if (frame === null || type === "X") return null;
    frames.push(frame);
    if (type === "Q") sql = textAt(frame, 5);
    if (type === "P") sql = textAt(frame, frame.indexOf(0, 5) + 1);
    if (type === "B") values = boundValues(frame);
    if (type === "Q" || type === "S") return { bytes: Buffer.concat(frames), sql, values };
  }
}

/** Bind: two names, the formats, then each value with its length (-1: null). */
function boundValues(frame: Buffer): Unit["values"] {
  let at = frame.indexOf(0, frame.indexOf(0, 5) + 1) + 1;
  at += 2 + 2 * frame.readInt16BE(at);
  const count = frame.readInt16BE(at);
  at += 2;
  return Array.from({ length: count }, () => {
    const sizeBytes = frame.readInt32BE(at);
    const from = at + 4;
    at = from + Math.max(sizeBytes, 0);
    return sizeBytes < 0 ? null : frame.toString("utf8", from, at);
  });
}

const textAt = (frame: Buffer, at: number): string => frame.toString("utf8", at, frame.indexOf(0, at));

function errorResponse(sqlstate: string, severity: "ERROR" | "FATAL"): Buffer {
  const fields = [`S${severity}`, `V${severity}`, `C${sqlstate}`, `Mscripted fault ${sqlstate}`];
  return message("E", Buffer.from(`${fields.join("\0")}\0\0`));
}

const readyForQuery = (status: "I" | "E"): Buffer => message("Z", Buffer.from(status));

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
