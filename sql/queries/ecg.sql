-- Statements of the ECG layout. In psql: \set schema public

-- ecg_recall(destination_id, prefix, names)
select k.name, k.path, k.key, k.kind, k.sent_at, o.size_bytes, o.mtime_ns::text, o.key is not null as is_known
from unnest($3::text[]) as t(name)
cross join lateral (
  select * from :"schema".ecg_keys where destination_id = $1 and prefix = $2 and name = t.name limit 1
) k
left join lateral (
  select * from :"schema".objects where destination_id = $1 and key = k.key limit 1
) o on true;

-- ecg_remember(destination_id, prefix, names, paths, keys, kinds)
-- A key that was decided before stands, unless the file was left out.
insert into :"schema".ecg_keys as k (destination_id, prefix, name, path, key, kind)
select $1, $2, t.name, t.path, t.key, t.kind
from unnest($3::text[], $4::text[], $5::text[], $6::text[]) as t(name, path, key, kind)
on conflict (destination_id, prefix, name) do update
set path = excluded.path,
    key = case when k.kind = 'left_out' then excluded.key else k.key end,
    kind = case when k.kind = 'left_out' then excluded.kind else k.kind end
returning k.name, k.key, k.kind;

-- ecg_adopt(destination_id, keys, sizes, mtimes)
-- What the store holds, by the older program's log. What we know ourselves stands.
insert into :"schema".objects (destination_id, key, size_bytes, mtime_ns, proof, ours)
select $1, t.key, t.size_bytes, t.mtime_ns, 'log_trusted', true
from unnest($2::text[], $3::bigint[], $4::bigint[]) as t(key, size_bytes, mtime_ns)
on conflict (destination_id, key) do nothing;

-- ecg_waits(destination_id, prefix)
select subject, since from :"schema".ecg_waits where destination_id = $1 and prefix = $2;

-- ecg_wait(destination_id, prefix, subjects, since)
insert into :"schema".ecg_waits (destination_id, prefix, subject, since)
select $1, $2, t.subject, $4 from unnest($3::text[]) as t(subject)
on conflict do nothing;

-- ecg_users_see(destination_id, prefix, usernames, fingerprints, seen_at)
-- A state that differs is first seen now; the first one after an import is taken for the one that was sent.
insert into :"schema".ecg_users as u (destination_id, prefix, username, fingerprint, first_seen)
select $1, $2, t.username, t.fingerprint, $5
from unnest($3::text[], $4::text[]) as t(username, fingerprint)
on conflict (destination_id, prefix, username) do update
set fingerprint = excluded.fingerprint,
    first_seen = case when u.fingerprint is null then u.first_seen else excluded.first_seen end,
    is_sent = u.fingerprint is null
where u.fingerprint is distinct from excluded.fingerprint;

-- ecg_users_get(destination_id, prefix, usernames)
select username, fingerprint, first_seen, is_sent
from :"schema".ecg_users
where destination_id = $1 and prefix = $2 and username = any ($3::text[]);

-- ecg_import_keys(destination_id, prefix, names, keys, kinds, sent_ats)
-- What the log says. A key that we decided ourselves stands; of two logs the newer entry counts.
insert into :"schema".ecg_keys as k (destination_id, prefix, name, key, kind, sent_at)
select $1, $2, t.name, t.key, t.kind, to_timestamp(t.sent_at / 1000.0)
from unnest($3::text[], $4::text[], $5::text[], $6::bigint[]) as t(name, key, kind, sent_at)
on conflict (destination_id, prefix, name) do update
set key = excluded.key, kind = excluded.kind, sent_at = excluded.sent_at
where k.kind = 'left_out' or k.sent_at < excluded.sent_at
returning name;

-- ecg_import_users(destination_id, prefix, usernames, sent_ats)
insert into :"schema".ecg_users (destination_id, prefix, username, first_seen, is_sent)
select $1, $2, t.username, to_timestamp(t.sent_at / 1000.0), true
from unnest($3::text[], $4::bigint[]) as t(username, sent_at)
on conflict do nothing
returning username;
