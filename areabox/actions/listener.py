"""Which streams are open: keeps one task for each, and opens it again when it ends.

A message is on disk before the next one is taken: the source feels the back-pressure. A stream that ends or fails is
opened again after a growing pause, a connection that is dead is left alone until it is renewed. How far a source got
stands in its cursor, which is written with each message, and when it ends.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from areabox.actions import rows
from areabox.actions.inbox import Inbox, Item, Progress
from areabox.actions.poller import Connections
from areabox.actions.rows import Subscription
from areabox.actions.subscriptions import Subscriptions
from areabox.actions.trouble import TELL_STREAM_AFTER, Tell
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import AreaboxError, AuthExpired, ConfigurationError, ConnectorError, InputError, Transient
from areabox.monitoring.loops import Bell

log = logging.getLogger(__name__)

PAUSE_S_FIRST = 1.0
PAUSE_S_MAX = 300.0
STEADY_S = 60.0  # a stream that lived so long begins again with the first pause
SLEEP_S_MAX = 300.0


class Streams(Protocol):
    """Whoever calls connectors."""

    def listen(
        self, action_id: str, params: dict[str, Any], *, owner: str, connection: str | None, cursor: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens, for as long as the source lives. Raises `ConnectorError`."""
        ...


class _Stream(msgspec.Struct):
    task: asyncio.Task[None] | None = None
    version: tuple[Any, ...] = ()  # what it was opened with
    opened_s: float = 0.0
    retry_s: float = 0.0
    fails: int = 0
    parked: str | None = None  # the dead connection that it waits for


class Listener:
    """The open streams, and the tick that opens and closes them."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        subscriptions: Subscriptions,
        inbox: Inbox,
        streams: Streams,
        connections: Connections,
        bell: Bell | None = None,
        *,
        tell: Tell | None = None,
    ) -> None:
        self.bell = bell or Bell()
        self._tell_owner = tell
        self._backend = backend
        self._clock = clock
        self._subscriptions = subscriptions
        self._inbox = inbox
        self._source = streams
        self._connections = connections
        self._streams: dict[str, _Stream] = {}

    def changed(self, id: str | None = None) -> None:
        """Look at what must be open, now."""
        del id
        self.bell.ring()

    async def reconnected(self, connection: str) -> None:
        """Open again what was left alone while its connection was dead."""
        for stream in self._streams.values():
            if stream.parked == connection:
                stream.parked, stream.fails, stream.retry_s = None, 0, 0.0
        self.bell.ring()

    async def tick(self) -> float:
        """Open what must be open, close what nobody wants, and return the seconds until the next reopening."""
        wanted = {sub.id: sub for sub in await self._subscriptions.active("stream")}
        for id in [id for id in self._streams if id not in wanted]:
            await self._end(self._streams.pop(id))
        now_s, pause_s = self._clock.monotonic_s(), SLEEP_S_MAX
        for sub in wanted.values():
            stream = self._streams.setdefault(sub.id, _Stream())
            if stream.task is not None and stream.version != _version(sub):
                await self._end(stream)
            if stream.task is None and stream.parked is None:
                if stream.retry_s <= now_s:
                    self._open(sub, stream, now_s)
                else:
                    pause_s = min(pause_s, stream.retry_s - now_s)
            elif stream.task is not None and sub.fails:
                steady_s = stream.opened_s + STEADY_S - now_s
                pause_s = min(pause_s, max(steady_s, 0.1))
                if steady_s <= 0:
                    await self._well(sub)
        return pause_s

    async def close(self) -> None:
        """Close all streams."""
        for stream in self._streams.values():
            await self._end(stream)
        self._streams.clear()

    def _open(self, sub: Subscription, stream: _Stream, now_s: float) -> None:
        stream.version, stream.opened_s = _version(sub), now_s
        stream.task = asyncio.create_task(self._listen(sub, stream), name=f"listen {sub.action}")
        stream.task.add_done_callback(functools.partial(self._ended, stream))

    async def _end(self, stream: _Stream) -> None:
        task, stream.task = stream.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, stream: _Stream, task: asyncio.Task[None]) -> None:
        if stream.task is not task:
            return  # it was closed on purpose
        stream.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a stream ended unexpectedly: %s", error, exc_info=error)
            self._pause(stream)
        self.bell.ring()

    def _pause(self, stream: _Stream) -> None:
        now_s = self._clock.monotonic_s()
        stream.fails = 1 if now_s - stream.opened_s > STEADY_S else stream.fails + 1
        most_s = min(PAUSE_S_FIRST * 2 ** min(stream.fails, 16), PAUSE_S_MAX)
        stream.retry_s = now_s + self._clock.uniform(most_s / 2, most_s)

    async def _listen(self, sub: Subscription, stream: _Stream) -> None:
        cursor = copy.deepcopy(sub.cursor)
        try:
            await self._take(sub, cursor)
        except AuthExpired as error:
            stream.parked = sub.connection
            self._pause(stream)
            await self._tell(sub, error, cursor)
            if sub.connection is not None:
                await self._connections.dead(sub.connection, str(error))
        except (ConnectorError, InputError, ConfigurationError) as error:
            self._pause(stream)
            await self._tell(sub, error, cursor)

    async def _take(self, sub: Subscription, cursor: dict[str, Any]) -> None:
        """Store each message before the next is taken; a stream that ends is one that failed."""
        dedupe = self._subscriptions.operation(sub.action).dedupe
        params = sub.params | self._subscriptions.secrets(sub)
        source = self._source.listen(sub.action, params, owner=sub.owner, connection=sub.connection, cursor=cursor)
        async for event in source:
            items = [Item.of(event)] if event else []  # an empty one only says that all is well, and how far it got
            if sub.fails:
                sub = await self._well(sub)
            if items and dedupe is None and cursor == sub.cursor:
                await self._inbox.receive(self._inbox.event(sub, items[0].payload))
            else:
                progress = Progress(cursor=copy.deepcopy(cursor)) if cursor != sub.cursor else None
                await self._inbox.put(sub, items, dedupe=dedupe, progress=progress)
                sub = await self._subscriptions.load(sub.id) or sub if progress else sub
        raise Transient("the stream ended")

    async def _tell(self, sub: Subscription, error: AreaboxError, cursor: dict[str, Any]) -> None:
        text = str(error) or type(error).__name__
        current = await self._subscriptions.load(sub.id)
        if current is None or (
            (current.error, current.cursor) == (text, cursor) and current.fails >= TELL_STREAM_AFTER
        ):
            return  # that is known already
        unit, fails = Unit(), current.fails + 1
        rows.update(unit, current, error=text, fails=fails, cursor=cursor)
        if self._tell_owner is not None and fails == TELL_STREAM_AFTER and not isinstance(error, AuthExpired):
            self._tell_owner(unit, current, text)
        await self._backend.commit(unit)

    async def _well(self, sub: Subscription) -> Subscription:
        """Note that a stream is well again."""
        unit = Unit()
        after = rows.update(unit, sub, error=None, fails=0)
        if self._tell_owner is not None and sub.fails >= TELL_STREAM_AFTER:
            self._tell_owner(unit, sub, None)
        if await self._backend.commit(unit):
            return after
        return await self._subscriptions.load(sub.id) or sub


def _version(sub: Subscription) -> tuple[Any, ...]:
    return (sub.action, msgspec.json.encode(sub.params), sub.secret, sub.connection)
