-- Who wore which device, when (docs/devices.md), and what recordings have of it.
create table :"schema".device_map (
  id         bigint generated always as identity primary key,
  device     text not null collate "C",  -- phone, MAC, sensor or serial number, in one spelling (src/core/devices.ts)
  patient    text not null,              -- as given, or a pseudonym
  shimmer1   text[] not null default '{}', -- left
  shimmer2   text[] not null default '{}', -- right
  valid      tstzrange not null default '(,)',
  updated_at timestamptz not null default now(),
  check (not isempty(valid) and not upper_inc(valid) and (lower_inf(valid) or lower_inc(valid)))
);

create index device_map_device on :"schema".device_map (device, lower(valid));

-- The audit trail, written by the trigger below whoever changes the map: what stood after a change, before a removal.
create table :"schema".device_map_history (
  id         bigint generated always as identity primary key,
  entry_id   bigint not null,
  change     text not null check (change in ('added', 'changed', 'removed')),
  device     text not null collate "C",
  patient    text not null,
  shimmer1   text[] not null,
  shimmer2   text[] not null,
  valid      tstzrange not null,
  changed_by text not null,              -- user@host of the program, else the database's user
  changed_at timestamptz not null default now()
);

create index device_map_history_device on :"schema".device_map_history (device, id);

create function :"schema".device_map_history_keep() returns trigger language plpgsql as $body$
declare
  actor text := coalesce(nullif(current_setting('uploader.actor', true), ''), current_user);
begin
  if tg_op = 'DELETE' then
    insert into :"schema".device_map_history
      (entry_id, change, device, patient, shimmer1, shimmer2, valid, changed_by)
    select id, 'removed', device, patient, shimmer1, shimmer2, valid, actor from old_rows;
  else
    insert into :"schema".device_map_history
      (entry_id, change, device, patient, shimmer1, shimmer2, valid, changed_by)
    select id, case tg_op when 'INSERT' then 'added' else 'changed' end, device, patient, shimmer1, shimmer2, valid, actor
    from new_rows;
  end if;
  return null;
end
$body$;

-- No two entries of a device overlap. An exclusion constraint over a device and a range needs btree_gist (an extension that
-- may be absent), or a range type of texts and 63 us a row; this takes a tenth of it. The lock makes writers take turns.
create function :"schema".device_map_guard() returns trigger language plpgsql as $body$
begin
  lock table :"schema".device_map in share row exclusive mode;
  if exists (
    select from new_rows n join :"schema".device_map m on m.device = n.device and m.id <> n.id and m.valid && n.valid
  ) then
    raise exclusion_violation using message = 'two entries of one device overlap in time';
  end if;
  return null;
end
$body$;

create trigger device_map_guard_insert after insert on :"schema".device_map
  referencing new table as new_rows for each statement execute function :"schema".device_map_guard();
create trigger device_map_guard_update after update on :"schema".device_map
  referencing new table as new_rows for each statement execute function :"schema".device_map_guard();
create trigger device_map_history_insert after insert on :"schema".device_map
  referencing new table as new_rows for each statement execute function :"schema".device_map_history_keep();
create trigger device_map_history_update after update on :"schema".device_map
  referencing new table as new_rows for each statement execute function :"schema".device_map_history_keep();
create trigger device_map_history_delete after delete on :"schema".device_map
  referencing old table as old_rows for each statement execute function :"schema".device_map_history_keep();

alter table :"schema".decoded_recordings
  add column device_names  text[] not null default '{}', -- what the map may know its device by, surest first
  add column made_keys     text[] not null default '{}', -- of the files made of it
  add column device        text,                         -- by which the map knew it
  add column slot          smallint check (slot in (1, 2)), -- shimmer1 (left) or shimmer2 (right)
  -- What the store was last told, in the summary beside the decoded file, and in tags; null: nothing.
  add column told_at       timestamptz,
  add column told_patient  text,
  add column told_device   text,
  add column told_slot     smallint,
  add column told_group_id text,
  add column tagged        text;

update :"schema".decoded_recordings d
set device_names = array_remove(array[d.device_mac, d.phone, d.shimmer_device,
      'Shimmer_' || right(replace(d.device_mac, ':', ''), 4), d.device_name], null),
    made_keys = coalesce((
      select array_agg(distinct f.s3_key) from :"schema".file_uploads f where f.derived_from = d.file_id), '{}')
where d.status = 'decoded';

create index decoded_recordings_names on :"schema".decoded_recordings using gin (device_names);
create index decoded_recordings_patient on :"schema".decoded_recordings (destination_id, patient, started_at)
  where patient is not null;
create index decoded_recordings_told on :"schema".decoded_recordings (destination_id, id)
  where patient is not null or told_at is not null or tagged is not null;
