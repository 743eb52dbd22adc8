"""Who hands ready jobs to the workers? One loop: as many tasks as there are slots, each with the job that goes next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from areabox.database import Handler, Pointer, QueueStats
from areabox.database.hot import HotQueue

log = logging.getLogger(__name__)

Refill = Callable[[str, int, int], Awaitable[list[Pointer]]]


class Dispatcher:
    """The hot queue and the tasks that it feeds.

    `refill(owner, lane, limit)` reads the ready jobs of an owner, oldest first; without it nothing spilled comes back.
    """

    def __init__(self, hot: HotQueue) -> None:
        self._hot = hot
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refilling: asyncio.Task[None] | None = None
        self._draining = False
        self.refill: Refill | None = None

    def offer(self, pointers: Iterable[Pointer]) -> None:
        """Take pointers in, and see to them."""
        self._hot.offer(pointers)
        self._wake.set()

    async def consume(self, handler: Handler, slots: int) -> None:
        """Hand pointers out until cancelled; those that are executing then go on."""
        self._draining = False
        try:
            while True:
                self._hand_out(handler, slots)
                self._wake.clear()
                await self._wake.wait()
        finally:
            await self._end_refilling()

    def drain(self) -> None:
        """Hand out no more; what is executing goes on."""
        self._draining = True

    def stats(self) -> QueueStats:
        """Return how full the queue is."""
        return QueueStats(len(self._hot), self._hot.executing)

    async def close(self) -> None:
        """Cut off what is still executing."""
        self.drain()
        await self._end_refilling()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hand_out(self, handler: Handler, slots: int) -> None:
        while not self._draining and len(self._tasks) < slots and (pointer := self._hot.take()) is not None:
            self._tasks.add(asyncio.create_task(self._handle(handler, pointer)))
        if self._refilling is None and self.refill is not None and (key := self._hot.thirsty()) is not None:
            self._refilling = asyncio.create_task(self._refill(self.refill, *key))

    async def _handle(self, handler: Handler, pointer: Pointer) -> None:
        try:
            await handler(pointer.job)
        except Exception:
            log.exception("a job's handler failed", extra={"job": pointer.job})
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            self._hot.done(pointer)
            self._wake.set()

    async def _refill(self, refill: Refill, owner: str, lane: int) -> None:
        limit = self._hot.window
        self._hot.drink(owner, lane)
        try:
            self._hot.refill(owner, lane, await refill(owner, lane, limit), limit)
        except Exception:  # the next resync offers what is ready again
            log.exception("ready jobs could not be read", extra={"owner": owner})
        finally:
            self._refilling = None
            self._wake.set()

    async def _end_refilling(self) -> None:
        if self._refilling is not None:
            self._refilling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refilling
