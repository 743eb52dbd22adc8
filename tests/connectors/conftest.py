"""The services with everything real below them."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from areabox.actions.inbox import Inbox
from areabox.actions.listener import Listener
from areabox.actions.subscriptions import Subscriptions
from areabox.clock import SystemClock
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.egress import Egress
from areabox.services.folders import Folders
from areabox.services.host import House
from tests.actions.conftest import world
from tests.services.conftest import backend, connections, server, services, vault
from tests.services.loopback import names
from tests.services.test_egress_tls import certificate

__all__ = ["backend", "certificate", "connections", "server", "services", "vault", "world"]


@pytest.fixture(scope="session")
def known() -> Catalogue:
    """The connectors, discovered once."""
    return Catalogue.discover()


@pytest.fixture
def catalogue(known: Catalogue) -> Catalogue:
    """The same: nobody here adds a connector."""
    return known


@pytest.fixture
async def house(world: Any, known: Catalogue, vault: Any, tmp_path: Path) -> AsyncIterator[SimpleNamespace]:
    """Listeners over the real catalogue, connections and services, for areas of the user `u1`.

    `awake()` is a listener of a process that has just started, with services of its own; `asleep()` ends the last.
    """
    connections = Connections(world.backend, world.clock, known, vault)
    world.subscriptions = Subscriptions(world.backend, world.clock, known, vault)
    world.inbox = Inbox(world.backend, world.clock, world.runs, world.subscriptions)
    house = SimpleNamespace(world=world, connections=connections, services=None, listener=None)
    house.files = tmp_path / "files"
    house.files.mkdir()
    egress = Egress(
        SystemClock(),
        allow=[ipaddress.ip_network("127.0.0.0/8")],
        resolve=names(
            {"home.example.org": ["127.0.0.1"], "127.0.0.1": ["127.0.0.1"], "10.255.255.1": ["10.255.255.1"]}
        ),
    )

    async def awake() -> Listener:
        host = House(world.backend, world.clock, folders=Folders([house.files]))
        house.services = Services(world.clock, known, connections, egress, house=host)
        house.listener = Listener(
            world.backend, world.clock, world.subscriptions, world.inbox, house.services, connections
        )
        await house.listener.tick()
        return house.listener

    async def asleep() -> None:
        if house.services is not None:
            await house.listener.close()
            await house.services.close()
        house.services = None

    async def react(name: str, connection: Any, /, key: str = "k", attempt: int = 1, **params: Any) -> Any:
        return await house.services.react(
            name, params, owner="u1", connection=connection.id, key=key, attempt=attempt, timeout_s=30
        )

    async def errors() -> list[str]:
        return [row[0] for row in await world.rows("select error from subscription where error is not null")]

    house.awake, house.asleep, house.react, house.errors = awake, asleep, react, errors
    yield house
    await asleep()
    egress.close()


class _Nobody:
    """Connections of nobody; what an owner types is trusted."""

    tester: Any = None

    def __init__(self) -> None:
        self.on_state: list[Any] = []

    async def trusted(self, owner: str) -> bool:
        return bool(owner)


@pytest.fixture
async def alone(clock: Any, known: Catalogue) -> AsyncIterator[Services]:
    """The services without a database: for connectors that need no connection."""
    egress = Egress(SystemClock(), allow=[ipaddress.ip_network("127.0.0.0/8")])
    nothing: Any = None
    made = Services(clock, known, _Nobody(), egress, house=House(nothing, clock))  # type: ignore[arg-type]
    yield made
    await made.close()
    egress.close()
