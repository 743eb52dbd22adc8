-- The audit log is only added to: its entries have numbers without gaps, none can be changed, and only the oldest go,
-- once their place in the chain stands in the anchor.

-- users ------------------------------------------------------------------------------------------------------------

create table audit_numbered (
  seq integer primary key,
  id text not null unique,
  at bigint not null,
  actor text not null,
  address text not null,
  verb text not null,
  object text not null,
  detail text not null,
  chain text not null                        -- SHA-256 over the chain value before it and the row
);
insert into audit_numbered (seq, id, at, actor, address, verb, object, detail, chain)
select row_number() over (order by id), id, at, actor, address, verb, object, detail, chain from audit;
drop table audit;
alter table audit_numbered rename to audit;

create table audit_anchor (                  -- up to where retention has deleted, and the chain value there
  only bigint primary key check (only = 1),
  seq bigint not null,
  chain text not null,
  at bigint not null
);

create trigger audit_follows before insert on audit
when new.seq <> coalesce((select max(seq) from audit), (select seq from audit_anchor), 0) + 1
begin
  select raise(abort, 'an audit entry follows the last one');
end;

create trigger audit_stays_so before update on audit
begin
  select raise(abort, 'an audit entry is never changed');
end;

create trigger audit_stays before delete on audit
when old.seq > coalesce((select seq from audit_anchor), 0)
begin
  select raise(abort, 'an audit entry is only deleted by retention');
end;

create trigger audit_anchor_advances before update on audit_anchor
when new.seq < old.seq
begin
  select raise(abort, 'the audit anchor only advances');
end;

create trigger audit_anchor_stays before delete on audit_anchor
begin
  select raise(abort, 'the audit anchor stays');
end;
