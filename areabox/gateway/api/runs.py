"""Runs: start by hand, look, cancel, retry, resolve what is uncertain, answer what is asked."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.areas.durations import parse_duration
from areabox.errors import InputError, Problem
from areabox.gateway.problems import RefusedError
from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, get, page, post
from areabox.gateway.shapes import RunLine, RunView

WAIT_MAX_S = 60.0


class Search(Listing, frozen=True, kw_only=True):
    """Which runs: those of an area, those in a state."""

    area: str = ""
    state: str = ""


class Wait(msgspec.Struct, frozen=True):
    """How long to wait for the end: seconds, or a duration such as 30s; at most a minute."""

    wait: str = ""


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What expressions see as `trigger`; a `dry` run calls nothing outside."""

    trigger: dict[str, Any] = {}
    dry: bool = False


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which step on (steps before it keep their results), and on which version of the area: same or latest."""

    from_: str | None = msgspec.field(name="from", default=None)
    version: str = "same"


class Resolve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of the uncertain step: done, failed or retry."""

    as_: str = msgspec.field(name="as")


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the choices of the question."""

    choice: str


async def list_(ask: Ask, query: Search) -> Page[Any]:
    """List runs, newest first."""
    found = await ask.parts.runs.list(
        ask.actor, area=query.area, state=query.state, limit=query.count, after=query.after
    )
    return page(found, query)


async def start(ask: Ask, area: str, body: Start, query: Wait) -> Answer:
    """Start a run by hand; with `wait`, answer 200 with the ended run, or 202 if it has not ended by then."""
    seconds = _seconds(query.wait)
    run_id = await ask.parts.runs.start(ask.actor, area, body.trigger, dry=body.dry)
    if seconds > 0:
        await ask.parts.runs.wait(run_id, seconds)
    return await _accepted(ask, run_id, waited=seconds > 0)


async def show(ask: Ask, id: str) -> Answer:
    """Show a run with every step."""
    return Answer(value=await ask.parts.runs.get(ask.actor, id))


async def cancel(ask: Ask, id: str) -> Answer:
    """Cancel a run."""
    await ask.parts.runs.cancel(ask.actor, id)
    return await _accepted(ask, id, waited=True)


async def retry(ask: Ask, id: str, body: Retry) -> Answer:
    """Run an ended run again, as a new run."""
    if body.version not in ("same", "latest"):
        raise InputError("the version is same or latest", [Problem("/version", "must be same or latest")])
    new = await ask.parts.runs.retry(ask.actor, id, from_=body.from_, version=body.version)
    return await _accepted(ask, new)


async def resolve(ask: Ask, id: str, path: str, body: Resolve) -> Answer:
    """Say what became of an uncertain step."""
    await ask.parts.runs.resolve(ask.actor, id, path, body.as_)
    return await _accepted(ask, id)


async def answer(ask: Ask, id: str, path: str, body: Choice) -> Answer:
    """Answer a question that a run asks."""
    await ask.parts.runs.answer(ask.actor, id, path, body.choice)
    return await _accepted(ask, id)


async def _accepted(ask: Ask, run_id: str, *, waited: bool = False) -> Answer:
    run = await ask.parts.runs.get(ask.actor, run_id)
    ended = waited and run["ended"] is not None
    return Answer(value=run, status=200 if ended else 202, headers={"location": f"/api/v1/runs/{run_id}"})


def _seconds(given: str) -> float:
    if not given:
        return 0.0
    try:
        seconds = float(given)
    except ValueError:
        seconds = parse_duration(given) / 1000
    if not 0 <= seconds <= WAIT_MAX_S * 60:
        raise RefusedError(400, "wait is a number of seconds, of which areabox waits 60 at most")
    return min(seconds, WAIT_MAX_S)


_RUN = "/api/v1/runs/{id}"
ROUTES: tuple[Route, ...] = (
    get("/api/v1/runs", list_, "runs:read", answer=Page[RunLine]),
    post("/api/v1/areas/{area}/runs", start, "runs:write", answer=RunView, status=202, audit="run.start"),
    get(_RUN, show, "runs:read", answer=RunView),
    post(_RUN + "/cancel", cancel, "runs:write", answer=RunView, status=202, audit="run.cancel"),
    post(_RUN + "/retry", retry, "runs:write", answer=RunView, status=202, audit="run.retry"),
    post(_RUN + "/steps/{path}/resolve", resolve, "runs:write", answer=RunView, status=202, audit="run.resolve"),
    post(_RUN + "/steps/{path}/answer", answer, "runs:write", answer=RunView, status=202, audit="run.answer"),
)
