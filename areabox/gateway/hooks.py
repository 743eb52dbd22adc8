"""The entrance for webhooks, without a framework: read, hand over, answer when it is on disk."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

from areabox.clock import Clock
from areabox.errors import InputError, NotAllowedError
from areabox.gateway import bodies
from areabox.gateway.bodies import GoneError, Receive
from areabox.gateway.parts import Parts
from areabox.gateway.problems import MEDIA_TYPE, Refusal, RefusedError, refusal

BURST, PER_S = 1_000.0, 10.0  # of one address; whoever needs more switches the limits off
BUCKETS_MAX: Final = 10_000
_KEYS: Final = frozenset((b"cookie", b"authorization"))
_PREFIX: Final = len("/hooks/")
_SAFE: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class HookEntrance:
    """Answers `/hooks/{key}` and what is behind it, by any method."""

    def __init__(self, parts: Parts) -> None:
        self._hooks = parts.hooks
        self._clock = parts.clock
        self._buckets = Buckets(parts.clock) if parts.site.rate_limits else None

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """Take one delivery: 202 once it is on disk, or a problem."""
        key, _, rest = scope["path"][_PREFIX:].partition("/")
        try:
            if self._buckets is not None:
                self._buckets.take(key)
            length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
            body = await bodies.read(receive, None if length is None else length.decode("latin-1"))
            headers = [pair for pair in scope["headers"] if pair[0] not in _KEYS or not _opens_areabox(*pair)]
            receipt = await self._hooks.receive(key, scope["method"], rest, scope["query_string"], headers, body)
        except GoneError:
            return
        except Exception as error:  # noqa: BLE001 -- told to the sender, and logged if it was not foreseen
            told = _told(error, self._clock)
            await _send(send, told.status, MEDIA_TYPE, told.content, told.headers)
            return
        content = receipt.body if receipt.body is not None else b'{"event":%s}' % msgspec.json.encode(receipt.event)
        await _send(send, receipt.status, receipt.media_type, content)


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


async def _send(send: Any, status: int, media_type: str, content: bytes, more: dict[str, str] | None = None) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(content)), *_SAFE]
    if more:
        headers += [(name.encode(), value.encode()) for name, value in more.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


class Buckets:
    """How much each address may still take: full at first, refilled steadily; the longest quiet make room."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Take one; raises `RefusedError` (429) where none is left."""
        now = self._clock.monotonic_s()
        left, at = self._left.get(key, (BURST, now))
        left = min(BURST, left + (now - at) * PER_S)
        if left < 1.0:
            raise RefusedError(429, "too many deliveries at this address", {"retry-after": "1"})
        self._left[key] = (left - 1.0, now)
        self._left.move_to_end(key)
        if len(self._left) > BUCKETS_MAX:
            self._left.popitem(last=False)
