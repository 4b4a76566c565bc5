-- Statements about projects, destinations and sessions. In psql: \set schema public

-- installation_get()
select id from :"schema".installation;

-- projects_ensure(name)
-- The row stays locked until the transaction ends, so two runs of the same project open sessions one after the other.
insert into :"schema".projects (name) values ($1)
on conflict (name) do update set name = excluded.name
returning id;

-- destinations_ensure(kind, identity)
insert into :"schema".destinations (kind, identity) values ($1, $2)
on conflict (identity) do update set identity = excluded.identity
returning id;

-- destinations_find(identity)
select id from :"schema".destinations where identity = $1;

-- sessions_newest(project_id, destination_id, source, prefix)
-- The newest session of this work, locked. Only that one is ever resumed.
select id, status in ('in_progress', 'interrupted', 'failed') or files_pending + files_uploading > 0 as unfinished
from :"schema".sync_sessions
where project_id = $1 and destination_id = $2 and source = $3 and prefix = $4
order by id desc limit 1
for update;

-- sessions_insert(project_id, destination_id, source, destination, prefix, command)
insert into :"schema".sync_sessions (project_id, destination_id, source, destination, prefix, command)
values ($1, $2, $3, $4, $5, $6)
returning id;

-- sessions_lock(session_id)
select id, status from :"schema".sync_sessions where id = $1 for update;

-- sessions_resume(session_id)
-- Move resume. The scan starts again, so its end is unknown.
update :"schema".sync_sessions
set status = 'in_progress', error_code = null, error_message = null, completed_at = null, scan_finished_at = null
where id = $1
  and (status in ('in_progress', 'interrupted', 'failed') or files_pending + files_uploading > 0)
returning id;

-- sessions_resume_work(session_id, reopen)
-- Moves resume and reopen, for `retry`: nothing is scanned, so the scan's end stands.
update :"schema".sync_sessions
set status = 'in_progress', error_code = null, error_message = null, completed_at = null
where id = $1
  and (status in ('in_progress', 'interrupted', 'failed')
    or $2::boolean and status in ('completed', 'completed_with_errors'))
returning id;

-- sessions_scanned(session_id, files_safe, bytes_safe, finished)
-- Only the holder scans, and it sends absolute numbers: sending one again changes nothing.
-- While a resumed scan runs, the numbers of the last one stand until they are passed.
update :"schema".sync_sessions
set files_safe = case when $4 then $2 else greatest(files_safe, $2) end,
    bytes_safe = case when $4 then $3 else greatest(bytes_safe, $3) end,
    scan_finished_at = case when $4 then now() end
where id = $1
returning id;

-- sessions_close(session_id)
-- Moves complete, complete_with_errors and interrupt, decided by the session's files. Only the last worker to leave
-- closes: each ends its own row first, so of two that leave at once the later one sees no other.
update :"schema".sync_sessions s
set status = case
      when s.files_pending + s.files_uploading > 0 or s.scan_finished_at is null then 'interrupted'
      when s.files_failed > 0 then 'completed_with_errors'
      else 'completed' end,
    completed_at = case
      when s.files_pending + s.files_uploading = 0 and s.scan_finished_at is not null then now() end
where s.id = $1 and s.status = 'in_progress'
  and not exists (
    select from :"schema".workers w
    where w.session_id = s.id and w.ended_at is null and w.lease_until > now())
returning status;

-- sessions_fail(session_id, error_code, error_message)
-- Move fail, or interrupt when error_code is null; not while somebody else still works on it.
update :"schema".sync_sessions s
set status = case when $2::text is null then 'interrupted' else 'failed' end,
    error_code = $2::text, error_message = $3::text
where s.id = $1 and s.status = 'in_progress'
  and not exists (
    select from :"schema".workers w
    where w.session_id = s.id and w.ended_at is null and w.lease_until > now())
returning status;

-- sessions_get(session_id)
select s.*, p.name as project, d.kind as destination_kind, d.identity as destination_identity
from :"schema".sync_sessions s
join :"schema".projects p on p.id = s.project_id
join :"schema".destinations d on d.id = s.destination_id
where s.id = $1;

-- sessions_latest(project)
select max(s.id) as id
from :"schema".sync_sessions s join :"schema".projects p on p.id = s.project_id
where p.name = $1;

-- sessions_list(project, max)
-- Newest first; all projects when project is null.
select s.*, p.name as project
from :"schema".sync_sessions s join :"schema".projects p on p.id = s.project_id
where $1::text is null or p.name = $1::text
order by s.id desc limit $2;

-- sessions_causes(session_id)
-- What went wrong, grouped: one line per state, cause and reason, with the message and the key of its first file. Counted
-- by a trigger (0010); of the files themselves one is read for each line.
select c.status, nullif(c.error_code, '') as error_code, nullif(c.reason, '') as reason, c.permanent, c.files, c.bytes,
  f.error_message, f.s3_key as example_key, f.next_attempt_at
from :"schema".session_causes c
cross join lateral (
  -- `offset 0`: in the index' order, until one fits; the planner would sort them all
  (select * from (
     select * from :"schema".file_uploads where session_id = $1 and outcome = 'failed' order by id offset 0
   ) failed
   where c.status = 'failed' and permanent = c.permanent
     and coalesce(error_code, '') = c.error_code and coalesce(reason, '') = c.reason limit 1)
  union all
  (select * from (
     select * from :"schema".file_uploads where session_id = $1 and outcome = 'skipped' order by id offset 0
   ) skipped
   where c.status = 'skipped'
     and coalesce(error_code, '') = c.error_code and coalesce(reason, '') = c.reason limit 1)
  union all
  (select * from (
     select * from :"schema".file_uploads
     where session_id = $1 and outcome is null and status = 'pending'
       and (error_code is not null or reason is not null)
     order by next_attempt_at offset 0
   ) waiting
   where c.status = 'pending'
     and coalesce(error_code, '') = c.error_code and coalesce(reason, '') = c.reason limit 1)
  union all
  (select held.* from :"schema".files_in_hand h
   join :"schema".file_uploads held using (id)
   where c.status = 'uploading' and h.session_id = $1
     and coalesce(h.error_code, '') = c.error_code and coalesce(h.reason, '') = c.reason
   order by held.id limit 1)
) f
where c.session_id = $1 and c.files > 0
order by c.status, c.files desc;

-- config_remember(session_id, config)
-- Only what differs from the last one: told again, it changes nothing.
insert into :"schema".config_history (session_id, config)
select $1, $2::jsonb
where $2::jsonb is distinct from (
  select config from :"schema".config_history where session_id = $1 order by id desc limit 1);
