"""An address at which a service delivers, over the real catalogue, vault, connections and inbox."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from areabox.actions.hooks import Hooks
from areabox.actions.subscriptions import Wanted

BASE = "https://box.example.org"


@pytest.fixture
async def receiver(house: SimpleNamespace) -> SimpleNamespace:
    """Hooks under a public address.

    `at(action, …)` gives the key of a new address, `deliver(key, JSON, header=…)` delivers there as a service does.
    """
    await house.awake()
    world = house.world
    hooks = Hooks(world.backend, world.clock, world.subscriptions, world.inbox, house.services, public_url=BASE)
    made = SimpleNamespace(house=house, hooks=hooks, areas=0)

    async def at(action: str, connection: str | None = None, /, **params: Any) -> str:
        made.areas += 1
        want = Wanted(place="hook", action=action, params=params, connection=connection)
        (sub,) = await world.area(f"a{made.areas}", want)
        assert sub.hook is not None
        return str(sub.hook)

    async def deliver(key: str, body: Any, /, **headers: str) -> str | None:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return (await hooks.receive(key, "POST", "", b"", named, content)).event

    made.at, made.deliver, made.payloads = at, deliver, world.payloads
    return made
