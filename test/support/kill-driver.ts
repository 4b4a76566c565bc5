/** The real program as a child process, and kill -9 at the very moments that a wire to Postgres or the store tells of. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { SummaryEvent } from "../../src/core/events.ts";
import type { Asked, PostgresProxy } from "./postgres-proxy.ts";
import type { StoreProxy } from "./store-proxy.ts";

const program = fileURLToPath(new URL("../../bin/uploader.js", import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last line of a run that ended by itself. */
  summary: SummaryEvent | null;
  output: string;
}

/** One object of `--json`. */
export type Line = Record<string, unknown> & { type: string };

export interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves with the first line on stdout, past or to come, of which this is true. */
  said(what: (line: Line) => boolean): Promise<Line>;
  /** -9; resolves when it is gone. */
  kill(): Promise<void>;
}

const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Runs `uploader …` with `--json`, as another user of this machine would; or as the last words of `under`. */
export function startUploader(args: readonly string[], env: NodeJS.ProcessEnv, under: readonly string[] = []): Child {
  const [command, ...words] = [...under, process.execPath, program, ...args, "--json"];
  const child = spawn(command!, words, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  let output = "";
  let partial = "";
  const lines: Line[] = [];
  let listeners: { what(line: Line): boolean; resolve(line: Line): void }[] = [];
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk;
    const whole = `${partial}${chunk}`.split("\n");
    partial = whole.pop() ?? "";
    for (const text of whole) {
      const line = JSON.parse(text) as Line;
      lines.push(line);
      for (const each of listeners.filter(({ what }) => what(line))) each.resolve(line);
      listeners = listeners.filter(({ what }) => !what(line));
    }
  });
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  const ended = once(child, "close").then(([code, signal]): Ended => {
    children.delete(child);
    const last = lines.at(-1);
    return { code, signal, summary: last?.type === "summary" ? (last as unknown as SummaryEvent) : null, output };
  });
  return {
    process: child,
    ended,
    said: (what) => {
      const line = lines.find(what);
      return line ? Promise.resolve(line) : new Promise((resolve) => listeners.push({ what, resolve }));
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/**
 * A moment of a run: `before …` or `after …` a statement (by its name) or a request to the store. Before: the other side
 * never heard of it. After: it has done it, and nobody was told.
 */
export type Boundary = string;

export interface Wires {
  postgres: PostgresProxy;
  store: StoreProxy;
}

/** A COMMIT is told from another by what it commits. */
const momentOf = ({ name, previous }: Asked): string => (name === "commit" ? `commit of ${previous}` : name);

/** Runs the child that `start` makes until it ends, or until a boundary for which `isNow` says so. */
export async function runUntil(
  wires: Wires,
  start: () => Child,
  isNow: (boundary: Boundary) => boolean,
): Promise<{ killedAt: Boundary | null; ended: Ended }> {
  let killedAt: Boundary | null = null;
  let dying = false;
  await wires.postgres.clear();
  const child = start();
  const chosen = (boundary: Boundary): boolean => {
    if (killedAt !== null || !isNow(boundary)) return false;
    killedAt = boundary;
    return true;
  };
  const call = async (): Promise<void> => {
    dying = true;
    await child.kill();
  };
  const times = Number.POSITIVE_INFINITY;
  wires.postgres.script(
    { match: () => dying, fault: { kind: "cut" }, times },
    { match: (asked) => chosen(`before ${momentOf(asked)}`), fault: { kind: "call", at: "statement", call }, times },
    { match: (asked) => chosen(`after ${momentOf(asked)}`), fault: { kind: "call", at: "answer", call }, times },
  );
  wires.store.onRequest = async (name, at) => {
    if (!dying && chosen(`${at === "request" ? "before" : "after"} ${name}`)) await call();
    return !dying;
  };
  const ended = await child.ended;
  // Whatever the other side was still doing for the dead is over before anybody looks.
  await wires.postgres.clear();
  wires.postgres.cutAll();
  return { killedAt, ended };
}

/** What has been killed where, from child to child and from chapter to chapter. */
export interface Walk extends Wires {
  /** Where a child has died already: no other will there. */
  readonly boundaries: Set<Boundary>;
  isOfInterest(boundary: Boundary): boolean;
  afterKill(boundary: Boundary): Promise<void>;
}

/** Kills a child at the first boundary where none died yet and starts the next, until one ends by itself. */
export async function killUntilEnd(walk: Walk, start: () => Child): Promise<Ended> {
  for (;;) {
    const isNow = (boundary: Boundary): boolean => !walk.boundaries.has(boundary) && walk.isOfInterest(boundary);
    const { killedAt, ended } = await runUntil(walk, start, isNow);
    if (killedAt === null) return ended;
    walk.boundaries.add(killedAt);
    await walk.afterKill(killedAt);
  }
}
