-- The story of one file. In psql: \set schema public

-- explain_places(project, session_id)
select distinct s.source, s.prefix, s.destination_id, d.kind as destination_kind, d.identity as destination_identity
from :"schema".sync_sessions s
join :"schema".projects p on p.id = s.project_id
join :"schema".destinations d on d.id = s.destination_id
where ($1::text is null or p.name = $1::text) and ($2::bigint is null or s.id = $2::bigint);

-- explain_files(project, session_id, keys, max)
-- One look into the index file_uploads_key for each session and key: no index of the keys alone is needed.
select * from :"schema".file_histories
where ($1::text is null or project = $1::text) and ($2::bigint is null or session_id = $2::bigint)
  and s3_key = any ($3::text[])
order by session_id desc, id limit $4;

-- explain_files_by_path(project, session_id, paths, max)
-- For layouts whose keys do not follow the path. There is no index of paths: it would cost every insert and every move.
select * from :"schema".file_histories
where ($1::text is null or project = $1::text) and ($2::bigint is null or session_id = $2::bigint)
  and local_path = any ($3::text[])
order by session_id desc, id limit $4;

-- explain_attempts(file_ids)
select a.*, w.host as worker_host, w.pid as worker_pid
from :"schema".file_attempts a
left join :"schema".workers w on w.id = a.worker_id
where a.file_id = any ($1::bigint[])
order by a.finished_at, a.attempt;

-- explain_multiparts(destination_id, keys)
-- Progress of uploads in parts, newest first.
select u.file_id, u.upload_id, u.status, u.part_size_bytes, u.size_bytes, u.checksum_algorithm, u.created_at,
  u.ended_at, count(p.part_number)::int as parts_done, coalesce(sum(p.size_bytes), 0) as bytes_done
from :"schema".multipart_uploads u
left join :"schema".multipart_parts p using (upload_id)
where u.destination_id = $1 and u.key collate "C" = any ($2::text[])
group by u.upload_id
order by u.created_at desc;

-- explain_objects(destination_ids, keys)
select o.destination_id, o.key, o.size_bytes, o.mtime_ns::text, o.checksum_algorithm, o.checksum_type, o.checksum,
  o.etag, o.version_id, o.proof, o.ours, o.confirmed_at
from :"schema".objects o
where o.destination_id = any ($1::bigint[]) and o.key = any ($2::text[]);

-- explain_config(session_id)
select config from :"schema".config_history where session_id = $1 order by id desc limit 1;
