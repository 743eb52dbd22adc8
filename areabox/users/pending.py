"""What is half done? A sign-in that waits for its second factor.

A row that a browser holds by a cookie of its own, works once, and is gone after ten minutes.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Any, Final, NamedTuple

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Unit, one

VALID_MS: Final = 600_000
KEPT_MAX: Final = 10_000
TRIES_MAX: Final = 5
_BYTES: Final = 32
_INSERT = """
insert into pending (id, kind, account, data, expires)
select ?, ?, ?, ?, ? where (select count(*) from pending) < ?
"""
_FIND = "select account, data from pending where id = ? and kind = ? and expires > ?"


class Waiting(NamedTuple):
    """What waits: the account that it is about, if one is known, and what was noted."""

    account: str | None
    data: dict[str, Any]


class Pending:
    """All that is half done."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    def secret(self) -> str:
        """Return an unguessable text."""
        return urlsafe_b64encode(self._clock.secret(_BYTES)).rstrip(b"=").decode()

    async def put(self, kind: str, account: str | None, data: dict[str, Any], *, valid_ms: int = VALID_MS) -> str:
        """Note something and return the value of the cookie that it is found by; nothing where there is too much."""
        value, now = self.secret(), self._clock.now_ms()
        unit = Unit().do("delete from pending where expires < ?", now)
        text = msgspec.json.encode(data).decode()
        unit.do(_INSERT, _hash(value), kind, account, text, now + valid_ms, KEPT_MAX, expect=1)
        return value if await self._backend.commit(unit) else ""

    async def look(self, kind: str, value: str) -> Waiting | None:
        """Return what waits under a cookie's value, and leave it."""
        row = await one(self._backend, _FIND, _hash(value), kind, self._clock.now_ms()) if value else None
        return None if row is None else Waiting(row["account"], msgspec.json.decode(row["data"]))

    async def take(self, kind: str, value: str) -> Waiting | None:
        """Return what waits under a cookie's value, once."""
        found = await self.look(kind, value)
        if found is None:
            return None
        gone = await self._backend.commit(Unit().do("delete from pending where id = ?", _hash(value), expect=1))
        return found if gone else None

    async def miss(self, kind: str, value: str) -> None:
        """Count a wrong answer; after five the whole sign-in must begin anew."""
        found = await self.look(kind, value)
        if found is None:
            return
        tries = found.data.get("tries", 0) + 1
        text = msgspec.json.encode(found.data | {"tries": tries}).decode()
        unit = Unit()
        if tries >= TRIES_MAX:
            unit.do("delete from pending where id = ?", _hash(value))
        else:
            unit.do("update pending set data = ? where id = ?", text, _hash(value))
        await self._backend.commit(unit)


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
