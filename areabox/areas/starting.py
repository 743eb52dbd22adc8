"""How an event becomes runs: who listens, whose conditions hold, and the first walk of each run, all in one Unit."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from areabox.actions.inbox import NewEvent, Started
from areabox.areas import plan, store
from areabox.areas.ending import Ending, root_of
from areabox.areas.live import Live
from areabox.areas.moments import Moment
from areabox.areas.outline import Outline
from areabox.areas.registry import Head, Listener, Registry
from areabox.areas.state import Change, End, NewJob, RunState, StepRow
from areabox.areas.template import EvaluationError
from areabox.areas.view import base_names
from areabox.clock import Clock
from areabox.database import Lane, Pointer, Unit
from areabox.errors import InputError
from areabox.reactions import queue
from areabox.reactions.queue import Job

log = logging.getLogger(__name__)

MOVES_AT_START = 100  # steps decided while somebody waits for the answer to a webhook; the rest is a job
DEPTH_MAX = 16  # runs that lead to runs, one after the other …
LED_MAX = 1_000  # … and in all
CALLED_MAX = 10_000  # runs that called runs call, in all
ROOTS_KEPT = 1_000
_ADMIT = "admit"
_WOKEN = "update job set state = 'ready' where id = ? and state = 'waiting'"


class Starting:
    """Makes runs."""

    def __init__(self, clock: Clock, registry: Registry, live: Live, ending: Ending) -> None:
        self._clock, self._registry, self._live, self._ending = clock, registry, live, ending
        self._led: OrderedDict[str, int] = OrderedDict()  # how many runs each run led to, the latest ones

    def start(self, unit: Unit, event: NewEvent) -> Started:
        """Add the runs and wake-ups of an event; says why if no area took it."""
        taken, listeners = self._wake(unit, event), self._listeners(event)
        if too_many := self._too_many(event, len(listeners)):
            return Started(None if taken else too_many)
        reasons = []
        for listener in listeners:
            reason = self._heard(unit, listener, event)
            taken |= reason is None
            reasons.append(reason)
        if taken:
            return Started(None)
        return Started("; ".join(filter(None, reasons)) or "no area listens to it")

    def _too_many(self, event: NewEvent, listeners: int) -> str | None:
        """Say why an event starts nothing: runs that lead to runs would never end, or become ever more."""
        if event.depth > DEPTH_MAX:
            return f"{event.depth} runs led to it, one after the other: areas that start each other without end?"
        root = root_of(event.action, event.dedupe)
        if root is None:
            return None
        if self._spend(root, listeners, LED_MAX):
            return None
        return f"run {root} led to {LED_MAX:,} runs already: areas that start each other?"

    def may_call(self, run: RunState) -> bool:
        """Tell whether a run may call another: not where called runs have called ever more."""
        return run.depth == 0 or self._spend(f"{run.root} calls", 1, CALLED_MAX)

    def _spend(self, what: str, count: int, most: int) -> bool:
        led = self._led.pop(what, 0) + count
        self._led[what] = min(led, most + 1)
        while len(self._led) > ROOTS_KEPT:
            self._led.popitem(last=False)
        return led <= most

    def _listeners(self, event: NewEvent) -> list[Listener]:
        if event.subscription is not None:
            return list(self._registry.listeners.get(event.subscription, ()))
        return [
            Listener(head.id, place)
            for head in self._registry.heads.values()
            if head.owner == event.owner and event.action.encode() in head.document
            for place in self._places(head, event.action)
        ]

    def _places(self, head: Head, action: str) -> list[str]:
        try:
            program = self._registry.outline(head).program
        except InputError:  # it cannot run any more
            return []
        return [trigger.id for trigger in program.when if trigger.action == action]

    def _wake(self, unit: Unit, event: NewEvent) -> bool:
        waiting = self._registry.waits.get(f"sub:{event.subscription}")
        for job in waiting.values() if waiting else ():
            unit.do(_WOKEN, job.id)
            unit.push(job.pointer)
        return bool(waiting)

    def _heard(self, unit: Unit, listener: Listener, event: NewEvent) -> str | None:
        head = self._registry.heads.get(listener.area)
        if head is None:
            return "the area is gone"
        if not head.enabled:
            return f"{head.slug} is switched off"
        try:
            outline = self._registry.outline(head)
        except InputError as error:
            return f"{head.slug} cannot run: {error}"
        trigger = next((trigger for trigger in outline.program.when if trigger.id == listener.place), None)
        if trigger is None:
            return f"{head.slug} has no trigger {listener.place} any more"
        if trigger.test is not None:
            names = _event_names(event.payload, head, self._clock.now_ms(), self._live)
            try:
                if not trigger.test.evaluate(names):
                    return f"{head.slug}: the trigger's condition is false: {trigger.test.source}"
            except EvaluationError as error:
                return f"{head.slug}: the trigger's condition failed: {error}"
        part = Unit()  # of its own, so that what one area cannot do keeps no other from it
        try:
            self.begin(
                part, head, outline, event.payload, event=event.id, place=listener.place, depth=event.depth,
                root=root_of(event.action, event.dedupe),
            )  # fmt: skip
        except Exception as error:
            log.exception("a run could not be begun", extra={"area": head.slug})
            return f"{head.slug} could not start, which is a bug: {type(error).__name__}: {error}"
        unit.take(part)
        return None

    def begin(
        self,
        unit: Unit,
        head: Head,
        outline: Outline,
        trigger: Any,
        *,
        version: int | None = None,
        event: str | None = None,
        place: str = "",
        depth: int = 0,
        dry: bool = False,
        lane: int = Lane.RUN,
        parent: Job | None = None,
        root: str | None = None,
        retry_of: str | None = None,
        retry_from: str | None = None,
        memo: Mapping[str, StepRow] | None = None,
    ) -> tuple[RunState, Change]:
        """Add a run of an area with its first walk, and keep its state in memory."""
        now = self._clock.now_ms()
        id = self._clock.new_id()
        run = RunState(
            id=id, owner=head.owner, area=head.id, outline=outline, version=version or head.version, trigger=trigger,
            started=now, event=event, url=self._live.url(id), dry=dry, depth=depth, zone=self._live.zone,
            parent_run=parent.run if parent else None, parent_job=parent.id if parent else None, root=root,
            ask_url=self._live.ask_url(id),
        )  # fmt: skip
        run.memo = memo or {}
        change = self._first(run, now)
        state, jobs = self.jobs(run, change, now, lane)
        run.state = "queued" if any(job.kind == _ADMIT for job in jobs) else state
        store.insert(unit, run, change, place=place, retry_of=retry_of, retry_from=retry_from, now=now)
        for job in jobs:
            queue.insert(unit, job)
        if change.end is not None:
            self._ending.add(unit, run, change.end)
        else:
            store.apply(run, change)
            run.seq = 0
            unit.then(lambda: self._kept(run, jobs))
        unit.publish("run", id=id, owner=run.owner, area=run.slug, state=change.end.state if change.end else run.state)
        return run, change

    def _kept(self, run: RunState, jobs: list[Job]) -> None:
        self._live.keep(run)
        self._live.note(jobs)

    def _first(self, run: RunState, now: int) -> Change:
        program = run.outline.program
        if program.test is None and program.key is None and program.mode == "parallel" and program.at_most is None:
            return plan.start(run, now, MOVES_AT_START)
        try:
            names = base_names(run, now)
            if program.test is not None and not program.test.evaluate(names):
                return _ended(End("skipped", f"its condition is false: {program.test.source}"))
            key = program.key.render(names) if program.key is not None else ""
        except EvaluationError as error:
            return _ended(End("failed", str(error)))
        if not run.dry and (program.mode != "parallel" or program.at_most is not None):
            run.key = f"{run.area}:{key}"
            change = Change()
            change.jobs.append(NewJob("", _ADMIT, ""))
            return change
        return plan.start(run, now, MOVES_AT_START)

    def jobs(self, run: RunState, change: Change, now: int, lane: int) -> tuple[str, list[Job]]:
        """Make the jobs that a change asks for, note them in the run's state, and say what state it is in then."""
        made = []
        for new in change.jobs:
            job = Job(
                id=self._clock.new_id(), run=run.id, owner=run.owner, area=run.area, node=new.node, path=new.path,
                kind=new.kind, state="ready" if new.due is None and new.wait_key is None else "waiting", since=now,
                lane=lane, due=new.due, wait_key=new.wait_key, input=new.input,
            )  # fmt: skip
            run.jobs[job.id] = job
            made.append(job)
        return state_of(run.jobs.values()), made


def state_of(jobs: Any) -> str:
    """Return the state of a run that has these live jobs."""
    state = "waiting"
    for job in jobs:
        key = job.wait_key or ""
        if job.state == "ready" or (job.kind == "do" and not key):
            return "running"
        if key.startswith("resolve:"):
            state = "uncertain"
        elif key.startswith("connection:") and state != "uncertain":
            state = "held"
    return state


def pointer(job_id: str, owner: str) -> Pointer:
    """Return a pointer to a job that is known by its id only."""
    return Pointer(job_id, owner, Lane.RUN)


def _ended(end: End) -> Change:
    change = Change()
    change.end = end
    return change


def _event_names(payload: Any, head: Head, now: int, live: Live) -> dict[str, Any]:
    return {
        "trigger": payload,
        "event": payload,
        "area": {"id": head.slug, "name": head.name},
        "now": Moment(now, live.zone),
    }
