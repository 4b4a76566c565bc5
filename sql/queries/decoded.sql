-- Decoded recordings, and the files made of them. In psql: \set schema public

-- files_derive(source_id, worker_id, keys, sizes)
-- New rows for files made of a row, in the hands of the worker that made them (pending when its lease lapsed). One that
-- stands there already (`standing`) is brought up to date by the move renew; `taken`: another file has this key.
with source as (
  select f.* from :"schema".file_uploads f where f.id = $1
), made as (
  select t.key, t.size_bytes, s.*
  from source s cross join unnest($3::text[], $4::bigint[]) as t(key, size_bytes)
), standing as (
  select f.*, m.size_bytes as new_size, m.mtime_ns as new_mtime_ns, m.id as source_id,
    f.derived_from is null or f.local_path <> m.local_path as taken
  from made m join :"schema".file_uploads f on f.session_id = m.session_id and f.s3_key = m.key
), renewed as (
  update :"schema".file_uploads f
  set status = 'pending', worker_id = null, uploaded_at = null, permanent = false, reason = null, attempts = 0,
      error_code = null, error_message = null, next_attempt_at = now(), looks = 0, file_size = s.new_size,
      mtime_ns = s.new_mtime_ns, derived_from = s.source_id, expect = case when o.key is null then 'absent' else 'known' end
  from standing s
  left join :"schema".objects o on o.destination_id = s.destination_id and o.key = s.s3_key
  where f.id = s.id and not s.taken and f.status in ('pending', 'uploaded', 'failed', 'skipped')
    and (f.file_size, f.mtime_ns) is distinct from (s.new_size, s.new_mtime_ns)
), live as (
  select w.id from :"schema".workers w where w.id = $2 and w.ended_at is null and w.lease_until > now()
), registered as (
  insert into :"schema".file_uploads
    (session_id, destination_id, local_path, s3_key, file_size, mtime_ns, derived_from, status, worker_id, expect)
  select m.session_id, m.destination_id, m.local_path, m.key, m.size_bytes, m.mtime_ns, m.id,
    case when l.id is null then 'pending' else 'uploading' end, l.id,
    case when o.key is null then 'absent' else 'known' end
  from made m
  left join live l on true
  left join :"schema".objects o on o.destination_id = m.destination_id and o.key = m.key
  where not exists (select from standing s where s.s3_key = m.key)
    and not exists (
      select from :"schema".file_uploads other
      where other.destination_id = m.destination_id and other.s3_key = m.key
        and other.outcome is null)
  on conflict do nothing
  returning id, local_path, s3_key, file_size, mtime_ns, status, expect, derived_from
)
select m.key, r.id, r.local_path, r.file_size, r.mtime_ns::text, r.expect, r.derived_from,
  coalesce(r.status = 'uploading', false) as claimed, s.id is not null as standing,
  coalesce(s.taken, false) as taken
from made m
left join registered r on r.s3_key = m.key
left join standing s on s.s3_key = m.key;

-- files_rederive(session_id, ids)
-- Files made of recordings that an earlier session of this work left unsent: no scan finds them, so they are
-- registered here. The recording itself may be safe.
insert into :"schema".file_uploads
  (session_id, destination_id, local_path, s3_key, file_size, mtime_ns, derived_from, expect)
select distinct on (f.s3_key) $1, f.destination_id, f.local_path, f.s3_key, f.file_size, f.mtime_ns, f.derived_from,
  case when o.key is null then 'absent' else 'known' end
from :"schema".file_uploads f
left join :"schema".objects o on o.destination_id = f.destination_id and o.key = f.s3_key
where f.id = any ($2::bigint[]) and f.derived_from is not null
  and (o.key is null or (o.size_bytes, o.mtime_ns) is distinct from (f.file_size, f.mtime_ns))
  and not exists (
    select from :"schema".file_uploads other
    where other.destination_id = f.destination_id and other.s3_key = f.s3_key
      and other.outcome is null)
order by f.s3_key, f.id desc
on conflict do nothing
returning id;

-- decoded_remember(source_id, settings, status, error_code, error_message, phone, experiment, shimmer_device, shimmer_day, part, device_name, device_mac, model, firmware, sampling_rate_hz, channels, started_at, ended_at, duration_seconds, samples, gaps, odd_ticks, battery_min_mv, battery_max_mv, accel_wr_mean, accel_wr_max, accel_wr_range)
-- The last decoding of a raw file stands; who wore the device is not forgotten by it. Its objects may have been written over,
-- by which a store forgets their tags: nobody knows which they have.
insert into :"schema".decoded_recordings as d
  (destination_id, key, file_id, file_size, mtime_ns, settings, status, error_code, error_message, phone, experiment,
   shimmer_device, shimmer_day, part, device_name, device_mac, model, firmware, sampling_rate_hz, channels, started_at,
   ended_at, duration_s, samples, gaps, odd_ticks, battery_min_mv, battery_max_mv, accel_wr_mean, accel_wr_max,
   accel_wr_range)
select f.destination_id, f.s3_key, f.id, f.file_size, f.mtime_ns, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
  $14, $15::float8, $16::text[], $17::timestamptz, $18::timestamptz, $19::float8, $20::bigint, $21::bigint, $22::bigint,
  $23::float8, $24::float8, $25::float8, $26::float8, $27::float8
from :"schema".file_uploads f where f.id = $1
on conflict (destination_id, key) do update
set file_id = excluded.file_id, file_size = excluded.file_size, mtime_ns = excluded.mtime_ns,
    settings = excluded.settings, status = excluded.status, error_code = excluded.error_code,
    error_message = excluded.error_message, phone = excluded.phone, experiment = excluded.experiment,
    shimmer_device = excluded.shimmer_device, shimmer_day = excluded.shimmer_day, part = excluded.part,
    device_name = excluded.device_name, device_mac = excluded.device_mac, model = excluded.model,
    firmware = excluded.firmware, sampling_rate_hz = excluded.sampling_rate_hz, channels = excluded.channels,
    started_at = excluded.started_at, ended_at = excluded.ended_at, duration_s = excluded.duration_s,
    samples = excluded.samples, gaps = excluded.gaps, odd_ticks = excluded.odd_ticks,
    battery_min_mv = excluded.battery_min_mv, battery_max_mv = excluded.battery_max_mv,
    accel_wr_mean = excluded.accel_wr_mean, accel_wr_max = excluded.accel_wr_max,
    accel_wr_range = excluded.accel_wr_range, decoded_at = now(),
    tagged = case when d.tagged is not null then '' end;

-- decoded_settings(source_id)
select d.settings
from :"schema".file_uploads f
join :"schema".decoded_recordings d on d.destination_id = f.destination_id and d.key = f.s3_key
where f.id = $1;

-- decoded_wanting(session_id, destination_id, keys, sizes, mtimes, settings)
-- Positions of scanned files that are safe, without a row in the session, and were not decoded with these settings. What
-- could not be decoded for its own sake is not tried again; for want of disk or memory it is.
select t.n::int as n
from unnest($3::text[], $4::bigint[], $5::bigint[]) with ordinality as t(key, file_size, mtime_ns, n)
join :"schema".objects o on o.destination_id = $2 and o.key = t.key
  and (o.size_bytes, o.mtime_ns) = (t.file_size, t.mtime_ns)
where not exists (select from :"schema".file_uploads f where f.session_id = $1 and f.s3_key = t.key)
  and not exists (
    select from :"schema".decoded_recordings d
    where d.destination_id = $2 and d.key = t.key and d.settings = $6
      and (d.file_size, d.mtime_ns) = (t.file_size, t.mtime_ns)
      and (d.status = 'decoded' or d.error_code in ('recording_bad', 'usage', 'key_impossible')))
order by t.n;

-- decoded_undecodable(session_id)
select count(*)::int as files
from :"schema".decoded_recordings d join :"schema".file_uploads f on f.id = d.file_id
where f.session_id = $1 and d.status = 'undecodable';
