"""Which services are there?"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from areabox.errors import NotFoundError
from areabox.sdk import Connector, Event
from areabox.services.catalogue import Catalogue, Origin

LAMP = '''
"""A lamp."""

from areabox.sdk import Connector, Event, Context

lamp = Connector("lamp", "Lamp", about="A lamp.")


@lamp.reaction("{title}", sentence="switch on", effect="idempotent", was=("light",))
async def on(ctx: Context) -> None:
    """Switch it on."""
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "connectors"
    made.mkdir()
    return made


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    os.utime(path, ns=(0, zlib.crc32(text.encode())))  # a time of its own for each text
    return path


def test_areaboxs_own_connectors_are_found() -> None:
    catalogue = Catalogue.discover()
    assert catalogue.errors() == []
    assert {"http", "store", "notify", "area"} <= {service.id for service in catalogue.services()}
    assert {"area.ended", "area.called"} <= set(catalogue.names("action"))
    assert {"http.request", "store.get", "store.set", "store.increment", "notify.user"} <= set(
        catalogue.names("reaction")
    )


def test_an_own_connector_is_loaded_when_somebody_first_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    inside = Catalogue._load_module

    def load(self: Catalogue, name: str, origin: Origin) -> None:
        loaded.append(name)
        inside(self, name, origin)

    monkeypatch.setattr(Catalogue, "_load_module", load)
    catalogue = Catalogue.discover()
    assert loaded == []
    assert catalogue.action("schedule.cron") is not None
    assert catalogue.reaction("store.get") is not None
    assert catalogue.reaction("store.set") is not None
    assert catalogue.reaction("nowhere.do") is None
    assert catalogue.service("http").name == "HTTP"
    assert loaded == [f"areabox.connectors.{id}" for id in ("schedule", "store", "http")]


async def test_the_others_are_loaded_one_by_one_while_everything_else_goes_on() -> None:
    catalogue, turns = Catalogue.discover(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await catalogue.settle()
    task.cancel()
    assert turns >= len(catalogue.services()) - 1
    assert not catalogue._waiting


def test_no_service_brings_a_library_along_before_it_works() -> None:
    code = """
import sys, areabox.app
from areabox.services.catalogue import Catalogue
before = set(sys.modules)
assert len(Catalogue.discover().services()) > 30
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - {"areabox"} - sys.stdlib_module_names))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_one_file_is_one_service_named_by_its_id() -> None:
    for service in Catalogue.discover().services():
        assert service.source == f"areabox.connectors.{service.id}"
        for operation in (*service.actions.values(), *service.reactions.values()):
            foreign = [old for old in operation.was if "." in old and not old.startswith(f"{service.id}.")]
            assert not foreign, "nobody would find it before the service is loaded"


def test_an_own_connector_that_is_broken_is_told_and_the_others_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue.discover()
    monkeypatch.setitem(sys.modules, "areabox.connectors.http", None)
    assert catalogue.reaction("http.request") is None
    assert catalogue.reaction("store.get") is not None
    assert [error.source for error in catalogue.errors()] == ["areabox.connectors.http"]


def test_an_id_of_today_wins_over_a_former_one_of_another_service(folder: Path) -> None:
    put(folder, "lamp.py", LAMP.replace('"light"', '"store.get"'))
    catalogue = Catalogue.discover(folder.parent)
    found = catalogue.reaction("store.get")
    assert found is not None
    assert found.service == "store"


def test_a_file_that_is_dropped_in_is_available(folder: Path) -> None:
    put(folder, "lamp.py", LAMP)
    catalogue = Catalogue.discover(folder.parent)
    operation = catalogue.reaction("lamp.on")
    assert operation is not None
    assert (operation.effect, operation.help) == ("idempotent", "Switch it on.")
    assert catalogue.service("lamp").origin == "file"


def test_a_former_id_still_works_and_is_not_listed(folder: Path) -> None:
    put(folder, "lamp.py", LAMP)
    catalogue = Catalogue.discover(folder.parent)
    assert catalogue.reaction("lamp.light") is catalogue.reaction("lamp.on")
    assert "lamp.light" not in catalogue.names("reaction")


def test_a_broken_file_is_kept_out_and_the_others_live_on(folder: Path) -> None:
    put(folder, "lamp.py", LAMP)
    broken = [put(folder, "a.py", "1/0"), put(folder, "b.py", "def"), put(folder, "c.py", "x = 1")]
    catalogue = Catalogue.discover(folder.parent)
    assert catalogue.reaction("lamp.on") is not None
    assert {error.source for error in catalogue.errors()} == {str(path) for path in broken}
    assert "ZeroDivisionError: division by zero (line 1)" in {error.message for error in catalogue.errors()}


def test_a_file_is_loaded_again_when_it_changes_and_forgotten_when_it_goes(folder: Path) -> None:
    path = put(folder, "lamp.py", LAMP.replace("{title}", "On"))
    catalogue = Catalogue.discover(folder.parent)
    assert catalogue.refresh() == []
    put(folder, "lamp.py", LAMP.replace("{title}", "Switch on"))
    assert catalogue.refresh() == ["lamp"]
    found = catalogue.reaction("lamp.on")
    assert found is not None
    assert found.title == "Switch on"
    path.unlink()
    assert catalogue.refresh() == ["lamp"]
    assert catalogue.reaction("lamp.on") is None
    with pytest.raises(NotFoundError):
        catalogue.service("lamp")


def test_a_broken_new_version_leaves_the_old_one_running(folder: Path) -> None:
    put(folder, "lamp.py", LAMP)
    catalogue = Catalogue.discover(folder.parent)
    put(folder, "lamp.py", LAMP + "\nraise RuntimeError('oh')\n")
    assert catalogue.refresh() == []
    assert catalogue.reaction("lamp.on") is not None
    assert [error.message for error in catalogue.errors()] == ["RuntimeError: oh (line 13)"]
    put(folder, "lamp.py", LAMP + "\n# repaired\n")
    assert catalogue.refresh() == ["lamp"]
    assert catalogue.errors() == []


def test_what_a_file_no_longer_holds_is_gone(folder: Path) -> None:
    put(folder, "lamp.py", LAMP)
    catalogue = Catalogue.discover(folder.parent)
    put(folder, "lamp.py", LAMP.replace('Connector("lamp"', 'Connector("bulb"'))
    assert sorted(catalogue.refresh()) == ["bulb", "lamp"]
    assert catalogue.reaction("lamp.on") is None


def test_a_file_cannot_take_the_place_of_an_own_connector(folder: Path) -> None:
    put(folder, "http.py", LAMP.replace('Connector("lamp"', 'Connector("http"'))
    catalogue = Catalogue.discover(folder.parent)
    assert catalogue.service("http").origin == "builtin"
    assert "is there already" in catalogue.errors()[0].message


def test_code_that_anybody_may_change_is_not_run(folder: Path) -> None:
    file = put(folder, "lamp.py", LAMP)
    file.chmod(0o666)
    catalogue = Catalogue.discover(folder.parent)
    assert catalogue.reaction("lamp.on") is None
    assert "may be changed by anybody" in catalogue.errors()[0].message
    file.chmod(0o644)
    assert catalogue.refresh() == ["lamp"]
    assert catalogue.errors() == []


def test_a_connector_without_help_or_with_a_strange_id_is_refused() -> None:
    odd = Connector("odd", "Odd")

    @odd.reaction("Do", sentence="do")
    async def do() -> None: ...

    with pytest.raises(TypeError, match="no docstring"):
        Catalogue().add(odd)
    plain, listed = Connector("plain", "Plain"), Connector("listed", "Listed")

    @plain.reaction("Do", sentence="do")
    def at_once() -> None:
        """Do."""

    @listed.action("All", sentence="all", poll="5m", sample=Event(id="1"))
    async def all_items() -> list[Event]:
        """List."""
        return []

    with pytest.raises(TypeError, match="must be an async function"):
        Catalogue().add(plain)
    with pytest.raises(TypeError, match="must be an async generator"):
        Catalogue().add(listed)
    with pytest.raises(ValueError, match="is not an id"):
        Catalogue().add(Connector("Odd-1", "Odd"))
