"""Calling an operation as areabox does, over everything real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from areabox.services.calls import Services


async def react(services: Services, name: str, connection: str | None = None, /, **params: Any) -> Any:
    """Do it once."""
    return await services.react(
        name, params, owner="ann", connection=connection, key="k1", attempt=1, timeout_s=30
    )  # fmt: skip


async def poll(
    services: Services, name: str, cursor: dict[str, Any], connection: str | None = None, /, **params: Any
) -> list[Any]:
    """Return what one poll yields."""
    found = services.poll(name, params, owner="ann", connection=connection, cursor=cursor, timeout_s=30)
    return [event async for event in found]


def listen(
    services: Services, name: str, cursor: dict[str, Any] | None = None, connection: str | None = None, /, **params: Any
) -> Any:
    """Open a stream; to be used in `async with`."""
    found = services.listen(name, params, owner="ann", connection=connection, cursor={} if cursor is None else cursor)
    return aclosing(found)


async def following(events: AsyncIterator[dict[str, Any]], wait_s: float = 30.0) -> dict[str, Any]:
    """Return the next event of a stream."""
    async with asyncio.timeout(wait_s):
        while not (event := await anext(events)):
            pass  # it only says that all is well
        return event


async def label(services: Services, connection: str) -> str:
    """Return the name of a connection's account, as its test finds it."""
    return await services.label(await services._connections.account(connection))
