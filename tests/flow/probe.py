"""A service for tests: it echoes what it is given, and fails as it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from areabox.sdk import AuthExpired, Connector, Context, Event, Permanent, RateLimited, Skip, Transient, Uncertain

probe = Connector("probe", "Probe", about="For tests.")

FAILURES = {
    "transient": Transient("it is down"),
    "limited": RateLimited("too many", 60.0),
    "permanent": Permanent("it is refused"),
    "auth": AuthExpired("the token is old"),
    "uncertain": Uncertain("no answer came"),
    "skip": Skip("nothing to do"),
}


class Happened(Event):
    """Something happened."""

    id: str = ""
    what: str = ""


async def _do(ctx: Context, params: dict[str, Any]) -> dict[str, Any]:
    fail = params.get("fail")
    if fail and ctx.attempt <= int(params.get("times", 99)):
        raise FAILURES[fail]
    return params


@probe.reaction("Do something", sentence="do something", effect="keyed", sample={})
async def do(ctx: Context, value: Any = None, fail: str = "", times: int = 99) -> dict[str, Any]:
    """Answer with what it was given."""
    await _do(ctx, {"fail": fail, "times": times})
    return {"value": value}


@probe.reaction("Do something once", sentence="do something once", effect="once", sample={})
async def act(ctx: Context, value: Any = None, fail: str = "", times: int = 99) -> dict[str, Any]:
    """Answer with what it was given; never repeated blindly."""
    await _do(ctx, {"fail": fail, "times": times})
    return {"value": value}


@probe.reaction("Look", sentence="look", effect="read", sample={})
async def look(ctx: Context, value: Any = None) -> dict[str, Any]:
    """Answer with what it was given; really runs in a dry run, too."""
    return {"value": value}


@probe.action("Something happens", sentence="something happens", stream=True, dedupe=None, sample=Happened(id="1", what="it"))
async def happened(ctx: Context, topic: str = "") -> AsyncIterator[Happened]:
    """Never happens by itself; tests send it."""
    return
    yield Happened()
