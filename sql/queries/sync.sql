-- Statements of sync: who looks after a source, its sessions, and files that are not ready. In psql: \set schema public

-- sync_lease_take(destination_id, prefix, source, host, boot, pid, process_start, lease_seconds, dead_pid, dead_start)
-- No row: somebody alive holds it. dead_pid and dead_start name a holder whose process is known to be gone.
insert into :"schema".sync_leases as l (destination_id, prefix, source, host, boot, pid, process_start, lease_until)
values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
on conflict (destination_id, prefix, source) do update
set host = excluded.host, boot = excluded.boot, pid = excluded.pid, process_start = excluded.process_start, since = now(),
    lease_until = excluded.lease_until
where l.lease_until <= now()
  or (l.host, l.boot, l.pid, l.process_start)
    = (excluded.host, excluded.boot, excluded.pid, excluded.process_start)
  or (l.pid, l.process_start) = ($9::int, $10::text)
returning source;

-- sync_lease_holder(destination_id, prefix, source)
select host, boot, pid, process_start, since
from :"schema".sync_leases
where destination_id = $1 and prefix = $2 and source = $3;

-- sync_lease_renew(destination_id, prefix, source, host, boot, pid, process_start, lease_seconds)
-- No row: it lapsed, and another process has it now.
update :"schema".sync_leases
set lease_until = now() + make_interval(secs => $8)
where destination_id = $1 and prefix = $2 and source = $3 and (host, boot, pid, process_start) = ($4, $5, $6, $7)
returning source;

-- sync_lease_end(destination_id, prefix, source, host, boot, pid, process_start)
delete from :"schema".sync_leases
where destination_id = $1 and prefix = $2 and source = $3 and (host, boot, pid, process_start) = ($4, $5, $6, $7)
returning source;

-- sync_newest(project_id, destination_id, source, prefix)
-- The newest session of sync with this work, locked; `due`: files that a worker may take, or has.
select s.id, s.status, s.started_at,
  exists (
    select from :"schema".file_uploads f
    where f.session_id = s.id and f.outcome is null and f.status = 'pending' and not f.not_ready and f.looks = 0)
  or s.files_uploading > 0 as due,
  s.files_pending + s.files_uploading > 0 as open
from :"schema".sync_sessions s
where s.project_id = $1 and s.destination_id = $2 and s.source = $3 and s.prefix = $4 and s.command = 'sync'
order by s.id desc limit 1
for update;

-- sync_insert(project_id, destination_id, source, destination, prefix, started_at)
insert into :"schema".sync_sessions (project_id, destination_id, source, destination, prefix, command, started_at)
values ($1, $2, $3, $4, $5, 'sync', $6)
returning id;

-- sync_resume(session_id)
-- Moves resume and reopen: a session of sync takes up what is new for as long as its day lasts.
update :"schema".sync_sessions
set status = 'in_progress', error_code = null, error_message = null, completed_at = null
where id = $1
returning id;

-- sync_supersede(session_id)
-- Move supersede, for files that were not ready when the session's day was over: the next session takes them afresh.
update :"schema".file_uploads f
set status = 'skipped', reason = 'superseded', not_ready = false, body = null
where f.session_id = $1 and f.outcome is null and f.status = 'pending' and (f.not_ready or f.looks > 0)
returning f.id;

-- sync_retire(session_id)
-- Moves complete and complete_with_errors, of a session that has been superseded.
update :"schema".sync_sessions s
set status = case when s.files_failed > 0 then 'completed_with_errors' else 'completed' end,
    completed_at = coalesce(s.completed_at, now()), error_code = null, error_message = null
where s.id = $1 and s.status in ('in_progress', 'interrupted', 'failed') and s.files_pending + s.files_uploading = 0
returning s.id;

-- sync_due(session_id)
-- What is left to do: files that a worker may take or has, files that are not ready, failed ones that may be tried again.
select count(*) filter (where status = 'uploading' or status = 'pending' and not not_ready and looks = 0)::int as due,
  count(*) filter (where status = 'pending' and (not_ready or looks > 0))::int as waiting,
  count(*) filter (where status = 'failed' and not permanent)::int as failed
from :"schema".file_uploads
where session_id = $1 and (outcome is null or outcome = 'failed');

-- sync_waiting(session_id)
select id, local_path, s3_key, file_size, mtime_ns::text, inode::text, reason, looks,
  ceil(extract(epoch from next_attempt_at - now()) * 1000)::float8 as due_in_ms
from :"schema".file_uploads
where session_id = $1 and outcome is null and status = 'pending' and (not_ready or looks > 0);

-- sync_rekey(session_id, paths, keys)
-- A file that is not ready may still get another key.
update :"schema".file_uploads f
set s3_key = t.key
from unnest($2::text[], $3::text[]) as t(local_path, key)
where f.session_id = $1 and f.local_path = t.local_path and f.outcome is null and f.status = 'pending'
  and f.not_ready and f.s3_key <> t.key
  and not exists (
    select from :"schema".file_uploads other
    where other.destination_id = f.destination_id and other.s3_key = t.key
      and (other.session_id = f.session_id or other.status in ('pending', 'uploading')))
returning f.id;

-- sync_wait(session_id, destination_id, paths, keys, sizes, mtimes, inodes, reasons, looks, delays_ms)
-- Files that are not ready: seen, and waited for. A row that has settled anything stays as it is.
insert into :"schema".file_uploads as f
  (session_id, destination_id, local_path, s3_key, file_size, mtime_ns, inode, reason, looks, not_ready, next_attempt_at)
select $1, $2, t.local_path, t.key, t.file_size, t.mtime_ns, t.inode::numeric, t.reason, t.looks, true,
  now() + make_interval(secs => t.delay_ms / 1000.0)
from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::int[], $10::bigint[])
  as t(local_path, key, file_size, mtime_ns, inode, reason, looks, delay_ms)
where not exists (
  select from :"schema".file_uploads other
  where other.destination_id = $2 and other.s3_key = t.key and other.session_id <> $1
    and other.outcome is null)
on conflict (session_id, s3_key) do update
set file_size = excluded.file_size, mtime_ns = excluded.mtime_ns, inode = excluded.inode, reason = excluded.reason,
    looks = excluded.looks, next_attempt_at = excluded.next_attempt_at, not_ready = true
where f.status = 'pending' and (f.not_ready or f.looks > 0)
returning f.id;

-- sync_leave(session_id, destination_id, keys, reason)
-- Move leave: files that were not ready and never will be (gone), or that their layout leaves out.
update :"schema".file_uploads f
set status = 'skipped', reason = $4, not_ready = false, body = null
where f.session_id = $1 and f.destination_id = $2 and f.s3_key = any ($3::text[]) and f.status = 'pending'
  and (f.not_ready or f.looks > 0)
returning f.id;

-- sync_left_out(session_id, destination_id, paths, keys, sizes, mtimes, reasons)
-- Files that a layout does not send: a row that says why. Move leave, for one that waited so far.
insert into :"schema".file_uploads as f
  (session_id, destination_id, local_path, s3_key, file_size, mtime_ns, status, reason)
select $1, $2, t.local_path, t.key, t.file_size, t.mtime_ns, 'skipped', t.reason
from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[])
  as t(local_path, key, file_size, mtime_ns, reason)
on conflict (session_id, s3_key) do update
set status = 'skipped', reason = excluded.reason, not_ready = false, body = null
where f.status = 'pending' and (f.not_ready or f.looks > 0)
returning id;
