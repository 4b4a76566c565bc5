-- Uploads in parts that a store still holds. In psql: \set schema public

-- gc_uploads(upload_ids)
-- Those of them that are ours, and what their files may still do with them.
select u.upload_id, u.file_id, f.session_id, u.status, f.status as file_status, f.permanent,
  exists (
    select from :"schema".workers w where w.id = f.worker_id and w.ended_at is null and w.lease_until > now()
  ) as in_hand
from :"schema".multipart_uploads u
join :"schema".file_uploads f on f.id = u.file_id
where u.upload_id = any ($1::text[]);
