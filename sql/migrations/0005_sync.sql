-- For sync: what a layout says of a file beside its key, files that are not ready yet, and one watcher per source.
alter table :"schema".file_uploads
  add column object_type text not null default 'recording',  -- of the object's metadata
  add column priority    smallint not null default 5,        -- lower goes first; 5 is bulk
  add column body        bytea,                              -- bytes that a layout made, until they are uploaded
  add column not_ready   boolean not null default false,     -- pending, and no worker may take it: reason says why
  add column inode       numeric;                            -- of a file that is not ready, as it was last seen

create index file_uploads_urgent on :"schema".file_uploads (session_id, priority, id)
  where outcome is null and priority < 5;
create index file_uploads_not_ready on :"schema".file_uploads (session_id, local_path)
  where outcome is null and (not_ready or looks > 0);

-- Who looks after a source: one process, by a lease of the database's clock.
create table :"schema".sync_leases (
  destination_id bigint not null references :"schema".destinations,
  prefix         text not null,
  source         text not null,
  host           text not null,
  boot           text not null,
  pid            integer not null,
  process_start  text not null,
  since          timestamptz not null default now(),
  lease_until    timestamptz not null,
  primary key (destination_id, prefix, source)
);
