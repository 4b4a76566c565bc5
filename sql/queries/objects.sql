-- What destinations hold, and parts of files on their way. In psql: \set schema public

-- objects_get(destination_id, keys)
select key, size_bytes, mtime_ns::text, checksum_algorithm, checksum_type, checksum, etag, version_id, proof, ours
from :"schema".objects
where destination_id = $1 and key = any ($2::text[]);

-- uploads_find(file_id)
select u.upload_id, u.key, u.part_size_bytes, u.size_bytes, u.mtime_ns::text, u.checksum_algorithm,
  p.part_number, p.size_bytes as part_bytes, p.etag, p.checksum
from :"schema".multipart_uploads u
left join :"schema".multipart_parts p using (upload_id)
where u.file_id = $1 and u.status = 'open'
order by p.part_number;

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
