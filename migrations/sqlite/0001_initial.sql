-- The first schema. Ids are sortable text, times are UTC milliseconds, JSON is text; every row carries its owner where
-- it has one. Only the common subset of SQLite 3.40 and PostgreSQL 15 is used. The module that writes a table is named.

-- database ---------------------------------------------------------------------------------------------------------

create table meta (                          -- facts of this instance: its id, the wrapped master key, `paused`
  key text primary key,
  value text not null
);

create table blob (                          -- payloads over 16 KiB, compressed; a column holds its id after a mark
  id text primary key,
  owner text not null,                       -- the row that it belongs to, and goes with
  data blob not null
);
create index blob_owner on blob (owner);

-- users ------------------------------------------------------------------------------------------------------------

create table account (
  id text primary key,
  email text not null unique,
  role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
  password text,                             -- argon2id, in its own encoded form
  disabled bigint not null default 0,
  created bigint not null,
  seen bigint
);

create table session (
  id text primary key,                       -- SHA-256 of the cookie's value
  account text not null references account (id) on delete cascade,
  created bigint not null,
  seen bigint not null,
  expires bigint not null,
  agent text not null default ''
);
create index session_account on session (account);

create table token (
  id text primary key,                       -- the eight characters after `abx_`
  account text not null references account (id) on delete cascade,
  name text not null,
  hash text not null,                        -- SHA-256 of the whole token
  scopes text not null,                      -- a JSON list
  created bigint not null,
  expires bigint,
  used bigint
);
create index token_account on token (account);

create table audit (
  id text primary key,
  at bigint not null,
  actor text not null,
  address text not null,
  verb text not null,
  object text not null,
  detail text not null,
  chain text not null                        -- SHA-256 over the row and the chain value before it
);

-- services ---------------------------------------------------------------------------------------------------------

create table connection (
  id text primary key,
  owner text not null,
  name text not null,
  service text not null,
  auth text not null,                        -- which of the service's ways in
  config text not null,                      -- its fields that are no secrets, JSON
  secret blob,                               -- its secret fields, JSON, encrypted
  state text not null check (state in ('new', 'ok', 'dead')),
  account text not null default '',          -- the name at the service, as its test answered
  error text,
  checked bigint,
  version bigint not null default 1,
  created bigint not null,
  unique (owner, name)
);

create table stored (                        -- what the `store` service keeps for its owner
  owner text not null,
  key text not null,
  value text not null,
  at bigint not null,
  primary key (owner, key)
);

create table effect (                        -- results of built-in reactions by idempotency key: a repeat changes nothing
  key text primary key,
  result text not null,
  at bigint not null
);
create index effect_at on effect (at);

-- actions ----------------------------------------------------------------------------------------------------------

create table subscription (
  id text primary key,
  owner text not null,
  identity text not null unique,             -- hash of owner, action, parameters, connection (and of the area, unshared)
  action text not null,
  params text not null,
  connection text,
  kind text not null check (kind in ('poll', 'stream', 'schedule', 'hook', 'internal')),
  every_ms bigint,                           -- of polls
  missed text not null default 'latest' check (missed in ('skip', 'latest', 'each')),
  hook text unique,                          -- the secret part of its address
  secret blob,                               -- of a signed hook, encrypted
  cursor text not null default '{}',         -- JSON: what the connector keeps between two polls
  baseline bigint not null default 1,        -- 1: the next poll only remembers what is there
  active bigint not null default 0,          -- 1: an enabled area listens, or a run waits
  next bigint,                               -- when the next poll or firing is due
  last bigint,                               -- when the last one was
  fails bigint not null default 0,
  error text,
  version bigint not null default 1,         -- compare-and-swap
  created bigint not null
);
create index subscription_due on subscription (next) where active = 1;
create index subscription_connection on subscription (connection) where connection is not null;

create table area_subscription (
  area text not null,
  place text not null,                       -- the trigger's id, or the wait_for step's
  role text not null check (role in ('trigger', 'wait')),
  subscription text not null references subscription (id),
  primary key (area, role, place)
);
create index area_subscription_subscription on area_subscription (subscription);

create table seen (                          -- ids that a subscription yielded already
  subscription text not null,
  key text not null,
  print text not null default '',            -- fingerprint, where a change counts as news
  at bigint not null,                        -- when the source last listed it
  primary key (subscription, key)
) without rowid;

create table event (
  id text primary key,
  owner text not null,
  subscription text,                         -- null: sent by hand
  action text not null,
  dedupe text not null,
  payload text not null,                     -- JSON
  at bigint not null,
  depth bigint not null default 0,           -- how many runs led to it
  reason text,                               -- why no area took it; null if one did
  unique (subscription, dedupe)
);
create index event_owner on event (owner, id);
create index event_at on event (at);

-- areas ------------------------------------------------------------------------------------------------------------

create table area (
  id text primary key,
  owner text not null,
  slug text not null,
  name text not null,
  head bigint not null,                      -- the version that new runs use
  enabled bigint not null,
  created bigint not null,
  updated bigint not null,
  unique (owner, slug)
);

create table area_version (
  area text not null,
  version bigint not null,
  document text not null,                    -- normalised, JSON
  source text,                               -- as it was given, with its comments, if it was YAML
  created bigint not null,
  author text not null,
  primary key (area, version)
);

create table run (
  id text primary key,
  owner text not null,
  area text not null,
  version bigint not null,
  event text,
  trigger text not null,                     -- JSON: what expressions see as `trigger`
  place text not null default '',            -- which trigger of the area it was
  parent_run text,                           -- of a called area
  parent_job text,
  retry_of text,
  retry_from text,
  dry bigint not null default 0,
  depth bigint not null default 0,           -- how many runs led to it, against endless loops
  key text,                                  -- what its mode counts by
  state text not null check (state in ('queued', 'running', 'waiting', 'held', 'done', 'skipped', 'collected',
                                       'failed', 'uncertain', 'cancelled')),
  reason text,
  result text,                               -- JSON
  vars text not null default '{}',           -- JSON: the outermost layer of `vars`
  seq bigint not null default 0,             -- compare-and-swap of every advance
  started bigint not null,
  deadline bigint,                           -- when its timeout is over; pushed back by its waits
  ended bigint
);
create index run_owner on run (owner, id);
create index run_area on run (area, id);
create index run_state on run (state, id) where state in ('queued', 'running', 'waiting', 'held', 'failed', 'uncertain');
create index run_ended on run (ended) where ended is not null;
create index run_event on run (event) where event is not null;
create index run_parent on run (parent_run) where parent_run is not null;

create table slot (                          -- modes: which runs hold one of the places that an area (and key) has
  key text not null,
  n bigint not null,
  run text not null,
  primary key (key, n)
);
create index slot_run on slot (run);

create table step (                          -- one finished attempt: the journal
  run text not null,
  path text not null,
  attempt bigint not null,
  kind text not null,
  state text not null check (state in ('done', 'skipped', 'failed', 'retrying', 'uncertain', 'cancelled')),
  input text,                                -- JSON, rendered
  output text,                               -- JSON
  error text,                                -- JSON: {message, kind}
  note text,
  started bigint not null,
  ended bigint not null,
  primary key (run, path, attempt)
) without rowid;

create table scope (                         -- an open loop or parallel: the join counts here
  run text not null,
  path text not null,
  kind text not null check (kind in ('each', 'repeat', 'parallel', 'handler')),
  need bigint not null,
  next bigint not null,                      -- the next iteration to start
  got bigint not null,                       -- how many ended
  items text,                                -- JSON list, of each
  error text,                                -- JSON, of a handler
  started bigint not null,
  primary key (run, path)
) without rowid;

create table layer (                         -- `vars` set by one parallel branch or concurrent iteration
  run text not null,
  path text not null,
  vars text not null,
  primary key (run, path)
) without rowid;

create table once (
  area text not null,
  key text not null,
  expires bigint not null,
  primary key (area, key)
) without rowid;
create index once_expires on once (expires);

create table collected (                     -- what waits in an open collect window, the holder's own event first
  key text not null,
  run text not null,
  payload text not null,
  at bigint not null,
  primary key (key, run)
) without rowid;

-- reactions --------------------------------------------------------------------------------------------------------

create table job (                           -- one live position in a run
  id text primary key,
  run text not null,
  owner text not null,
  area text not null,
  node text not null,                        -- the step's id
  path text not null,
  kind text not null,
  state text not null check (state in ('parked', 'ready', 'waiting')),
  lane bigint not null default 1,
  due bigint,                                -- of waiting jobs: when they go on at the latest
  wait_key text,                             -- what else wakes it: sub:…, ask, call:…, connection:…, collect:…, resolve
  attempt bigint not null default 0,
  crashes bigint not null default 0,
  fence bigint not null default 0,
  begun bigint,                              -- set while an attempt is under way
  since bigint not null,                     -- when it came to this position
  input text,                                -- JSON: what woke it
  check (state <> 'waiting' or due is not null or wait_key is not null)
);
create index job_run on job (run);
create index job_due on job (due) where state = 'waiting' and due is not null;
create index job_wait on job (wait_key) where state = 'waiting' and wait_key is not null;
create index job_ready on job (owner, lane, id) where state = 'ready';
create index job_begun on job (id) where begun is not null;

-- notifications ----------------------------------------------------------------------------------------------------

create table notice (
  id text primary key,
  owner text not null,
  kind text not null,                        -- run_failed, ask, connection_dead, message, …
  title text not null,
  body text not null,
  link text not null default '',
  at bigint not null,
  seen bigint
);
create index notice_owner on notice (owner, id);

-- gateway ----------------------------------------------------------------------------------------------------------

create table idempotency (                   -- answers by Idempotency-Key, kept 24 h
  owner text not null,
  key text not null,
  request text not null,                     -- SHA-256 of method, path and body
  status bigint,                             -- null while the first request is under way
  answer text,
  at bigint not null,
  primary key (owner, key)
) without rowid;
create index idempotency_at on idempotency (at);
