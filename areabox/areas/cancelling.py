"""How a run is cancelled: its jobs go, its attempts are cut off, the runs it called end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from areabox.areas import store
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
                unit.do("delete from collected where key = ?", job.id)
            del run.jobs[job.id]
            self._registry.forget(job)
        return gone

    async def cut_off(self, jobs: list[Job]) -> None:
        """End the attempts of jobs that were taken out, and the runs that they called."""
        if not jobs:
            return
        self.interrupt(job.id for job in jobs)
        for job in jobs:
            if job.kind == "call":
                for row in await self._backend.read(
                    "select id from run where parent_job = ? and ended is null", job.id
                ):
                    await self.cancel(row[0], "the run that called it is over")

    async def cancel(self, run_id: str, why: str) -> bool:
        """Cancel a run; False if it has ended already."""
        for _ in range(TRIES):
            async with self._live.lock(run_id):
                try:
                    run = await self._live.load(run_id)
                except InputError:
                    return await self._bare(run_id, why)
                if run is None:
                    return False
                unit, now = Unit(), self._clock.now_ms()
                gone = self.take_out(unit, run)
                change = Change()
                change.end = End("cancelled", why)
                change.steps = [cancelled(job, now) for job in gone if job.path]
                store.advance(unit, run, change, state="cancelled", deadline=run.deadline, now=now)
                self._ending.add(unit, run, change.end)
                unit.publish("run", id=run.id, owner=run.owner, area=run.slug, state="cancelled")
                committed = await self._backend.commit(unit)
                self._live.drop(run_id)
            if committed:
                await self.cut_off(gone)
                return True
        raise ConflictError("the run could not be cancelled: it moved on each time")

    async def _bare(self, run_id: str, why: str) -> bool:
        unit = Unit()
        unit.do("delete from collected where key in (select id from job where run = ?)", run_id)
        queue.cancel(unit, run_id)
        unit.do(
            "update run set state = 'cancelled', reason = ?, ended = ? where id = ? and ended is null",
            why, self._clock.now_ms(), run_id, expect=1,
        )  # fmt: skip
        return await self._backend.commit(unit)


def cancelled(job: Job, now: int) -> StepRow:
    """Return the journal's last line on a job that was taken out."""
    kind = "do" if job.kind == "go" else job.kind
    return StepRow(job.path, kind, "cancelled", job.begun or job.since, now, max(job.attempt, 1) if kind == "do" else 1)
