-- What `upload --decode` and `sync` learned about Shimmer recordings: one row per raw file in the store, of its last
-- decoding. Files made of it are rows of file_uploads with derived_from.
create table :"schema".decoded_recordings (
  id               bigint generated always as identity primary key,
  destination_id   bigint not null references :"schema".destinations,
  key              text not null collate "C",  -- of the raw file
  file_id          bigint references :"schema".file_uploads on delete set null, -- the raw file's row that decoded it
  file_size        bigint not null,            -- of the raw file that was decoded
  mtime_ns         bigint,
  settings         text not null,              -- profile, time source, formats
  status           text not null check (status in ('decoded', 'undecodable')),
  error_code       text,
  error_message    text,
  -- from the file's name and folders
  phone            text,                       -- the phone that fetched it from the sensor
  experiment       text,
  shimmer_device   text,                       -- Shimmer_DDD6
  shimmer_day      text,                       -- number of the session's folder on the card
  part             text,
  -- from its bytes
  device_name      text,
  device_mac       text,
  model            text,
  firmware         text,
  sampling_rate_hz double precision,
  channels         text[],
  started_at       timestamptz,                -- null: the recording knows no absolute time
  ended_at         timestamptz,
  duration_s       double precision,
  samples          bigint,
  gaps             bigint,
  odd_ticks        bigint,
  battery_min_mv   double precision,
  battery_max_mv   double precision,
  accel_wr_mean    double precision,           -- length of the wide-range acceleration, m/s²
  accel_wr_max     double precision,
  accel_wr_range   double precision,           -- max − min; the older service called it Accel_WR_VAR
  -- by the map of devices and patients at recording time
  patient          text,
  group_id         text,
  decoded_at       timestamptz not null default now(),
  unique (destination_id, key),
  check ((status = 'undecodable') = (error_code is not null)),
  check ((status = 'decoded') <= (device_mac is not null))
);

create index decoded_recordings_file on :"schema".decoded_recordings (file_id);
create index decoded_recordings_device on :"schema".decoded_recordings (device_mac, started_at);
