/** Postgres fails at every statement of a run, before it or after it: the run goes on, and no trace is left of it. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { journalFolder } from "../../src/store/journal.ts";
import { sqlFolder } from "../../src/store/statements.ts";
import { openStore } from "../../src/store/store.ts";
import { runUpload, testContext } from "../support/context.ts";
import type { TestDatabase } from "../support/database.ts";
import type { Door, PostgresFault } from "../support/postgres-proxy.ts";
import { bucket, type ClientOptions, databaseOf, destinationOf, openScene, type Scene } from "./scene.ts";
import { partsSentTwice, untrueCounters } from "./soundness.ts";
import { onFirstPut, type Stage, smallTree, type Verb, verbs } from "./verbs.ts";

let scene: Scene;
let before: TestDatabase;
let to: Stage["to"];
beforeAll(async () => {
  scene = await openScene({ tree: smallTree });
  before = scene.direct();
  to = await destinationOf(scene);
});
afterAll(async () => {
  await to.close();
  await scene.close();
});

/** An empty bucket, an empty database, the small tree, and the verb's past. */
async function setStage(verb: Verb, client: ClientOptions = {}): Promise<Stage> {
  await scene.reset();
  const stage: Stage = {
    scene,
    to,
    before,
    through: databaseOf(scene, client),
    context(db, { to: destination = to, policy = {}, concurrency = 4, hasty = false } = {}) {
      const hurried = hasty ? openStore(db.database.withPatience(0), db.schema, () => null) : db.store;
      const journal = { hasty: hurried, journalIn: scene.state };
      const cx = testContext({ db, destination, root: scene.root, policy, concurrency, ...journal });
      // Waits end at once, in the database too.
      cx.onSleep = async () => {
        await scene.sql(`update :"schema".file_uploads set next_attempt_at = now() where next_attempt_at > now()`);
      };
      return cx;
    },
  };
  await verb.arrange?.(stage);
  return stage;
}

/** All that a run leaves behind, but for moments, durations and the numbers that a sequence leaves out. */
async function traces(verb: Verb, stage: Stage) {
  const { durationMs, sessionId, ...summary } = await verb.act(stage);
  await stage.through.drop();
  return {
    summary,
    newest: await scene.sql(`select max(id) = ${sessionId} as is_mine from :"schema".sync_sessions`),
    sessions: await scene.sql(
      `select status, error_code, total_files, files_uploaded, files_failed, rows_skipped, files_pending,
         files_uploading, bytes_uploaded, scan_finished_at is not null as scanned from :"schema".sync_sessions order by id`,
    ),
    files: await scene.sql(
      `select dense_rank() over (order by session_id) as session, s3_key, file_size, status, reason, attempts,
         worker_deaths, looks, error_code, permanent from :"schema".file_uploads order by 1, 2`,
    ),
    attempts: await scene.sql(
      `select f.s3_key, a.attempt, a.outcome, a.error_code
       from :"schema".upload_attempts a join :"schema".file_uploads f on f.id = a.file_id order by f.s3_key, a.id`,
    ),
    workers: await scene.sql(
      `select dense_rank() over (order by session_id) as session, end_reason from :"schema".workers order by id`,
    ),
    multiparts: await scene.sql(`select status, count(*) from :"schema".multipart_uploads group by 1`),
    configs: await scene.sql(
      `select dense_rank() over (order by session_id) as session, config from :"schema".config_history order by id`,
    ),
    bucket: scene.s3
      .keys(bucket)
      .map((key) => ({ key, writes: scene.s3.object(bucket, key)?.writes, md5: scene.s3.object(bucket, key)?.md5() })),
    untrue: await untrueCounters(scene.sql),
    doubled: partsSentTwice(scene.s3),
  };
}

/** The engine's own: what else a verb brings (devices, telling others, sync, an ECG's layout) is tested beside it. */
const engine = ["files", "objects", "sessions", "workers"];

it("the verbs execute every statement of the engine, but for those that only look", async () => {
  const onlyLook = /^(destinations_find|files_list|files_settled|sessions_(causes|latest|list)|installation_get)$/;
  const decodingAndLayouts = /^files_(derive|rederive|unwait)$/;
  const executed = new Set(Object.values(verbs).flatMap((verb) => verb.statements.map((name) => name.split(" ")[0])));
  const names = engine.flatMap((area) => {
    const text = readFileSync(new URL(`queries/${area}.sql`, sqlFolder), "utf8");
    return [...text.matchAll(/^-- ([a-z_0-9]+)\([a-z_0-9, ]*\)$/gm)].map(([, name = ""]) => name);
  });
  expect(names.length).toBeGreaterThan(40);
  expect(names.filter((name) => !executed.has(name) && !onlyLook.test(name) && !decodingAndLayouts.test(name))).toEqual(
    [],
  );
});

const faults: Record<string, PostgresFault> = {
  "never arrives": { kind: "cut" },
  "loses its answer": { kind: "loseAnswer" },
};

describe.each(Object.entries(verbs))("%s", (_name, verb) => {
  let untouched: Awaited<ReturnType<typeof traces>>;
  beforeAll(async () => {
    untouched = await traces(verb, await setStage(verb));
  });

  it("ends as it should when nothing goes wrong, and executes what is said here", async () => {
    expect(untouched.summary.exitCode).toBe(verb.exitCode);
    expect(untouched.newest).toEqual([{ is_mine: true }]);
    const [ends] = await scene.sql(
      `select jsonb_object_agg(status, n) as ends from
         (select status, count(*) n from :"schema".file_uploads where session_id = (select max(id) from :"schema".sync_sessions) group by 1) counted`,
    );
    expect(ends).toEqual({ ends: verb.ends });
    expect(untouched.untrue).toEqual([]);
    expect(untouched.doubled).toEqual([]);
    expect(scene.postgres.log).toEqual(expect.arrayContaining([...verb.statements]));
  });

  describe.each(Object.entries(faults))("a statement %s", (_how, fault) => {
    it.each(verb.statements)("%s", async (statement) => {
      const stage = await setStage(verb);
      const played = scene.postgres.played;
      scene.postgres.script({ match: statement, fault });
      expect(await traces(verb, stage)).toEqual(untouched);
      expect(scene.postgres.played).toBe(played + 1);
    });
  });

  it.runIf(verb.longest).each(["57P01", "40001", "40P01", "25006"])(
    "%s, at every statement that stands alone",
    async (sqlstate) => {
      const stage = await setStage(verb);
      const met = new Set<string>();
      scene.postgres.script({
        match: ({ name: asked, inTransaction }) => !inTransaction && !met.has(asked) && Boolean(met.add(asked)),
        fault: { kind: "error", sqlstate },
        times: Number.POSITIVE_INFINITY,
      });
      expect(await traces(verb, stage)).toEqual(untouched);
      expect(met.size).toBeGreaterThan(10);
    },
  );
});

describe("Postgres goes away while files are on their way", () => {
  const verb = verbs["a large file"]!;
  let untouched: Awaited<ReturnType<typeof traces>>;
  beforeAll(async () => {
    untouched = await traces(verb, await setStage(verb));
  });
  const doors: Door[] = ["closed", "silent", "hangs up", { sqlstate: "57P03" }, { sqlstate: "53300" }];

  it.each(doors)("its door is %o: what is on its way goes into the journal, and from there back", async (door) => {
    let isNoted = false;
    const leave = async (): Promise<void> => {
      await scene.postgres.setDoor(door);
      scene.postgres.cutAll();
    };
    const act = ({ context, through }: Stage) => {
      const cx = context(through, { to: onFirstPut(to, leave), hasty: true });
      const { emit, onSleep } = cx;
      cx.emit = (event) => {
        emit(event);
        isNoted ||= event.type === "notice" && event.message.includes(cx.journal.path);
      };
      cx.onSleep = async (delayMs) => {
        if (isNoted) await scene.postgres.setDoor("open");
        await onSleep(delayMs);
      };
      return runUpload(cx);
    };
    const stage = await setStage(verb, { deadlines: { connectMs: 300, queryMs: 5_000 } });
    expect(await traces({ ...verb, act }, stage)).toEqual(untouched);
    expect(isNoted).toBe(true);
    expect(readdirSync(journalFolder(scene.state))).toEqual([]);
  });
});
