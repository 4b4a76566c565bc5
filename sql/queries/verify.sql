-- What the store should hold, page by page in the order of keys. In psql: \set schema public

-- verify_session(session_id, after_key, max)
-- What a session uploaded or found in the store, by the index file_uploads_key.
select f.s3_key as key, f.local_path as path, o.size_bytes, o.mtime_ns::text, o.checksum_algorithm, o.checksum_type,
  o.checksum, o.etag, o.version_id, o.proof, o.ours,
  case when o.checksum_type = 'composite' then (
    select u.part_size_bytes from :"schema".multipart_uploads u
    where u.destination_id = o.destination_id and u.key = o.key and u.status = 'completed'
      and u.size_bytes = o.size_bytes
    order by u.ended_at desc limit 1) end as part_size_bytes
from :"schema".file_uploads f
left join :"schema".objects o on o.destination_id = f.destination_id and o.key = f.s3_key
where f.session_id = $1 and f.s3_key > $2
  and (f.status = 'uploaded' or f.status = 'skipped' and f.reason in ('already_there', 'unchanged'))
order by f.s3_key limit $3;

-- verify_others(session_id, destination_id, after_key, below_key, max)
-- What is remembered below a prefix beside those: safe before the session, which made no row of it.
select o.key, null as path, o.size_bytes, o.mtime_ns::text, o.checksum_algorithm, o.checksum_type, o.checksum, o.etag,
  o.version_id, o.proof, o.ours,
  case when o.checksum_type = 'composite' then (
    select u.part_size_bytes from :"schema".multipart_uploads u
    where u.destination_id = o.destination_id and u.key = o.key and u.status = 'completed'
      and u.size_bytes = o.size_bytes
    order by u.ended_at desc limit 1) end as part_size_bytes
from :"schema".objects o
where o.destination_id = $2 and o.key > $3 and ($4::text is null or o.key < $4::text)
  and not exists (
    select from :"schema".file_uploads f
    where f.session_id = $1 and f.s3_key = o.key
      and (f.status = 'uploaded' or f.status = 'skipped' and f.reason in ('already_there', 'unchanged')))
order by o.key limit $5;

-- verify_forget(destination_id, keys)
-- What the store has refuted is no longer taken for safe. A key forgotten for nothing costs the next upload one look.
delete from :"schema".objects
where destination_id = $1 and key = any ($2::text[])
returning key;
