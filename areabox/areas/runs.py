"""Runs as people see and steer them: start by hand, look, cancel, retry, resolve, answer."""

from __future__ import annotations

import asyncio
from typing import Any

from areabox.areas import answers, store
from areabox.areas.cancelling import Cancelling
from areabox.areas.flow import Flow
from areabox.areas.live import Live, remembered
from areabox.areas.outline import Outline
from areabox.areas.registry import Head, Registry
from areabox.areas.starting import Starting
from areabox.areas.state import RunState, instant
from areabox.clock import Clock
from areabox.database import Backend, Lane, Row, Unit, one
from areabox.errors import ConflictError, InputError, NotFoundError, Problem
from areabox.reactions import queue
from areabox.reactions.queue import Job
from areabox.users.policy import Actor

WAIT_MAX_S = 60.0
LIMIT_MAX = 200
_LIST = """
select r.id, r.area, r.version, r.state, r.reason, r.started, r.ended, r.dry, coalesce(a.slug, r.area) as slug
  from run r left join area a on a.id = r.area
 where r.owner = ? and r.id < ? and (? = '' or r.area = ?) and (? = '' or r.state = ?)
 order by r.id desc limit ?
"""


class Runs:
    """What can be done with runs; everything takes the actor first and finds only what is theirs."""

    def __init__(
        self, backend: Backend, clock: Clock, registry: Registry, live: Live, *, starting: Starting, flow: Flow,
        cancelling: Cancelling,
    ) -> None:  # fmt: skip
        self._backend, self._clock, self._registry, self._live = backend, clock, registry, live
        self._starting, self._flow, self._cancelling = starting, flow, cancelling

    async def start(self, actor: Actor, slug: str, trigger: dict[str, Any], *, dry: bool = False) -> str:
        """Start a run of an area by hand, and return its id."""
        head = self._registry.find(actor.owner, slug)
        if head is None:
            raise NotFoundError(f"there is no area {slug}")
        unit = Unit()
        run, _ = self._starting.begin(unit, head, self._registry.outline(head), trigger, dry=dry, lane=Lane.NOW)
        await self._backend.commit(unit)
        return run.id

    async def wait(self, run_id: str, seconds: float) -> None:
        """Return when a run has ended, at the latest after so many seconds."""
        messages = self._backend.subscribe("run")
        try:
            async with asyncio.timeout(min(max(seconds, 0.0), WAIT_MAX_S)):
                ended = await self._ended(run_id)
                while not ended:
                    message = await anext(messages)
                    ended = message.body.get("id") == run_id and await self._ended(run_id)
        except TimeoutError:
            pass
        finally:
            close = getattr(messages, "aclose", None)
            if close is not None:
                await close()

    async def _ended(self, run_id: str) -> bool:
        row = await one(self._backend, "select ended from run where id = ?", run_id)
        return row is not None and row["ended"] is not None

    async def list(
        self, actor: Actor, *, area: str = "", state: str = "", limit: int = 50, after: str | None = None
    ) -> list[dict[str, Any]]:
        """Return runs, newest first, those before the id `after`."""
        area_id = ""
        if area:
            head = self._registry.find(actor.owner, area)
            if head is None:
                raise NotFoundError(f"there is no area {area}")
            area_id = head.id
        rows = await self._backend.read(
            _LIST, actor.owner, after or "~", area_id, area_id, state, state, min(max(limit, 1), LIMIT_MAX)
        )
        return [answers.run_line(row) for row in rows]

    async def get(self, actor: Actor, run_id: str) -> dict[str, Any]:
        """Return a run with every step; raises NotFoundError."""
        row = await self._row(actor, run_id)
        head = self._registry.heads.get(row["area"])
        jobs = await queue.of_run(self._backend, run_id)
        scopes = await self._backend.read("select path, kind, started from scope where run = ?", run_id)
        steps = await store.steps(self._backend, run_id)
        answer = answers.run_line(row, slug=head.slug if head else row["area"])
        answer["trigger"] = await store.trigger(self._backend, row)
        answer["event"] = row["event"]
        answer["result"] = await store.value(self._backend, row["result"])
        answer["parent"] = row["parent_run"]
        answer["retry_of"] = row["retry_of"]
        answer["vars"] = (await store.value(self._backend, row["vars"])) or {}
        outline = await self._outline(row["area"], row["version"])
        answer["steps"] = answers.steps(steps, jobs, [dict(scope) for scope in scopes], outline)
        return answer

    async def _outline(self, area: str, version: int) -> Outline | None:
        try:
            return await self._registry.outline_at(area, version)
        except InputError:
            return None

    async def _row(self, actor: Actor, run_id: str) -> Row:
        row = await store.row(self._backend, run_id)
        if row is None or row["owner"] != actor.owner:
            raise NotFoundError(f"there is no run {run_id}")
        return row

    async def cancel(self, actor: Actor, run_id: str) -> None:
        """Cancel a run; raises ConflictError if it has ended already."""
        row = await self._row(actor, run_id)
        if not await self._cancelling.cancel(run_id, f"cancelled by {actor.email}"):
            raise ConflictError(f"the run has ended already, as {row['state']}")

    async def retry(self, actor: Actor, run_id: str, *, from_: str | None = None, version: str = "same") -> str:
        """Run an ended run's trigger again as a new run, and return its id.

        With `from_` the steps before that path keep their results. Raises ConflictError if the run still goes on.
        """
        row = await self._row(actor, run_id)
        if row["ended"] is None:
            raise ConflictError("the run has not ended yet; cancel it first")
        head = self._registry.heads.get(row["area"])
        if head is None:
            raise NotFoundError("its area is gone")
        number = head.version if version == "latest" else row["version"]
        outline = await self._registry.outline_at(head.id, number)
        trigger = await store.trigger(self._backend, row)
        memo = await self._memo(row, outline, head, trigger, from_)
        unit = Unit()
        run, _ = self._starting.begin(
            unit, head, outline, trigger, version=number, place=row["place"], depth=row["depth"], dry=bool(row["dry"]),
            lane=Lane.NOW, retry_of=run_id, retry_from=from_, memo=memo,
        )  # fmt: skip
        await self._backend.commit(unit)
        return run.id

    async def _memo(self, row: Row, outline: Outline, head: Head, trigger: Any, from_: str | None) -> dict[str, Any]:
        probe = RunState(
            id=row["id"], owner=head.owner, area=head.id, outline=outline, trigger=trigger, started=row["started"]
        )
        if from_ is None:
            return await remembered(self._backend, row["id"], None, probe)
        known = {step.path for step in await store.steps(self._backend, row["id"])}
        if from_ not in known or from_.rpartition(".")[2] not in outline.nodes:
            detail = f"the run has no step {from_}; it has {', '.join(sorted(known)) or 'none'}"
            raise InputError(detail, [Problem("/from", detail)])
        return await remembered(self._backend, row["id"], from_, probe)

    async def resolve(self, actor: Actor, run_id: str, path: str, as_: str) -> None:
        """Say what became of an uncertain step: `done`, `failed` or `retry`."""
        if as_ not in ("done", "failed", "retry"):
            raise InputError("a step is resolved as done, failed or retry", [Problem("/as", "done, failed or retry")])
        job = await self._waiting(actor, run_id, path, "resolve:", "is not uncertain")
        last = [row for row in await store.steps(self._backend, run_id) if row.path == path]
        answer = {"resolve": as_, "by": actor.email, "input": last[-1].input if last else None}
        await self._wake(job, answer)

    async def answer(self, actor: Actor, run_id: str, path: str, choice: str) -> None:
        """Answer a question; raises InputError if it is none of the choices."""
        job = await self._waiting(actor, run_id, path, "", "asks nothing now")
        if job.kind != "ask":
            raise ConflictError(f"step {path} asks nothing now")
        choices = job.input["choices"]
        if choice not in choices:
            detail = f"choose one of {', '.join(choices)}"
            raise InputError(detail, [Problem("/choice", detail)])
        given = {"choice": choice, "by": actor.email, "at": instant(self._clock.now_ms())}
        await self._wake(job, {"answer": given, "asked": job.input})

    async def _waiting(self, actor: Actor, run_id: str, path: str, key: str, why_not: str) -> Job:
        await self._row(actor, run_id)
        jobs = [job for job in await queue.of_run(self._backend, run_id) if job.path == path]
        if not jobs:
            raise NotFoundError(f"the run has no step {path} that waits")
        if not (jobs[0].wait_key or "").startswith(key) or jobs[0].state != "waiting":
            raise ConflictError(f"step {path} {why_not}")
        return jobs[0]

    async def _wake(self, job: Job, input: dict[str, Any]) -> None:
        if not await self._flow.wake(job, input):
            raise ConflictError("somebody was faster")

    async def reconnect(self, connection: str) -> int:
        """Let everything go on that was held because a connection was dead; return how many jobs."""
        jobs = await queue.waiting_on(self._backend, f"connection:{connection}")
        woken = [await self._flow.wake(job) for job in jobs]
        return sum(woken)
