-- Statements about files. Every move names its `from` states here; docs/state-machine.md has the picture.
-- In psql: \set schema public

-- files_untouched(session_id, destination_id, key_start, key_end)
-- Whether nothing is known of any key between these two: then no file below needs to be judged.
select not exists (select from :"schema".file_uploads where session_id = $1)
  and not exists (select from :"schema".objects where destination_id = $2 and key >= $3 and key < $4) as untouched;

-- files_judge(session_id, destination_id, keys, sizes, mtimes)
-- What the database knows of scanned files, by position: `fresh` nobody knows, `known` the store holds it in another
-- state, `renewed` this session has a row that settled other bytes. Safe files and open rows need nothing.
with scanned as (
  select * from unnest($3::text[], $4::bigint[], $5::bigint[]) with ordinality as t(key, file_size, mtime_ns, n)
), judged as (
  select s.n, s.file_size, case
    when f.id is not null and f.outcome is null then
      case when f.status = 'pending' and (f.file_size, f.mtime_ns) is distinct from (s.file_size, s.mtime_ns)
        then 'moved' else 'open' end
    when f.id is not null and (f.file_size, f.mtime_ns) is distinct from (s.file_size, s.mtime_ns)
      and not coalesce(o.size_bytes = s.file_size and o.mtime_ns = s.mtime_ns, false) then 'renewed'
    when f.status = 'skipped' and f.reason in ('gone', 'superseded', 'package_incomplete')
      and not coalesce(o.size_bytes = s.file_size and o.mtime_ns = s.mtime_ns, false) then 'renewed'
    when f.id is not null then 'open'
    when o.size_bytes = s.file_size and o.mtime_ns = s.mtime_ns then 'safe'
    when o.key is not null then 'known'
    else 'fresh' end as verdict
  from scanned s
  -- `limit 1` on unique keys: without statistics the planner would rather read all of a table it takes for small, for
  -- every batch (300,000 files known: 27 us a file at 100,000 and growing, against 4).
  left join lateral (
    select * from :"schema".file_uploads where session_id = $1 and s3_key = s.key limit 1
  ) f on true
  left join lateral (
    select * from :"schema".objects where destination_id = $2 and key = s.key limit 1
  ) o on true
)
select count(*) filter (where verdict = 'safe')::int as safe_files,
  coalesce(sum(file_size) filter (where verdict = 'safe'), 0) as safe_bytes,
  coalesce(array_agg(n::int order by n) filter (where verdict = 'fresh'), '{}') as fresh,
  coalesce(array_agg(n::int order by n) filter (where verdict = 'known'), '{}') as known,
  coalesce(array_agg(n::int order by n) filter (where verdict in ('renewed', 'moved')), '{}') as renewed
from judged;

-- files_register(session_id, destination_id, paths, keys, sizes, mtimes, expect, types, priorities, bodies)
-- New work, and how many rows it made. A key that is open elsewhere, or registered already, makes none.
with made as (
  insert into :"schema".file_uploads
    (session_id, destination_id, local_path, s3_key, file_size, mtime_ns, expect, object_type, priority, body)
  select $1, $2, t.local_path, t.key, t.file_size, t.mtime_ns, $7::text, coalesce(t.object_type, 'recording'),
    coalesce(t.priority, 5), t.body
  from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $8::text[], $9::int[], $10::bytea[])
    as t(local_path, key, file_size, mtime_ns, object_type, priority, body)
  on conflict do nothing
  returning 1
)
select count(*)::int as registered from made;

-- files_refuse(session_id, destination_id, paths, keys, sizes, mtimes, codes, messages, permanents)
-- Files that cannot be sent at all: a row that says why. An older refusal is brought up to date.
insert into :"schema".file_uploads
  (session_id, destination_id, local_path, s3_key, file_size, mtime_ns, status, error_code, error_message, permanent)
select $1, $2, t.local_path, t.key, t.file_size, t.mtime_ns, 'failed', t.code, t.message, t.permanent
from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::boolean[])
  as t(local_path, key, file_size, mtime_ns, code, message, permanent)
on conflict (session_id, s3_key) do update
set error_code = excluded.error_code, error_message = excluded.error_message, permanent = excluded.permanent
where file_uploads.status = 'failed'
returning id;

-- files_holders(destination_id, keys, session_id)
-- Who has these keys open, other than this session.
select f.s3_key, f.session_id
from :"schema".file_uploads f
where f.destination_id = $1 and f.s3_key = any ($2::text[]) and f.outcome is null
  and f.session_id <> $3;

-- files_renew(session_id, destination_id, paths, keys, sizes, mtimes, types, priorities, bodies)
-- Move renew, and new size and mtime for rows that still wait: the file is not what this row registered.
update :"schema".file_uploads f
set status = 'pending', worker_id = null, uploaded_at = null, permanent = false, reason = null, attempts = 0, looks = 0,
    error_code = null, error_message = null, next_attempt_at = now(), local_path = t.local_path,
    file_size = t.file_size, mtime_ns = t.mtime_ns, not_ready = false,
    object_type = coalesce(t.object_type, 'recording'), priority = coalesce(t.priority, 5), body = t.body,
    expect = case when o.key is null then 'absent' else 'known' end
from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::int[], $9::bytea[])
  as t(local_path, key, file_size, mtime_ns, object_type, priority, body)
left join :"schema".objects o on o.destination_id = $2 and o.key = t.key
where f.session_id = $1 and f.s3_key = t.key and f.status in ('uploaded', 'failed', 'skipped', 'pending')
  and not exists (
    select from :"schema".file_uploads other
    where other.destination_id = $2 and other.s3_key = t.key and other.id <> f.id
      and other.outcome is null)
returning f.id;

-- files_claim(session_id, worker_id, after_id, max, max_looks)
-- Move claim, by a keyset cursor: the cost of a claim does not grow with the rows already done. What is urgent (priority
-- below 5) has an index of its own and goes first, wherever the cursor is.
with live as (
  select from :"schema".workers w where w.id = $2 and w.ended_at is null and w.lease_until > now()
), urgent as (
  select f.id
  from :"schema".file_uploads f
  where f.session_id = $1 and f.outcome is null and f.status = 'pending' and f.priority < 5
    and f.next_attempt_at <= now() and f.looks < $5 and not f.not_ready and exists (select from live)
  order by f.priority, f.id limit $4
  for update skip locked
), bulk as (
  select f.id
  from :"schema".file_uploads f
  where f.session_id = $1 and f.outcome is null and f.status = 'pending' and f.id > $3 and f.priority >= 5
    and f.next_attempt_at <= now() and f.looks < $5 and not f.not_ready and exists (select from live)
  order by f.id limit greatest(0, $4 - (select count(*) from urgent))
  for update skip locked
), due as (
  select id from urgent union all select id from bulk
)
update :"schema".file_uploads f
set status = 'uploading', worker_id = $2
from due
where f.id = due.id
returning f.id, f.local_path, f.s3_key, f.file_size, f.mtime_ns::text, f.attempts, f.expect, f.looks, f.derived_from,
  f.object_type, f.priority, f.body;

-- files_settle(ids, sizes, mtimes, algorithms, types, checksums, etags, versions, proofs, ours, request_ids, durations, age_ms)
-- Move settle, as of age_ms ago: a journal may come in after newer facts, and those stand. What the store holds is remembered whatever became of the row; the row moves only if it registered
-- exactly these bytes.
with done as (
  select distinct on (id) * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::boolean[], $11::text[], $12::int[])
    as t(id, file_size, mtime_ns, algorithm, type, checksum, etag, version_id, proof, ours, request_id, duration_ms)
), remembered as (
  insert into :"schema".objects as o (destination_id, key, size_bytes, mtime_ns, checksum_algorithm, checksum_type,
    checksum, etag, version_id, proof, ours, confirmed_at)
  select f.destination_id, f.s3_key, d.file_size, d.mtime_ns, d.algorithm, d.type, d.checksum, d.etag, d.version_id,
    d.proof, d.ours, now() - make_interval(secs => $13 / 1000.0)
  from done d join :"schema".file_uploads f on f.id = d.id
  on conflict (destination_id, key) do update
  set size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, checksum_algorithm = excluded.checksum_algorithm,
      checksum_type = excluded.checksum_type, checksum = excluded.checksum, etag = excluded.etag,
      version_id = excluded.version_id, proof = excluded.proof, ours = excluded.ours or o.ours,
      confirmed_at = excluded.confirmed_at
  where o.confirmed_at <= excluded.confirmed_at
)
update :"schema".file_uploads f
set status = 'uploaded', worker_id = null, uploaded_at = now(), last_attempt_at = now(), permanent = false,
    not_ready = false, body = null, reason = null, error_code = null, error_message = null, request_id = d.request_id, duration_ms = d.duration_ms
from done d
where f.id = d.id and f.status in ('pending', 'uploading', 'failed')
  and f.file_size = d.file_size and f.mtime_ns is not distinct from d.mtime_ns
returning f.id;

-- files_settled(ids, request_ids, durations)
-- Which of these a settle of the very same request moved before: its answer was lost.
select f.id
from unnest($1::bigint[], $2::text[], $3::int[]) as t(id, request_id, duration_ms)
join :"schema".file_uploads f using (id)
where f.status = 'uploaded' and (f.request_id, f.duration_ms) is not distinct from (t.request_id, t.duration_ms);

-- files_skip(worker_id, ids, reasons, sizes, mtimes, algorithms, types, checksums, etags, versions, proofs, ours)
-- Move skip. With a proof, what the store holds is remembered too (a null proof: nothing was learned).
with done as (
  select * from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::boolean[])
    as t(id, reason, file_size, mtime_ns, algorithm, type, checksum, etag, version_id, proof, ours)
), moved as (
  update :"schema".file_uploads f
  set status = 'skipped', reason = d.reason, worker_id = null, last_attempt_at = now(), error_code = null,
      error_message = null, body = null
  from done d
  where f.id = d.id and f.status = 'uploading' and f.worker_id = $1
  returning f.id, f.destination_id, f.s3_key, f.attempts
), noted as (
  insert into :"schema".upload_attempts (file_id, attempt, worker_id, outcome, error_code)
  select m.id, m.attempts + 1, $1, 'skipped', d.reason from moved m join done d using (id)
), remembered as (
  insert into :"schema".objects as o (destination_id, key, size_bytes, mtime_ns, checksum_algorithm, checksum_type,
    checksum, etag, version_id, proof, ours)
  select m.destination_id, m.s3_key, d.file_size, d.mtime_ns, d.algorithm, d.type, d.checksum, d.etag, d.version_id,
    d.proof, d.ours
  from moved m join done d using (id) where d.proof is not null
  on conflict (destination_id, key) do update
  set size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns,
      checksum_algorithm = coalesce(excluded.checksum_algorithm, o.checksum_algorithm),
      checksum_type = coalesce(excluded.checksum_type, o.checksum_type),
      checksum = coalesce(excluded.checksum, o.checksum), etag = coalesce(excluded.etag, o.etag),
      version_id = coalesce(excluded.version_id, o.version_id), ours = o.ours or excluded.ours, confirmed_at = now()
)
select id from moved;

-- files_postpone(worker_id, ids, attempts, codes, messages, delays_ms, request_ids, durations)
-- Move postpone: an attempt that failed and has others left. `attempts` as they were when the file was claimed: told
-- again after a lost answer, it must not move a row that has been claimed anew.
with failed as (
  select * from unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::int[])
    as t(id, attempts, code, message, delay_ms, request_id, duration_ms)
), moved as (
  update :"schema".file_uploads f
  set status = 'pending', worker_id = null, attempts = f.attempts + 1, last_attempt_at = now(),
      next_attempt_at = now() + make_interval(secs => d.delay_ms / 1000.0), error_code = d.code,
      error_message = d.message
  from failed d
  where f.id = d.id and f.status = 'uploading' and f.worker_id = $1 and f.attempts = d.attempts
  returning f.id, f.attempts
), noted as (
  insert into :"schema".upload_attempts
    (file_id, attempt, worker_id, outcome, error_code, error_message, request_id, duration_ms)
  select m.id, m.attempts, $1, 'postponed', d.code, d.message, d.request_id, d.duration_ms
  from moved m join failed d using (id)
)
select id from moved;

-- files_give_up(worker_id, ids, codes, messages, permanents, request_ids, durations)
-- Move give_up: no attempt can help, or attempts are used up.
with failed as (
  select * from unnest($2::bigint[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::int[])
    as t(id, code, message, permanent, request_id, duration_ms)
), moved as (
  update :"schema".file_uploads f
  set status = 'failed', worker_id = null, attempts = f.attempts + 1, last_attempt_at = now(), permanent = d.permanent,
      error_code = d.code, error_message = d.message
  from failed d
  where f.id = d.id and f.status = 'uploading' and f.worker_id = $1
  returning f.id, f.attempts
), noted as (
  insert into :"schema".upload_attempts
    (file_id, attempt, worker_id, outcome, error_code, error_message, request_id, duration_ms)
  select m.id, m.attempts, $1, 'failed', d.code, d.message, d.request_id, d.duration_ms
  from moved m join failed d using (id)
)
select id from moved;

-- files_revise(worker_id, ids, looks, sizes, mtimes, reasons, delays_ms)
-- Move revise: the file changed while it was read. Not an attempt; taken again when it has settled. `looks` as they were
-- when the file was claimed, for the same reason as in files_postpone.
with changed as (
  select * from unnest($2::bigint[], $3::int[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[])
    as t(id, looks, file_size, mtime_ns, reason, delay_ms)
), moved as (
  update :"schema".file_uploads f
  set status = 'pending', worker_id = null, file_size = d.file_size, mtime_ns = d.mtime_ns, reason = d.reason,
      looks = f.looks + 1, next_attempt_at = now() + make_interval(secs => d.delay_ms / 1000.0)
  from changed d
  where f.id = d.id and f.status = 'uploading' and f.worker_id = $1 and f.looks = d.looks
  returning f.id, f.attempts
), noted as (
  insert into :"schema".upload_attempts (file_id, attempt, worker_id, outcome, error_code)
  select m.id, m.attempts, $1, 'revised', 'not_ready' from moved m
)
select id from moved;

-- files_release(worker_id, ids)
-- Move release: interrupted work goes back, no attempt counted.
update :"schema".file_uploads f
set status = 'pending', worker_id = null
where f.status = 'uploading' and f.worker_id = $1 and f.id = any ($2::bigint[])
returning f.id;

-- files_release_others(worker_id, keep)
-- Move release, for files this worker holds without knowing: the answer to a claim was lost.
update :"schema".file_uploads f
set status = 'pending', worker_id = null
from :"schema".workers w, :"schema".files_in_hand h
where w.id = $1 and h.session_id = w.session_id and h.worker_id = $1 and not h.id = any ($2::bigint[])
  and f.id = h.id and f.status = 'uploading' and f.worker_id = $1
returning f.id;

-- files_requeue(session_id, include_permanent)
-- Move requeue. A key that another session has open stays failed.
update :"schema".file_uploads f
set status = 'pending', permanent = false, attempts = 0, looks = 0, worker_deaths = 0, next_attempt_at = now(),
    expect = case when o.key is null then 'absent' else 'known' end
from :"schema".file_uploads self
left join :"schema".objects o on o.destination_id = self.destination_id and o.key = self.s3_key
where self.session_id = $1 and self.outcome = 'failed' and f.id = self.id and f.status = 'failed'
  and (not f.permanent or $2::boolean) and f.error_code <> 'key_impossible'
  and not exists (
    select from :"schema".file_uploads other
    where other.destination_id = f.destination_id and other.s3_key = f.s3_key
      and other.outcome is null)
returning f.id;

-- files_rested(session_id)
-- A new run looks afresh at files that were still changing when the last one gave them up.
update :"schema".file_uploads f
set looks = 0, next_attempt_at = now()
where f.session_id = $1 and f.outcome is null and f.status = 'pending' and f.looks > 0
returning f.id;

-- files_unwait(session_id)
-- `upload` takes every file as it is, also those that sync waits for; not those that have no key yet: their layout gives it.
update :"schema".file_uploads f
set not_ready = false, looks = 0, reason = null, next_attempt_at = now()
where f.session_id = $1 and f.outcome is null and f.status = 'pending' and f.not_ready
  and coalesce(f.reason, '') not in ('package_incomplete', 'report_settling')
returning f.id;

-- files_displace(destination_id, keys, session_id)
-- Move displace: keys that sessions hold open on which nobody works any more.
update :"schema".file_uploads f
set status = 'skipped', reason = 'superseded', worker_id = null
where f.destination_id = $1 and f.s3_key = any ($2::text[]) and f.session_id <> $3
  and f.outcome is null and f.status in ('pending', 'uploading')
  and not exists (
    select from :"schema".workers w
    where w.session_id = f.session_id and w.ended_at is null and w.lease_until > now())
returning f.s3_key;

-- files_supersede(project_id, destination_id, source, prefix, session_id)
-- Move supersede: what earlier sessions of this work left failed is taken afresh by session_id.
update :"schema".file_uploads f
set status = 'skipped', reason = 'superseded', permanent = false
from :"schema".sync_sessions s
where s.project_id = $1 and s.destination_id = $2 and s.source = $3 and s.prefix = $4 and s.id < $5
  and s.files_failed > 0 and f.session_id = s.id and f.outcome = 'failed'
returning f.id;

-- files_abandon(session_id)
-- Move abandon: `--new-session` takes over what an unfinished session had open.
update :"schema".file_uploads f
set status = 'skipped', reason = 'superseded', permanent = false, worker_id = null
where f.session_id = $1 and f.status in ('pending', 'failed')
returning f.id;

-- files_condemn(session_id)
-- Move condemn: `retry` used up its last round.
update :"schema".file_uploads f
set permanent = true
where f.session_id = $1 and f.outcome = 'failed' and not f.permanent
returning f.id;

-- files_next_due(session_id, worker_id, max_looks)
-- What is left: when the earliest waiting file may be taken (ms from now; null when none is waited for), how many are
-- not ready although looked at often enough, and how many other workers have in hand.
select case when count(*) filter (where status = 'pending' and is_due) > 0 then
    greatest(0, ceil(extract(epoch from min(next_attempt_at) filter (where is_due) - now()) * 1000)) end::float8
    as delay_ms,
  count(*) filter (where status = 'pending' and not is_due)::int as not_ready,
  count(*) filter (where status = 'uploading')::int as elsewhere
from (
  select status, next_attempt_at, looks < $3 and not not_ready as is_due
  from :"schema".file_uploads where session_id = $1 and outcome is null and status = 'pending'
  union all
  select 'uploading', null, true from :"schema".files_in_hand where session_id = $1 and worker_id <> $2
) waiting;

-- files_list(session_id, status, after_id, max)
select id, local_path, s3_key, file_size, status, reason, attempts, error_code, error_message, permanent,
  next_attempt_at, last_attempt_at, uploaded_at, derived_from
from :"schema".file_uploads
where session_id = $1 and ($2::text is null or status = $2::text) and id > $3
order by id limit $4;

-- files_conflicts(session_id)
select count(*)::int as files
from :"schema".file_uploads
where session_id = $1 and outcome = 'skipped' and reason = 'conflict';

-- files_retryable(session_id)
select count(*)::int as files
from :"schema".file_uploads
where session_id = $1 and outcome = 'failed' and not permanent;
