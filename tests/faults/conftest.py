"""Daemons that are gone when a test ends, on data directories that have an owner."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.daemon import Daemon

House = Callable[..., Daemon]


@pytest.fixture(scope="session")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an account."""
    daemon = Daemon(tmp_path_factory.mktemp("owned"))
    daemon.own()
    return daemon.data


@pytest.fixture
def house(owned: Path, tmp_path: Path) -> Iterator[House]:
    """Make a daemon on a copy of the owned directory; it is killed when the test ends."""
    made: list[Daemon] = []

    def make(folder: Path = tmp_path, **more: object) -> Daemon:
        shutil.copytree(owned, folder / "data", dirs_exist_ok=True)
        made.append(Daemon(folder, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for daemon in made:
        daemon.kill()
