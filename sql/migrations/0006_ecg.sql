-- The ECG layout's memory (docs/ecg.md): a file's key is decided once, and a user's state is first seen once.

create table :"schema".ecg_keys (
  destination_id bigint not null references :"schema".destinations,
  prefix         text not null,
  name           text not null collate "C",  -- the file's name, wherever it lies; ./path of a second one of that name
  path           text,                       -- below the source, when last seen; null: only a log has named it
  key            text not null collate "C",  -- whole
  kind           text not null check (kind in ('simple', 'package', 'left_out')),
  sent_at        timestamptz,                -- by the older program, by its log
  decided_at     timestamptz not null default now(),
  primary key (destination_id, prefix, name)
);

-- Since when a package waits for the rest of it. subject: its stamp, or "<stamp> without report".
create table :"schema".ecg_waits (
  destination_id bigint not null references :"schema".destinations,
  prefix         text not null,
  subject        text not null,
  since          timestamptz not null,       -- by the clock of the program that looked
  primary key (destination_id, prefix, subject)
);

-- The newest state of each user of the users file. What is sent is made of that file and first_seen: the same bytes each time.
create table :"schema".ecg_users (
  destination_id bigint not null references :"schema".destinations,
  prefix         text not null,
  username       text not null collate "C",
  fingerprint    text,                       -- SHA-256 of the fields that are sent; null: whatever state is seen next
  first_seen     timestamptz not null,       -- by the clock of the program that looked
  is_sent        boolean not null default false, -- this state, by the older program's log
  primary key (destination_id, prefix, username)
);
