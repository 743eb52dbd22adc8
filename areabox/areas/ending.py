"""What the end of a run sets off, in the same transaction: the caller goes on, the next in line starts, others hear."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from areabox.actions.inbox import Inbox
from areabox.areas.registry import Registry
from areabox.areas.state import End, RunState
from areabox.database import Lane, Pointer, Unit
from areabox.errors import InputError
from areabox.reactions.queue import Job

ENDED_ACTION = "area.ended"
_WAKE_CALLER = """
update job set state = 'ready', input = ? where id = ? and state = 'waiting' and wait_key = ?
"""
_SHOW_CALLER = """
update run set state = 'running'
 where id = ? and state = 'waiting' and exists (select 1 from job where id = ? and state = 'ready')
"""
_NEXT_IN_LINE = """
update slot set run = (select run from job where wait_key = ? and state = 'waiting' order by id limit 1)
 where run = ? and exists (select 1 from job where wait_key = ? and state = 'waiting')
"""
_WAKE_HOLDERS = """
update job set state = 'ready' where wait_key = ? and state = 'waiting' and run in (select run from slot where key = ?)
"""
PUSHED = 8  # of those in line, since several places may be given away at the same time


class Outbox(Protocol):
    """Where notices to the owner go."""

    def put(self, unit: Unit, *, owner: str, kind: str, title: str, body: str, link: str = "") -> None:
        """Add a notice."""
        ...


class Ending:
    """Adds what follows from a run's end."""

    inbox: Inbox

    def __init__(self, registry: Registry, outbox: Outbox) -> None:
        self._registry, self._outbox = registry, outbox

    def add(self, unit: Unit, run: RunState, end: End) -> None:
        """Add everything that the end of a run sets off."""
        if run.parent_job is not None:
            self._wake_caller(unit, run, end)
        if run.key is not None:
            self._pass_slot(unit, run)
        if not run.dry:
            self._tell_areas(unit, run, end)
            self._tell_owner(unit, run, end)

    def uncertain(self, unit: Unit, run: RunState, job: Job, message: str) -> None:
        """Ask the owner what became of a step whose effect nobody knows."""
        name = run.outline.program.name or run.slug
        self._outbox.put(
            unit, owner=run.owner, kind="uncertain", title=f"{name}: did {job.node} happen?", body=message,
            link=f"/runs/{run.id}",
        )  # fmt: skip

    def _wake_caller(self, unit: Unit, run: RunState, end: End) -> None:
        answer = {"state": end.state, "reason": end.reason, "result": end.result, "run": run.id, "with": run.trigger}
        unit.do(_WAKE_CALLER, msgspec.json.encode(answer, enc_hook=str).decode(), run.parent_job, f"call:{run.id}")
        unit.do(_SHOW_CALLER, run.parent_run, run.parent_job)
        unit.push(Pointer(run.parent_job or "", run.owner, Lane.RUN))

    def _pass_slot(self, unit: Unit, run: RunState) -> None:
        """Give the run's place, if it has one, to the first in line; the database says who that is, at the commit."""
        line = f"slot:{run.key}"
        unit.do(_NEXT_IN_LINE, line, run.id, line)
        unit.do("delete from slot where run = ?", run.id)
        unit.do(_WAKE_HOLDERS, line, run.key)
        for job in self._registry.waiting(line)[:PUSHED]:  # one that is not ready is passed over
            unit.push(job.pointer)

    def _tell_areas(self, unit: Unit, run: RunState, end: End) -> None:
        for found in list(self._registry.internal.values()):
            if found.action != ENDED_ACTION or found.owner != run.owner or not _matches(found.params, run, end):
                continue
            payload = {
                "area": run.slug, "run": run.id, "state": end.state, "result": end.result,
                "error": end.reason if end.state == "failed" else None,
            }  # fmt: skip
            dedupe, depth = f"{run.root}~{run.id}", run.depth + 1
            try:
                event = self.inbox.event(found, payload, dedupe=dedupe, depth=depth)
            except InputError:  # the result is too large for an event
                event = self.inbox.event(found, {**payload, "result": None}, dedupe=dedupe, depth=depth)
            self.inbox.add(unit, event)

    def _tell_owner(self, unit: Unit, run: RunState, end: End) -> None:
        failing = self._registry.failing
        if end.state == "done":
            unit.then(lambda: failing.discard(run.area))
        elif end.state == "failed" and run.area not in failing:
            unit.then(lambda: failing.add(run.area))
            name = run.outline.program.name or run.slug
            self._outbox.put(
                unit, owner=run.owner, kind="run_failed", title=f"{name} failed", body=end.reason or "",
                link=f"/runs/{run.id}",
            )  # fmt: skip


def root_of(action: str | None, dedupe: str | None) -> str | None:
    """Return the run that an event goes back to, over however many others; None if it is not of a run's end."""
    return dedupe.partition("~")[0] if action == ENDED_ACTION and dedupe and "~" in dedupe else None


def _matches(params: dict[str, Any], run: RunState, end: End) -> bool:
    area, state = params.get("area") or "", params.get("state") or ""
    return area in ("", "*", run.slug) and state in ("", "any", end.state)
