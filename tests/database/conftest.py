"""A backend on a real file; the suite runs over every engine that is listed here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from areabox.database import Backend
from areabox.database.sqlite import SqliteBackend
from tests.support import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "areabox.db"


@pytest.fixture
async def sqlite(path: Path, clock: FakeClock) -> AsyncIterator[SqliteBackend]:
    backend = SqliteBackend(path, clock, reserve_bytes=64 * 1024)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture(params=["sqlite"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.getfixturevalue(request.param)
