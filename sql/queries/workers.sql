-- Leases: one row per process and session, renewed by the database's clock. In psql: \set schema public

-- workers_begin(session_id, host, boot, pid, process_start, joined, concurrency, lease_seconds)
insert into :"schema".workers (session_id, host, boot, pid, process_start, joined, concurrency, lease_until)
values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
returning id;

-- workers_renew(worker_id, concurrency, lease_seconds)
-- No row: somebody declared this worker lost and took its files.
update :"schema".workers
set lease_until = now() + make_interval(secs => $3), concurrency = $2
where id = $1 and ended_at is null
returning id;

-- workers_end(worker_id, reason)
update :"schema".workers set ended_at = now(), end_reason = $2
where id = $1 and ended_at is null
returning id;

-- workers_unended(session_id)
-- Who has not said goodbye; `live` when the lease still runs.
select w.id, w.host, w.boot, w.pid, w.process_start, w.joined, w.concurrency, w.started_at, w.lease_until,
  w.lease_until > now() as live,
  (select count(*) from :"schema".files_in_hand h where h.session_id = $1 and h.worker_id = w.id) as files_in_hand
from :"schema".workers w
where w.session_id = $1 and w.ended_at is null
order by w.id;

-- workers_rescue(session_id, dead_ids)
-- Move rescue: files of workers whose lease lapsed, of those known to be dead, and of any that ended with files in hand.
with lost as (
  update :"schema".workers
  set ended_at = now(), end_reason = 'lost'
  where session_id = $1 and ended_at is null and (lease_until < now() or id = any ($2::bigint[]))
  returning id
), gone as (
  select id from lost
  union
  select id from :"schema".workers where session_id = $1 and ended_at is not null
), moved as (
  update :"schema".file_uploads f
  set status = 'pending', worker_id = null, worker_deaths = f.worker_deaths + 1, next_attempt_at = now(),
      attempts = f.attempts + case when (f.worker_deaths + 1) % 3 = 0 then 1 else 0 end,
      error_code = case when (f.worker_deaths + 1) % 3 = 0 then 'worker_died' else f.error_code end,
      error_message = case when (f.worker_deaths + 1) % 3 = 0
        then 'three workers died with this file in hand' else f.error_message end
  from gone, :"schema".files_in_hand h
  where h.session_id = $1 and h.worker_id = gone.id and f.id = h.id and f.status = 'uploading' and f.worker_id = gone.id
  returning f.id, f.attempts, gone.id as worker_id
), noted as (
  insert into :"schema".upload_attempts (file_id, attempt, worker_id, outcome, error_code)
  select id, attempts, worker_id, 'rescued', 'worker_died' from moved
)
select id from moved;
