"""The rows of `job`: who may take one, who was faster, and what is read again after a start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from areabox.database import Lane, Unit
from areabox.database.sqlite import SqliteBackend
from areabox.reactions import queue
from areabox.reactions.queue import Job
from tests.support import FakeClock


@pytest.fixture
async def backend(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteBackend]:
    found = SqliteBackend(tmp_path / "areabox.db", clock, reserve_bytes=0)
    await found.open()
    yield found
    await found.close()


async def add(backend: SqliteBackend, clock: FakeClock, **more: Any) -> Job:
    job = msgspec.structs.replace(
        Job(clock.new_id(), "run", "owner", "area", "s1", "s1", "do", "ready", clock.now), **more
    )
    unit = Unit()
    queue.insert(unit, job)
    assert await backend.commit(unit)
    return job


async def commit(backend: SqliteBackend, write: Any, *args: Any, **more: Any) -> bool:
    unit = Unit()
    write(unit, *args, **more)
    return bool(await backend.commit(unit))


async def test_a_job_comes_back_as_it_was_put_in(backend: SqliteBackend, clock: FakeClock) -> None:
    job = await add(
        backend, clock, state="waiting", due=7, wait_key="ask:1", input={"a": [1, None, "ü"]}, lane=Lane.BULK
    )
    assert await queue.get(backend, job.id) == job
    assert await queue.of_run(backend, "run") == [job]
    assert await queue.get(backend, "nobody") is None


async def test_beginning_counts_the_attempt_and_fences_the_one_before(backend: SqliteBackend, clock: FakeClock) -> None:
    job = await add(backend, clock)
    first = await queue.begin(backend, clock, job.id)
    second = await queue.begin(backend, clock, job.id)
    assert first is not None
    assert second is not None
    assert (first.attempt, first.fence, first.begun) == (1, 1, clock.now)
    assert (second.attempt, second.fence) == (2, 2)
    assert not await commit(backend, queue.settle, first)
    assert await commit(backend, queue.settle, second)
    assert await queue.get(backend, job.id) is None
    assert await queue.begin(backend, clock, job.id) is None


async def test_a_job_that_is_known_is_begun_without_being_read_and_read_where_it_has_changed(
    backend: SqliteBackend, clock: FakeClock
) -> None:
    job = await add(backend, clock, input={"a": 1})
    first = await queue.begin(backend, clock, job.id, job)
    assert first == await queue.get(backend, job.id)
    assert first is not None
    assert (first.attempt, first.fence, first.begun) == (1, 1, clock.now)
    second = await queue.begin(backend, clock, job.id, job)  # what was known is of before the first
    assert second is not None
    assert (second.attempt, second.fence, second.input) == (2, 2, {"a": 1})
    assert await commit(backend, queue.settle, second)
    assert await queue.begin(backend, clock, job.id, job) is None


async def test_a_waiting_job_cannot_be_begun_until_it_is_woken_once(backend: SqliteBackend, clock: FakeClock) -> None:
    job = await add(backend, clock, state="waiting", due=clock.now + 5, input={"kept": 1})
    assert await queue.begin(backend, clock, job.id) is None
    assert await commit(backend, queue.wake, job)
    assert not await commit(backend, queue.wake, job)
    found = await queue.begin(backend, clock, job.id)
    assert found is not None
    assert found.input == {"kept": 1}


async def test_what_wakes_a_job_may_tell_it_something(backend: SqliteBackend, clock: FakeClock) -> None:
    job = await add(backend, clock, state="waiting", wait_key="ask:1", input={"kept": 1})
    assert await commit(backend, queue.wake, job, {"answer": 2})
    found = await queue.get(backend, job.id)
    assert found is not None
    assert (found.state, found.input) == ("ready", {"answer": 2})


async def test_a_parked_job_forgets_that_it_was_begun_and_only_its_own_attempt_parks_it(
    backend: SqliteBackend, clock: FakeClock
) -> None:
    job = await add(backend, clock)
    old = await queue.begin(backend, clock, job.id)
    new = await queue.begin(backend, clock, job.id)
    assert old is not None
    assert new is not None
    assert not await commit(backend, queue.park, old, now=1, due=2, wait_key=None, attempt=1)
    assert await commit(backend, queue.park, new, now=1, due=2, wait_key=None, input={"m": 1}, attempt=new.attempt)
    found = await queue.get(backend, job.id)
    assert found is not None
    assert (found.state, found.due, found.begun, found.attempt, found.input, found.since) == (
        "waiting",
        2,
        None,
        2,
        {"m": 1},
        1,
    )
    assert await queue.begun(backend) == []


async def test_an_attempt_that_is_given_back_costs_nothing_and_a_crash_counts(
    backend: SqliteBackend, clock: FakeClock
) -> None:
    job = await add(backend, clock)
    begun = await queue.begin(backend, clock, job.id)
    assert begun is not None
    assert await queue.begun(backend) == [begun]
    assert await commit(backend, queue.release, begun)
    given = await queue.get(backend, job.id)
    assert given is not None
    assert (given.attempt, given.begun, given.crashes) == (0, None, 0)
    begun = await queue.begin(backend, clock, job.id)
    assert begun is not None
    assert await commit(backend, queue.crashed, begun)
    crashed = await queue.get(backend, job.id)
    assert crashed is not None
    assert (crashed.attempt, crashed.begun, crashed.crashes) == (1, None, 1)


async def test_due_jobs_come_the_longest_overdue_first_and_no_more_than_asked(
    backend: SqliteBackend, clock: FakeClock
) -> None:
    jobs = [await add(backend, clock, state="waiting", due=due) for due in (30, 10, 20, 40)]
    found = await queue.due(backend, 35, limit=2)
    assert [job.id for job in found] == [jobs[1].id, jobs[2].id]
    assert await queue.next_due(backend) == 10
    assert [job.due for job in await queue.due(backend, 35)] == [10, 20, 30]


async def test_nothing_is_due_where_nothing_waits(backend: SqliteBackend, clock: FakeClock) -> None:
    await add(backend, clock)
    await add(backend, clock, state="waiting", wait_key="ask:1")
    assert await queue.next_due(backend) is None
    assert await queue.due(backend, 10**15) == []


async def test_jobs_are_found_by_what_they_wait_for(backend: SqliteBackend, clock: FakeClock) -> None:
    first = await add(backend, clock, state="waiting", wait_key="sub:1")
    second = await add(backend, clock, state="waiting", wait_key="sub:1")
    await add(backend, clock, state="waiting", wait_key="sub:2")
    await add(backend, clock)
    assert await queue.waiting_on(backend, "sub:1") == [first, second]
    assert len(await queue.keyed(backend)) == 3


async def test_cancelling_takes_a_run_or_what_is_below_a_path(backend: SqliteBackend, clock: FakeClock) -> None:
    for path in ("par.0.a", "par.1.b", "parallel", "par"):
        await add(backend, clock, path=path)
    await add(backend, clock, run="other", path="par.0.a")
    assert await commit(backend, queue.cancel, "run", "par.")
    assert [job.path for job in await queue.of_run(backend, "run")] == ["parallel", "par"]
    assert await commit(backend, queue.cancel, "run")
    assert await queue.of_run(backend, "run") == []
    assert len(await queue.of_run(backend, "other")) == 1


async def test_a_path_is_no_pattern(backend: SqliteBackend, clock: FakeClock) -> None:
    await add(backend, clock, path="a_b.0.x")
    await add(backend, clock, path="axb.0.x")
    await commit(backend, queue.cancel, "run", "a_b.")
    assert [job.path for job in await queue.of_run(backend, "run")] == ["axb.0.x"]


async def test_only_what_nobody_does_is_offered_after_a_start(backend: SqliteBackend, clock: FakeClock) -> None:
    ready = await add(backend, clock)
    bulk = await add(backend, clock, lane=Lane.BULK, owner="second")
    begun = await add(backend, clock)
    await queue.begin(backend, clock, begun.id)
    await add(backend, clock, state="waiting", due=1)
    assert await queue.ready(backend) == [ready.pointer, bulk.pointer]
    assert await queue.refill(backend, "owner", Lane.RUN, 10) == [ready.pointer]
    assert await queue.refill(backend, "second", Lane.BULK, 10) == [bulk.pointer]


async def test_a_waiting_job_waits_for_something(backend: SqliteBackend, clock: FakeClock) -> None:
    from areabox.errors import ConflictError

    with pytest.raises(ConflictError):
        await add(backend, clock, state="waiting")
