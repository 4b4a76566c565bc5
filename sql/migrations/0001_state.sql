-- The state machine of projects, sessions and files (docs/state-machine.md).
-- :"schema" is the schema of the configuration; in psql: \set schema public

-- Who this database is: journals of results that could not be written name it, and are replayed nowhere else.
create table :"schema".installation (
  id          uuid primary key default gen_random_uuid(),
  created_at  timestamptz not null default now()
);
insert into :"schema".installation default values;

create table :"schema".projects (
  id          bigint generated always as identity primary key,
  name        text not null unique,
  created_at  timestamptz not null default now()
);

-- Where files arrive. identity: s3://bucket · s3+http://host:port/bucket · file:///real/path
create table :"schema".destinations (
  id          bigint generated always as identity primary key,
  kind        text not null check (kind in ('s3', 'folder')),
  identity    text not null unique,
  created_at  timestamptz not null default now()
);

-- What a destination holds, as far as we have proven. The identity of a file is (destination, key).
create table :"schema".objects (
  destination_id     bigint not null references :"schema".destinations,
  key                text not null collate "C",
  size_bytes         bigint not null,
  mtime_ns           bigint,              -- of the source file; null for files that we made ourselves
  checksum_algorithm text,
  checksum_type      text check (checksum_type in ('full', 'composite')),
  checksum           text,                -- base64; a composite one ends in -<parts>
  etag               text,
  version_id         text,
  proof              text not null,       -- how we know (docs/state-machine.md, "Proofs")
  ours               boolean not null,    -- false: another program put it there and we only compared
  confirmed_at       timestamptz not null default now(),
  primary key (destination_id, key)
);

create table :"schema".sync_sessions (
  id               bigint generated always as identity primary key,
  project_id       bigint not null references :"schema".projects,
  destination_id   bigint not null references :"schema".destinations,
  source           text not null,
  destination      text not null,         -- as written: s3://bucket/prefix or file:///folder
  prefix           text not null default '',
  command          text not null default 'upload',
  status           text not null default 'in_progress'
    check (status in ('in_progress', 'completed', 'completed_with_errors', 'failed', 'interrupted')),
  error_code       text,                  -- why it failed or was interrupted
  error_message    text,
  -- files that are safe make no row; the scan counts them here
  files_safe       bigint not null default 0,
  bytes_safe       bigint not null default 0,
  -- kept by the trigger file_uploads_count, never by the program
  files_registered bigint not null default 0,
  bytes_registered bigint not null default 0,
  files_pending    bigint not null default 0,
  files_uploading  bigint not null default 0,
  files_uploaded   bigint not null default 0,
  files_failed     bigint not null default 0,
  rows_skipped     bigint not null default 0,
  bytes_uploaded   bigint not null default 0,
  files_skipped    bigint generated always as (files_safe + rows_skipped) stored,
  total_files      bigint generated always as (files_safe + files_registered) stored,
  total_size_bytes bigint generated always as (bytes_safe + bytes_registered) stored,
  scan_finished_at timestamptz,           -- null: total_files is not final
  bandwidth_limit  bigint check (bandwidth_limit > 0), -- bytes/s for every worker; null: the configuration's
  started_at       timestamptz not null default now(),
  completed_at     timestamptz,
  check ((status in ('completed', 'completed_with_errors')) <= (completed_at is not null))
) with (fillfactor = 50);

create index sync_sessions_work on :"schema".sync_sessions (project_id, destination_id, source);

-- A process that works on a session. Its lease covers every file it holds.
create table :"schema".workers (
  id           bigint generated always as identity primary key,
  session_id   bigint not null references :"schema".sync_sessions on delete cascade,
  host         text not null,
  boot         text not null,             -- boot and pid namespace: a pid means nothing outside them
  pid          integer not null,
  process_start text not null,            -- a pid may be used again
  joined       boolean not null default false,
  concurrency  integer,
  started_at   timestamptz not null default now(),
  lease_until  timestamptz not null,
  ended_at     timestamptz,
  end_reason   text check (end_reason in ('done', 'interrupted', 'lost'))
) with (fillfactor = 70);

create index workers_live on :"schema".workers (session_id) where ended_at is null;

create table :"schema".file_uploads (
  id              bigint generated always as identity primary key,
  session_id      bigint not null references :"schema".sync_sessions on delete cascade,
  destination_id  bigint not null references :"schema".destinations,
  local_path      text not null,          -- below the session's source; bytes that are not UTF-8 as \xNN
  s3_key          text not null collate "C", -- decided once
  file_size       bigint not null,
  mtime_ns        bigint,
  status          text not null default 'pending'
    check (status in ('pending', 'uploading', 'uploaded', 'failed', 'skipped')),
  outcome         text generated always as   -- what became of it; null: open
    (case when status in ('uploaded', 'failed', 'skipped') then status end) stored,
  reason          text,                   -- of pending (settling …) and of skipped (already_there …)
  expect          text not null default 'absent' check (expect in ('absent', 'known', 'found')),
                                          -- what registration saw: nothing · in objects · in the store's listing
  attempts        integer not null default 0,
  worker_deaths   integer not null default 0,
  looks           integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  worker_id       bigint,
  error_code      text,
  error_message   text,
  permanent       boolean not null default false,
  derived_from    bigint references :"schema".file_uploads,
  request_id      text,
  duration_ms     integer,
  created_at      timestamptz not null default now(),
  last_attempt_at timestamptz,
  uploaded_at     timestamptz,
  check ((status = 'uploading') = (worker_id is not null)),
  check ((status = 'uploaded') = (uploaded_at is not null)),
  check ((status = 'failed') <= (error_code is not null)),
  check ((status = 'skipped') <= (reason is not null)),
  check (not permanent or status = 'failed')
) with (fillfactor = 50);

-- A claim changes no indexed column, so Postgres writes no index for it (heap-only update, on the half of the page that is
-- kept free): 36 -> 19 us a file, and less for vacuum (40,000 files, PostgreSQL 18). For that, indexes ask for the outcome,
-- not the status, and what a worker has in hand is found without an index of its own.
create unique index file_uploads_key on :"schema".file_uploads (session_id, s3_key);
create unique index file_uploads_open on :"schema".file_uploads (destination_id, s3_key)
  where outcome is null;
create index file_uploads_waiting on :"schema".file_uploads (session_id, id) where outcome is null;
create index file_uploads_failed on :"schema".file_uploads (session_id, id) where outcome = 'failed';
create index file_uploads_derived on :"schema".file_uploads (derived_from) where derived_from is not null;

-- What workers have in hand. They take files in the order of ids, so these are among the first that are open; the session's
-- counter says where to stop looking.
create view :"schema".files_in_hand as
select s.id as session_id, f.worker_id, f.id, f.file_size, f.error_code, f.reason
from :"schema".sync_sessions s
cross join lateral (
  select * from :"schema".file_uploads u
  where u.session_id = s.id and u.outcome is null and u.status = 'uploading'
  order by u.id limit s.files_uploading
) f;

-- Every attempt that did not end in `uploaded`; those that did are in file_uploads itself. View: file_attempts.
create table :"schema".upload_attempts (
  id            bigint generated always as identity primary key,
  file_id       bigint not null references :"schema".file_uploads on delete cascade,
  attempt       integer not null,
  worker_id     bigint,
  outcome       text not null check (outcome in ('postponed', 'failed', 'released', 'revised', 'rescued', 'skipped')),
  error_code    text,
  error_message text,
  request_id    text,
  duration_ms   integer,
  finished_at   timestamptz not null default now()
);

create index upload_attempts_file on :"schema".upload_attempts (file_id);

create view :"schema".file_attempts as
  select file_id, attempt, worker_id, outcome, error_code, error_message, request_id, duration_ms, finished_at
  from :"schema".upload_attempts
  union all
  select id, attempts + 1, null, 'uploaded', null, null, request_id, duration_ms, uploaded_at
  from :"schema".file_uploads where status = 'uploaded';

-- Parts survive the process: whoever takes the file next sends only what is missing.
create table :"schema".multipart_uploads (
  upload_id          text primary key,
  file_id            bigint not null references :"schema".file_uploads on delete cascade,
  destination_id     bigint not null references :"schema".destinations,
  key                text not null,
  part_size_bytes    bigint not null,
  size_bytes         bigint not null,
  mtime_ns           bigint not null,
  checksum_algorithm text,
  status             text not null default 'open' check (status in ('open', 'completed', 'aborted')),
  created_at         timestamptz not null default now(),
  ended_at           timestamptz
);

create unique index multipart_uploads_open on :"schema".multipart_uploads (file_id) where status = 'open';

create table :"schema".multipart_parts (
  upload_id   text not null references :"schema".multipart_uploads on delete cascade,
  part_number integer not null,
  size_bytes  bigint not null,
  etag        text not null,
  checksum    text,
  uploaded_at timestamptz not null default now(),
  primary key (upload_id, part_number)
);

create table :"schema".config_history (
  id         bigint generated always as identity primary key,
  session_id bigint not null references :"schema".sync_sessions on delete cascade,
  config     jsonb not null,              -- effective, without secrets
  created_at timestamptz not null default now()
);

-- Counters follow the rows in the same statement, whoever moves them (psql included).
create function :"schema".file_uploads_count() returns trigger language plpgsql as $body$
begin
  if tg_op = 'INSERT' then
    update :"schema".sync_sessions s set
      files_registered = s.files_registered + d.registered, bytes_registered = s.bytes_registered + d.bytes,
      files_pending = s.files_pending + d.pending, files_uploading = s.files_uploading + d.uploading,
      files_uploaded = s.files_uploaded + d.uploaded, bytes_uploaded = s.bytes_uploaded + d.bytes_uploaded,
      files_failed = s.files_failed + d.failed, rows_skipped = s.rows_skipped + d.skipped
    from (
      select session_id, count(*) registered, sum(file_size) bytes,
        count(*) filter (where status = 'pending') pending, count(*) filter (where status = 'uploading') uploading,
        count(*) filter (where status = 'uploaded') uploaded,
        coalesce(sum(file_size) filter (where status = 'uploaded'), 0) bytes_uploaded,
        count(*) filter (where status = 'failed') failed, count(*) filter (where status = 'skipped') skipped
      from new_rows group by session_id
    ) d where s.id = d.session_id;
  else
    update :"schema".sync_sessions s set
      bytes_registered = s.bytes_registered + d.bytes,
      files_pending = s.files_pending + d.pending, files_uploading = s.files_uploading + d.uploading,
      files_uploaded = s.files_uploaded + d.uploaded, bytes_uploaded = s.bytes_uploaded + d.bytes_uploaded,
      files_failed = s.files_failed + d.failed, rows_skipped = s.rows_skipped + d.skipped
    from (
      select session_id, sum(sign * file_size) bytes,
        coalesce(sum(sign) filter (where status = 'pending'), 0) pending,
        coalesce(sum(sign) filter (where status = 'uploading'), 0) uploading,
        coalesce(sum(sign) filter (where status = 'uploaded'), 0) uploaded,
        coalesce(sum(sign * file_size) filter (where status = 'uploaded'), 0) bytes_uploaded,
        coalesce(sum(sign) filter (where status = 'failed'), 0) failed,
        coalesce(sum(sign) filter (where status = 'skipped'), 0) skipped
      from (
        select session_id, status, file_size, 1 as sign from new_rows
        union all
        select session_id, status, file_size, -1 from old_rows
      ) moved group by session_id
    ) d
    where s.id = d.session_id
      and (d.bytes, d.pending, d.uploading, d.uploaded, d.bytes_uploaded, d.failed, d.skipped) <> (0, 0, 0, 0, 0, 0, 0);
  end if;
  return null;
end
$body$;

create trigger file_uploads_inserted after insert on :"schema".file_uploads
  referencing new table as new_rows for each statement execute function :"schema".file_uploads_count();
create trigger file_uploads_updated after update on :"schema".file_uploads
  referencing old table as old_rows new table as new_rows
  for each statement execute function :"schema".file_uploads_count();
