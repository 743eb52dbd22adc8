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
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from areabox.database import Unit
from areabox.database.sqlite import SqliteBackend
from areabox.reactions import queue
from areabox.reactions.queue import Job
from tests.support import FakeClock

FULL = os.environ.get("AREABOX_FAULTS") == "full"
RUNS = ["r1", "r2"]
PATHS = ["a", "b.0.x", "b.1.x", "b.1.y"]
KEYS = ["sub:s", "slot:k", "ask:q"]
DUE, KEY = st.none() | st.integers(0, 5), st.none() | st.sampled_from(KEYS)


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

    jobs: Bundle[str] = Bundle("jobs")
    attempts: Bundle[Job] = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.runner, self.clock = asyncio.Runner(), FakeClock()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, Row] = {}

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

    def held(self, job: Job) -> Row | None:
        """Return the row that an attempt may still write, or None."""
        row = self.model.get(job.id)
        return row if row is not None and row.fence == job.fence else None

    # --- rules ----------------------------------------------------------------------------------------------------

    @rule(target=jobs, run=st.sampled_from(RUNS), path=st.sampled_from(PATHS), due=DUE, key=KEY)
    def enqueue(self, run: str, path: str, due: int | None, key: str | None) -> str:
        id, state = self.clock.new_id(), "ready" if due is None and key is None else "waiting"
        due = None if due is None else self.clock.now + due
        unit = Unit()
        queue.insert(unit, Job(id, run, "o", "a", path, path, "do", state, self.clock.now, due=due, wait_key=key))
        assert self.commit(unit)
        self.model[id] = Row(run, path, state, due, key)
        return id

    @rule(target=attempts, id=jobs)
    def begin(self, id: str) -> Any:
        return self._begin(id)

    @rule(target=attempts, job=attempts)
    def begin_again(self, job: Job) -> Any:
        """Overtake an attempt, if its job is ready."""
        return self._begin(job.id)

    def _begin(self, id: str) -> Any:
        job = self.runner.run(queue.begin(self.backend, self.clock, id))
        row = self.model.get(id)
        if row is None or row.state != "ready":
            assert job is None
            return multiple()
        row.attempt, row.fence, row.begun = row.attempt + 1, row.fence + 1, self.clock.now
        assert job is not None
        assert (job.attempt, job.fence, job.begun, job.crashes) == (row.attempt, row.fence, row.begun, row.crashes)
        assert job.input == row.input
        return job

    @rule(job=attempts)
    def settle(self, job: Job) -> None:
        unit = Unit()
        queue.settle(unit, job)
        allowed = self.held(job) is not None
        assert self.commit(unit) is allowed, "an attempt that another had overtaken wrote its end"
        if allowed:
            del self.model[job.id]

    @rule(job=attempts, due=DUE, key=KEY)
    def park(self, job: Job, due: int | None, key: str | None) -> None:
        if due is None and key is None:
            due = 1
        due = None if due is None else self.clock.now + due
        unit = Unit()
        queue.park(unit, job, now=self.clock.now, due=due, wait_key=key, input={"n": 1}, attempt=job.attempt)
        row = self.held(job)
        assert self.commit(unit) is (row is not None), "an attempt that another had overtaken parked its job"
        if row is not None:
            row.state, row.due, row.wait_key, row.begun, row.input = "waiting", due, key, None, {"n": 1}
            row.attempt = job.attempt

    @rule(id=jobs, input=st.none() | st.just({"woken": True}))
    def wake(self, id: str, input: Any) -> None:
        job, row = self.runner.run(queue.get(self.backend, id)), self.model.get(id)
        assert (job is None) == (row is None)
        if job is None or row is None:
            return
        unit = Unit()
        queue.wake(unit, job, input)
        assert self.commit(unit) is (row.state == "waiting")
        if row.state == "waiting":
            row.state, row.input = "ready", row.input if input is None else input

    @rule(job=attempts)
    def release(self, job: Job) -> None:
        unit = Unit()
        queue.release(unit, job)
        row = self.held(job)
        assert self.commit(unit) is (row is not None)
        if row is not None:
            row.begun, row.attempt = None, max(row.attempt - 1, 0)

    @rule(run=st.sampled_from(RUNS), prefix=st.sampled_from(["", "b.", "b.1.", "none"]))
    def cancel(self, run: str, prefix: str) -> None:
        unit = Unit()
        queue.cancel(unit, run, prefix)
        assert self.commit(unit)
        self.model = {id: row for id, row in self.model.items() if row.run != run or not row.path.startswith(prefix)}

    @rule(ms=st.integers(1, 10))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

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

    @invariant()
    def every_waiting_job_is_found(self) -> None:
        if not hasattr(self, "backend"):
            return
        now, waiting = self.clock.now, {id: row for id, row in self.model.items() if row.state == "waiting"}
        due = sorted((row.due, id) for id, row in waiting.items() if row.due is not None)
        assert [job.id for job in self.runner.run(queue.due(self.backend, now))] == [id for at, id in due if at <= now]
        assert self.runner.run(queue.next_due(self.backend)) == (due[0][0] if due else None)
        for key in KEYS:
            found = [job.id for job in self.runner.run(queue.waiting_on(self.backend, key))]
            assert found == sorted(id for id, row in waiting.items() if row.wait_key == key)


JobStore.TestCase.settings = settings(
    max_examples=400 if FULL else 40, stateful_step_count=40 if FULL else 25, deadline=None, derandomize=not FULL,
    suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
TestJobStore = JobStore.TestCase
