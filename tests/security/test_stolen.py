"""G20: a database without its key tells nothing, a sealed value in another's place does not open, and keys can be changed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from areabox.areas.sealing import Sealing
from areabox.clock import SystemClock
from areabox.database import Unit
from areabox.database.sqlite import SqliteBackend
from areabox.errors import AreaboxError, ConfigurationError
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.vault import Vault
from tests.security.canaries import canary, hits
from tests.security.figures import amount, figure
from tests.support import FakeClock

SECRETS = {f"s{number}": canary(f"s{number}") for number in range(12)}
DOCUMENT = {"area": "a", "when": [{"webhook.received": {"verify": "hmac", "secret": canary("s0")}}], "then": [{"return": 1}]}


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    made = SqliteBackend(tmp_path / "areabox.db", FakeClock(), reserve_bytes=0)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def vault() -> Vault:
    return Vault(SystemClock(), {1: bytes(range(32))})


@pytest.fixture
async def filled(backend: SqliteBackend, vault: Vault) -> Connections:
    made = Connections(backend, SystemClock(), Catalogue.discover(), vault)
    for number, (name, secret) in enumerate(SECRETS.items()):
        owner = "ann" if number % 2 else "bob"
        values = {"site": f"http://{name}.example.org", "key": secret}
        await made.create(owner, "http", values, name=name, auth="token")
    return made


def opened_by(backend: SqliteBackend, vault: Vault) -> Connections:
    return Connections(backend, SystemClock(), Catalogue.discover(), vault)


async def readable(connections: Connections, backend: SqliteBackend) -> list[str]:
    """Return which rows a thief, or the house itself, can open."""
    found = []
    for row in await backend.read("select id, name from connection"):
        try:
            await connections.account(row["id"])
        except AreaboxError:
            continue
        found.append(str(row["name"]))
    return found


async def test_without_the_key_nothing_can_be_read(filled: Connections, backend: SqliteBackend, tmp_path: Path) -> None:
    assert len(await readable(opened_by(backend, Vault(SystemClock(), {1: bytes(range(32))})), backend)) == len(SECRETS)
    random, tries = Random(7), amount(8, 500)
    for _ in range(tries):
        thief = Vault(SystemClock(), {1: random.randbytes(32)})
        assert await readable(opened_by(backend, thief), backend) == []
    for keys in ({2: bytes(range(32))}, {1: bytes(32)}, {1: bytes(range(32))[::-1]}):
        assert await readable(opened_by(backend, Vault(SystemClock(), keys)), backend) == []
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert [hit for data in files for hit in hits(data, SECRETS)] == []
    figure("G20", f"{len(SECRETS)} secrets, {tries + 3} wrong keys: 0 readable")


async def test_a_sealed_value_in_another_row_is_noticed(filled: Connections, backend: SqliteBackend, vault: Vault) -> None:
    rows = {str(row["id"]): row["secret"] for row in await backend.read("select id, secret from connection")}
    swaps = 0
    for mine, other in itertools.permutations(rows, 2):
        assert await backend.commit(Unit().do("update connection set secret = ?, version = version + 1 where id = ?", rows[other], mine))
        filled.forget()
        with pytest.raises(ConfigurationError):
            await filled.account(mine)
        await backend.commit(Unit().do("update connection set secret = ?, version = version + 1 where id = ?", rows[mine], mine))
        swaps += 1
    for id, sealed in rows.items():
        for purpose in (f"subscription|secret|{id}", f"area_version|document|{id}", f"connection|config|{id}", f"connection|secret|{id}x", "", id):
            with pytest.raises(ConfigurationError):
                vault.open(purpose, sealed)
            swaps += 1
        for place in range(len(sealed)):
            with pytest.raises(ConfigurationError):
                vault.open(f"connection|secret|{id}", sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])
        for cut in (0, 1, 12, 13, 28, len(sealed) - 1):
            with pytest.raises(ConfigurationError):
                vault.open(f"connection|secret|{id}", sealed[:cut])
    filled.forget()
    assert len(await readable(filled, backend)) == len(SECRETS)
    figure("G20", f"{swaps} swapped and {sum(map(len, rows.values())):,} changed values: 100 % noticed")


def test_a_secret_of_an_area_does_not_open_in_another_area(vault: Vault) -> None:
    sealing = Sealing(Catalogue.discover(), vault)
    stored = sealing.seal("area1", DOCUMENT)
    assert hits(json.dumps(stored), SECRETS) == []
    assert sealing.open("area1", stored) == DOCUMENT
    for other in ("area2", "", "area1 ", "AREA1"):
        with pytest.raises(AreaboxError):
            sealing.open(other, stored)
    ((_, params),) = stored["when"][0].items()
    params["secret"]["$sealed"] = base64.b64encode(b"\x01" + bytes(40)).decode()
    with pytest.raises(AreaboxError):
        sealing.open("area1", stored)


async def test_keys_are_changed_while_everything_is_used(backend: SqliteBackend, vault: Vault) -> None:
    """Every secret can be opened at any moment of the change, and none by the old key afterwards."""
    count = amount(300, 10_000)
    connections = opened_by(backend, vault)
    ids = [f"c{number:06}" for number in range(count)]
    for start in range(0, count, 200):
        unit = Unit()
        for id in ids[start : start + 200]:
            sealed = vault.seal(f"connection|secret|{id}", json.dumps({"key": f"secret of {id}"}).encode())
            unit.do("insert into connection (id, owner, name, service, auth, config, secret, state, created) values (?, 'ann', ?, 'http', 'token', ?, ?, 'ok', 0)",
                    id, id, '{"site": "http://example.org"}', sealed)  # fmt: skip
        assert await backend.commit(unit)
    both = vault.rotated()
    connections._vault = both
    opened, done = 0, asyncio.Event()

    async def use() -> None:
        nonlocal opened
        random = Random(3)
        while not done.is_set():
            id = random.choice(ids)
            connections.forget()
            account: Any = await connections.account(id)
            assert account.view.key == f"secret of {id}"
            opened += 1
            await asyncio.sleep(0)

    user = asyncio.create_task(use())
    start = time.monotonic()
    while await connections.reseal(500):
        await asyncio.sleep(0)
    took_s = time.monotonic() - start
    done.set()
    await user
    new = both.without_old()
    for row in await backend.read("select id, secret from connection"):
        assert new.open(f"connection|secret|{row['id']}", row["secret"])
        with pytest.raises(ConfigurationError):
            vault.open(f"connection|secret|{row['id']}", row["secret"])
    figure("G20", f"{count:,} secrets sealed anew in {took_s:.1f} s while {opened:,} were used")
    assert opened > 0
    assert took_s <= 30
