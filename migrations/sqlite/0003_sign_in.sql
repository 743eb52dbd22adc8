-- Signing in: links that work once and second factors; and who may do what with things that belong to somebody else.

-- users ------------------------------------------------------------------------------------------------------------

alter table account add column name text not null default '';
alter table account add column language text not null default '';
alter table account add column timezone text not null default '';
alter table account add column kind text not null default 'person' check (kind in ('person', 'service'));

alter table session add column address text not null default '';
alter table session add column how text not null default 'password';

create table link (                          -- sent to somebody, works once: an invitation, a registration, a new password
  id text primary key,                       -- SHA-256 of its secret part
  kind text not null check (kind in ('invite', 'register', 'reset')),
  account text references account (id) on delete cascade,  -- of a reset: whose password
  email text not null,                       -- '': whoever opens it says its own
  role text not null,
  author text not null,                      -- the account that made it, '' for nobody
  created bigint not null,
  expires bigint not null
);
create index link_expires on link (expires);

create table pending (                       -- a sign-in that is half done, or a question that a browser is to answer
  id text primary key,                       -- SHA-256 of the browser's cookie
  kind text not null,
  account text references account (id) on delete cascade,
  data text not null,                        -- JSON
  expires bigint not null
);
create index pending_expires on pending (expires);

create table device (                        -- browsers that an account came from before
  account text not null references account (id) on delete cascade,
  print text not null,                       -- SHA-256 of kind of browser and network
  seen bigint not null,
  primary key (account, print)
) without rowid;

create table totp (
  account text primary key references account (id) on delete cascade,
  secret blob not null,                      -- encrypted
  confirmed bigint,                          -- null: shown, but no code was given yet
  step bigint not null default 0             -- of the last code that was taken: an older one is not taken any more
);

create table recovery (
  account text not null references account (id) on delete cascade,
  hash text not null,                        -- SHA-256 of the code
  used bigint,
  primary key (account, hash)
) without rowid;

create table share (
  id text primary key,
  kind text not null check (kind in ('area', 'connection')),
  object text not null,                      -- id of the area or connection
  account text not null references account (id) on delete cascade,
  level text not null check (level in ('see', 'run', 'edit', 'use')),
  created bigint not null,
  check ((kind = 'connection') = (level = 'use')),
  unique (kind, object, account)
);
create index share_account on share (account, kind);
