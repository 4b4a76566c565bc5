-- What `sync` watches, for whoever asks from any machine: when something last arrived, who watches, and whether the
-- silence is longer than usual. View: source_states.

-- Kept by a trigger, as the counters are: the last file of the session that the store confirmed.
alter table :"schema".sync_sessions add column last_uploaded_at timestamptz;

update :"schema".sync_sessions s set last_uploaded_at = f.at
from (select session_id, max(uploaded_at) as at from :"schema".file_uploads group by session_id) f
where f.session_id = s.id and f.at is not null;

create function :"schema".file_uploads_arrived() returns trigger language plpgsql as $body$
begin
  update :"schema".sync_sessions s set last_uploaded_at = d.at
  from (select session_id, max(uploaded_at) as at from new_rows where status = 'uploaded' group by session_id) d
  where s.id = d.session_id and (s.last_uploaded_at is null or s.last_uploaded_at < d.at);
  return null;
end
$body$;

create trigger file_uploads_arrived after update on :"schema".file_uploads
  referencing new table as new_rows for each statement execute function :"schema".file_uploads_arrived();

create table :"schema".sources (
  id                   bigint generated always as identity primary key,
  project_id           bigint not null references :"schema".projects,
  name                 text not null,
  source               text not null,
  destination          text not null,        -- as written
  host                 text not null,        -- who made the last pass
  pid                  integer not null,
  interval_seconds     double precision,     -- between two passes of a daemon; null: single passes
  expect_every_seconds double precision,     -- by configuration; null: learned from source_arrivals
  passes               bigint not null default 0,
  passes_failed        bigint not null default 0,
  files_seen           bigint not null default 0,
  last_pass_at         timestamptz not null default now(),
  last_pass_ms         bigint not null default 0,
  last_success_at      timestamptz,          -- of a pass after which everything finished was confirmed
  last_upload_at       timestamptz,          -- as far as passes have noticed
  error_code           text,                 -- of the last pass
  failing_since        timestamptz,
  created_at           timestamptz not null default now(),
  unique (project_id, name)
);

-- How long nothing had arrived before something did: at most one row in five minutes and source, kept for 30 days.
create table :"schema".source_arrivals (
  source_id   bigint not null references :"schema".sources on delete cascade,
  at          timestamptz not null,
  gap_seconds double precision not null,
  primary key (source_id, at)
);

-- allowed_seconds: what the configuration expects; else a quarter more than the second longest silence of the last 30
-- days (nights and weekends are learned, a single outage is not), at least thrice the usual, from ten arrivals on.
create view :"schema".source_states as
select s.id, p.name as project, s.name, s.source, s.destination, own.id as session_id, s.interval_seconds, s.passes,
  s.passes_failed, s.files_seen, s.last_pass_at, s.last_pass_ms, s.last_success_at,
  w.last_upload_at, s.error_code, s.failing_since, s.created_at, s.expect_every_seconds, learned.usual_seconds,
  coalesce(s.expect_every_seconds, learned.allowed_seconds) as allowed_seconds,
  age.silent_seconds, age.success_age_seconds, age.pass_age_seconds,
  coalesce(age.silent_seconds > coalesce(s.expect_every_seconds, learned.allowed_seconds), false) as silent,
  holder.pid is null and s.interval_seconds is not null
    and age.pass_age_seconds > greatest(10 * s.interval_seconds, 300) as unattended,
  s.failing_since is not null as failing,
  holder.host as holder_host, holder.pid as holder_pid, coalesce(w.leases, 0) as leases,
  coalesce(w.files_waiting, 0) as files_waiting, coalesce(w.files_not_ready, 0) as files_not_ready,
  coalesce(w.files_failed, 0) as files_failed, s.host, s.pid
from :"schema".sources s
join :"schema".projects p on p.id = s.project_id
left join lateral (
  -- the newest, which the last pass may not have known yet
  select t.id, t.destination_id, t.prefix from :"schema".sync_sessions t
  where t.project_id = s.project_id and t.source = s.source and t.destination = s.destination
  order by t.id desc limit 1
) own on true
left join lateral (
  -- all sessions of this work
  select max(t.last_uploaded_at) as last_upload_at,
    sum(t.files_pending + t.files_uploading - n.files) as files_waiting, sum(n.files) as files_not_ready,
    sum(t.files_failed) as files_failed, sum(l.leases) as leases
  from :"schema".sync_sessions t
  cross join lateral (
    select count(*) as files from :"schema".file_uploads f
    where t.files_pending > 0 and f.session_id = t.id and f.outcome is null and f.status = 'pending'
      and (f.not_ready or f.looks > 0)
  ) n
  cross join lateral (
    select count(*) as leases from :"schema".workers h
    where h.session_id = t.id and h.ended_at is null and h.lease_until > now()
  ) l
  where t.project_id = s.project_id and t.destination_id = own.destination_id and t.source = s.source
    and t.prefix = own.prefix
) w on true
left join lateral (
  select l.host, l.pid from :"schema".sync_leases l
  where l.source = s.source and l.lease_until > now()
    and (l.destination_id = own.destination_id and l.prefix = own.prefix
      or own.id is null and l.host = s.host and l.pid = s.pid)
  limit 1
) holder on true
cross join lateral (
  select extract(epoch from now() - coalesce(w.last_upload_at, s.created_at))::double precision as silent_seconds,
    extract(epoch from now() - coalesce(s.last_success_at, s.created_at))::double precision as success_age_seconds,
    extract(epoch from now() - s.last_pass_at)::double precision as pass_age_seconds
) age
left join lateral (
  select percentile_cont(0.5) within group (order by a.gap_seconds) as usual_seconds,
    case when count(*) >= 10 then greatest(
      1.25 * (array_agg(a.gap_seconds order by a.gap_seconds desc))[2],
      3 * percentile_cont(0.5) within group (order by a.gap_seconds),
      300) end as allowed_seconds
  from :"schema".source_arrivals a
  where a.source_id = s.id and a.at > now() - interval '30 days'
) learned on true;
