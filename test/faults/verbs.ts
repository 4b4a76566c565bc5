/**
 * Runs that between them execute every statement of a run: each arranges what came before, past the wire, and then acts
 * through it. Small, so that each can be repeated for every statement and every fault.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UploaderError } from "../../src/core/errors.ts";
import type { SummaryEvent } from "../../src/core/events.ts";
import type { Destination } from "../../src/core/ports.ts";
import type { Policy } from "../../src/operations/context.ts";
import { retry } from "../../src/operations/retry.ts";
import { runUpload, type TestContext } from "../support/context.ts";
import type { TestDatabase } from "../support/database.ts";
import { candidate, openWork } from "../support/session.ts";
import { makeTree } from "../support/tree.ts";
import { bucket, MiB, prefix, type Scene } from "./scene.ts";

export interface StageOptions {
  to?: Destination;
  policy?: Partial<Policy>;
  concurrency?: number;
  /** Results go into the journal as soon as the database is away. */
  hasty?: boolean;
}

export interface Stage {
  scene: Scene;
  /** Straight to the store. */
  to: Destination;
  /** Past the wire. */
  before: TestDatabase;
  /** Through the wire. */
  through: TestDatabase;
  context(db: TestDatabase, options?: StageOptions): TestContext;
}

export interface Verb {
  /** What it executes that the verbs before it did not, or in another way; by the names in sql/queries. */
  statements: readonly string[];
  arrange?(stage: Stage): Promise<unknown>;
  act(stage: Stage): Promise<SummaryEvent>;
  exitCode: number;
  /** Between them the longest ones execute nearly everything: good for what is tried on all statements at once. */
  longest?: true;
  /** Files of the session by state at the end. */
  ends: Record<string, number>;
}

export const smallTree = { "a/1.wav": 100, "a/2.wav": 200, "b/3.wav": 300 };
const keyOf = (path: string): string => `${prefix}/${path}`;

/** The first so many puts of this file fail as if the network had gone. */
function failing(to: Destination, path: string, times: number): Destination {
  let left = times;
  return {
    ...to,
    async put(job, hooks) {
      if (job.key === keyOf(path) && left-- > 0) throw new UploaderError("network_lost", `${path}: scripted loss`);
      return to.put(job, hooks);
    },
  };
}

/** Something happens before the first put. */
export function onFirstPut(to: Destination, happen: () => Promise<void> | void): Destination {
  let first = true;
  return {
    ...to,
    async put(job, hooks) {
      if (first) {
        first = false;
        await happen();
      }
      return to.put(job, hooks);
    },
  };
}

const always = Number.POSITIVE_INFINITY;

/** A session that a worker left behind when it was killed: one file in its hands, one failed, one uploaded. */
async function leaveUnfinished({ before, to, context }: Stage): Promise<void> {
  await runUpload(context(before, { to: failing(to, "a/1.wav", always), policy: { attempts: 1 } }));
  await before.sql(`update :"schema".sync_sessions set status = 'in_progress', completed_at = null`);
  await before.sql(
    `update :"schema".workers set ended_at = null, end_reason = null, lease_until = now() - interval '1 s', pid = 99`,
  );
  await before.sql(
    `update :"schema".file_uploads set status = 'uploading', uploaded_at = null,
       worker_id = (select max(id) from :"schema".workers) where s3_key = '${keyOf("a/2.wav")}'`,
  );
}

/** Another project's session is to write one of the keys; its worker. */
async function holdKey({ before, to: { kind, identity } }: Stage): Promise<number> {
  const destination = { kind, identity, text: identity, prefix };
  const other = await openWork(before, { project: "other", destination }, 7);
  await before.store.register(other.sessionId, other.destinationId, [candidate("b/3.wav")], "absent");
  return other.workerId;
}

const opening = ["begin", "projects_ensure", "destinations_ensure", "sessions_newest", "sessions_insert"].concat([
  "files_supersede",
  "workers_unended",
  "workers_begin",
  "commit",
  "config_remember",
]);
const scanning = ["files_untouched", "files_register", "sessions_scanned"];
const draining = ["files_claim", "files_settle", "files_release_others", "files_next_due"];
const closing = ["sessions_close", "workers_end", "sessions_get", "files_conflicts"];

export const verbs: Record<string, Verb> = {
  "a first run": {
    longest: true,
    statements: [...opening, ...scanning, ...draining, ...closing],
    act: ({ context, through }) => runUpload(context(through)),
    exitCode: 0,
    ends: { uploaded: 3 },
  },
  "files that fail, change, conflict, or are there already": {
    longest: true,
    statements: ["files_postpone", "files_skip", "files_revise", "files_give_up"],
    async arrange({ scene }) {
      makeTree(scene.root, { "z/other.wav": 40, "z/grows.wav": 50 });
      scene.s3.plant(bucket, keyOf("a/2.wav"), readFileSync(join(scene.root, "a/2.wav")));
      scene.s3.plant(bucket, keyOf("z/other.wav"), Buffer.alloc(40, 9));
    },
    act({ context, through, to, scene }) {
      const grow = () => writeFileSync(join(scene.root, "z/grows.wav"), Buffer.alloc(60, 3));
      return runUpload(context(through, { to: onFirstPut(failing(to, "a/1.wav", 1), grow), concurrency: 1 }));
    },
    exitCode: 3,
    ends: { uploaded: 3, skipped: 1, failed: 1 },
  },
  "a large file": {
    longest: true,
    statements: ["uploads_find", "uploads_begin", "uploads_part 1", "uploads_part 3", "uploads_end"],
    arrange: async ({ scene }) => makeTree(scene.root, { "c/large.wav": 17 * MiB }),
    act: ({ context, through }) => runUpload(context(through)),
    exitCode: 0,
    ends: { uploaded: 4 },
  },
  "what a killed run left": {
    statements: ["sessions_resume", "workers_rescue", "files_rested", "files_requeue", "files_judge", "files_renew"],
    async arrange(stage) {
      await leaveUnfinished(stage);
      makeTree(stage.scene.root, { "b/3.wav": 333 });
    },
    act: ({ context, through }) => runUpload(context(through, { policy: { onChange: "replace" } })),
    exitCode: 0,
    ends: { uploaded: 3 },
  },
  "a new session beside an unfinished one": {
    statements: ["begin", "sessions_insert", "files_abandon", "workers_begin", "commit"],
    arrange: leaveUnfinished,
    act: ({ context, through }) => runUpload(context(through), { newSession: true }),
    exitCode: 0,
    ends: { uploaded: 1 },
  },
  "what a session with errors left": {
    statements: ["files_supersede", "commit"],
    arrange: ({ before, to, context }) =>
      runUpload(context(before, { to: failing(to, "a/1.wav", always), policy: { attempts: 1 } })),
    act: ({ context, through }) => runUpload(context(through)),
    exitCode: 0,
    ends: { uploaded: 1 },
  },
  "a file that changed since it was sent": {
    statements: ["objects_get"],
    async arrange({ before, context, scene }) {
      await runUpload(context(before));
      makeTree(scene.root, { "b/3.wav": 333 });
    },
    act: ({ context, through }) => runUpload(context(through, { policy: { onChange: "replace" } })),
    exitCode: 0,
    ends: { uploaded: 1 },
  },
  "a key that another session has open": {
    statements: ["files_holders", "files_refuse"],
    arrange: holdKey,
    act: ({ context, through }) => runUpload(context(through)),
    exitCode: 3,
    ends: { uploaded: 2, failed: 1 },
  },
  "a key that a session left open on which nobody works": {
    statements: ["files_displace", "files_register"],
    arrange: async (stage) => stage.before.store.endWorker(await holdKey(stage), "interrupted"),
    act: ({ context, through }) => runUpload(context(through)),
    exitCode: 0,
    ends: { uploaded: 3 },
  },
  "a stop in the middle": {
    statements: ["files_release", "sessions_fail", "workers_end"],
    act({ context, through, to, scene }) {
      const stop = async () => {
        const scanned = () => scene.sql(`select from :"schema".sync_sessions where scan_finished_at is not null`);
        while ((await scanned()).length === 0);
        cx.stop();
      };
      const cx = context(through, { to: onFirstPut(to, stop), concurrency: 1 });
      return runUpload(cx);
    },
    exitCode: 130,
    ends: { uploaded: 1, pending: 2 },
  },
  "a heartbeat while files are on their way": {
    statements: ["workers_renew", "workers_rescue"],
    act({ context, through, to, scene }) {
      const beat = () => scene.postgres.until(() => scene.postgres.log.includes("workers_rescue"));
      return runUpload(context(through, { to: onFirstPut(to, beat) }));
    },
    exitCode: 0,
    ends: { uploaded: 3 },
  },
  "retry, until its last round": {
    longest: true,
    statements: [
      "begin",
      "sessions_lock",
      "sessions_resume_work",
      "files_requeue",
      "commit",
      "files_retryable",
      "files_condemn",
    ],
    async arrange({ before, to, context }) {
      const twice = failing(failing(to, "a/1.wav", always), "a/2.wav", always);
      await runUpload(context(before, { to: twice, policy: { attempts: 1 } }));
    },
    async act({ context, through, before, to }) {
      const session = (await before.store.session((await before.store.latestSession("reef"))!))!;
      const cx = context(through, { to: failing(to, "a/1.wav", always), policy: { attempts: 1 } });
      const rounds = { rounds: 2, delayMs: 5_000, includePermanent: false };
      return retry(cx, { session, config: {}, rounds, stopSignal: () => null });
    },
    exitCode: 3,
    ends: { uploaded: 2, failed: 1 },
  },
};
