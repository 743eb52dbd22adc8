"""Fixtures of the users' tests: a database on disk, passwords that are hashed cheaply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from areabox.database import Backend
from areabox.database.sqlite import SqliteBackend
from areabox.users.accounts import Account, Accounts
from areabox.users.passwords import Passwords
from areabox.users.throttle import Throttle
from tests.support import FakeClock

PASSWORD = "correct horse battery"


@pytest.fixture
async def backend(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Backend]:
    made = SqliteBackend(tmp_path / "areabox.db", clock)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def throttle(clock: FakeClock) -> Throttle:
    return Throttle(clock)


@pytest.fixture
def accounts(backend: Backend, clock: FakeClock, throttle: Throttle) -> Accounts:
    return Accounts(backend, clock, Passwords(memory_kib=64, passes=1), throttle)


@pytest.fixture
async def owner(accounts: Accounts) -> Account:
    return await accounts.create("owner@example.org", PASSWORD, "owner")
