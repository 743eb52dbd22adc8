"""What happens to a POST that comes twice? With the same Idempotency-Key it is done once, and answered the same.

Kept for a day. While the first is under way the second is refused (409); the same key with another request is an error
(422). What was refused or failed is not kept, so that it can be sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one
from areabox.errors import ConflictError, InputError, Problem
from areabox.gateway.problems import RefusedError
from areabox.gateway.routes import Ask

KEY_MAX: Final = 255
KEPT_MS: Final = 86_400_000
ABANDONED_MS: Final = 120_000  # the process that began it died
_BEGIN = """
insert into idempotency (owner, key, request, status, answer, at) values (?, ?, ?, null, null, ?)
on conflict (owner, key) do update set request = excluded.request, status = null, answer = null, at = excluded.at
 where idempotency.at < ? or (idempotency.status is null and idempotency.at < ?)
"""
_FIND = "select request, status, answer from idempotency where owner = ? and key = ?"
_END = "update idempotency set status = ?, answer = ? where owner = ? and key = ?"
_DROP = "delete from idempotency where owner = ? and key = ?"
_PRUNE = """
delete from idempotency where (owner, key) in (select owner, key from idempotency where at < ? limit ?) returning key
"""

T = TypeVar("T")


class Repeats:
    """The answers of the last day, by owner and key."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    async def once(self, ask: Ask, call: Callable[[], Awaitable[T]], *, keep: bool, seal: Callable[..., T]) -> T:
        """Return what `call` gives, or what it gave before; `keep` False remembers only that it was done."""
        key, owner = ask.headers["idempotency-key"], ask.actor.account_id
        if not 0 < len(key) <= KEY_MAX:
            raise RefusedError(400, f"an Idempotency-Key has 1 to {KEY_MAX} characters")
        request, now = _digest(ask), self._clock.now_ms()
        unit = Unit().do(_BEGIN, owner, key, request, now, now - KEPT_MS, now - ABANDONED_MS, expect=1)
        if not await self._backend.commit(unit):
            return _again(await one(self._backend, _FIND, owner, key), request, seal)
        try:
            answer: Any = await call()
        except BaseException:
            await self._backend.commit(Unit().do(_DROP, owner, key))
            raise
        stored = [answer.headers, answer.media_type, (answer.content or b"").decode()] if keep else None
        text = msgspec.json.encode(stored).decode()
        await self._backend.commit(Unit().do(_END, answer.status, text, owner, key))
        return answer  # type: ignore[no-any-return]

    async def prune(self, limit: int = 500) -> int:
        """Delete answers older than a day, and return how many."""
        return len(await self._backend.write(_PRUNE, self._clock.now_ms() - KEPT_MS, limit))


def _digest(ask: Ask) -> str:
    whole = b"\n".join((ask.method.encode(), ask.path.encode(), ask.query_string, ask.body))
    return hashlib.sha256(whole).hexdigest()


def _again(row: Row | None, request: str, seal: Callable[..., T]) -> T:
    if row is None or (row["status"] is None and row["request"] == request):
        raise ConflictError("a request with this Idempotency-Key is under way; ask again")
    if row["request"] != request:
        detail = "this Idempotency-Key came with another request before"
        raise InputError(detail, [Problem("Idempotency-Key", detail)])
    stored = msgspec.json.decode(row["answer"])
    if stored is None:
        raise ConflictError("that was done already, and its answer holds a secret that is not shown again")
    headers, media_type, content = stored
    return seal(row["status"], headers | {"idempotent-replayed": "true"}, media_type, content.encode() or None)
