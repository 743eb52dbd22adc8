"""What of somebody else's may an account see, run, edit or use? Rows that the owner made, asked for in the query.

A share is reached as an `Actor` that acts on behalf of the owner, for that one thing: where there is none, or too
little of one, the thing is not there. Whoever may edit an area acts as its owner within it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one
from areabox.errors import ConflictError, InputError, NotFoundError, Problem
from areabox.users.accounts import Account
from areabox.users.policy import Actor

LEVELS: Final = {"area": ("see", "run", "edit"), "connection": ("use",)}
_OWN = "select id from area where owner = ? and (slug = ? or id = ?)"
_OWN_CONNECTION = "select id from connection where owner = ? and (name = ? or id = ?)"
_AREA = """
select a.owner, a.slug from share s join area a on a.id = s.object
 where s.kind = 'area' and s.account = ? and (a.slug = ? or a.id = ?)
   and instr(case s.level when 'see' then 'see' when 'run' then 'see run' else 'see run edit' end, ?) > 0
   and not exists (select 1 from area mine where mine.owner = s.account and mine.slug = ?)
 order by s.id limit 1
"""
_RUN = """
select a.owner, a.slug from run r join share s on s.kind = 'area' and s.object = r.area join area a on a.id = r.area
 where r.id = ? and s.account = ?
   and instr(case s.level when 'see' then 'see' when 'run' then 'see run' else 'see run edit' end, ?) > 0
"""
_LIST = """
select s.id, s.kind, coalesce(a.slug, c.name), o.email, u.email, s.level, s.created, s.object
  from share s left join area a on s.kind = 'area' and a.id = s.object
  left join connection c on s.kind = 'connection' and c.id = s.object
  join account o on o.id = coalesce(a.owner, c.owner) join account u on u.id = s.account
 where (o.id = ? or s.account = ?) and s.id > ? order by s.id limit ?
"""
_ONE = _LIST.replace("s.id > ? order by s.id limit ?", "s.id = ?")
_MADE = _LIST.replace("s.id > ? order by s.id limit ?", "s.object = ? and s.account = ?")
_PUT = """
insert into share (id, kind, object, account, level, created) values (?, ?, ?, ?, ?, ?)
on conflict (kind, object, account) do update set level = excluded.level
"""
_DELETE = """
delete from share where id = ? and (account = ? or object in (select id from area where owner = ?)
 or object in (select id from connection where owner = ?)) returning id
"""
_LOST = """
delete from share where id in (select s.id from share s
 where not exists (select 1 from area where id = s.object) and not exists (select 1 from connection where id = s.object)
 limit ?) returning id
"""


class Share(msgspec.Struct, frozen=True):
    """Something that its owner lets somebody else see, run, edit or use; `created` in UTC milliseconds."""

    id: str
    kind: str
    name: str
    owner: str  # e-mail address
    account: str  # e-mail address of whom it is shared with
    level: str
    created: int
    object: str


class Shares:
    """What is shared by whom with whom."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    async def put(self, actor: Actor, kind: str, name: str, account: Account, level: str) -> Share:
        """Share one of the actor's own things, or change how far; raises NotFoundError, InputError, ConflictError."""
        if level not in LEVELS.get(kind, ()):
            wanted = f"must be one of {', '.join(LEVELS.get(kind, ('see', 'run', 'edit', 'use')))}"
            raise InputError(f"{kind} is not shared so", [Problem("/level", wanted)])
        if account.id == actor.account_id:
            raise ConflictError("it is yours already")
        sql = _OWN if kind == "area" else _OWN_CONNECTION
        row = await one(self._backend, sql, actor.account_id, name, name)
        if row is None:
            raise NotFoundError(f"there is no {kind} {name[:80]}")
        now = self._clock.now_ms()
        unit = Unit().do(_PUT, self._clock.new_id(), kind, row["id"], account.id, level, now, expect=1)
        unit.publish("share", object=row["id"], account=account.id)
        await self._backend.commit(unit)
        made = await one(self._backend, _MADE, actor.account_id, actor.account_id, row["id"], account.id)
        if made is None:
            raise ConflictError(f"{name[:80]} or the account was removed meanwhile")
        return _share(made)

    async def list(self, actor: Actor, *, limit: int = 1_000, after: str | None = None) -> list[Share]:
        """Return what the actor shares, and what is shared with it, oldest first."""
        me = actor.account_id
        return [_share(row) for row in await self._backend.read(_LIST, me, me, after or "", limit)]

    async def get(self, actor: Actor, id: str) -> Share:
        """Return one of those; raises NotFoundError."""
        found = await one(self._backend, _ONE, actor.account_id, actor.account_id, id)
        if found is None:
            raise NotFoundError(f"there is no share {id[:80]}")
        return _share(found)

    async def delete(self, actor: Actor, id: str) -> Share:
        """End a share, as its owner or as whoever it is shared with; raises NotFoundError."""
        found, me = await self.get(actor, id), actor.account_id
        if not await self._backend.write(_DELETE, id, me, me, me):
            raise NotFoundError(f"there is no share {id[:80]}")
        await self._backend.publish("share", object=found.object, account="")
        return found

    async def area(self, actor: Actor, slug: str, level: str) -> tuple[Actor, str]:
        """Return who may do this with an area, and its slug: the actor, or it on behalf of who shares it so far.

        Where nobody does, that is the actor itself, for whom it is not there.
        """
        return _behalf(actor, slug, await one(self._backend, _AREA, actor.account_id, slug, slug, level, slug))

    async def run(self, actor: Actor, run_id: str, level: str) -> Actor:
        """Return who may do this with a run: the actor, or it on behalf of the owner of its area."""
        return _behalf(actor, "", await one(self._backend, _RUN, run_id, actor.account_id, level))[0]

    async def prune(self, limit: int = 500) -> int:
        """Delete shares of what is not there any more, and return how many."""
        return len(await self._backend.write(_LOST, limit))


def _behalf(actor: Actor, slug: str, row: Row | None) -> tuple[Actor, str]:
    if row is None:
        return actor, slug
    return msgspec.structs.replace(actor, behalf=row["owner"]), str(row["slug"])


def _share(row: Row) -> Share:
    return Share(*tuple(row))
