"""How one event becomes reactions. Read this file from top to bottom.

    actions/inbox      a poll, a webhook or a clock stores an event …
    starting           … and in the same transaction its runs, with their first jobs            T0
    reactions/worker   takes a job and records the intent                                       T1
    perform            does what the job is for; no transaction is open meanwhile
    advance            writes how it ended, and everything that follows from it                 T2
    ending             the run is over: its caller, the next in line and its owner are told     (in T2)

Every arrow is one transaction: a crash may repeat a step, with the same key, and never loses one.
"""

from __future__ import annotations

import logging
from typing import Any

from msgspec.structs import replace

from areabox.areas import plan, store
from areabox.areas.cancelling import Cancelling, cancelled
from areabox.areas.ending import Ending
from areabox.areas.live import Live
from areabox.areas.reacting import Reacting
from areabox.areas.registry import Registry
from areabox.areas.starting import Starting, state_of
from areabox.areas.state import Change, RunState, StepRow
from areabox.areas.waiting import Waiting
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import AreaboxError, ConflictError, InputError
from areabox.monitoring.telemetry import Telemetry
from areabox.reactions import outcome as ends
from areabox.reactions import queue
from areabox.reactions.outcome import Outcome
from areabox.reactions.queue import Job

log = logging.getLogger(__name__)

TRIES = 5  # how often an advance is planned again when another was faster
LOOK_AGAIN_MS = (500, 3_600_000)  # bounds of the pause where nobody will say that a connection works again
_UNLESS_DEAD = """
update job set due = ?
 where id = ? and not exists (select 1 from connection where id = ? and state = 'dead')
"""  # it was reconnected while the attempt was under way with the old secret, or it is refused before it is used
_HELD = ("connection:", "resolve:")
_CANNOT_RUN = "the area cannot run any more"
_WAITS = frozenset({"wait", "wait_for", "ask", "collect", "call"})


class Flow:
    """The engine that the workers drive."""

    def __init__(
        self, backend: Backend, clock: Clock, registry: Registry, live: Live, *, starting: Starting, ending: Ending,
        reacting: Reacting, waiting: Waiting, cancelling: Cancelling, telemetry: Telemetry,
    ) -> None:  # fmt: skip
        self._backend, self._clock, self._registry, self._live = backend, clock, registry, live
        self._starting, self._ending, self._reacting, self._waiting = starting, ending, reacting, waiting
        self._cancelling, self._telemetry = cancelling, telemetry

    # --- a job ----------------------------------------------------------------------------------------------------

    def known(self, job_id: str) -> Job | None:
        """Return a ready job as it was inserted, if that is still in memory; it is asked once."""
        return self._live.known(job_id)

    async def perform(self, job: Job) -> Outcome:
        """Do what a job is for, and return how it ended. Nothing of the run is changed."""
        self._registry.forget(job)
        try:
            run = await self._live.look(job.run)
        except InputError as error:
            return ends.Failed(f"{_CANNOT_RUN}: {error}")
        if run is None:
            return ends.Stale()
        if job.id not in run.jobs:  # taken out after it was begun
            return ends.Stale()
        run.jobs[job.id] = job
        if job.kind == "admit":
            return await self._waiting.admit(run, job)
        if job.kind in ("do", "go") and self._clock.now_ms() >= run.deadline:
            return ends.Failed(_too_long(run), "timeout")
        if job.kind == "go":
            return ends.Resumed()
        if job.kind == "do":
            return await self._reacting.react(run, job)
        return await self._waiting.perform(run, job)

    async def advance(self, job: Job, outcome: Outcome) -> None:
        """Write how a job ended and what follows; nothing, if another was faster or the run is over."""
        for _ in range(TRIES):
            if isinstance(outcome, ends.Stale):
                return
            async with self._live.lock(job.run):
                done, outcome = await self._advance(job, outcome)
            if done:
                return
            current = await queue.get(self._backend, job.id)
            if current is None or current.fence != job.fence:
                return
            if isinstance(outcome, ends.Stale):
                outcome = await self.perform(job)
        if job.kind == "do":  # that has touched the outside: what is not known to be safe is not tried again
            raise ConflictError(f"its outcome was refused {TRIES} times")
        log.warning("a job is put back after %d tries", TRIES, extra={"run": job.run, "path": job.path})
        unit = Unit()
        queue.release(unit, job)
        await self._backend.commit(unit.push(job.pointer))

    async def _advance(self, job: Job, outcome: Outcome) -> tuple[bool, Outcome]:
        try:
            run = await self._live.load(job.run)
        except InputError as error:
            run, outcome = await self._live.bare(job.run), ends.Ended("failed", f"{_CANNOT_RUN}: {error}")
        if run is None:
            return True, outcome
        written = False
        try:
            written = await self._write(Unit(), run, job, outcome, self._clock.now_ms())
        finally:
            if not written:  # what is in memory may be ahead of the rows
                self._live.drop(job.run)
        if not written:
            again = isinstance(outcome, ends.Parked) or getattr(outcome, "also", None) is not None
            return False, ends.Stale() if again else outcome
        return True, outcome

    async def _write(self, unit: Unit, run: RunState, job: Job, outcome: Outcome, now: int) -> bool:
        match outcome:
            case ends.Retry() | ends.Held() | ends.Uncertain() | ends.Parked():
                return await self._stay(unit, run, job, outcome, now)
            case _:
                return await self._go_on(unit, run, job, outcome, now)

    async def abandon(self, job: Job, why: str) -> None:
        """End a run as failed that cannot be advanced, since the advance itself fails."""
        await self._cancelling.cancel(job.run, why, state="failed")

    # --- the run goes on ------------------------------------------------------------------------------------------

    async def _go_on(self, unit: Unit, run: RunState, job: Job, outcome: Outcome, now: int) -> bool:
        deadline = run.deadline + (now - job.since if job.kind in _WAITS else 0)
        if isinstance(outcome, ends.Admitted):
            deadline = now + run.outline.program.timeout_ms
        change = self._planned(run, job, outcome, now)
        also = getattr(outcome, "also", None)
        if also is not None:
            also(unit)
        queue.settle(unit, job)
        run.jobs.pop(job.id, None)
        gone = [job for prefix in change.cancelled for job in self._cancelling.take_out(unit, run, prefix)]
        if change.end is not None:
            gone += self._cancelling.take_out(unit, run)
        change.steps += [cancelled(run, other, now) for other in gone if other.path]
        state, jobs = self._starting.jobs(run, change, now, job.lane)
        for new in jobs:
            queue.insert(unit, new)
        if jobs:
            unit.then(lambda: self._live.note(jobs))
        store.advance(unit, run, change, state=state, deadline=deadline, now=now)
        if change.end is not None:
            self._ending.add(unit, run, change.end)
        self._publish(unit, run, change, state)
        if not await self._backend.commit(unit):
            return False
        run.deadline, run.state = deadline, state
        store.apply(run, change)
        self._committed(run, change, state)
        await self._cancelling.cut_off(gone)
        return True

    def _planned(self, run: RunState, job: Job, outcome: Outcome, now: int) -> Change:
        if isinstance(outcome, ends.Admitted):
            run.started = now
            return plan.start(run, now)
        if job.node not in run.outline.nodes:  # the run ends before its first step, or its program is gone
            return plan.ended(outcome)
        started = job.begun if job.kind == "do" and job.begun is not None else job.since
        attempt = max(job.attempt, 1) if job.kind == "do" else 1
        return plan.advance(run, job.path, outcome, attempt=attempt, since=started, now=now)

    def _publish(self, unit: Unit, run: RunState, change: Change, state: str) -> None:
        end = change.end
        for row in change.steps:
            unit.publish("step", run=run.id, owner=run.owner, area=run.slug, path=row.path, state=row.state)
        if end is not None or state != run.state:
            unit.publish("run", id=run.id, owner=run.owner, area=run.slug, state=end.state if end else state)

    def _committed(self, run: RunState, change: Change, state: str) -> None:
        for row in change.steps:
            self._telemetry.emit(
                "step", run=run.id, area=run.slug, path=row.path, state=row.state, ms=row.ended - row.started
            )
        if change.end is not None:
            self._live.drop(run.id)
            self._telemetry.emit(
                "run", run=run.id, area=run.slug, state=change.end.state, ms=self._clock.now_ms() - run.started
            )
        elif state != "running":
            self._live.rest(run)

    # --- the job stays --------------------------------------------------------------------------------------------

    async def _stay(self, unit: Unit, run: RunState, job: Job, outcome: Outcome, now: int) -> bool:
        match outcome:
            case ends.Retry():
                if now + outcome.after_ms > run.deadline:
                    late = ends.Failed(
                        f"{outcome.message} (no further try fits: {_too_long(run)})", outcome.kind, outcome.input
                    )
                    return await self._go_on(unit, run, job, late, now)
                self._journal(unit, run, job, "retrying", outcome, outcome.kind, now)
                parked = queue.park(unit, job, now=now, due=now + outcome.after_ms, wait_key=None, attempt=job.attempt)
            case ends.Held():
                self._journal(unit, run, job, "retrying", outcome, "auth", now)
                key = f"connection:{outcome.connection}"
                parked = queue.park(unit, job, now=now, due=None, wait_key=key, attempt=job.attempt)
                soon = now + min(LOOK_AGAIN_MS[0] * 2 ** min(job.attempt, 20), LOOK_AGAIN_MS[1])
                unit.do(_UNLESS_DEAD, soon, job.id, outcome.connection).publish("due", at=soon)
            case ends.Uncertain():
                self._journal(unit, run, job, "uncertain", outcome, "uncertain", now)
                parked = queue.park(unit, job, now=now, due=None, wait_key=f"resolve:{job.id}", attempt=job.attempt)
                self._ending.uncertain(unit, run, job, outcome.message)
            case ends.Parked():
                parked = queue.park(
                    unit, job, now=job.since if job.input else now, due=outcome.due, wait_key=outcome.wait_key,
                    input=outcome.input, attempt=job.attempt - (job.kind == "do"),
                )  # fmt: skip
                if outcome.also is not None:
                    outcome.also(unit)
                if outcome.guard is not None:
                    outcome.guard(unit, job.id)
            case _:
                raise TypeError(type(outcome).__name__)
        return await self._parked(unit, run, job, parked, queued=isinstance(outcome, ends.Parked) and outcome.queued)

    async def _parked(self, unit: Unit, run: RunState, job: Job, parked: Job, *, queued: bool) -> bool:
        run.jobs[job.id] = parked
        state = "queued" if queued else state_of(run.jobs.values())
        if state != "running" or run.state != state:  # what woke it may have changed its row only
            store.touch(unit, run.id, state)
        if state != run.state:
            unit.publish("run", id=run.id, owner=run.owner, area=run.slug, state=state)
        self._registry.wait(parked)  # before the commit, so that no event comes between
        try:
            written = await self._backend.commit(unit)
        except AreaboxError:  # if this is cut off instead, what was accepted is written all the same
            self._registry.forget(parked)
            raise
        if not written:
            self._registry.forget(parked)
            return False
        run.state = state
        if state != "running":
            self._live.rest(run)
        return True

    def _journal(self, unit: Unit, run: RunState, job: Job, state: str, outcome: Any, kind: str, now: int) -> None:
        error = {"message": outcome.message, "kind": kind, "step": job.node}
        started = job.begun or job.since
        row = StepRow(job.path, job.kind, state, started, now, job.attempt, outcome.input, None, error)
        store.write_step(unit, run.id, row)
        unit.publish("step", run=run.id, owner=run.owner, area=run.slug, path=job.path, state="waiting")
        self._telemetry.emit("step", run=run.id, area=run.slug, path=job.path, state=state, error=outcome.message)

    # --- what comes between ---------------------------------------------------------------------------------------

    async def wake(self, job: Job, input: Any = None) -> bool:
        """Make a waiting job ready; False if another was faster."""
        async with self._live.lock(job.run):
            unit = Unit()
            queue.wake(unit, job, input)
            store.touch(unit, job.run, "queued" if job.kind == "admit" else "running")
            held_ms = self._clock.now_ms() - job.since if (job.wait_key or "").startswith(_HELD) else 0
            if held_ms:
                store.push_back(unit, job.run, held_ms)
            woken = await self._backend.commit(unit)
            if woken:
                self._registry.forget(job)
            run = self._live.peek(job.run)
            if woken and run is not None:
                run.deadline += held_ms
                run.jobs[job.id] = replace(job, state="ready", input=job.input if input is None else input)
                run.state = "running"
            return woken

    async def interrupted(self, job: Job) -> None:
        """Deal with an attempt that a stop cut off: what is safe to repeat is tried again, the rest is uncertain."""
        if job.kind != "do" or await self._safe(job):
            unit = Unit()
            queue.release(unit, job)
            await self._backend.commit(unit)
        else:
            await self.advance(
                job, ends.Uncertain("areabox was stopped while it was under way, so it may have happened")
            )

    async def recover(self, job: Job) -> None:
        """Deal with an attempt that the last process did not survive."""
        if job.crashes + 1 >= queue.CRASHES_MAX:
            why = f"quarantined: areabox ended {queue.CRASHES_MAX} times while it was under way"
            await self.advance(job, ends.Failed(why, "crash"))
        elif job.kind != "do" or await self._safe(job):
            unit = Unit()
            queue.crashed(unit, job)
            await self._backend.commit(unit)
        else:
            await self.advance(job, ends.Uncertain("areabox ended while it was under way, so it may have happened"))

    async def _safe(self, job: Job) -> bool:
        try:
            run = await self._live.look(job.run)
        except InputError:
            return True
        return run is None or self._reacting.repeatable(run, job)


def _too_long(run: RunState) -> str:
    return f"the run's timeout of {run.outline.program.timeout_ms // 1000} s is over"
