-- The map of devices and patients, and what recordings have of it. In psql: \set schema public

-- devices_actor(actor)
-- For the audit trail, until the transaction ends.
select set_config('uploader.actor', $1::text, true);

-- devices_lock()
-- Before any change of the map, and before a recording looks itself up: whoever comes second sees what the first did.
lock table :"schema".device_map in share row exclusive mode;

-- devices_entries(device)
select id, device, patient, shimmer1, shimmer2, lower(valid) as "from", upper(valid) as "to", updated_at
from :"schema".device_map where device = $1 order by lower(valid) nulls first;

-- devices_page(after_device, after_id, at, max)
select id, device, patient, shimmer1, shimmer2, lower(valid) as "from", upper(valid) as "to", updated_at
from :"schema".device_map
where ($1::text is null or (device, coalesce(lower(valid), '-infinity'), id) >
    ($1::text, (select coalesce(lower(m.valid), '-infinity') from :"schema".device_map m where m.id = $2::bigint), $2::bigint))
  and ($1::text is null or device >= $1::text)
  and ($3::timestamptz is null or valid @> $3::timestamptz)
order by device, lower(valid) nulls first, id limit $4;

-- devices_insert(device, patient, shimmer1, shimmer2, from, to)
insert into :"schema".device_map (device, patient, shimmer1, shimmer2, valid)
values ($1, $2, $3::text[], $4::text[], tstzrange($5::timestamptz, $6::timestamptz))
returning id;

-- devices_update(id, patient, shimmer1, shimmer2, from, to)
update :"schema".device_map
set patient = $2, shimmer1 = $3::text[], shimmer2 = $4::text[], updated_at = now(),
    valid = tstzrange($5::timestamptz, $6::timestamptz)
where id = $1;

-- devices_delete(ids)
delete from :"schema".device_map where id = any ($1::bigint[]);

-- devices_history(device)
select changed_at, changed_by, change, entry_id, device, patient, shimmer1, shimmer2,
  lower(valid) as "from", upper(valid) as "to"
from :"schema".device_map_history where device = $1 order by id;

-- devices_stage()
create temporary table uploader_import (
  line     integer not null,
  device   text not null collate "C",
  patient  text not null,
  shimmer1 text[],
  shimmer2 text[],
  valid    tstzrange not null
) on commit drop;

-- devices_stage_add(lines, devices, patients, shimmer1, shimmer2, froms, tos)
-- Sensors come as one text each, with commas between; null: not said.
insert into pg_temp.uploader_import (line, device, patient, shimmer1, shimmer2, valid)
select t.line, t.device, t.patient, string_to_array(t.shimmer1, ','), string_to_array(t.shimmer2, ','),
  tstzrange(t.since::timestamptz, t.until::timestamptz)
from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
  as t(line, device, patient, shimmer1, shimmer2, since, until);

-- devices_stage_ready()
analyze pg_temp.uploader_import;

-- devices_stage_clash()
-- The first line that overlaps another one of the file: sorted by their starts, neighbours do if any do.
select greatest(line, other) as line, least(line, other) as other, device,
  lower(valid) as "from", upper(valid) as "to", lower(other_valid) as other_from, upper(other_valid) as other_to
from (
  select line, lag(line) over w as other, device, valid, lag(valid) over w as other_valid
  from pg_temp.uploader_import
  window w as (partition by device order by lower(valid) nulls first, line)
) t
where valid && other_valid
order by 1 limit 1;

-- devices_stage_overlap()
-- The first line that overlaps an entry of the map without being the same period.
select i.line, i.device, lower(i.valid) as "from", upper(i.valid) as "to", m.id as entry_id,
  lower(m.valid) as other_from, upper(m.valid) as other_to
from pg_temp.uploader_import i
join :"schema".device_map m on m.device = i.device and m.valid && i.valid and m.valid <> i.valid
order by i.line limit 1;

-- devices_stage_sensors()
-- The first line after which a sensor would be left and right at once.
select i.line
from pg_temp.uploader_import i
join :"schema".device_map m on m.device = i.device and m.valid = i.valid
where coalesce(i.shimmer1, m.shimmer1) && coalesce(i.shimmer2, m.shimmer2)
order by i.line limit 1;

-- devices_stage_merge()
-- An entry of the same period takes what the file says, and keeps what it does not say.
with changed as (
  update :"schema".device_map m
  set patient = i.patient, shimmer1 = coalesce(i.shimmer1, m.shimmer1), shimmer2 = coalesce(i.shimmer2, m.shimmer2),
      updated_at = now()
  from pg_temp.uploader_import i
  where m.device = i.device and m.valid = i.valid
    and (m.patient, m.shimmer1, m.shimmer2) is distinct from
      (i.patient, coalesce(i.shimmer1, m.shimmer1), coalesce(i.shimmer2, m.shimmer2))
  returning 1
), added as (
  insert into :"schema".device_map (device, patient, shimmer1, shimmer2, valid)
  select i.device, i.patient, coalesce(i.shimmer1, '{}'), coalesce(i.shimmer2, '{}'), i.valid
  from pg_temp.uploader_import i
  where not exists (select from :"schema".device_map m where m.device = i.device and m.valid = i.valid)
  order by i.device, i.line
  returning 1
)
select (select count(*) from changed)::int as changed, (select count(*) from added)::int as added,
  (select count(*) from pg_temp.uploader_import)::int as rows;

-- devices_unmapped()
select coalesce(d.phone, d.device_mac) as device, d.device_mac, min(d.shimmer_device) as sensor,
  count(*)::int as recordings, min(d.started_at) as first_started_at, max(d.started_at) as last_started_at,
  (count(*) filter (where d.started_at is null))::int as undated
from :"schema".decoded_recordings d
where d.status = 'decoded' and d.patient is null
group by 1, d.device_mac
order by 1, 2;

-- recordings_names(file_id, names, made_keys)
-- Of a recording that has just been decoded.
update :"schema".decoded_recordings d
set device_names = $2::text[], made_keys = $3::text[]
from :"schema".file_uploads f
where f.id = $1 and d.destination_id = f.destination_id and d.key = f.s3_key
returning d.id;

-- recordings_attribute(ids, devices)
-- Who wore it then, by the surest name that the map knows: of these recordings, else of those that name one of these
-- devices, else of all. One that knows no time has the wearer of an entry without ends. Returns what changed.
with asked as (
  select d.id, d.destination_id, d.patient, coalesce(d.phone, '') as phone, d.started_at, d.device_names
  from :"schema".decoded_recordings d
  where d.status = 'decoded' and ($1::bigint[] is null or d.id = any ($1::bigint[]))
    and ($2::text[] is null or d.device_names && $2::text[])
), worn as (
  select a.id, a.destination_id, a.patient as was, a.phone, a.started_at, w.patient, w.device, w.slot
  from asked a
  left join lateral (
    select m.patient, m.device,
      case when m.shimmer1 && a.device_names then 1 when m.shimmer2 && a.device_names then 2 else 1 end as slot
    from unnest(a.device_names) with ordinality as n(name, rank)
    join :"schema".device_map m on m.device = n.name
      and (m.valid @> a.started_at or (a.started_at is null and lower_inf(m.valid) and upper_inf(m.valid)))
    order by n.rank limit 1
  ) w on true
)
update :"schema".decoded_recordings d
set patient = w.patient, device = w.device, slot = w.slot,
    group_id = case when w.patient is null or w.started_at is null then null else d.group_id end
from worn w
where d.id = w.id and (d.patient, d.device, d.slot) is distinct from (w.patient, w.device, w.slot)
returning d.id, w.destination_id, w.was, w.patient, w.phone, w.started_at;

-- recordings_runs(destination_ids, patients, phones, times)
-- Recordings that can be of one group with one at these times, of patient and phone: from one pause of more than 15 s to
-- the next. Without times: all of these patients and phones.
with seeds as (
  select distinct t.destination_id, t.patient, t.phone, t.at
  from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[]) as t(destination_id, patient, phone, at)
), steps as (
  select d.id, d.destination_id, d.patient, p.phone, d.started_at, d.slot, d.group_id, d.key,
    lag(d.started_at) over w as before
  from (select distinct destination_id, patient, phone from seeds) p
  join :"schema".decoded_recordings d
    on d.destination_id = p.destination_id and d.patient = p.patient and coalesce(d.phone, '') = p.phone
  where d.started_at is not null and d.status = 'decoded'
  window w as (partition by d.destination_id, d.patient, p.phone order by d.started_at, d.key)
), runs as (
  select s.*, count(*) filter (where s.before is null or s.started_at - s.before > interval '15 s') over
    (partition by s.destination_id, s.patient, s.phone order by s.started_at, s.key) as run
  from steps s
), touched as (
  select distinct r.destination_id, r.patient, r.phone, r.run
  from runs r join seeds using (destination_id, patient, phone)
  where seeds.at is null or r.started_at between seeds.at - interval '15 s' and seeds.at + interval '15 s'
)
select r.id, r.started_at, r.slot, r.group_id, concat_ws('/', r.destination_id, r.run, r.phone, r.patient) as run
from runs r join touched using (destination_id, patient, phone, run)
order by r.destination_id, r.patient, r.phone, r.started_at, r.key;

-- recordings_group(ids, groups)
update :"schema".decoded_recordings d set group_id = t.group_id
from unnest($1::bigint[], $2::text[]) as t(id, group_id)
where d.id = t.id and d.group_id is distinct from t.group_id
returning d.id;

-- recordings_due(destination_id, tags, after_id, max)
-- What the store says of them is not what is written here.
select d.*, concat_ws(' ', extract(epoch from d.decoded_at), extract(epoch from d.told_at)) as seen, s.summary_due, s.tags_due
from :"schema".decoded_recordings d
cross join lateral (
  select case when d.told_at is null then d.patient is not null
      else d.decoded_at > d.told_at or (d.told_patient, d.told_device, d.told_slot, d.told_group_id)
        is distinct from (d.patient, d.device, d.slot, d.group_id) end as summary_due,
    d.tagged is distinct from (case when $2::boolean then d.patient end) as tags_due
) s
where d.destination_id = $1 and d.status = 'decoded' and d.id > $3
  and (d.patient is not null or d.told_at is not null or d.tagged is not null)
  and (s.summary_due or s.tags_due)
order by d.id limit $4;

-- recordings_behind(tags)
select n.id, n.identity, count(*)::int as recordings
from :"schema".decoded_recordings d join :"schema".destinations n on n.id = d.destination_id
where d.status = 'decoded' and (d.patient is not null or d.told_at is not null or d.tagged is not null)
  and (d.tagged is distinct from (case when $1::boolean then d.patient end)
    or case when d.told_at is null then d.patient is not null
      else d.decoded_at > d.told_at or (d.told_patient, d.told_device, d.told_slot, d.told_group_id)
        is distinct from (d.patient, d.device, d.slot, d.group_id) end)
group by n.id order by n.id;

-- recordings_told(id, seen, has_summary, patient, device, slot, group_id, has_tags, tagged)
-- Unless somebody else told the store meanwhile, or it was decoded anew.
update :"schema".decoded_recordings
set told_at = clock_timestamp(),
    told_patient = case when $3::boolean then $4 else told_patient end,
    told_device = case when $3::boolean then $5 else told_device end,
    told_slot = case when $3::boolean then $6::smallint else told_slot end,
    told_group_id = case when $3::boolean then $7 else told_group_id end,
    tagged = case when $8::boolean then $9 else tagged end
where id = $1 and concat_ws(' ', extract(epoch from decoded_at), extract(epoch from told_at)) = $2
returning id;

-- recordings_untold(id, has_tags)
-- Nobody knows who was last: it is told again.
update :"schema".decoded_recordings
set told_at = '-infinity', tagged = case when $2::boolean then '' else tagged end
where id = $1;

-- objects_note(destination_id, key, size_bytes, checksum_algorithm, checksum_type, checksum, etag, version_id, proof)
-- A file that we made ourselves.
insert into :"schema".objects as o
  (destination_id, key, size_bytes, checksum_algorithm, checksum_type, checksum, etag, version_id, proof, ours)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, true)
on conflict (destination_id, key) do update
set size_bytes = excluded.size_bytes, mtime_ns = null, checksum_algorithm = excluded.checksum_algorithm,
    checksum_type = excluded.checksum_type, checksum = excluded.checksum, etag = excluded.etag,
    version_id = excluded.version_id, proof = excluded.proof, ours = true, confirmed_at = now();

-- recordings_any()
select exists (select from :"schema".decoded_recordings where status = 'decoded') as are_any;

-- recordings_pairs(session_id)
-- Recordings that this session sent or found (files that were safe have no rows: then all below its prefix), and what
-- shares a group with them.
with session as (
  select s.id, s.destination_id, s.files_safe > 0 as has_safe, nullif(s.prefix, '') || '/' as prefix
  from :"schema".sync_sessions s where s.id = $1
), mine as (
  select d.id, d.group_id
  from session s
  join :"schema".decoded_recordings d on d.destination_id = s.destination_id and d.status = 'decoded'
  where exists (select from :"schema".file_uploads f where f.session_id = s.id and f.s3_key = d.key)
    or (s.has_safe and starts_with(d.key, coalesce(s.prefix, '')))
)
select d.group_id, d.patient, d.device, d.slot, coalesce(d.shimmer_device, d.device_name) as sensor, d.started_at, d.key
from :"schema".decoded_recordings d join session s on s.destination_id = d.destination_id
where d.id in (select id from mine) or d.group_id in (select group_id from mine where group_id is not null)
order by d.started_at, d.group_id, d.slot, d.key;
