-- What `sync` watches, and how long each source has been silent. In psql: \set schema public

-- sources_pass(project, name, source, destination, host, pid, interval_seconds, expect_every_seconds, error_code, files_seen, duration_ms)
-- A pass has ended. What arrived and what is left is taken from the sessions' own counters, never from the program: a
-- success is a pass after which nothing of the source has failed and nothing finished is waiting.
with made as (
  insert into :"schema".projects (name) values ($1) on conflict (name) do nothing returning id
), project as (
  select id from made
  union all
  select id from :"schema".projects where name = $1
), before as (
  select s.* from :"schema".sources s join project p on p.id = s.project_id where s.name = $2
), own as (
  select t.* from :"schema".sync_sessions t
  where t.project_id = (select id from project) and t.source = $3 and t.destination = $4
  order by t.id desc limit 1
), known as (
  select max(t.last_uploaded_at) as uploaded_at, coalesce(sum(t.files_failed), 0) as failed,
    coalesce(sum(t.files_pending + t.files_uploading - n.files), 0) as waiting
  from own
  join :"schema".sync_sessions t on t.project_id = own.project_id and t.destination_id = own.destination_id
    and t.source = own.source and t.prefix = own.prefix
  cross join lateral (
    select count(*) as files from :"schema".file_uploads f
    where t.files_pending > 0 and f.session_id = t.id and f.outcome is null and f.status = 'pending'
      and (f.not_ready or f.looks > 0)
  ) n
), outcome as (
  select *, $9::text is null as came_through,
    $9::text is null and failed = 0 and waiting = 0 as succeeded
  from known
), noted as (
  insert into :"schema".sources as s (project_id, name, source, destination, host, pid, interval_seconds,
    expect_every_seconds, passes, passes_failed, files_seen, last_pass_at, last_pass_ms,
    last_success_at, last_upload_at, error_code, failing_since)
  select p.id, $2, $3, $4, $5, $6::integer, $7::double precision, $8::double precision, 1,
    case when o.came_through then 0 else 1 end, $10::bigint, now(), $11::bigint,
    case when o.succeeded then now() end, o.uploaded_at, $9::text, case when not o.came_through then now() end
  from project p, outcome o
  on conflict (project_id, name) do update set
    source = excluded.source, destination = excluded.destination,
    host = excluded.host, pid = excluded.pid,
    interval_seconds = excluded.interval_seconds, expect_every_seconds = excluded.expect_every_seconds,
    passes = s.passes + 1, passes_failed = s.passes_failed + excluded.passes_failed,
    -- a pass that failed has not seen everything
    files_seen = case when excluded.error_code is null then excluded.files_seen else s.files_seen end,
    last_pass_at = excluded.last_pass_at, last_pass_ms = excluded.last_pass_ms,
    last_success_at = coalesce(excluded.last_success_at, s.last_success_at),
    last_upload_at = greatest(s.last_upload_at, excluded.last_upload_at),
    error_code = excluded.error_code,
    failing_since = case when excluded.error_code is not null then coalesce(s.failing_since, now()) end
  returning id, last_upload_at
), arrival as (
  insert into :"schema".source_arrivals (source_id, at, gap_seconds)
  select n.id, n.last_upload_at, extract(epoch from n.last_upload_at - b.last_upload_at)
  from noted n join before b on b.id = n.id
  where n.last_upload_at > b.last_upload_at
    and not exists (
      select from :"schema".source_arrivals a
      where a.source_id = n.id and a.at > n.last_upload_at - interval '5 minutes')
  on conflict do nothing
), old as (
  delete from :"schema".source_arrivals a using noted n
  where a.source_id = n.id and a.at < now() - interval '30 days'
)
select id from noted;

-- sources_states(project)
-- All projects when project is null.
select * from :"schema".source_states where $1::text is null or project = $1::text order by project, name;

-- sources_waiting_bytes(project)
-- Bytes of what is waiting or on its way, by source: reads every such row, so only where somebody asks.
select s.id, coalesce(sum(f.bytes), 0) as bytes
from :"schema".sources s
join :"schema".projects p on p.id = s.project_id and ($1::text is null or p.name = $1::text)
left join lateral (
  select o.destination_id, o.prefix from :"schema".sync_sessions o
  where o.project_id = s.project_id and o.source = s.source and o.destination = s.destination
  order by o.id desc limit 1
) own on true
left join :"schema".sync_sessions t on t.project_id = s.project_id and t.destination_id = own.destination_id
  and t.source = s.source and t.prefix = own.prefix and t.files_pending + t.files_uploading > 0
left join lateral (
  select sum(u.file_size) as bytes from :"schema".file_uploads u where u.session_id = t.id
    and u.outcome is null and u.status = 'pending' and not u.not_ready and u.looks = 0
  union all
  select sum(h.file_size) from :"schema".files_in_hand h where h.session_id = t.id
) f on true
group by s.id;
