"""Notices: rows that are written in the transaction of what they tell, and read by their owner."""

from __future__ import annotations

from typing import Any

from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import NotFoundError

TITLE_MAX, BODY_MAX = 200, 4_000
_INSERT = """
insert into notice (id, owner, kind, title, body, link, at) values (?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing
"""


class Outbox:
    """The notices of everybody."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    def put(
        self, unit: Unit, *, owner: str, kind: str, title: str, body: str, link: str = "", id: str | None = None
    ) -> None:
        """Add a notice; one whose `id` is given is added once, however often it is tried."""
        id = id or self._clock.new_id()
        unit.do(_INSERT, id, owner, kind, title[:TITLE_MAX], body[:BODY_MAX], link, self._clock.now_ms())
        unit.publish("notice", id=id, owner=owner, kind=kind, title=title[:TITLE_MAX])

    async def message(self, owner: str, title: str, message: str, link: str, key: str) -> None:
        """Add what an area wants its owner to know, once for each idempotency key."""
        unit = Unit()
        self.put(unit, owner=owner, kind="message", title=title, body=message, link=link, id=key)
        await self._backend.commit(unit)

    async def list(
        self, owner: str, *, unseen: bool = False, limit: int = 50, after: str | None = None
    ) -> list[dict[str, Any]]:
        """Return an owner's notices, newest first, those before the id `after`."""
        rows = await self._backend.read(
            "select * from notice where owner = ? and id < ? and (? = 0 or seen is null) order by id desc limit ?",
            owner, after or "~", int(unseen), limit,
        )  # fmt: skip
        return [dict(zip(row.keys(), row, strict=True)) for row in rows]

    async def see(self, owner: str, notice_id: str) -> None:
        """Mark a notice as seen; raises NotFoundError."""
        rows = await self._backend.write(
            "update notice set seen = coalesce(seen, ?) where id = ? and owner = ? returning id",
            self._clock.now_ms(), notice_id, owner,
        )  # fmt: skip
        if not rows:
            raise NotFoundError(f"there is no notice {notice_id}")

    async def prune(self, before_ms: int, limit: int = 500) -> int:
        """Delete notices from before a time, and return how many."""
        rows = await self._backend.write(
            "delete from notice where id in (select id from notice where at < ? order by at limit ?) returning id",
            before_ms, limit,
        )  # fmt: skip
        return len(rows)
