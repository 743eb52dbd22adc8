"""The rows of `job`, used in any order by many who may be late: a small model says what each of them is told.

The database is the real one, on a file, and is closed and opened in between.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from areabox.database import Unit
from areabox.database.sqlite import SqliteBackend
from areabox.reactions import queue
from areabox.reactions.queue import Job
from tests.support import FakeClock

FULL = os.environ.get("AREABOX_FAULTS") == "full"
MEMORY = Path("/dev/shm")  # the disk's own speed is not what is looked at here
RUNS = ["r1", "r2"]
PATHS = ["a", "b.0.x", "b.1.x", "b.1.y"]
KEYS = ["sub:s", "slot:k", "ask:q"]
DUE, KEY = st.sampled_from([None, None, None, 0, 5]), st.sampled_from([None, None, None, *KEYS])


class Row(msgspec.Struct):
    """What the model knows of a job."""

    run: str
    path: str
    state: str
    due: int | None = None
    wait_key: str | None = None
    attempt: int = 0
    crashes: int = 0
    fence: int = 0
    begun: int | None = None
    input: Any = None


class JobStore(RuleBasedStateMachine):
    """Whoever holds a `Job` may be late: only the newest attempt may write."""

    def __init__(self) -> None:
        super().__init__()
        self.runner, self.clock = asyncio.Runner(), FakeClock()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.model: dict[str, Row] = {}
        self.attempts: list[Job] = []

    @initialize()
    def open(self) -> None:
        self.backend = SqliteBackend(self.folder / "areabox.db", self.clock, reserve_bytes=0)
        self.runner.run(self.backend.open())

    def teardown(self) -> None:
        self.runner.run(self.backend.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def commit(self, unit: Unit) -> bool:
        return self.runner.run(self.backend.commit(unit))

    # --- rules ----------------------------------------------------------------------------------------------------

    @rule(ms=st.integers(0, 3), run=st.sampled_from(RUNS), path=st.sampled_from(PATHS), due=DUE, key=KEY)
    def enqueue(self, ms: int, run: str, path: str, due: int | None, key: str | None) -> None:
        self.clock.advance(ms)
        id, state = self.clock.new_id(), "ready" if due is None and key is None else "waiting"
        due = None if due is None else self.clock.now + due
        unit = Unit()
        queue.insert(unit, Job(id, run, "o", "a", path, path, "do", state, self.clock.now, due=due, wait_key=key))
        assert self.commit(unit)
        self.model[id] = Row(run, path, state, due, key)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), times=st.integers(1, 2))
    def begin(self, data: st.DataObject, times: int) -> None:
        """Begin a job, which may be waiting, or under way already: then the earlier attempt is overtaken."""
        id = data.draw(st.sampled_from(sorted(self.model)))
        for _ in range(times):
            job, row = self.runner.run(queue.begin(self.backend, self.clock, id)), self.model[id]
            if row.state != "ready":
                assert job is None
                return
            row.attempt, row.fence, row.begun = row.attempt + 1, row.fence + 1, self.clock.now
            assert job is not None
            assert (job.attempt, job.fence, job.begun, job.crashes) == (row.attempt, row.fence, row.begun, row.crashes)
            assert job.input == row.input
            self.attempts.append(job)

    def late(self, data: st.DataObject) -> tuple[Job, Row | None]:
        """Return an attempt, rather a new one, and the row that it may still write."""
        job = self.attempts[-1 - data.draw(st.integers(0, min(len(self.attempts), 5) - 1))]
        row = self.model.get(job.id)
        return job, row if row is not None and row.fence == job.fence else None

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), end=st.sampled_from(["settle", "park", "release"]), due=DUE, key=KEY)
    def end(self, data: st.DataObject, end: str, due: int | None, key: str | None) -> None:
        """Write the end of an attempt, which may have been overtaken."""
        job, row = self.late(data)
        match end:
            case "settle":
                self.settle(job, row)
            case "park":
                self.park(job, row, due, key)
            case _:
                self.release(job, row)

    def settle(self, job: Job, row: Row | None) -> None:
        unit = Unit()
        queue.settle(unit, job)
        assert self.commit(unit) is (row is not None), "an attempt that another had overtaken wrote its end"
        if row is not None:
            del self.model[job.id]

    def park(self, job: Job, row: Row | None, due: int | None, key: str | None) -> None:
        due = self.clock.now + (due or 1) if key is None or due is not None else None
        unit = Unit()
        queue.park(unit, job, now=self.clock.now, due=due, wait_key=key, input={"n": 1}, attempt=job.attempt)
        assert self.commit(unit) is (row is not None), "an attempt that another had overtaken parked its job"
        if row is not None:
            row.state, row.due, row.wait_key, row.begun, row.input = "waiting", due, key, None, {"n": 1}
            row.attempt = job.attempt

    def release(self, job: Job, row: Row | None) -> None:
        unit = Unit()
        queue.release(unit, job)
        assert self.commit(unit) is (row is not None), "an attempt that another had overtaken was given back"
        if row is not None:
            row.begun, row.attempt = None, max(row.attempt - 1, 0)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), input=st.none() | st.just({"woken": True}))
    def wake(self, data: st.DataObject, input: Any) -> None:
        id = data.draw(st.sampled_from(sorted(self.model)))
        job, row = self.runner.run(queue.get(self.backend, id)), self.model[id]
        assert job is not None
        unit = Unit()
        queue.wake(unit, job, input)
        assert self.commit(unit) is (row.state == "waiting")
        if row.state == "waiting":
            row.state, row.input = "ready", row.input if input is None else input

    @rule(run=st.sampled_from(RUNS), prefix=st.sampled_from(["", "b.", "b.1.", "none"]))
    def cancel(self, run: str, prefix: str) -> None:
        unit = Unit()
        queue.cancel(unit, run, prefix)
        assert self.commit(unit)
        self.model = {id: row for id, row in self.model.items() if row.run != run or not row.path.startswith(prefix)}

    @rule()
    def die(self) -> None:
        """The process ends; the next one counts what was under way, and lets it be tried again."""
        self.runner.run(self.backend.close())
        self.open()
        left = self.runner.run(queue.begun(self.backend))
        assert [job.id for job in left] == sorted(id for id, row in self.model.items() if row.begun is not None)
        for job in left:
            unit = Unit()
            queue.crashed(unit, job)
            assert self.commit(unit)
            row = self.model[job.id]
            row.begun, row.crashes = None, row.crashes + 1

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def every_ready_job_is_found_once(self) -> None:
        if hasattr(self, "backend"):
            found = [pointer.job for pointer in self.runner.run(queue.ready(self.backend))]
            found += [id for id, _ in self.runner.run(queue.suspects(self.backend))]
            ready = [id for id, row in self.model.items() if row.state == "ready" and row.begun is None]
            assert sorted(found) == sorted(ready)

    @rule()
    def look_at_what_waits(self) -> None:
        now, waiting = self.clock.now, {id: row for id, row in self.model.items() if row.state == "waiting"}
        due = sorted((row.due, id) for id, row in waiting.items() if row.due is not None)
        assert [job.id for job in self.runner.run(queue.due(self.backend, now))] == [id for at, id in due if at <= now]
        assert self.runner.run(queue.next_due(self.backend)) == (due[0][0] if due else None)
        for key in KEYS:
            found = [job.id for job in self.runner.run(queue.waiting_on(self.backend, key))]
            assert found == sorted(id for id, row in waiting.items() if row.wait_key == key)


JobStore.TestCase.settings = settings(
    max_examples=200 if FULL else 30, stateful_step_count=40 if FULL else 30, deadline=None, derandomize=not FULL,
    suppress_health_check=list(HealthCheck), database=None, phases=[*Phase] if FULL else [Phase.generate],
)  # fmt: skip
TestJobStore = JobStore.TestCase


@pytest.mark.parametrize("end", ["settle", "park", "release", "crashed"])
async def test_an_attempt_that_another_has_overtaken_writes_nothing(end: str, tmp_path: Path) -> None:
    clock, unit = FakeClock(), Unit()
    backend = SqliteBackend(tmp_path / "areabox.db", clock, reserve_bytes=0)
    await backend.open()
    try:
        queue.insert(unit, Job("j", "r", "o", "a", "s", "s", "do", "ready", clock.now))
        assert await backend.commit(unit)
        first, second = await queue.begin(backend, clock, "j"), await queue.begin(backend, clock, "j")
        assert first is not None
        assert second is not None
        for attempt, written in ((first, False), (second, True)):
            late = Unit()
            if end == "park":
                queue.park(late, attempt, now=clock.now, due=1, wait_key=None, attempt=1)
            else:
                getattr(queue, end)(late, attempt)
            assert await backend.commit(late) is written, "an attempt that another had overtaken wrote its end"
    finally:
        await backend.close()
