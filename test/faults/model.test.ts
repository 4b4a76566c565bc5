/** Random walks of several workers through the real state machine, step by step against a model of it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asUploaderError } from "../../src/core/errors.ts";
import { type FileMove, type FileStatus, fileMoves } from "../../src/core/states.ts";
import type { ClaimedFile, Ending, OpenedSession } from "../../src/core/store.ts";
import { type TestDatabase, testDatabase, worker } from "../support/database.ts";
import { fact, work } from "../support/session.ts";
import { chance } from "./chance.ts";
import * as model from "./model.ts";
import { untrueCounters } from "./soundness.ts";

const rounds = Number(process.env.UPLOADER_FAULT_ROUNDS ?? 4);
const steps = 150;
const seeds = Array.from({ length: rounds }, (_, n) => n + 1);

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

const keys = ["a", "b", "c", "d", "e"];
const mtimeNs = 5n;
const lasting = { joined: true, reopen: false, concurrency: 1 };

/** A walker: the database and the model, and what the simulated workers believe they hold. */
function walker(seed: number) {
  const random = chance(seed);
  const state = model.emptyModel();
  const held: (model.Held & { file: ClaimedFile })[] = [];
  const told: { held: model.Held & { file: ClaimedFile }; ending: Ending; request: string }[] = [];
  let requests = 0;
  let destinationId = 0;

  const candidate = (key: string, sizeBytes: number) => ({ path: key, key, sizeBytes, mtimeNs });
  const workOf = (n: number) =>
    work({ project: `walk ${seed}.${n}`, destination: { kind: "s3", identity: `s3://${seed}`, text: "", prefix: "" } });

  /** What both did: the same refusal, or the same success, whose ids the model learns. */
  const opened = (
    real: OpenedSession | null,
    ours: { resumed: number | null; worker: model.ModelWorker | undefined } | null,
    n: number,
    pid: number,
  ): void => {
    expect(real === null, "held by somebody").toBe(ours === null);
    if (real === null || ours === null) return;
    destinationId = real.destinationId;
    const known = state.sessions.some(({ id }) => id === real.sessionId);
    expect(known ? real.sessionId : null, "the session resumed").toBe(ours.resumed);
    if (!known) state.sessions.push({ id: real.sessionId, work: n, status: "in_progress", scanned: false });
    if (ours.worker) expect(real.workerId).toBe(ours.worker.id);
    else state.workers.push({ id: real.workerId, session: real.sessionId, pid, ended: false, lapsed: false });
  };
  const unlessHeld = (doing: Promise<OpenedSession>): Promise<OpenedSession | null> =>
    doing.catch((error: unknown) => {
      if (asUploaderError(error).code === "lease_held") return null;
      throw error;
    });

  const endingOf = (move: FileMove, file: ClaimedFile, requestId: string, permanent: boolean): Ending => {
    const common = { file, requestId, durationMs: 1 };
    const why = { code: "network_lost", message: "lost" };
    switch (move) {
      case "settle":
        return { move, ...common, object: fact(file) };
      case "skip":
        return { move, file, reason: "conflict", object: null };
      case "postpone":
        return { move, ...common, ...why, delayMs: 3_600_000 };
      case "revise":
        return { move, file, sizeBytes: file.sizeBytes + 1, mtimeNs, reason: "settling", delayMs: 3_600_000 };
      case "give_up":
        return { move, ...common, ...why, permanent };
      default:
        return { move: "release", file };
    }
  };

  interface Command {
    /** Moves of files that it may make. */
    moves: readonly FileMove[];
    run(): Promise<unknown>;
  }

  const session = () => random.oneOf(state.sessions);
  const crew = () => random.oneOf(state.workers);

  /** Each draws its parameters first, so that a walk is the same whatever happens on it. */
  const commands: Record<string, () => Command | null | undefined> = {
    open: () => {
      const [n, pid, newSession] = [random.below(2), 1 + random.below(4), random.flip(0.2)];
      return {
        moves: ["rescue", "requeue", "supersede", "abandon"],
        run: async () => {
          const ours = model.open(state, n, pid, newSession);
          const real = unlessHeld(db.store.openSession(workOf(n), worker(pid), { newSession, concurrency: 1 }));
          opened(await real, ours, n, pid);
        },
      };
    },
    enter: () => {
      const [at, pid, how] = [session(), 1 + random.below(4), { joined: random.flip(0.7), reopen: random.flip() }];
      return (
        at && {
          moves: ["rescue"],
          run: async () => {
            const ours = model.enter(state, at, pid, how);
            const real = await unlessHeld(db.store.enterSession(at.id, worker(pid), { ...lasting, ...how }));
            opened(real, ours && { resumed: at.id, worker: ours.worker }, at.work, pid);
          },
        }
      );
    },
    register: () => {
      const [at, some, size] = [session(), random.some(keys, 0.6), 10 + random.below(3)];
      return (
        at && {
          moves: ["displace"],
          run: async () => {
            const files = some.map((key) => candidate(key, size));
            const { registered } = await db.store.register(at.id, destinationId, files, "absent");
            expect(registered).toBe(model.register(state, at.id, some, size));
          },
        }
      );
    },
    refuse: () => {
      const [at, key, permanent] = [session(), random.oneOf(keys)!, random.flip()];
      return (
        at && {
          moves: [],
          run: async () => {
            const why = { code: "key_busy", message: "taken", permanent };
            await db.store.refuse(at.id, destinationId, [{ ...candidate(key, 0), ...why }]);
            model.refuse(state, at.id, key, permanent);
          },
        }
      );
    },
    claim: () => {
      const [by, max] = [crew(), 1 + random.below(3)];
      return (
        by && {
          moves: ["claim"],
          run: async () => {
            const files = await db.store.claim(by.session, by.id, 0, max, 2);
            const ours = model.claim(state, by, max, 2);
            expect(files.map((file) => file.key)).toEqual(ours.map((file) => file.key));
            for (const file of files)
              held.push({ worker: by.id, session: by.session, key: file.key, size: file.sizeBytes, file });
          },
        }
      );
    },
    end: () => {
      const at = random.below(held.length);
      const one = held[at];
      const move = random.oneOf(["settle", "settle", "skip", "postpone", "revise", "release", "give_up"] as const)!;
      const permanent = random.flip();
      return (
        one && {
          moves: [move],
          run: async () => {
            held.splice(at, 1);
            const request = `r${++requests}`;
            const ending = endingOf(move, one.file, request, permanent);
            if (move === "settle") told.push({ held: one, ending, request });
            const stayed = await db.store.settle(one.worker, [ending]);
            expect(stayed.length === 0, `${move} moved`).toBe(model.end(state, one, move, { request, permanent }));
          },
        }
      );
    },
    "tell again": () => {
      const again = random.oneOf(told);
      return (
        again && {
          moves: ["settle"],
          run: async () => {
            const stayed = await db.store.settle(again.held.worker, [again.ending]);
            expect(stayed.length === 0).toBe(model.end(state, again.held, "settle", { ...again, permanent: false }));
          },
        }
      );
    },
    lapse: () => {
      const one = crew();
      return (
        one && {
          moves: [],
          run: async () => {
            await db.sql(`update :"schema".workers set lease_until = now() - interval '1 s' where id = $1`, [one.id]);
            one.lapsed = true;
          },
        }
      );
    },
    heartbeat: () => {
      const one = crew();
      return (
        one && {
          moves: [],
          run: async () => {
            expect(await db.store.renewLease(one.id, 1)).toBe(!one.ended);
            if (!one.ended) one.lapsed = false;
          },
        }
      );
    },
    rescue: () => {
      const at = session();
      return (
        at && {
          moves: ["rescue"],
          run: async () => {
            await db.store.rescue(at.id, worker(9));
            model.rescue(state, at.id);
          },
        }
      );
    },
    leave: () => {
      const one = crew();
      return (
        one && {
          moves: [],
          run: async () => {
            await db.store.endWorker(one.id, "done");
            one.ended = true;
          },
        }
      );
    },
    requeue: () => {
      const [at, includePermanent] = [session(), random.flip()];
      return (
        at && {
          moves: ["requeue"],
          run: async () => {
            await db.store.requeue(at.id, includePermanent);
            model.requeue(state, at.id, includePermanent);
          },
        }
      );
    },
    condemn: () => {
      const at = session();
      return (
        at && {
          moves: ["condemn"],
          run: async () => {
            await db.store.condemn(at.id);
            for (const file of state.files)
              if (file.session === at.id && file.status === "failed") file.permanent = true;
          },
        }
      );
    },
    renew: () => {
      const [at, key, size] = [session(), random.oneOf(keys)!, 10 + random.below(3)];
      return (
        at && {
          moves: ["renew"],
          run: async () => {
            await db.store.renew(at.id, destinationId, [candidate(key, size)]);
            model.renew(state, at.id, key, size);
          },
        }
      );
    },
    judge: () => {
      const [at, size] = [session(), 10 + random.below(3)];
      return (
        at && {
          moves: [],
          run: async () => {
            const real = await db.store.judge(
              at.id,
              destinationId,
              keys.map((key) => candidate(key, size)),
            );
            const ours = (verdict: string) => keys.filter((key) => model.judge(state, at.id, key, size) === verdict);
            expect({
              ...real,
              safeBytes: 0,
              fresh: real.fresh.map(({ key }) => key),
              known: real.known.map(({ key }) => key),
              renewed: real.renewed.map(({ key }) => key),
            }).toEqual({
              safeFiles: ours("safe").length,
              safeBytes: 0,
              fresh: ours("fresh"),
              known: ours("known"),
              renewed: ours("renewed"),
            });
          },
        }
      );
    },
    "release others": () => {
      const one = crew();
      return (
        one && {
          moves: ["release"],
          run: async () => {
            await db.store.releaseOthers(one.id, new Set());
            for (const file of state.files) {
              if (file.status === "uploading" && file.worker === one.id)
                Object.assign(file, { status: "pending", worker: null });
            }
          },
        }
      );
    },
    scanned: () => {
      const [at, finished] = [session(), random.flip(0.8)];
      return (
        at && {
          moves: [],
          run: async () => {
            await db.store.scanned(at.id, 0, 0, finished);
            at.scanned = finished;
          },
        }
      );
    },
    close: () => {
      const one = crew();
      const at = state.sessions.find(({ id }) => id === one?.session);
      return (
        one &&
        at && {
          moves: [],
          run: async () => expect(await db.store.closeSession(at.id)).toBe(model.close(state, at)),
        }
      );
    },
    fail: () => {
      const [one, isFault] = [crew(), random.flip()];
      const at = state.sessions.find(({ id }) => id === one?.session);
      return (
        one &&
        at && {
          moves: [],
          run: async () => {
            await db.store.failSession(at.id, isFault ? { code: "disk_full", message: "full" } : null);
            model.fail(state, at, isFault);
          },
        }
      );
    },
    "time passes": () => ({
      moves: [],
      run: async () => {
        await db.sql(
          `update :"schema".file_uploads set next_attempt_at = now() where destination_id = ${destinationId}`,
        );
        for (const file of state.files) file.due = true;
      },
    }),
  };

  const expectAlike = async (): Promise<void> => {
    const sessions = await db.sql(
      `select id, status, scan_finished_at is not null as scanned from :"schema".sync_sessions where destination_id = $1 order by id`,
      [destinationId],
    );
    expect(sessions).toEqual(state.sessions.map(({ id, status, scanned }) => ({ id, status, scanned })));
    const files = await db.sql(
      `select session_id as session, s3_key as key, file_size as size, status, worker_id as worker, attempts,
         worker_deaths as deaths, looks, permanent, next_attempt_at <= now() as due
       from :"schema".file_uploads where destination_id = $1 order by id`,
      [destinationId],
    );
    expect(files).toEqual(state.files.map(({ request, superseded, ...file }) => file));
    const objects = await db.sql<{ key: string; size: number }>(
      `select key, size_bytes as size from :"schema".objects where destination_id = $1`,
      [destinationId],
    );
    expect(new Map(objects.map(({ key, size }) => [key, size]))).toEqual(state.objects);
    expect(await untrueCounters(db.sql)).toEqual([]);
  };

  return {
    async step(): Promise<string | null> {
      const name = state.sessions.length === 0 ? "open" : random.oneOf([...Object.keys(commands), ...oftener])!;
      const command = commands[name]!();
      if (!command) return null;
      const before = state.files.map((file) => file.status);
      await command.run();
      for (const [at, from] of before.entries()) {
        const to = state.files[at]!.status;
        if (to === from) continue;
        const made = command.moves.filter((move) => isMove(move, from, to));
        expect(made, `${name}: ${from} → ${to}`).not.toEqual([]);
        for (const move of made) seen.add(move);
      }
      await expectAlike();
      return name;
    },
  };
}

const isMove = (move: FileMove, from: FileStatus, to: FileStatus): boolean =>
  (fileMoves[move].from as readonly FileStatus[]).includes(from) && fileMoves[move].to === to;

/** Without these a walk is mostly workers that come and go. */
const oftener = ["open", "register", "register", "claim", "claim", "claim", "end", "end", "end", "end"];
const seen = new Set<FileMove>();

describe("random walks", () => {
  it.each(seeds)("seed %i", { timeout: 120_000 }, async (seed) => {
    const { step } = walker(seed);
    const trace: (string | null)[] = [];
    try {
      for (let n = 0; n < steps; n++) trace.push(await step());
    } catch (error) {
      (error as Error).message =
        `seed ${seed}, after ${trace.filter((name) => name).join(", ")}: ${(error as Error).message}`;
      throw error;
    }
  });

  it("between them they made every move that changes a state", () => {
    const moves = Object.keys(fileMoves) as FileMove[];
    // `leave` is sync's own: test/operations/sync-day.test.ts.
    const elsewhere: FileMove[] = ["condemn", "leave"];
    expect(moves.filter((move) => !elsewhere.includes(move) && !seen.has(move))).toEqual([]);
  });
});
