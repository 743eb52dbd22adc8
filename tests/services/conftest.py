"""A database file, a vault, and everything that calls a real server on the loopback."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from areabox.clock import SystemClock
from areabox.database.sqlite import SqliteBackend
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.egress import Egress
from areabox.services.host import House
from areabox.services.vault import Vault
from tests.services.web import Server
from tests.support import FakeClock

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def backend(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteBackend]:
    made = SqliteBackend(tmp_path / "areabox.db", clock, reserve_bytes=0)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue.discover()


@pytest.fixture
def vault(clock: FakeClock) -> Vault:
    return Vault(clock, {1: bytes(range(32))})


@pytest.fixture
def connections(backend: SqliteBackend, clock: FakeClock, catalogue: Catalogue, vault: Vault) -> Connections:
    return Connections(backend, clock, catalogue, vault)


@pytest.fixture
async def services(
    backend: SqliteBackend, clock: FakeClock, catalogue: Catalogue, connections: Connections
) -> AsyncIterator[Services]:
    egress = Egress(SystemClock(), allow=LOOPBACK)
    made = Services(clock, catalogue, connections, egress, house=House(backend, clock))
    yield made
    await made.close()
    egress.close()
