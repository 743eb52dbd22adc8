"""The clock of the jobs that wait, and what is tried again after the process ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from areabox.database import Unit
from areabox.database.sqlite import SqliteBackend
from areabox.reactions import outcome as ends
from areabox.reactions import queue
from areabox.reactions.queue import Job
from areabox.reactions.worker import SUSPECTS_AT_ONCE, Worker
from tests.support import FakeClock


class Engine:
    """Does nothing, for as long as it is told to, and settles."""

    def __init__(self, backend: SqliteBackend) -> None:
        self.backend = backend
        self.free = asyncio.Event()
        self.performed: list[str] = []
        self.at_once = self.most_at_once = 0

    def known(self, job_id: str) -> Job | None:
        return None

    async def perform(self, job: Job) -> ends.Outcome:
        self.performed.append(job.id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.free.wait()
        self.at_once -= 1
        return ends.Done()

    async def advance(self, job: Job, outcome: ends.Outcome) -> None:
        unit = Unit()
        queue.settle(unit, job)
        assert await self.backend.commit(unit)

    async def recover(self, job: Job) -> None:
        unit = Unit()
        queue.crashed(unit, job)
        assert await self.backend.commit(unit)


@pytest.fixture
async def backend(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteBackend]:
    found = SqliteBackend(tmp_path / "areabox.db", clock, reserve_bytes=0)
    await found.open()
    yield found
    await found.close()


def job(clock: FakeClock, **more: object) -> Job:
    made = Job(clock.new_id(), "r", "u", "a", "s1", "s1", "do", "ready", clock.now_ms())
    return msgspec.structs.replace(made, **more)


async def store(backend: SqliteBackend, *jobs: Job) -> None:
    unit = Unit()
    unit.do(
        "insert into run (id, owner, area, version, trigger, state, started) values ('r', 'u', 'a', 1, '{}', 'running', 0) "
        "on conflict do nothing"
    )
    for new in jobs:
        queue.insert(unit, new)
    assert await backend.commit(unit)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("parked", [False, True])
async def test_a_job_that_begins_to_wait_wakes_the_worker_in_time(
    backend: SqliteBackend, clock: FakeClock, parked: bool
) -> None:
    worker = Worker(backend, clock, Engine(backend))  # type: ignore[arg-type]
    running = asyncio.create_task(worker.run(slots=1))
    await asyncio.sleep(0)
    await worker.bell.wait(0)
    assert await worker.tick() == 60.0
    if parked:
        waits = job(clock, state="waiting", wait_key="k")
        await store(backend, waits)
        unit = Unit()
        queue.park(unit, waits, now=clock.now_ms(), due=clock.now_ms() + 200, wait_key=None, attempt=1)
        assert await backend.commit(unit)
    else:
        await store(backend, job(clock, state="waiting", due=clock.now_ms() + 200))
    async with asyncio.timeout(30):
        await worker.bell.wait(60)
    assert await worker.tick() == 0.2
    await store(backend, job(clock, state="waiting", due=clock.now_ms() + 300))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await worker.bell.wait(0.05)  # which it need not hear of
    assert await worker.tick() == 0.2
    await ended(running)


async def test_what_the_process_did_not_survive_is_tried_carefully(tmp_path: Path, clock: FakeClock) -> None:
    backend = SqliteBackend(tmp_path / "areabox.db", clock, reserve_bytes=0)
    await backend.open()
    twice, once = [job(clock) for _ in range(3)], [job(clock) for _ in range(30)]
    await store(backend, *twice, *once)
    for times, jobs in ((2, twice), (1, once)):
        for _ in range(times):
            for each in jobs:
                begun = await queue.begin(backend, clock, each.id)
                assert begun is not None
                unit = Unit()
                queue.crashed(unit, begun)
                assert await backend.commit(unit)
    await backend.close()
    backend = SqliteBackend(tmp_path / "areabox.db", clock, reserve_bytes=0)
    await backend.open()
    engine = Engine(backend)
    worker = Worker(backend, clock, engine)  # type: ignore[arg-type]
    await worker.rescue()
    running = asyncio.create_task(worker.run(slots=100))
    async with asyncio.timeout(30):
        while not engine.performed:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert engine.performed == [twice[-1].id], "the newest of the worst is alone"
        engine.free.set()
        while await queue.suspects(backend) or engine.at_once:
            await asyncio.sleep(0.01)
    await worker.stop(5)
    await ended(running)
    await backend.close()
    assert engine.performed[:3] == [each.id for each in reversed(twice)]
    assert sorted(engine.performed) == sorted(each.id for each in twice + once)
    assert engine.most_at_once <= SUSPECTS_AT_ONCE
