"""A service of the simulated internet: only what it offers is said here; `internet.Internet` does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from areabox.sdk import Connector, Context, Event

world = Connector("world", "World", about="For simulations.")


class Listed(Event):
    """An item of a feed."""

    id: str = ""
    n: int = 0


class Happened(Event):
    """Something that happens."""

    id: str = ""
    topic: str = ""


@world.reaction("Do something", sentence="do something", effect="keyed", sample={})
async def do(ctx: Context, mark: str, value: Any = None) -> dict[str, Any]:
    """Take effect; again with the same key it is the same effect."""
    raise NotImplementedError


@world.reaction("Do something once", sentence="do something once", effect="once", sample={})
async def act(ctx: Context, mark: str, value: Any = None) -> dict[str, Any]:
    """Take effect, each time anew."""
    raise NotImplementedError


@world.action("A feed lists an item", sentence="feed {feed} lists an item", poll="5m", dedupe="key", sample=Listed(id="1", n=1))
async def listed(ctx: Context, feed: str = "") -> AsyncIterator[Listed]:
    """List what is new."""
    raise NotImplementedError
    yield Listed()


@world.action("Something happens", sentence="something happens", stream=True, dedupe=None, sample=Happened(id="1", topic="a"))
async def happened(ctx: Context, topic: str = "") -> AsyncIterator[Happened]:
    """Tell what happens."""
    raise NotImplementedError
    yield Happened()
