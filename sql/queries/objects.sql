-- What destinations hold, and parts of files on their way. In psql: \set schema public

-- objects_get(destination_id, keys)
select key, size_bytes, mtime_ns::text, checksum_algorithm, checksum_type, checksum, etag, version_id, proof, ours
from :"schema".objects
where destination_id = $1 and key = any ($2::text[]);

-- uploads_find(file_ids)
-- Of each file the open upload with its parts. One that an earlier session left under the same key (only one row of a key
-- is ever open) is taken over: the file's own comes first, then the newest.
with best as (
  select distinct on (f.id) f.id as file_id, u.file_id as begun_for, u.upload_id, u.key, u.part_size_bytes, u.size_bytes,
    u.mtime_ns, u.checksum_algorithm
  from :"schema".file_uploads f
  join :"schema".multipart_uploads u
    on u.destination_id = f.destination_id and u.key collate "C" = f.s3_key collate "C" and u.status = 'open'
  where f.id = any ($1::bigint[])
  order by f.id, (u.file_id = f.id) desc, u.created_at desc
), taken_over as (
  update :"schema".multipart_uploads u set file_id = b.file_id
  from best b where u.upload_id = b.upload_id and b.begun_for <> b.file_id
)
select b.file_id, b.upload_id, b.key, b.part_size_bytes, b.size_bytes, b.mtime_ns::text, b.checksum_algorithm,
  p.part_number, p.size_bytes as part_bytes, p.etag, p.checksum
from best b
left join :"schema".multipart_parts p using (upload_id)
order by b.file_id, p.part_number;

-- uploads_begin(upload_id, file_id, key, part_size_bytes, size_bytes, mtime_ns, checksum_algorithm, age_ms)
-- An older upload of the same file is done with: it is for `gc` to abort. Of one begun age_ms ago (from a journal) a newer
-- one may be open: then this one is done with.
with older as (
  update :"schema".multipart_uploads set status = 'aborted', ended_at = now()
  where file_id = $2 and status = 'open' and upload_id <> $1
    and created_at <= now() - make_interval(secs => $8 / 1000.0)
  returning upload_id
)
insert into :"schema".multipart_uploads
  (upload_id, file_id, destination_id, key, part_size_bytes, size_bytes, mtime_ns, checksum_algorithm, created_at, status,
   ended_at)
select $1, f.id, f.destination_id, $3, $4, $5, $6, $7, now() - make_interval(secs => $8 / 1000.0),
  case when n.newer then 'aborted' else 'open' end, case when n.newer then now() end
from :"schema".file_uploads f
cross join lateral (
  select exists (
    select from :"schema".multipart_uploads u
    where u.file_id = f.id and u.status = 'open' and u.upload_id <> $1
      and u.created_at > now() - make_interval(secs => $8 / 1000.0)) as newer
) n
where f.id = $2 and (select count(*) from older) >= 0 -- runs `older` first: one open upload a file
on conflict (upload_id) do nothing;

-- uploads_part(upload_id, part_number, size_bytes, etag, checksum)
insert into :"schema".multipart_parts (upload_id, part_number, size_bytes, etag, checksum)
values ($1, $2, $3, $4, $5)
on conflict (upload_id, part_number) do update
set size_bytes = excluded.size_bytes, etag = excluded.etag, checksum = excluded.checksum, uploaded_at = now();

-- uploads_end(upload_id, status)
update :"schema".multipart_uploads set status = $2, ended_at = now()
where upload_id = $1 and status = 'open'
returning upload_id;
