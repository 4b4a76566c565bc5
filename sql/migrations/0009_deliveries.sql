-- The outbox of `trigger`: what another system is to be told, and what it answered (docs/trigger.md).

create table :"schema".deliveries (
  id              bigint generated always as identity primary key,
  webhook_id      text not null unique,     -- the receiver's idempotency key: the same over all attempts
  project_id      bigint not null references :"schema".projects,
  session_id      bigint not null references :"schema".sync_sessions on delete cascade,
  scope           text not null check (scope in ('session', 'pass')),
  url             text not null,            -- without password and query values, if url_hidden
  url_hidden      boolean not null,
  format          text not null check (format in ('session', 'job')),
  recipe          jsonb not null,           -- what the body is made of, beside the session
  -- held: promised, and the session is not complete · due · delivered · refused: this body never · gone: this URL never
  -- dropped: a newer delivery of the session says all of it
  status          text not null check (status in ('held', 'due', 'delivered', 'refused', 'gone', 'dropped')),
  files           bigint,                   -- uploaded files of the session when the body was frozen; of a pass: those named
  body_bytes      bigint,
  attempts        integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  asked_until     timestamptz,              -- the endpoint's Retry-After: nobody comes sooner
  holder          jsonb,                    -- the process that sends it now
  lease_until     timestamptz,
  http_status     integer,                  -- of the last attempt, as the next five
  answer          text,
  job_id          text,
  error_code      text,
  error_message   text,
  created_at      timestamptz not null default now(),
  frozen_at       timestamptz,
  finished_at     timestamptz,
  check ((status = 'held') = (frozen_at is null)),
  check ((frozen_at is null) = (body_bytes is null))
);

create index deliveries_open on :"schema".deliveries (project_id, next_attempt_at) where status in ('held', 'due');
-- What a URL decided last.
create index deliveries_decided on :"schema".deliveries (project_id, url, finished_at) where status in ('delivered', 'gone');
create index deliveries_session on :"schema".deliveries (session_id);
create unique index deliveries_held on :"schema".deliveries (session_id) where status = 'held';

-- The body of a delivery, frozen: its bytes are these texts in UTF-8, one after the other.
create table :"schema".delivery_pieces (
  delivery_id bigint not null references :"schema".deliveries on delete cascade,
  number      integer not null,
  text        text not null,
  primary key (delivery_id, number)
);

-- Which delivery of a pass (`sync`) named a file, and as of which upload of it.
create table :"schema".delivery_files (
  file_id     bigint primary key references :"schema".file_uploads on delete cascade,
  delivery_id bigint not null references :"schema".deliveries on delete cascade,
  uploaded_at timestamptz not null
);

create index delivery_files_delivery on :"schema".delivery_files (delivery_id);

create table :"schema".delivery_attempts (
  delivery_id   bigint not null references :"schema".deliveries on delete cascade,
  attempt       integer not null,
  url           text not null,
  verdict       text check (verdict in ('delivered', 'again', 'later', 'refused', 'gone')), -- null: never recorded
  http_status   integer,
  error_code    text,
  error_message text,
  answer        text,
  started_at    timestamptz not null default now(),
  duration_ms   integer,
  primary key (delivery_id, attempt)
);
