/** The one door to node-postgres: connections, retries over their loss, and Postgres' errors in our words. */
import { setTimeout as sleep } from "node:timers/promises";
import pLimit from "p-limit";
import type pg from "pg";
import { backoffMs } from "../core/backoff.ts";
import { type ErrorCode, UploaderError } from "../core/errors.ts";
import { loadPg } from "./pg.ts";

export type Row = Record<string, unknown>;
export type Query = <R = Row>(text: string, values?: readonly unknown[]) => Promise<R[]>;

export interface Database {
  query: Query;
  /** Repeated as a whole when the connection is lost or the database asks for it: `work` must bear that. */
  transaction<T>(work: (query: Query) => Promise<T>): Promise<T>;
  /** How long a lost database is waited for; 0 answers at once. Before this is said: a moment, if it will be there soon. */
  setPatience(outageMs: number): void;
  /** The same connections, with a patience of its own. */
  withPatience(outageMs: number): Database;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** Where to connect. Called again after a loss, so an embedded server can be started anew. */
  address(): Promise<pg.ClientConfig>;
  /** For messages; never holds a password. */
  description: string;
  maxConnections: number;
  now(): number;
  random(): number;
  signal?: AbortSignal;
  /** How long a server may take to let us in, and to answer one statement. */
  deadlines?: { connectMs: number; queryMs: number };
  /** The connection was lost, or is back. */
  onOutage?(lost: boolean, error: UploaderError | null): void;
}

/** int8 and numeric as numbers: ids, counts and bytes stay below 2^53. Nanoseconds are selected as text. */
const typesOf = ({ types }: Pick<typeof pg, "types">): pg.CustomTypesConfig => ({
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    oid === 20 || oid === 1700
      ? (value: string) => Number(value)
      : format === "binary"
        ? types.getTypeParser(oid, "binary")
        : types.getTypeParser(oid, "text")) as pg.CustomTypesConfig["getTypeParser"],
});

const usualDeadlines = { connectMs: 10_000, queryMs: 120_000 };

/** Before anything has begun, a server that is there and says "soon" is waited for; one that is not there is not. */
const soonMs = 10_000;

type Kind = "lost" | "soon" | "repeat" | "refused" | "busy" | "other";

/** SQLSTATE (PostgreSQL manual, appendix A) or the socket's code; the longest prefix that matches decides. */
const kinds: [prefix: string, kind: Kind][] = [
  ["08", "lost"],
  ["57P", "soon"], // 57P01 shutdown, 57P02 crash, 57P03 starting
  ["25006", "lost"], // read only: an old primary after a failover
  ["53300", "soon"], // too many connections
  ["40001", "repeat"],
  ["40P01", "repeat"],
  ["55P03", "repeat"],
  ["23505", "repeat"], // two sessions wanted one key at once: the next try sees the other's row
  ["28", "refused"],
  ["3D000", "refused"],
  ["3F000", "refused"],
  ["42501", "refused"],
  ["EACCES", "refused"], // a socket of another user
  ["ECONN", "lost"],
  ["EPIPE", "lost"],
  ["ENOENT", "lost"],
  ["ENOTFOUND", "lost"],
  ["EAI_AGAIN", "lost"],
  ["ETIMEDOUT", "lost"],
  ["EHOSTUNREACH", "lost"],
  ["ENETUNREACH", "lost"],
];

const codeOf = (error: unknown): string =>
  error instanceof AggregateError
    ? codeOf(error.errors[0])
    : typeof (error as { code?: unknown } | undefined)?.code === "string"
      ? (error as { code: string }).code
      : "";

function kindOf(error: unknown): Kind {
  const code = codeOf(error);
  const row = kinds.find(([prefix]) => code.startsWith(prefix));
  if (row) return row[1];
  // node-postgres reports a connection that ended, and its own time-outs, as plain errors without any code.
  return error instanceof Error && error.constructor === Error && code === "" ? "lost" : "other";
}

const hints: Partial<Record<string, string>> = {
  "28": "check the user and password (UPLOADER_DATABASE_PASSWORD, or PGPASSWORD)",
  "3D": "create it first: createdb NAME, or name another one in database.url",
  "53": "it has no connection to spare: close other clients, raise max_connections, or put PgBouncer before it",
  "57": "it is starting or stopping: try again in a moment",
  "42": "grant the user CREATE on the database (first run) and all rights on the schema's tables",
};

export function openDatabase(options: DatabaseOptions): Database {
  const { connectMs, queryMs } = options.deadlines ?? usualDeadlines;
  let patienceMs: number | null = null;
  let pool: pg.Pool | null = null;
  let opening: Promise<pg.Pool> | null = null;
  let admitted = false;
  let lostSinceMs: number | null = null;
  // A pool that ends forgets who waits for a connection of it: so they wait here.
  const turn = pLimit(options.maxConnections);

  const openPool = async (): Promise<pg.Pool> => {
    if (pool) return pool;
    opening ??= (async () => {
      // The embedded server is asked whether it answers; meanwhile pg is loaded.
      const [config, { Pool, types }] = await Promise.all([options.address(), loadPg()]);
      const opened = new Pool({
        application_name: "uploader",
        ...config,
        types: typesOf({ types }),
        max: options.maxConnections,
        connectionTimeoutMillis: connectMs,
        query_timeout: queryMs,
        keepAlive: true,
        allowExitOnIdle: false,
      });
      // An idle connection that dies is not an event: the next query takes another.
      opened.on("error", () => undefined);
      // Nor is one that dies between the pool's hands and ours, where nobody listens: its next query fails.
      opened.on("connect", (client) => client.on("error", () => undefined));
      pool = opened;
      return opened;
    })().finally(() => {
      opening = null;
    });
    return opening;
  };

  const dropPool = (): void => {
    const old = pool;
    pool = null;
    old?.end().catch(() => undefined);
  };

  const translate = (error: unknown, connecting: boolean, startedMs: number): UploaderError => {
    if (error instanceof UploaderError) return error;
    const code = codeOf(error);
    const text = error instanceof Error ? error.message || code : String(error);
    let kind = kindOf(error);
    // Without a code and before the time-out, a failed login is about the login (SASL), not the network: unless this
    // server has let us in before, for a balancer that lost its server hangs up without a code too.
    if (kind === "lost" && code === "" && connecting && !admitted && options.now() - startedMs < connectMs - 500)
      kind = "refused";
    const ours: Record<Kind, ErrorCode> = {
      lost: "database_unreachable",
      soon: "database_unreachable",
      repeat: "database_busy",
      refused: "database_refused",
      busy: "database_busy",
      other: "internal",
    };
    if (kind === "other") return new UploaderError("internal", `${options.description}: ${text}`, { cause: error });
    return new UploaderError(
      ours[kind],
      `${kind === "refused" ? "the database refuses" : "no answer from the database"} (${options.description}): ${text}`,
      {
        cause: error,
        hint:
          hints[code.slice(0, 2)] ??
          (kind === "lost"
            ? "is it running, and is database.url right?"
            : "see what it says about this user and database"),
      },
    );
  };

  /** One try on one connection, which is thrown away when it may be broken. Throws UploaderError. */
  const once = async <T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    const startedMs = options.now();
    let client: pg.PoolClient | null = null;
    let broken: Error | null = null;
    const onError = (error: Error): void => {
      broken = error;
    };
    try {
      client = await (await openPool()).connect();
      admitted = true;
      client.on("error", onError);
      return await work(client);
    } catch (error) {
      const ours = translate(error, client === null, startedMs);
      if (ours.code === "database_unreachable") {
        broken ??= ours;
        // The next try asks anew where to connect, whoever makes it.
        dropPool();
      }
      throw ours;
    } finally {
      client?.off("error", onError);
      client?.release(broken ?? undefined);
    }
  };

  /** Runs `work` on a connection until it succeeds, its error is not about the connection, or patience ends. */
  const persist = async <T>(work: (client: pg.PoolClient) => Promise<T>, patience: () => number | null): Promise<T> => {
    const startedMs = options.now();
    for (let attempt = 1; ; attempt++) {
      try {
        const result = await turn(() => once(work));
        if (lostSinceMs !== null) {
          lostSinceMs = null;
          options.onOutage?.(false, null);
        }
        return result;
      } catch (error) {
        const ours = error as UploaderError;
        const lost = ours.code === "database_unreachable";
        const kind = kindOf(ours.cause);
        const repeat = kind === "repeat";
        if (!lost && !repeat) throw ours;
        const waitMs = patience() ?? (kind === "soon" ? soonMs : 0);
        if (repeat ? attempt >= 10 : options.now() - startedMs >= waitMs || options.signal?.aborted) throw ours;
        if (lost && lostSinceMs === null) {
          lostSinceMs = options.now();
          options.onOutage?.(true, ours);
        }
      }
      await sleep(backoffMs({ baseMs: 50, capMs: 5_000 }, attempt, options.random()), undefined, {
        ref: true,
        ...(options.signal ? { signal: options.signal } : {}),
      }).catch(() => undefined);
    }
  };

  const queryOn =
    (client: pg.PoolClient): Query =>
    async <R>(text: string, values?: readonly unknown[]) =>
      (await client.query(text, values as unknown[] | undefined)).rows as R[];

  const withPatience = (patience: () => number | null): Database => ({
    query: <R>(text: string, values?: readonly unknown[]) =>
      persist<R[]>((client) => queryOn(client)<R>(text, values), patience),
    transaction: (work) =>
      persist(async (client) => {
        await client.query("begin");
        try {
          const result = await work(queryOn(client));
          await client.query("commit");
          return result;
        } catch (error) {
          // A connection that cannot roll back is thrown away by release(), which rolls back for us.
          await client.query("rollback").catch(() => undefined);
          throw error;
        }
      }, patience),
    setPatience(outageMs) {
      patienceMs = outageMs;
    },
    withPatience: (outageMs) => withPatience(() => outageMs),
    async close() {
      const old = pool;
      pool = null;
      await old?.end();
    },
  });

  return withPatience(() => patienceMs);
}
