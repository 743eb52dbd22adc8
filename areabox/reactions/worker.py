"""The workers: begin → perform → advance, for every job, and a clock for the jobs that wait.

handle     one job, from the hot queue
tick       wake what is due
rescue     at a start: what the last process left under way
stop       let what is under way finish, and give the rest back
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

from areabox.clock import Clock
from areabox.database import Backend, Message
from areabox.errors import AreaboxError, StorageFullError
from areabox.monitoring.loops import Bell
from areabox.reactions import outcome as ends
from areabox.reactions import queue
from areabox.reactions.outcome import Outcome
from areabox.reactions.queue import Job

log = logging.getLogger(__name__)

T = TypeVar("T")
PAUSE_FULL_S = 2.0
REFUSALS_MAX = 30  # of a database that another program holds, say
SLEEP_MAX_S = 60.0
WAKE_AT_ONCE = 100
SUSPECTS_AT_ONCE = 64  # of those that began within …
LASTS_S = 0.25
ALONE_S = 10.0  # how long one stands alone that the process did not survive twice


class Engine(Protocol):
    """What knows how jobs are done: `areas.flow.Flow`."""

    def known(self, job_id: str) -> Job | None:
        """Return a ready job as it was inserted, if that is still in memory; it is asked once."""
        ...

    async def perform(self, job: Job) -> Outcome:
        """Do what a job is for."""
        ...

    async def advance(self, job: Job, outcome: Outcome) -> None:
        """Write how it ended."""
        ...

    async def abandon(self, job: Job, why: str) -> None:
        """End the run of a job whose outcome cannot be written, not even as failed."""
        ...

    async def wake(self, job: Job) -> bool:
        """Make a waiting job ready."""
        ...

    async def interrupted(self, job: Job) -> None:
        """Deal with an attempt that a stop cut off."""
        ...

    async def recover(self, job: Job) -> None:
        """Deal with an attempt that the last process did not survive."""
        ...


class Worker:
    """Drives the engine."""

    def __init__(self, backend: Backend, clock: Clock, engine: Engine) -> None:
        self._backend, self._clock, self._engine = backend, clock, engine
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._suspects: set[asyncio.Task[None]] = set()
        self._cut_off: set[str] = set()
        self._left: list[Job] = []  # what the last process left under way and nobody has seen to yet
        self._stopping = asyncio.Event()
        self._sleeps_until = math.inf
        self.bell = Bell()

    # --- one job --------------------------------------------------------------------------------------------------

    async def handle(self, job_id: str) -> None:
        """Take a job through one attempt."""
        if self._stopping.is_set():
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks[job_id] = task
        job: Job | None = None
        try:
            job = await self._begin(job_id)
            if job is not None:
                outcome = await self._perform(job)
                await self._advance(job, outcome)
        except asyncio.CancelledError:
            if job_id in self._cut_off:
                return  # its run was cancelled: there is nothing left to write
            if job is None or not self._stopping.is_set():
                raise
            await self._engine.interrupted(job)
        finally:
            self._tasks.pop(job_id, None)
            self._cut_off.discard(job_id)

    async def _begin(self, job_id: str) -> Job | None:
        known = self._engine.known(job_id)
        return await self._stored(lambda: queue.begin(self._backend, self._clock, job_id, known))

    async def _perform(self, job: Job) -> Outcome:
        try:
            if job.kind == "do":
                return await self._engine.perform(job)
            return await self._stored(lambda: self._engine.perform(job))  # nobody outside notices a repetition
        except Exception as error:
            log.exception("performing a job failed", extra={"run": job.run, "path": job.path})
            return ends.Failed(_bug(error), "internal")

    async def _advance(self, job: Job, outcome: Outcome) -> None:
        """Write the outcome; on a full disk hold on to it, since it is known and the world has changed already."""
        try:
            await self._stored(lambda: self._engine.advance(job, outcome))
        except Exception as error:
            log.exception("writing an outcome failed", extra={"run": job.run, "path": job.path})
            if isinstance(outcome, ends.Failed) and outcome.kind == "internal":
                why = _bug(error)
                await self._stored(lambda: self._engine.abandon(job, why))
            else:
                await self._advance(job, ends.Failed(_bug(error), "internal"))

    async def _stored(self, write: Callable[[], Awaitable[T]]) -> T:
        """Try until the disk has room, and for a while where the database refuses for another reason.

        What was offered meanwhile may have been looked at too early, so all that is ready is offered again.
        """
        refused, paused = 0, False
        while True:
            try:
                written = await write()
            except StorageFullError:
                paused = True
                await asyncio.sleep(PAUSE_FULL_S)
            except AreaboxError as error:
                refused += 1
                if type(error) is not AreaboxError or refused > REFUSALS_MAX:  # others say that one thing is wrong
                    raise
                paused = True
                await asyncio.sleep(PAUSE_FULL_S)
            else:
                if paused:
                    self._backend.offer(await queue.ready(self._backend))
                return written

    def interrupt(self, job_ids: Iterable[str]) -> None:
        """Cut attempts off whose jobs are gone."""
        current = asyncio.current_task()
        for job_id in job_ids:
            task = self._tasks.get(job_id)
            if task is not None and task is not current:
                self._cut_off.add(job_id)
                task.cancel()

    # --- waiting jobs ---------------------------------------------------------------------------------------------

    async def tick(self) -> float:
        """Wake the jobs that are due, and return how long to sleep."""
        self._sleeps_until = math.inf  # whatever is stored from here on may be sooner than what is read now
        jobs = await queue.due(self._backend, self._clock.now_ms())
        for start in range(0, len(jobs), WAKE_AT_ONCE):
            await asyncio.gather(*(self._engine.wake(job) for job in jobs[start : start + WAKE_AT_ONCE]))
        if len(jobs) == queue.BATCH:
            return 0.0
        due, now = await queue.next_due(self._backend), self._clock.now_ms()
        self._sleeps_until = now + SLEEP_MAX_S * 1000 if due is None else min(due, now + SLEEP_MAX_S * 1000)
        return max(self._sleeps_until - now, 0.0) / 1000

    async def _hear(self, messages: AsyncIterator[Message]) -> None:
        """Wake up for a job that is due before the one that is slept for."""
        async for message in messages:
            if message.body["at"] < self._sleeps_until:
                self.bell.ring()

    async def resync(self) -> None:
        """Offer what is ready on disk to the hot queue, which drops what it has already."""
        await self._recover()
        self._backend.offer(await queue.ready(self._backend))

    # --- start and stop -------------------------------------------------------------------------------------------

    async def rescue(self) -> int:
        """Deal with what the last process left under way, offer what is ready, and return how many were under way."""
        self._left = await queue.begun(self._backend)
        found = len(self._left)
        await self.resync()
        return found

    async def _recover(self) -> None:
        """Deal with what is left; where the disk does not take it, it is tried again at the next resync."""
        left, self._left = self._left, []
        for start in range(0, len(left), WAKE_AT_ONCE):
            some = left[start : start + WAKE_AT_ONCE]
            ends_ = await asyncio.gather(*(self._engine.recover(job) for job in some), return_exceptions=True)
            for job, end in zip(some, ends_, strict=True):
                if isinstance(end, StorageFullError) or type(end) is AreaboxError:
                    self._left.append(job)
                elif isinstance(end, Exception):
                    await self._advance(job, ends.Failed(_bug(end), "internal"))

    async def run(self, *, slots: int) -> None:
        """Work until cancelled."""
        self._stopping.clear()
        beside = [
            asyncio.create_task(self._hear(self._backend.subscribe("due")), name="due"),
            asyncio.create_task(self._try_suspects(), name="suspects"),
        ]
        self.bell.ring()
        try:
            await self._backend.consume(self.handle, slots=slots)
        finally:
            for task in beside:
                task.cancel()

    async def _try_suspects(self) -> None:
        """Try again what the process did not survive: some at once, and what it did not survive twice alone.

        So a job that ends the process every time is alone when it does so for the third time, and none that was only
        beside it is set aside with it. Those that have lasted for a while make room for the next: a thousand slow calls
        that a power cut interrupted are soon all under way again.
        """
        young: set[asyncio.Task[None]] = set()
        for job_id, crashes in await queue.suspects(self._backend):
            limit, lasts_s = (SUSPECTS_AT_ONCE, LASTS_S) if crashes == 1 else (1, ALONE_S)
            while len(young) >= limit:
                ended, young = await asyncio.wait(young, timeout=lasts_s, return_when=asyncio.FIRST_COMPLETED)
                young = young if ended else set()
            attempt = asyncio.create_task(self.handle(job_id), name="suspect")  # it outlives this, as at a stop
            attempt.add_done_callback(_report)
            self._suspects.add(attempt)
            attempt.add_done_callback(self._suspects.discard)
            young.add(attempt)

    async def stop(self, grace_s: float) -> None:
        """Begin nothing more, let what is under way finish within the grace, and give the rest back."""
        self._stopping.set()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=grace_s)


def _bug(error: Exception) -> str:
    return f"areabox failed here, which is a bug: {type(error).__name__}: {error}"


def _report(attempt: asyncio.Task[None]) -> None:
    if not attempt.cancelled() and (error := attempt.exception()) is not None:
        log.error("an attempt could not be ended: %s", error, exc_info=error)
