-- References of the two large tables, checked once a statement instead of once a row. Row by row they cost 12 of the
-- 31 us that a registered file takes, and 4 of the 36 of a settled one (60,000 files, PostgreSQL 15): each row asks
-- whether its session and its destination still exist, and the answer is the same for all.
alter table :"schema".file_uploads
  drop constraint file_uploads_session_id_fkey, drop constraint file_uploads_destination_id_fkey;
-- A row of objects gets its destination from file_uploads, whose trigger has looked.
alter table :"schema".objects drop constraint objects_destination_id_fkey;
-- Destinations are never deleted: what objects says of one would lose its meaning.
create function :"schema".destinations_stay() returns trigger language plpgsql as $body$
begin
  raise foreign_key_violation using message = 'destinations are referred to by objects and file_uploads: they stay';
end
$body$;
create trigger destinations_stay before delete on :"schema".destinations
  for each statement execute function :"schema".destinations_stay();

-- What `on delete cascade` did.
create function :"schema".sync_sessions_deleted() returns trigger language plpgsql as $body$
begin
  delete from :"schema".file_uploads f using old_rows s where f.session_id = s.id;
  return null;
end
$body$;
create trigger sync_sessions_deleted after delete on :"schema".sync_sessions
  referencing old table as old_rows for each statement execute function :"schema".sync_sessions_deleted();

-- Counts as before; and every session and destination it met must be there. The update locks the session's row, so it
-- cannot be deleted by another transaction before this one ends.
create function :"schema".file_uploads_count_new() returns trigger language plpgsql as $body$
declare
  groups bigint;
  counted bigint;
begin
  with added as (
    select session_id, destination_id, count(*) registered, sum(file_size) bytes,
      count(*) filter (where status = 'pending') pending, count(*) filter (where status = 'uploading') uploading,
      count(*) filter (where status = 'uploaded') uploaded,
      coalesce(sum(file_size) filter (where status = 'uploaded'), 0) bytes_uploaded,
      count(*) filter (where status = 'failed') failed, count(*) filter (where status = 'skipped') skipped
    from new_rows group by session_id, destination_id
  ), told as (
    update :"schema".sync_sessions s set
      files_registered = s.files_registered + d.registered, bytes_registered = s.bytes_registered + d.bytes,
      files_pending = s.files_pending + d.pending, files_uploading = s.files_uploading + d.uploading,
      files_uploaded = s.files_uploaded + d.uploaded, bytes_uploaded = s.bytes_uploaded + d.bytes_uploaded,
      files_failed = s.files_failed + d.failed, rows_skipped = s.rows_skipped + d.skipped
    from added d where s.id = d.session_id and s.destination_id = d.destination_id
    returning 1
  )
  select (select count(*) from added), (select count(*) from told) into groups, counted;
  if groups <> counted then
    raise foreign_key_violation using message = 'a file must belong to a session, and go where that session sends to';
  end if;
  return null;
end
$body$;
drop trigger file_uploads_inserted on :"schema".file_uploads;
create trigger file_uploads_inserted after insert on :"schema".file_uploads
  referencing new table as new_rows for each statement execute function :"schema".file_uploads_count_new();

-- Rows keep their session and destination; who wants others inserts others.
create function :"schema".file_uploads_stay() returns trigger language plpgsql as $body$
begin
  raise foreign_key_violation using message = 'a file keeps its session and destination';
end
$body$;
create trigger file_uploads_stay before update of session_id, destination_id on :"schema".file_uploads
  for each statement execute function :"schema".file_uploads_stay();
