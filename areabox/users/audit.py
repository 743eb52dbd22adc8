"""Who changed what, and has anybody changed this log since? Rows, each with a hash over itself and the one before."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one

OBJECT_MAX: Final = 200
PAGE: Final = 500
_INSERT = """
insert into audit (id, at, actor, address, verb, object, detail, chain) values (?, ?, ?, ?, ?, ?, ?, ?)
"""
_LIST = "select id, at, actor, address, verb, object, detail from audit where id < ? order by id desc limit ?"
_WALK = "select id, at, actor, address, verb, object, detail, chain from audit where id > ? order by id limit ?"
_PRUNE = "delete from audit where id in (select id from audit where at < ? order by id limit ?) returning id"


class Entry(msgspec.Struct, frozen=True):
    """One line of the log; `at` in UTC milliseconds, `detail` without secrets."""

    id: str
    at: int
    actor: str
    address: str
    verb: str
    object: str
    detail: dict[str, Any]


class Audit:
    """The log. Only this process writes it, one entry after the other."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock
        self._lock = asyncio.Lock()
        self._chain: str | None = None

    async def record(self, actor: str, address: str, verb: str, object: str, **detail: Any) -> None:
        """Write an entry, on disk when this returns."""
        async with self._lock:
            if self._chain is None:
                row = await one(self._backend, "select chain from audit order by id desc limit 1")
                self._chain = "" if row is None else row["chain"]
            columns = (
                self._clock.new_id(), self._clock.now_ms(), actor, address, verb, object[:OBJECT_MAX],
                msgspec.json.encode(detail).decode(),
            )  # fmt: skip
            chain = _link(self._chain, columns)
            await self._backend.commit(Unit().do(_INSERT, *columns, chain, expect=1))
            self._chain = chain

    async def list(self, *, limit: int = 50, after: str | None = None) -> list[Entry]:
        """Return entries, newest first, those before the id `after`."""
        return [_entry(row) for row in await self._backend.read(_LIST, after or "~", limit)]

    async def verify(self) -> str | None:
        """Return the id of the first entry that does not follow from the one before; None if all do.

        The oldest one is believed, since what was before it may have been pruned.
        """
        before: str | None = None
        after = ""
        while rows := await self._backend.read(_WALK, after, PAGE):
            for row in rows:
                *columns, chain = tuple(row)
                if before is not None and _link(before, tuple(columns)) != chain:
                    return str(row["id"])
                before, after = chain, row["id"]
        return None

    async def prune(self, before_ms: int, limit: int = PAGE) -> int:
        """Delete the oldest entries from before a time, and return how many."""
        return len(await self._backend.write(_PRUNE, before_ms, limit))


def _link(before: str, columns: tuple[Any, ...]) -> str:
    return hashlib.sha256(before.encode() + msgspec.json.encode(columns)).hexdigest()


def _entry(row: Row) -> Entry:
    id, at, actor, address, verb, object, detail = tuple(row)
    return Entry(id, at, actor, address, verb, object, msgspec.json.decode(detail, type=dict[str, Any]))
