"""The entrance for webhooks, without a framework: read, hand over, answer when it is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from areabox.clock import Clock
from areabox.errors import InputError, NotAllowedError
from areabox.gateway import bodies
from areabox.gateway.bodies import GoneError, Receive
from areabox.gateway.limits import POLICIES, Buckets
from areabox.gateway.parts import Parts
from areabox.gateway.problems import MEDIA_TYPE, Refusal, RefusedError, refusal

_KEYS: Final = frozenset((b"cookie", b"authorization"))
_PREFIX: Final = len("/hooks/")
Spoken = tuple[int, list[tuple[bytes, bytes]], bytes]  # status, headers, content
_SAFE: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class HookEntrance:
    """Answers `/hooks/{key}` and what is behind it, by any method."""

    def __init__(self, parts: Parts) -> None:
        self._hooks = parts.hooks
        self._clock = parts.clock
        self._buckets = Buckets(parts.clock, POLICIES["hook"]) if parts.site.rate_limits else None

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """Take one delivery, as an ASGI application."""
        length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        try:
            body = await bodies.read(receive, None if length is None else length.decode("latin-1"))
        except GoneError:
            return
        except RefusedError as error:
            status, headers, content = self._refused(error)
        else:
            status, headers, content = await self.answer(scope, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def answer(self, scope: Any, body: bytes) -> Spoken:
        """Take one delivery whose body is read already: 202 once it is on disk, or a problem."""
        key, _, rest = scope["path"][_PREFIX:].partition("/")
        if self._buckets is not None and (empty := self._buckets.take(key)) is not None:
            return self._refused(empty.refusal("deliveries at this address"))
        try:
            headers = [pair for pair in scope["headers"] if pair[0] not in _KEYS or not _opens_areabox(*pair)]
            receipt = await self._hooks.receive(key, scope["method"], rest, scope["query_string"], headers, body)
        except Exception as error:  # noqa: BLE001 -- told to the sender, and logged if it was not foreseen
            return self._refused(error)
        content = receipt.body if receipt.body is not None else b'{"event":%s}' % msgspec.json.encode(receipt.event)
        return _spoken(receipt.status, receipt.media_type, content)

    def _refused(self, error: Exception) -> Spoken:
        told = _told(error, self._clock)
        more = [(name.encode(), value.encode()) for name, value in told.headers.items()]
        return _spoken(told.status, MEDIA_TYPE, told.content, more)


def _opens_areabox(name: bytes, value: bytes) -> bool:
    """Tell whether a header is a key to areabox itself, which must not become part of a stored event.

    A person who is logged in and opens a hook in the browser sends the session along.
    """
    if name == b"cookie":
        return b"areabox=" in value
    return value.lower().startswith(b"bearer abx_")


def _told(error: Exception, clock: Clock) -> Refusal:
    if isinstance(error, NotAllowedError):
        return refusal(RefusedError(401, str(error)))
    if isinstance(error, InputError):
        return refusal(RefusedError(400, str(error)))
    return refusal(error, error_id=clock.new_id())


def _spoken(status: int, media_type: str, content: bytes, more: Sequence[tuple[bytes, bytes]] = ()) -> Spoken:
    headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(content)), *_SAFE, *more]
    return status, headers, content
