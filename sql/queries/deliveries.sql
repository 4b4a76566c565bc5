-- The outbox of `trigger`. In psql: \set schema public

-- deliveries_promise(session_id, webhook_id, url, url_hidden, format, recipe)
-- One for each session; told again, it takes the plan of the newest run.
insert into :"schema".deliveries (webhook_id, project_id, session_id, scope, url, url_hidden, format, recipe, status)
select $2, s.project_id, s.id, 'session', $3, $4, $5, $6::jsonb, 'held'
from :"schema".sync_sessions s where s.id = $1
on conflict (session_id) where status = 'held'
do update set url = excluded.url, url_hidden = excluded.url_hidden, format = excluded.format, recipe = excluded.recipe
returning id;

-- deliveries_unpromise(session_id)
delete from :"schema".deliveries where session_id = $1 and status = 'held' returning id;

-- deliveries_ripe(project)
-- Promised, and the session is complete by now: the time to make the body, or to see that it would say nothing new.
select d.id, d.session_id,
  s.files_uploaded = 0 or exists (
    select from :"schema".deliveries o
    where o.session_id = d.session_id and o.scope = 'session' and o.status in ('due', 'delivered', 'refused', 'gone')
      and o.files = s.files_uploaded) as is_idle
from :"schema".deliveries d
join :"schema".projects p on p.id = d.project_id
join :"schema".sync_sessions s on s.id = d.session_id
where p.name = $1 and d.status = 'held'
  and s.status in ('completed', 'completed_with_errors')
  and s.files_failed = 0 and s.files_pending + s.files_uploading = 0
order by d.id;

-- deliveries_held(session_id)
select id from :"schema".deliveries where session_id = $1 and status = 'held';

-- deliveries_insert(session_id, webhook_id, scope, url, url_hidden, format, recipe)
-- Held until its pieces are there, in the same transaction. A promise gives way to what says the same now.
with promised as (
  delete from :"schema".deliveries where session_id = $1 and status = 'held' and $3 = 'session'
)
insert into :"schema".deliveries
  (webhook_id, project_id, session_id, scope, url, url_hidden, format, recipe, status, frozen_at, body_bytes)
select $2, s.project_id, s.id, $3, $4, $5, $6, $7::jsonb, 'due', now(), 0
from :"schema".sync_sessions s where s.id = $1
returning id;

-- deliveries_same(session_id, format, recipe)
-- The newest delivery of the whole session that says what would be said now, locked.
select d.id, d.status, d.url
from :"schema".deliveries d join :"schema".sync_sessions s on s.id = d.session_id
where d.session_id = $1 and d.scope = 'session' and d.format = $2 and d.recipe = $3::jsonb
  and d.status in ('due', 'delivered', 'refused', 'gone') and d.files = s.files_uploaded
order by d.id desc limit 1
for update of d;

-- deliveries_redirect(session_id, delivery_id, url, url_hidden)
-- That delivery goes out now, and what else of the session was not delivered goes to the same place.
update :"schema".deliveries
set url = $3, url_hidden = $4,
    status = case when id = $2 then 'due' else status end,
    finished_at = case when id = $2 then null else finished_at end,
    next_attempt_at = greatest(now(), case when url = $3 then asked_until end),
    asked_until = case when url = $3 then asked_until end
where session_id = $1 and (id = $2 or status = 'due')
returning id;

-- deliveries_supersede(session_id, delivery_id)
-- What an older delivery of the whole session would have said, the new one says.
update :"schema".deliveries
set status = 'dropped', finished_at = now(), error_message = format('delivery %s says it instead', $2::bigint)
where session_id = $1 and id < $2::bigint and scope = 'session' and status in ('due', 'refused', 'gone')
returning id;

-- deliveries_piece(delivery_id, number, text)
insert into :"schema".delivery_pieces (delivery_id, number, text) values ($1, $2, $3);

-- deliveries_list_session(delivery_id, session_id, root, per_piece)
-- Every uploaded file, in the order of ids, as JSON texts with commas between: pieces 1, 2 …
insert into :"schema".delivery_pieces (delivery_id, number, text)
select $1, 1 + piece, case when piece > 0 then ',' else '' end || string_agg(item, ',' order by id)
from (
  select id, to_json($3 || s3_key)::text as item,
    ((row_number() over (order by id) - 1) / $4)::integer as piece
  from :"schema".file_uploads where session_id = $2 and status = 'uploaded'
) listed
group by piece;

-- deliveries_take_pass(delivery_id, session_id)
-- The files that this delivery names: uploaded, and named by none since. Remembered, so that no other names them.
insert into :"schema".delivery_files (file_id, delivery_id, uploaded_at)
select f.id, $1, f.uploaded_at
from :"schema".file_uploads f
where f.session_id = $2 and f.status = 'uploaded'
  and not exists (
    select from :"schema".delivery_files t where t.file_id = f.id and t.uploaded_at = f.uploaded_at)
on conflict (file_id) do update set delivery_id = excluded.delivery_id, uploaded_at = excluded.uploaded_at;

-- deliveries_list_pass(delivery_id, session_id, root, per_piece)
insert into :"schema".delivery_pieces (delivery_id, number, text)
select $1, 1 + piece, case when piece > 0 then ',' else '' end || string_agg(item, ',' order by id)
from (
  select f.id, to_json($3 || f.s3_key)::text as item,
    ((row_number() over (order by f.id) - 1) / $4)::integer as piece
  from :"schema".delivery_files t join :"schema".file_uploads f on f.id = t.file_id
  where t.delivery_id = $1 and f.session_id = $2
) listed
group by piece;

-- deliveries_untold(session_id)
select exists (
  select from :"schema".file_uploads f
  where f.session_id = $1 and f.status = 'uploaded'
    and not exists (
      select from :"schema".delivery_files t where t.file_id = f.id and t.uploaded_at = f.uploaded_at)
) as any;

-- deliveries_freeze(delivery_id)
-- The pieces are complete: from here on it may be sent, and never changes. To a URL that said 410 last nothing goes by
-- itself.
update :"schema".deliveries d
set status = case when 'gone' = (
      select o.status from :"schema".deliveries o
      where o.project_id = d.project_id and o.url = d.url and o.status in ('delivered', 'gone') and o.attempts > 0
      order by o.finished_at desc limit 1) then 'gone' else 'due' end,
    frozen_at = now(), next_attempt_at = now(),
    body_bytes = (select sum(octet_length(convert_to(text, 'UTF8'))) from :"schema".delivery_pieces where delivery_id = d.id),
    files = case scope
      when 'pass' then (select count(*) from :"schema".delivery_files where delivery_id = d.id)
      else (select files_uploaded from :"schema".sync_sessions where id = d.session_id) end
where id = $1
returning *;

-- deliveries_forget(delivery_id)
delete from :"schema".deliveries where id = $1;

-- deliveries_recipe(delivery_id)
-- Locked: two that come by at once freeze one after the other, and the second finds nothing to do.
select id, session_id, scope, recipe from :"schema".deliveries where id = $1 and status = 'held' for update;

-- deliveries_leased(project)
select d.id, d.attempts, d.holder
from :"schema".deliveries d join :"schema".projects p on p.id = d.project_id
where p.name = $1 and d.status = 'due' and d.lease_until > now();

-- deliveries_rescue(delivery_id, attempts)
update :"schema".deliveries set lease_until = null, holder = null
where id = $1 and attempts = $2 and status = 'due' returning id;

-- deliveries_claim(project, holder, formats, hidden_url, lease_seconds, first)
-- The one asked for, else the one with the fewest attempts: one that fails again and again keeps no other back. Of two processes that ask at once
-- each gets another, by the database's clock. The attempt's row is there before anything is sent.
with next as materialized (
  select d.id
  from :"schema".deliveries d join :"schema".projects p on p.id = d.project_id
  where p.name = $1 and d.status = 'due' and d.next_attempt_at <= now()
    and (d.lease_until is null or d.lease_until <= now())
    and d.format = any ($3::text[]) and (not d.url_hidden or d.url = $4::text)
  order by d.id = $6::bigint desc nulls last, d.attempts, d.id limit 1
  for update of d skip locked
), taken as (
  update :"schema".deliveries d
  set attempts = d.attempts + 1, holder = $2::jsonb,
      -- a large body takes its time (src/adapters/webhook.ts, deadlines)
      lease_until = now() + make_interval(secs => $5 + d.body_bytes / 32768.0)
  from next where d.id = next.id
  returning d.id, d.webhook_id, d.session_id, d.url, d.url_hidden, d.format, d.body_bytes, d.attempts as attempt
), begun as (
  insert into :"schema".delivery_attempts (delivery_id, attempt, url) select id, attempt, url from taken
)
select * from taken;

-- deliveries_next(project, formats, hidden_url)
-- One in another's hands may be free sooner than its lease says: look again after a second.
select count(*)::integer as due,
  count(*) filter (where sendable)::integer as sendable,
  (extract(epoch from min(free_at) filter (where sendable) - now()) * 1000)::float8 as delay_ms
from (
  select d.format = any ($2::text[]) and (not d.url_hidden or d.url = $3::text) as sendable,
    greatest(d.next_attempt_at, case when d.lease_until > now() then now() + interval '1 s' end) as free_at
  from :"schema".deliveries d join :"schema".projects p on p.id = d.project_id
  where p.name = $1 and d.status = 'due'
) open;

-- deliveries_read(delivery_id, after_number)
select number, text from :"schema".delivery_pieces
where delivery_id = $1 and number > $2 order by number limit 1;

-- deliveries_record(delivery_id, attempt, verdict, http_status, error_code, error_message, answer, job_id, delay_ms, asked_ms, duration_ms)
-- A later attempt's word stands over an earlier one's, except that what was delivered was delivered. An endpoint that
-- failed is not asked for the next delivery at once, and one that is gone for none.
with tried as (
  update :"schema".delivery_attempts
  set verdict = $3, http_status = $4, error_code = $5, error_message = $6, answer = $7, duration_ms = $11
  where delivery_id = $1 and attempt = $2
), moved as (
  update :"schema".deliveries
  set status = case $3 when 'delivered' then 'delivered' when 'refused' then 'refused' when 'gone' then 'gone' else 'due' end,
      http_status = $4, error_code = $5, error_message = $6, answer = $7, job_id = coalesce($8, job_id),
      next_attempt_at = now() + make_interval(secs => $9::float8 / 1000),
      asked_until = now() + make_interval(secs => $10::float8 / 1000),
      finished_at = case when $3 in ('delivered', 'refused', 'gone') then now() end,
      lease_until = null, holder = null
  where id = $1 and (status = 'due' and attempts = $2 or $3 = 'delivered')
  returning id, project_id, url
)
update :"schema".deliveries d
set status = case when $3 = 'gone' then 'gone' else d.status end,
    finished_at = case when $3 = 'gone' then now() else d.finished_at end,
    error_message = case when $3 = 'gone' then 'the endpoint is gone (410)' else d.error_message end,
    next_attempt_at = greatest(d.next_attempt_at, now() + make_interval(secs => $9::float8 / 1000))
from moved
where $3 in ('again', 'later', 'gone') and d.project_id = moved.project_id and d.url = moved.url and d.status = 'due'
  and d.id <> moved.id and (d.lease_until is null or d.lease_until <= now());

-- deliveries_get(delivery_id)
select * from :"schema".deliveries where id = $1;

-- deliveries_history(session_id)
select * from :"schema".deliveries where session_id = $1 order by id;

-- deliveries_attempts(session_id)
select a.* from :"schema".delivery_attempts a join :"schema".deliveries d on d.id = a.delivery_id
where d.session_id = $1 order by a.started_at, a.delivery_id, a.attempt;
