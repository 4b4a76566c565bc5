/**
 * A session of 1,000,000 files and a map of as many entries, made in SQL: how long `status`, `explain`, `map-device get`
 * and every query of the dashboards take on them, and what the dashboards' trigger costs the hot path.
 *   node bench/million.js [--program FILE] [--files N] [--keep] [--reads]
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dashboardQueries } from "./dashboard-queries.js";
import { openServer } from "./database.js";
import { workplace } from "./workplace.js";

const { values: options } = parseArgs({
  options: {
    program: { type: "string", default: new URL("../bin/uploader.js", import.meta.url).pathname },
    files: { type: "string", default: "1000000" },
    keep: { type: "boolean", default: false }, // the data of the run before
    reads: { type: "boolean", default: false }, // nothing else
  },
});
const files = Number(options.files);
const repeats = 7;
const state = join(workplace, "state-million");
const limitsMs = { command: 300, query: 500 };

/** Two sessions: `files` in progress after three hours, and a tenth of them finished a day ago. */
const fill = `
insert into projects (name) values ('reef');
insert into destinations (kind, identity) values ('s3', 's3://reef');
insert into sync_sessions (project_id, destination_id, source, destination, prefix, started_at)
values (1, 1, '/media/SD00', 's3://reef/C1', 'C1', now() - interval '27 h'),
  (1, 1, '/media/SD01', 's3://reef/C2', 'C2', now() - interval '3 h');
insert into workers (session_id, host, boot, pid, process_start, concurrency, started_at, lease_until, ended_at, end_reason)
values (1, 'bench', 'b', 1, '1', 64, now() - interval '27 h', now() - interval '24 h', now() - interval '24 h', 'done'),
  (2, 'bench', 'b', 2, '2', 64, now() - interval '3 h', now() + interval '1 d', null, null);
insert into file_uploads (session_id, destination_id, local_path, s3_key, file_size, mtime_ns, status, reason, attempts,
  worker_id, error_code, error_message, permanent, request_id, duration_ms, created_at, last_attempt_at, uploaded_at)
select session, 1, path, 'C' || session || '/' || path, 30000 + n % 50000, 1700000000000000000 + n, status,
  case when status = 'skipped' then 'already_there' end, case when status = 'failed' then 5 else 0 end,
  case when status = 'uploading' then 2 end, case when status = 'failed' then 'network_lost' end,
  case when status = 'failed' then 'sending: the connection was lost (ECONNRESET)' end, false, 'REQ' || n, 20,
  begun, case when status in ('pending', 'uploading') then null else at end, case when status = 'uploaded' then at end
from (
  select session, n, format('site-%s/%s/20260301_%s.%s', n % 40, n / 1000, n,
      (array['wav', 'jpg', 'mp4', 'txt'])[1 + n % 4]) as path,
    now() - (case session when 1 then 27 else 3 end) * interval '1 h' as begun,
    now() - (case session when 1 then 27 else 3 end) * interval '1 h'
      + n::float8 / $1::float8 * (case session when 1 then 10 else 1 end) * interval '3 h' as at,
    case when session = 2 and n > $1 * 0.9 then case when n > $1 * 0.9 + 64 then 'pending' else 'uploading' end
      when n % 50 = 0 then 'failed' when n % 97 = 0 then 'skipped' else 'uploaded' end as status
  from (select 1 as session, generate_series(1, $1 / 10) as n union all select 2, generate_series(1, $1)) numbers
) rows;
insert into objects (destination_id, key, size_bytes, mtime_ns, proof, ours, etag)
select destination_id, s3_key, file_size, mtime_ns, 'checksum_echoed', true, 'e' from file_uploads where status = 'uploaded';
insert into upload_attempts (file_id, attempt, worker_id, outcome, error_code, error_message, duration_ms, finished_at)
select id, k, session_id, case when k = 5 then 'failed' else 'postponed' end, 'network_lost', error_message, 20,
  last_attempt_at
from file_uploads cross join generate_series(1, 5) k where status = 'failed';
update sync_sessions set scan_finished_at = now();
update sync_sessions set status = 'completed_with_errors', completed_at = now() - interval '24 h' where id = 1;
insert into device_map (device, patient, shimmer1, shimmer2, valid)
select lpad(to_hex((n + 1) / 2), 16, '0'), 'P-' || n, '{Shimmer_DDD6}', '{Shimmer_DCFF}',
  case n % 2 when 0 then tstzrange('2026-03-01', null) else tstzrange(null, '2026-03-01') end
from generate_series(1, $1) n;
`;

const statements = (text) => text.split(";\n").filter((each) => each.trim() !== "");
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function say(title, tookMs, limitMs) {
  const worst = Math.max(...tookMs);
  const verdict = limitMs === undefined ? "" : median(tookMs) <= limitMs ? "  ok" : `  TOO SLOW (${limitMs} ms)`;
  process.stdout.write(
    `${title.padEnd(58)} ${median(tookMs).toFixed(0).padStart(6)} ms  (worst ${worst.toFixed(0)})${verdict}\n`,
  );
}

async function timed(work) {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function several(work) {
  const tookMs = [];
  for (let n = 0; n < repeats; n++) tookMs.push(await timed(work));
  return tookMs;
}

function command(...args) {
  const env = { PATH: process.env.PATH, HOME: workplace, UPLOADER_STATE_DIR: state };
  const { status, stderr } = spawnSync(process.execPath, [options.program, ...args], { env, encoding: "utf8" });
  if (status !== 0) throw new Error(`uploader ${args.join(" ")} ended with ${status}: ${stderr}`);
}

/** What registering in batches of 500, claiming them all and settling in batches of 500 takes, in one round trip each. */
async function hotPath(client, work) {
  await client.query("begin");
  const tookMs = await timed(async () => {
    for (let n = 0; n < work; n += 500) {
      await client.query(
        `insert into file_uploads (session_id, destination_id, local_path, s3_key, file_size, mtime_ns)
         select 2, 1, 'h/' || n || '.wav', 'H/' || n || '.wav', 1000, n from generate_series($1::int, $1 + 499) n`,
        [n],
      );
      await client.query(
        "update file_uploads set status = 'uploading', worker_id = 2 where session_id = 2 and s3_key = any (select 'H/' || n || '.wav' from generate_series($1::int, $1 + 499) n)",
        [n],
      );
      await client.query(
        "update file_uploads set status = 'uploaded', worker_id = null, uploaded_at = now() where session_id = 2 and s3_key = any (select 'H/' || n || '.wav' from generate_series($1::int, $1 + 499) n)",
        [n],
      );
    }
  });
  await client.query("rollback");
  return tookMs;
}

const server = await openServer(state);
const { client } = server;
try {
  const made = await client.query("select to_regclass('device_map') as it");
  const known = made.rows[0].it === null ? 0 : (await client.query("select count(*) n from file_uploads")).rows[0].n;
  if (!options.keep || Number(known) < files) {
    await server.empty();
    const tookMs = await timed(async () => {
      for (const text of statements(fill)) {
        await client.query(text.replaceAll("$1", String(files)));
      }
      await client.query("vacuum analyze");
      await client.query("checkpoint");
    });
    process.stdout.write(`${(files * 1.1).toLocaleString("en")} rows made in ${(tookMs / 1000).toFixed(0)} s\n\n`);
  }
  await client.query("update workers set lease_until = now() + interval '1 h' where id = 2");

  say("uploader --version", await several(() => command("--version")));
  say("uploader status latest", await several(() => command("status", "latest")), limitsMs.command);
  say("uploader status latest --json", await several(() => command("status", "latest", "--json")), limitsMs.command);
  say("uploader sessions", await several(() => command("sessions")), limitsMs.command);
  const path = `site-7/1/20260301_1007.txt`;
  say("uploader explain KEY", await several(() => command("explain", `s3://reef/C2/${path}`)), limitsMs.command);
  say("uploader explain PATH", await several(() => command("explain", `/media/SD01/${path}`)), limitsMs.command);
  say(
    "uploader files latest --status failed --limit 100",
    await several(() => command("files", "latest", "--status", "failed", "--limit", "100")),
    limitsMs.command,
  );
  say(
    "uploader map-device get DEVICE",
    await several(() => command("map-device", "get", "00000000000186a0")),
    limitsMs.command,
  );
  process.stdout.write("\n");

  const shown = {
    fromMs: Date.now() - 24 * 3_600_000,
    toMs: Date.now() + 60_000,
    all: { project: ["reef"], bucket: ["reef"], prefix: ["C1", "C2"] },
  };
  for (const name of ["uploader", "alerts"]) {
    const model = JSON.parse(readFileSync(new URL(`../grafana/${name}.json`, import.meta.url), "utf8"));
    for (const { title, sql } of dashboardQueries(model, shown)) {
      say(title, await several(() => client.query(sql)), limitsMs.query);
    }
  }
  process.stdout.write("\n");
  if (!options.reads) await countingCost();
} finally {
  await server.close();
}

async function countingCost() {
  const work = 50_000;
  const withMs = [];
  const withoutMs = [];
  for (let n = 0; n < 5; n++) {
    withMs.push(await hotPath(client, work));
    await client.query("alter table file_uploads disable trigger file_uploads_zz_inserted");
    await client.query("alter table file_uploads disable trigger file_uploads_zz_updated");
    withoutMs.push(await hotPath(client, work));
    await client.query("alter table file_uploads enable trigger file_uploads_zz_inserted");
    await client.query("alter table file_uploads enable trigger file_uploads_zz_updated");
  }
  const perFile = ((median(withMs) - median(withoutMs)) * 1000) / work;
  say("50,000 files registered, claimed, settled: with the counting", withMs);
  say("the same without the trigger of 0010", withoutMs);
  process.stdout.write(`the counting costs ${perFile.toFixed(1)} us a file\n`);
}
