"""A service for tests: it echoes what it is given, and fails as it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from areabox.sdk import (
    AuthExpired,
    Connector,
    Context,
    Event,
    Field,
    Permanent,
    RateLimited,
    Skip,
    Transient,
    Uncertain,
)

probe = Connector("probe", "Probe", about="For tests.")

ASKED: list[dict[str, Any]] = []  # what questions went out with
FAILURES = {
    "transient": Transient("it is down"),
    "limited": RateLimited("too many", 60.0),
    "permanent": Permanent("it is refused"),
    "auth": AuthExpired("the token is old"),
    "uncertain": Uncertain("no answer came"),
    "skip": Skip("nothing to do"),
}


class Pressed(Event):
    """A button was pressed."""

    data: str = ""
    by: str = ""


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


@probe.reaction("Ask with buttons", sentence="ask", effect="idempotent", answers="pressed", sample={})
async def ask(ctx: Context, question: str = "", choices: Annotated[Any, Field(secret=True)] = None) -> dict[str, Any]:
    """Keep what it was given, to be pressed by a test."""
    ASKED.append({"question": question, "choices": choices})
    return {}


@probe.action("A button is pressed", sentence="a button is pressed", stream=True, dedupe=None, sample=Pressed(data="1.x/1", by="ann"))
async def pressed(ctx: Context) -> AsyncIterator[Pressed]:
    """Never happens by itself; tests send it."""
    return
    yield Pressed()


@probe.reaction("Look", sentence="look", effect="read", sample={})
async def look(ctx: Context, value: Any = None) -> dict[str, Any]:
    """Answer with what it was given; really runs in a dry run, too."""
    return {"value": value}


@probe.action("Something happens", sentence="something happens", stream=True, dedupe=None, sample=Happened(id="1", what="it"))
async def happened(ctx: Context, topic: str = "") -> AsyncIterator[Happened]:
    """Never happens by itself; tests send it."""
    return
    yield Happened()
