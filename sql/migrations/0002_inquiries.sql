-- For explain (progress of one key) and verify (the part size behind a composite checksum). Uploads in parts are few
-- beside files, and this costs one insert each; file_uploads needs no further index (sql/queries/explain.sql).
create index multipart_uploads_key on :"schema".multipart_uploads (destination_id, key collate "C");

-- A file's row with its session: what `uploader explain` tells, and psql may ask.
create view :"schema".file_histories as
  select f.id, f.session_id, s.status as session_status, s.command as session_command, p.name as project, s.source,
    s.prefix, s.destination, f.destination_id, f.local_path, f.s3_key, f.file_size, f.mtime_ns::text, f.status,
    f.reason, f.expect, f.attempts, f.worker_deaths, f.next_attempt_at, f.error_code, f.error_message, f.permanent,
    f.derived_from, f.created_at, f.uploaded_at, f.worker_id
  from :"schema".file_uploads f
  join :"schema".sync_sessions s on s.id = f.session_id
  join :"schema".projects p on p.id = s.project_id;
