-- What dashboards ask for (docs/dashboards.md): right while a session runs as well as after it, and cheap however many
-- files there are. file_uploads gets no index for it; uploads are counted by the minute as they are confirmed.

-- `files.tar.GZ` is a gz; what only looks like an ending (a number, a sentence) is none.
create function :"schema".file_type(key text) returns text language sql immutable parallel safe as $body$
  -- a plain match of the last piece: capturing it costs four times as much (11 us against 3)
  select case when strpos(right(key, 8), '.') > 0 and split_part(right(key, 8), '.', -1) ~ '^[A-Za-z][A-Za-z0-9]*$'
    then lower(split_part(right(key, 8), '.', -1)) else 'none' end
$body$;

-- Confirmed files by the minute of uploaded_at: always equal to the same sum over file_uploads.
create table :"schema".upload_minutes (
  session_id bigint not null references :"schema".sync_sessions on delete cascade,
  minute     timestamptz not null,
  file_type  text not null,
  files      bigint not null,
  bytes      bigint not null,
  primary key (session_id, minute, file_type)
) with (fillfactor = 50);

create index upload_minutes_minute on :"schema".upload_minutes (minute);

insert into :"schema".upload_minutes (session_id, minute, file_type, files, bytes)
select session_id, date_trunc('minute', uploaded_at), :"schema".file_type(s3_key), count(*), sum(file_size)
from :"schema".file_uploads where status = 'uploaded'
group by 1, 2, 3;

-- What is wrong with a session's files, counted ('' for null): `status` and dashboards must not read 300,000 failed rows
-- to say that they failed. A file that is registered, claimed and settled never comes by here.
create table :"schema".session_causes (
  session_id bigint not null references :"schema".sync_sessions on delete cascade,
  status     text not null,
  error_code text not null,
  reason     text not null,
  permanent  boolean not null,
  files      bigint not null,
  bytes      bigint not null,
  primary key (session_id, status, error_code, reason, permanent)
) with (fillfactor = 50);

create function :"schema".has_cause(status text, error_code text, reason text) returns boolean
language sql immutable parallel safe as $body$
  select status in ('failed', 'skipped')
    or status in ('pending', 'uploading') and (error_code is not null or reason is not null)
$body$;

insert into :"schema".session_causes (session_id, status, error_code, reason, permanent, files, bytes)
select session_id, status, coalesce(error_code, ''), coalesce(reason, ''), permanent, count(*), sum(file_size)
from :"schema".file_uploads where :"schema".has_cause(status, error_code, reason)
group by 1, 2, 3, 4, 5;

create function :"schema".file_uploads_tally() returns trigger language plpgsql as $body$
begin
  if tg_op = 'INSERT' then
    insert into :"schema".upload_minutes as m (session_id, minute, file_type, files, bytes)
    select session_id, date_trunc('minute', uploaded_at), :"schema".file_type(s3_key), count(*), sum(file_size)
    from new_rows where status = 'uploaded'
    group by 1, 2, 3 order by 1, 2, 3
    on conflict (session_id, minute, file_type) do update
    set files = m.files + excluded.files, bytes = m.bytes + excluded.bytes;

    insert into :"schema".session_causes as c (session_id, status, error_code, reason, permanent, files, bytes)
    select session_id, status, coalesce(error_code, ''), coalesce(reason, ''), permanent, count(*), sum(file_size)
    from new_rows where :"schema".has_cause(status, error_code, reason)
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict (session_id, status, error_code, reason, permanent) do update
    set files = c.files + excluded.files, bytes = c.bytes + excluded.bytes;
  else
    insert into :"schema".upload_minutes as m (session_id, minute, file_type, files, bytes)
    select session_id, date_trunc('minute', uploaded_at), :"schema".file_type(s3_key), sum(sign), sum(sign * file_size)
    from (
      select session_id, uploaded_at, s3_key, file_size, 1 as sign from new_rows where status = 'uploaded'
      union all
      select session_id, uploaded_at, s3_key, file_size, -1 from old_rows where status = 'uploaded'
    ) moved
    group by 1, 2, 3 having sum(sign) <> 0 or sum(sign * file_size) <> 0 order by 1, 2, 3
    on conflict (session_id, minute, file_type) do update
    set files = m.files + excluded.files, bytes = m.bytes + excluded.bytes;

    insert into :"schema".session_causes as c (session_id, status, error_code, reason, permanent, files, bytes)
    select session_id, status, coalesce(error_code, ''), coalesce(reason, ''), permanent, sum(sign), sum(sign * file_size)
    from (
      select session_id, status, error_code, reason, permanent, file_size, 1 as sign from new_rows
      where :"schema".has_cause(status, error_code, reason)
      union all
      select session_id, status, error_code, reason, permanent, file_size, -1 from old_rows
      where :"schema".has_cause(status, error_code, reason)
    ) moved
    group by 1, 2, 3, 4, 5 having sum(sign) <> 0 or sum(sign * file_size) <> 0 order by 1, 2, 3, 4, 5
    on conflict (session_id, status, error_code, reason, permanent) do update
    set files = c.files + excluded.files, bytes = c.bytes + excluded.bytes;
  end if;
  return null;
end
$body$;

-- Named to fire after file_uploads_inserted and file_uploads_updated, which lock the session's row first.
create trigger file_uploads_zz_inserted after insert on :"schema".file_uploads
  referencing new table as new_rows for each statement execute function :"schema".file_uploads_tally();
create trigger file_uploads_zz_updated after update on :"schema".file_uploads
  referencing old table as old_rows new table as new_rows
  for each statement execute function :"schema".file_uploads_tally();

-- Attempts that failed, by time. Only what failed has a row there.
create index upload_attempts_finished on :"schema".upload_attempts (finished_at);
-- Of rows that the hot path never makes: the first one skipped, the next one to wait for, the last ones failed.
create index file_uploads_skipped on :"schema".file_uploads (session_id, id) where outcome = 'skipped';
create index file_uploads_with_cause on :"schema".file_uploads (session_id, next_attempt_at)
  where outcome is null and (error_code is not null or reason is not null);
-- What failed has an error_code; saying so keeps the planner from this index where it should take file_uploads_failed.
create index file_uploads_failed_at on :"schema".file_uploads (coalesce(last_attempt_at, created_at))
  where outcome = 'failed' and error_code is not null;
create index workers_session on :"schema".workers (session_id);

create view :"schema".dashboard_sessions as
select s.id as session_id, p.name as project, s.command, s.status, s.source, s.destination,
  case when d.kind = 's3' then substring(d.identity from '[^/]+$') else d.identity end as bucket,
  case s.prefix when '' then '(none)' else s.prefix end as prefix,
  s.error_code, s.error_message, s.started_at, s.completed_at, s.scan_finished_at is not null as scan_finished,
  s.total_files, s.files_safe,
  -- progress counts against what there is to upload: files that were safe before, or left alone, need nothing
  s.files_registered - s.rows_skipped as files_to_upload, s.files_uploaded, s.files_failed,
  s.files_pending + s.files_uploading as files_left, s.bytes_uploaded,
  case when s.files_registered > s.rows_skipped
    then round(100.0 * s.files_uploaded / (s.files_registered - s.rows_skipped), 2)
    else case when s.scan_finished_at is null then 0 else 100 end end as percent,
  round(100.0 * s.files_uploaded / nullif(s.files_uploaded + s.files_failed, 0), 2) as success_percent,
  w.workers, w.active_seconds, u.last_upload_minute,
  s.bytes_uploaded / nullif(w.active_seconds, 0) as bytes_per_second,
  s.files_uploaded / nullif(w.active_seconds, 0) as files_per_second,
  case when s.status = 'in_progress' then coalesce(r.bytes / r.seconds, 0) else 0 end as current_bytes_per_second,
  case when s.status = 'in_progress' then coalesce(r.files / r.seconds, 0) else 0 end as current_files_per_second,
  -- in progress, with something to do, and nothing confirmed for so long
  case when s.status = 'in_progress' and (s.scan_finished_at is null or s.files_pending + s.files_uploading > 0)
    then extract(epoch from now() - greatest(u.last_upload_minute, w.last_started_at, s.started_at))
    else 0 end::float8 as idle_seconds
from :"schema".sync_sessions s
join :"schema".projects p on p.id = s.project_id
join :"schema".destinations d on d.id = s.destination_id
cross join lateral (
  select count(*) filter (where ended_at is null and lease_until > now()) as workers, max(started_at) as last_started_at,
    -- of those who held the session; who joined worked at the same time
    coalesce(sum(extract(epoch from greatest(least(coalesce(ended_at, now()), lease_until) - started_at, '0')))
      filter (where not joined), 0)::float8 as active_seconds
  from :"schema".workers where session_id = s.id
) w
cross join lateral (
  select max(minute) as last_upload_minute from :"schema".upload_minutes where session_id = s.id
) u
cross join lateral (
  -- this minute and the one before
  select sum(files)::float8 as files, sum(bytes)::float8 as bytes,
    greatest(1, extract(epoch from now()
      - greatest(date_trunc('minute', now()) - interval '1 minute', w.last_started_at)))::float8 as seconds
  from :"schema".upload_minutes
  where session_id = s.id and minute >= date_trunc('minute', now()) - interval '1 minute'
) r;

create view :"schema".dashboard_uploads as
select m.minute, m.session_id, p.name as project,
  case when d.kind = 's3' then substring(d.identity from '[^/]+$') else d.identity end as bucket,
  case s.prefix when '' then '(none)' else s.prefix end as prefix,
  m.file_type, m.files, m.bytes
from :"schema".upload_minutes m
join :"schema".sync_sessions s on s.id = m.session_id
join :"schema".projects p on p.id = s.project_id
join :"schema".destinations d on d.id = s.destination_id;

-- Every attempt that failed, whether or not a later one succeeded.
create view :"schema".dashboard_failed_attempts as
select a.finished_at, w.session_id, p.name as project,
  case when d.kind = 's3' then substring(d.identity from '[^/]+$') else d.identity end as bucket,
  case s.prefix when '' then '(none)' else s.prefix end as prefix,
  a.outcome, a.error_code, a.file_id
from :"schema".upload_attempts a
join :"schema".workers w on w.id = a.worker_id
join :"schema".sync_sessions s on s.id = w.session_id
join :"schema".projects p on p.id = s.project_id
join :"schema".destinations d on d.id = s.destination_id
where a.outcome in ('postponed', 'failed');

create view :"schema".dashboard_failed_files as
select coalesce(f.last_attempt_at, f.created_at) as failed_at, f.session_id, p.name as project,
  case when d.kind = 's3' then substring(d.identity from '[^/]+$') else d.identity end as bucket,
  case s.prefix when '' then '(none)' else s.prefix end as prefix,
  f.local_path, f.s3_key, f.file_size, f.attempts, f.error_code, f.error_message, f.permanent
from :"schema".file_uploads f
join :"schema".sync_sessions s on s.id = f.session_id
join :"schema".projects p on p.id = s.project_id
join :"schema".destinations d on d.id = s.destination_id
where f.outcome = 'failed' and f.error_code is not null;
