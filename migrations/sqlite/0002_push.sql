-- What is polled may be pushed, too: which services were asked to deliver, and how to end that again. A row is there
-- before its service is asked and until it has been told that nobody listens any more, so nothing is left behind there.

-- actions ----------------------------------------------------------------------------------------------------------

create table push (
  subscription text primary key,             -- a poll's; the row outlives it until the service knows
  owner text not null,
  action text not null,
  connection text,
  hook text not null unique,                 -- the secret part of its address
  url text not null,                         -- the whole address, as the service was told it
  sealed blob not null,                      -- its secret, its parameters and what the service answered, encrypted
  made bigint,                               -- since when the service delivers; null: not yet
  due bigint not null,                       -- when it is next to be looked at
  heard bigint,                              -- when the last delivery came
  caught_up bigint not null default 0,       -- 1: polled since it was made, so from now on a poll should find no news
  suspect bigint,                            -- since when a poll found what no delivery brought
  remade bigint not null default 0,          -- how often it was asked for again in a row without any delivery
  fails bigint not null default 0,
  error text
);
create index push_due on push (due);
