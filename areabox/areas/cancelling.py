"""How a run is cancelled: its jobs go, its attempts are cut off, the runs it called end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from areabox.areas import gathering, store
from areabox.areas.ending import Ending
from areabox.areas.live import Live
from areabox.areas.registry import Registry
from areabox.areas.state import Change, End, RunState, StepRow
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import ConflictError, InputError
from areabox.reactions import queue
from areabox.reactions.queue import Job

TRIES = 5
_CALLED = "select id from run where parent_run = ? and parent_job = ? and ended is null"
Interrupt = Callable[[Iterable[str]], None]


class Cancelling:
    """Cancels runs and parts of them."""

    def __init__(self, backend: Backend, clock: Clock, registry: Registry, live: Live, ending: Ending) -> None:
        self._backend, self._clock, self._registry = backend, clock, registry
        self._live, self._ending = live, ending
        self.interrupt: Interrupt = lambda _job_ids: None

    def take_out(self, unit: Unit, run: RunState, prefix: str = "") -> list[Job]:
        """Take the jobs of a run, or of a part of it, out; return them for `cut_off` after the commit."""
        gone = [job for job in run.jobs.values() if job.path.startswith(prefix)]
        if gone:
            queue.cancel(unit, run.id, prefix)
        for job in gone:
            if job.kind == "collect":
                gathering.drop(unit, job.id)
            del run.jobs[job.id]
        return gone

    async def cut_off(self, jobs: list[Job]) -> None:
        """End the attempts of jobs that were taken out, and the runs that they called."""
        if not jobs:
            return
        for job in jobs:
            self._registry.forget(job)
        self.interrupt(job.id for job in jobs)
        for job in jobs:
            if job.kind == "call":
                for row in await self._backend.read(_CALLED, job.run, job.id):
                    await self.cancel(row[0], "the run that called it is over")

    async def cancel(self, run_id: str, why: str, *, state: str = "cancelled") -> bool:
        """Cancel a run, or end it in another state; False if it has ended already."""
        for _ in range(TRIES):
            async with self._live.lock(run_id):
                run = await self._loaded(run_id)
                if run is None:
                    return False
                try:
                    gone = await self._end(run, End(state, why))
                finally:  # what is in memory may be ahead of the rows
                    self._live.drop(run_id)
            if gone is not None:
                await self.cut_off(gone)
                return True
        raise ConflictError("the run could not be cancelled: it moved on each time")

    async def _loaded(self, run_id: str) -> RunState | None:
        try:
            return await self._live.load(run_id)
        except InputError:
            return await self._live.bare(run_id)

    async def _end(self, run: RunState, end: End) -> list[Job] | None:
        """Write the end of a run, and return the jobs that were taken out; None if another was faster."""
        unit, now, change = Unit(), self._clock.now_ms(), Change()
        gone = self.take_out(unit, run)
        change.end, change.steps = end, [cancelled(run, job, now) for job in gone if job.path]
        store.advance(unit, run, change, state=end.state, deadline=run.deadline, now=now)
        self._ending.add(unit, run, end)
        unit.publish("run", id=run.id, owner=run.owner, area=run.slug, state=end.state)
        return gone if await self._backend.commit(unit) else None


def cancelled(run: RunState, job: Job, now: int) -> StepRow:
    """Return the journal's last line on a job that was taken out."""
    kind = run.outline.kind_of(job)
    return StepRow(job.path, kind, "cancelled", job.begun or job.since, now, max(job.attempt, 1) if kind == "do" else 1)
