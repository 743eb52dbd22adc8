"""Runs that have work to do, in memory: loaded when a job of theirs begins, let go when nothing of theirs is ready.

The latest of those that wait are kept, too, since a run that waits often would be loaded as often, with all its steps.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, tzinfo
from functools import partial
from typing import Protocol
from weakref import WeakValueDictionary

from areabox.areas import store
from areabox.areas.ending import root_of
from areabox.areas.model import Program
from areabox.areas.outline import Outline
from areabox.areas.registry import Registry
from areabox.areas.state import RunState, StepRow
from areabox.database import Backend, Row
from areabox.reactions.queue import Job

KEPT_MAX, RESTING_MAX, READY_MAX = 4_096, 256, 10_000


class Questions(Protocol):
    """Where questions are answered."""

    def url(self, run_id: str, path: str) -> str:
        """Return where the question of a step is answered."""
        ...


class Live:
    """The states of live runs; a lock for each makes its advances one after the other."""

    def __init__(
        self, backend: Backend, registry: Registry, asking: Questions, *, base_url: str = "", zone: tzinfo = UTC
    ) -> None:
        self._backend, self._registry, self._asking = backend, registry, asking
        self._runs: OrderedDict[str, RunState] = OrderedDict()
        self._resting: OrderedDict[str, RunState] = OrderedDict()
        self._ready: dict[str, Job] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.base_url, self.zone = base_url, zone

    def url(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.base_url}/runs/{run_id}"

    def ask_url(self, run_id: str) -> Callable[[str], str]:
        """Return what gives the address at which a question of a run is answered, by the step's path."""
        return partial(self._asking.url, run_id)

    def lock(self, run_id: str) -> asyncio.Lock:
        """Return the lock under which a run is changed."""
        lock = self._locks.get(run_id)
        if lock is None:
            lock = self._locks[run_id] = asyncio.Lock()
        return lock

    def keep(self, run: RunState) -> None:
        """Keep a state in memory; the oldest ones make room."""
        self._runs[run.id] = run
        self._runs.move_to_end(run.id)
        while len(self._runs) > KEPT_MAX:
            self._runs.popitem(last=False)

    def note(self, jobs: Iterable[Job]) -> None:
        """Keep jobs that were inserted ready, until each is begun; where there are many, it is read instead."""
        for job in jobs:
            if job.state == "ready" and len(self._ready) < READY_MAX:
                self._ready[job.id] = job

    def known(self, job_id: str) -> Job | None:
        """Return a job that was noted, once."""
        return self._ready.pop(job_id, None)

    def drop(self, run_id: str) -> None:
        """Let a state go; it is loaded again when it is needed."""
        self._runs.pop(run_id, None)
        self._resting.pop(run_id, None)

    def rest(self, run: RunState) -> None:
        """Let a state go when others have rested since, as its run only waits now."""
        self._runs.pop(run.id, None)
        self._resting[run.id] = run
        self._resting.move_to_end(run.id)
        while len(self._resting) > RESTING_MAX:
            self._resting.popitem(last=False)

    def peek(self, run_id: str) -> RunState | None:
        """Return a state if it is in memory."""
        return self._runs.get(run_id) or self._resting.get(run_id)

    def _awake(self, run_id: str) -> RunState | None:
        rested = self._resting.pop(run_id, None)
        if rested is not None:
            self.keep(rested)
        return self._runs.get(run_id)

    async def look(self, run_id: str) -> RunState | None:
        """Return a state like `load`, for whoever does not hold the run's lock: no advance comes between its reads."""
        found = self._awake(run_id)
        if found is not None:
            return found
        async with self.lock(run_id):
            return await self.load(run_id)

    async def load(self, run_id: str) -> RunState | None:
        """Return the state of a run that has not ended, from memory or its rows; None if it has, or is gone.

        Whoever asks holds the run's lock. Raises InputError if its program cannot be compiled any more.
        """
        found = self._awake(run_id)
        if found is not None:
            return found
        row = await store.row(self._backend, run_id)
        if row is None or row["ended"] is not None:
            return None
        run = await self._restored(row, await self._registry.outline_at(row["area"], row["version"]))
        if row["retry_of"]:
            run.memo = await remembered(self._backend, row["retry_of"], row["retry_from"], run)
        self.keep(run)
        return run

    async def bare(self, run_id: str) -> RunState | None:
        """Return the state of a run whose program cannot be compiled any more, so that it can be ended."""
        row = await store.row(self._backend, run_id)
        if row is None or row["ended"] is not None:
            return None
        head = self._registry.heads.get(row["area"])
        slug, name = (head.slug, head.name) if head is not None else (row["area"], "")
        return await self._restored(row, Outline(Program(slug=slug, name=name, when=(), then=(), document={})))

    async def _restored(self, row: Row, outline: Outline) -> RunState:
        run = RunState(
            id=row["id"], owner=row["owner"], area=row["area"], outline=outline, version=row["version"],
            trigger=await store.trigger(self._backend, row), started=row["started"], event=row["event"],
            url=self.url(row["id"]), key=row["key"], dry=bool(row["dry"]), depth=row["depth"],
            parent_run=row["parent_run"], parent_job=row["parent_job"], zone=self.zone,
            root=root_of(row["action"], row["dedupe"]), ask_url=self.ask_url(row["id"]),
        )  # fmt: skip
        return await store.restore(self._backend, row, run)


async def remembered(backend: Backend, earlier: str, from_path: str | None, run: RunState) -> dict[str, StepRow]:
    """Return what an earlier run did before a step, by path; the last attempt of each step counts.

    What it remembered by `once` counts wherever it stands, since it is the same event that comes again.
    """
    order, rows = run.outline.order, await store.steps(backend, earlier)
    first = () if from_path is None else order(from_path)
    return {row.path: row for row in rows if order(row.path) < first or (row.kind == "once" and row.state == "done")}
