"""One long-lived client for each connection: opened when first needed, shared, closed when nobody has used it a while.

A session lives in a task of its own, since a context manager must be left where it was entered. Whoever finds it broken
says so by an error; the next user gets a new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from areabox.errors import Permanent, Skip, Transient

log = logging.getLogger(__name__)

IDLE_S = 60.0
CLOSE_S = 5.0
TAP_ITEMS = 1000


class _Session:
    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.users, self.broken = 0, False
        self.idle: asyncio.TimerHandle | None = None
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._live(manager))

    async def _live(self, manager: AbstractAsyncContextManager[Any]) -> None:
        try:
            async with manager as client:
                self.ready.set_result(client)
                await self._end.wait()
        except Exception as error:  # noqa: BLE001 -- handed to whoever waits for it
            if self.ready.done():
                log.warning("a session ended badly: %s", error)
            else:
                self.ready.set_exception(error)
                self.ready.exception()  # seen, even if nobody waits any more
        finally:
            self.broken = True
            if not self.ready.done():
                self.ready.set_exception(Transient("the session was closed before it was open"))
                self.ready.exception()

    def end(self) -> None:
        """Let it close by itself."""
        self.broken = True
        if self.idle is not None:
            self.idle.cancel()
        self._end.set()


class Sessions:
    """The open sessions, by connection."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._open: dict[str, _Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def use(self, key: str, make: Callable[[], AbstractAsyncContextManager[Any]]) -> AsyncIterator[Any]:
        """Give the session of that key, which `make` makes if there is none; an error ends it, but for a refusal."""
        session = self._open.get(key)
        if session is None or session.broken:
            session = self._open[key] = _Session(make())
        if session.idle is not None:
            session.idle.cancel()
        session.users += 1
        try:
            yield await asyncio.shield(session.ready)
        except (Permanent, Skip):  # one request was refused; the session is well, and others use it
            if session.broken:
                self._drop(key, session)
            raise
        except Exception:
            self._drop(key, session)
            raise
        finally:
            session.users -= 1
            if not session.users and not session.broken:
                session.idle = asyncio.get_running_loop().call_later(self._idle_s, self._drop, key, session)

    def forget(self, key: str) -> None:
        """Close a session, since its connection has changed."""
        if (session := self._open.get(key)) is not None:
            self._drop(key, session)

    async def close(self) -> None:
        """Close all sessions."""
        for key, session in list(self._open.items()):
            self._drop(key, session)
        if self._closing:
            _, late = await asyncio.wait(self._closing, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _drop(self, key: str, session: _Session) -> None:
        session.end()
        if self._open.get(key) is session:
            del self._open[key]
        if not session.task.done():
            self._closing.add(session.task)
            session.task.add_done_callback(self._closing.discard)


class _Tap:
    """One source, copied to all its readers; a slow reader slows the source, and nothing is dropped."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self.source = source  # kept, so that its id stays its own
        self.readers: set[asyncio.Queue[Any]] = set()
        self.over: Exception | None = None
        self.task = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        over: Exception = Transient("the source ended")
        try:
            async for item in self.source:
                for reader in list(self.readers):
                    await reader.put(item)
        except Exception as error:  # noqa: BLE001 -- handed to the readers
            over = error
        self.over = over
        for reader in self.readers:
            await reader.put(_END)


_END = object()


class Taps:
    """The sources that several read at once."""

    def __init__(self) -> None:
        self._taps: dict[int, _Tap] = {}

    async def read(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield everything that a source gives from now on, however many read it."""
        tap = self._taps.get(id(source))
        if tap is None or tap.over is not None:
            tap = self._taps[id(source)] = _Tap(source)
        reader: asyncio.Queue[Any] = asyncio.Queue(TAP_ITEMS)
        tap.readers.add(reader)
        try:
            while (item := await reader.get()) is not _END:
                yield item
            assert tap.over is not None
            raise tap.over
        finally:
            tap.readers.discard(reader)
            if not tap.readers:
                tap.task.cancel()
                if self._taps.get(id(source)) is tap:
                    del self._taps[id(source)]
