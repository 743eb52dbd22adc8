"""`file`, over real folders; what is not allowed is looked for with links, and put in the way while it runs."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from areabox.connectors import _watch
from areabox.errors import InputError, Permanent, Transient
from areabox.services.calls import Services
from areabox.services.folders import Folders
from tests.connectors.calls import following, listen, react


@pytest.fixture
def services(alone: Services) -> Services:
    return alone


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def files(services: Services, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr(_watch, "SETTLE_S", 0.06)
    monkeypatch.setattr(_watch, "STEP_MS", 10)
    services._house.folders = Folders([home], kept_out=[home / "areabox"])
    return services


async def started(cursor: dict[str, Any], key: str, events: AsyncIterator[Any]) -> asyncio.Task[Any]:
    """Return a task that waits for the next event, once the stream has seen what is there."""
    task = asyncio.create_task(following(events))
    async with asyncio.timeout(30):
        while key not in cursor:
            await asyncio.sleep(0.005)
    return task


# -- watching ----------------------------------------------------------------------------------------------------------


async def test_a_new_file_fires_and_one_that_was_there_does_not(files: Services, home: Path) -> None:
    (home / "old.pdf").write_text("old")
    cursor: dict[str, Any] = {}
    async with listen(files, "file.created", cursor, None, folder=str(home), pattern="*.pdf") as events:
        waiting = await started(cursor, "files", events)
        (home / "other.txt").write_text("not meant")
        (home / ".hidden.pdf").write_text("hidden")
        (home / "old.pdf").write_text("changed")
        (home / "scan.pdf").write_bytes(b"12345")
        event = await waiting
        assert event.pop("modified").startswith("20")
        assert event == {"path": f"{home}/scan.pdf", "name": "scan.pdf", "folder": str(home), "size": 5, "id": ""}


async def test_a_file_fires_when_nobody_writes_to_it_any_more(
    files: Services, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watch, "SETTLE_S", 0.4)
    cursor: dict[str, Any] = {}
    async with listen(files, "file.created", cursor, None, folder=str(home)) as events:
        waiting = await started(cursor, "files", events)
        with (home / "big").open("wb", buffering=0) as slow:
            for _ in range(12):
                slow.write(b"x" * 10)
                await asyncio.sleep(0.02)
                assert not waiting.done()
        assert (await waiting)["size"] == 120


async def test_a_file_that_is_moved_there_fires_with_its_old_time(files: Services, home: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    os.utime(tmp_path / "a", (1_000_000_000, 1_000_000_000))
    cursor: dict[str, Any] = {}
    async with listen(files, "file.created", cursor, None, folder=str(home)) as events:
        waiting = await started(cursor, "files", events)
        (tmp_path / "a").rename(home / "a")
        assert (await waiting)["modified"] == "2001-09-09T01:46:40.000Z"


async def test_what_came_while_areabox_was_off_fires_once(files: Services, home: Path) -> None:
    (home / "before").write_text("b")
    cursor: dict[str, Any] = {}
    async with listen(files, "file.created", cursor, None, folder=str(home)) as events:
        waiting = await started(cursor, "files", events)
        (home / "while on").write_text("o")
        assert (await waiting)["name"] == "while on"
    (home / "while off").write_text("o")
    async with listen(files, "file.created", cursor, None, folder=str(home)) as events:
        assert (await following(events))["name"] == "while off"
        with pytest.raises(TimeoutError):
            await following(events, 0.2)


async def test_changes_fire_and_new_files_do_not(files: Services, home: Path) -> None:
    (home / "a").write_text("1")
    cursor: dict[str, Any] = {}
    async with listen(files, "file.changed", cursor, None, folder=str(home)) as events:
        waiting = await started(cursor, "files", events)
        (home / "b").write_text("new")
        (home / "a").write_text("22")
        event = await waiting
        assert (event["name"], event["size"]) == ("a", 2)
        (home / "b").write_text("newer")
        assert (await following(events))["name"] == "b"


async def test_what_goes_fires_also_by_another_name(files: Services, home: Path) -> None:
    for name in ("a", "b"):
        (home / name).write_text("1")
    cursor: dict[str, Any] = {}
    async with listen(files, "file.deleted", cursor, None, folder=str(home)) as events:
        waiting = await started(cursor, "files", events)
        (home / "a").unlink()
        assert await waiting == {"path": f"{home}/a", "name": "a", "folder": str(home), "id": ""}
        (home / "b").rename(home / "c")
        assert (await following(events))["name"] == "b"


async def test_folders_in_it_are_watched_where_that_is_wanted(files: Services, home: Path) -> None:
    (home / "2026").mkdir()
    cursor: dict[str, Any] = {}
    async with listen(files, "file.created", cursor, None, folder=str(home), pattern="2026/*.txt", deep=True) as events:
        waiting = await started(cursor, "files", events)
        (home / "top.txt").write_text("not meant")
        (home / "2026" / "in.txt").write_text("x")
        assert (await waiting)["path"] == f"{home}/2026/in.txt"


async def test_links_are_no_files(files: Services, home: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "up").symlink_to(tmp_path)
    assert await react(files, "file.list", folder=str(home), deep=True) == {"files": []}


async def test_a_folder_that_is_missing_or_too_full_says_so(
    files: Services, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Transient, match="No such file"):
        async with listen(files, "file.created", None, None, folder=f"{home}/none") as events:
            await following(events)
    monkeypatch.setattr(_watch, "FILES_MAX", 3)
    for number in range(4):
        (home / str(number)).write_text("")
    with pytest.raises(Permanent, match="more than 3 files"):
        await react(files, "file.list", folder=str(home))


async def test_a_folder_is_looked_at_though_nobody_tells(
    files: Services, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watch, "RESCAN_S_ALONE", 0.05)
    monkeypatch.setattr(_watch.Bell, "_watch", lambda *_: None)
    cursor: dict[str, Any] = {}
    async with listen(files, "file.created", cursor, None, folder=str(home)) as events:
        waiting = await started(cursor, "files", events)
        (home / "a").write_text("x")
        assert (await waiting)["name"] == "a"


# -- lines -------------------------------------------------------------------------------------------------------------


def add(path: Path, text: str) -> None:
    with path.open("a", newline="") as log:
        log.write(text)


async def test_lines_that_are_added_fire_when_they_are_whole(files: Services, home: Path) -> None:
    log, cursor = home / "app.log", dict[str, Any]()
    log.write_text("old\n")
    async with listen(files, "file.line_appended", cursor, None, path=str(log)) as events:
        waiting = await started(cursor, "at", events)
        add(log, "half")
        await asyncio.sleep(0.05)
        assert not waiting.done()
        add(log, " a line\r\n\xe4\n")
        assert await waiting == {"line": "half a line", "path": str(log), "id": ""}
        assert (await following(events))["line"] == "\xe4"
    add(log, "while off\n")
    async with listen(files, "file.line_appended", cursor, None, path=str(log)) as events:
        assert (await following(events))["line"] == "while off"


async def test_a_rotated_log_is_read_to_its_end_and_then_the_new_one(files: Services, home: Path) -> None:
    log, cursor = home / "app.log", dict[str, Any]()
    log.write_text("old\n")
    async with listen(files, "file.line_appended", cursor, None, path=str(log)) as events:
        waiting = await started(cursor, "at", events)
        add(log, "1\n")
        assert (await waiting)["line"] == "1"
    add(log, "2\n3")
    log.rename(home / "app.log.1")
    add(log, "4\n")
    async with listen(files, "file.line_appended", cursor, None, path=str(log)) as events:
        assert [(await following(events))["line"] for _ in range(3)] == ["2", "3", "4"]


async def test_an_emptied_log_begins_anew(files: Services, home: Path) -> None:
    log, cursor = home / "app.log", dict[str, Any]()
    log.write_text("a long old line\n")
    async with listen(files, "file.line_appended", cursor, None, path=str(log)) as events:
        waiting = await started(cursor, "at", events)
        log.write_text("new\n")
        assert (await waiting)["line"] == "new"


async def test_a_log_may_come_later(files: Services, home: Path) -> None:
    log, cursor = home / "app.log", dict[str, Any]()
    async with listen(files, "file.line_appended", cursor, None, path=str(log)) as events:
        waiting = await started(cursor, "at", events)
        log.write_text("first\n")
        assert (await waiting)["line"] == "first"


# -- doing -------------------------------------------------------------------------------------------------------------


async def test_files_are_written_added_to_read_and_deleted(files: Services, home: Path) -> None:
    path = f"{home}/notes/a.txt"
    assert await react(files, "file.write", path=path, text="Hell\xf6\n") == {"path": path, "size": 7}
    assert await react(files, "file.append", path=path, text="more") == {"path": path, "size": 12}
    found = await react(files, "file.read", path=path)
    assert (found["text"], found["name"], found["size"], found["base64"]) == ("Hell\xf6\nmore\n", "a.txt", 12, "")
    assert await react(files, "file.append", path=path, text="x", newline=False) == {"path": path, "size": 13}
    assert await react(files, "file.delete", path=path) == {"deleted": True}
    assert await react(files, "file.delete", path=path) == {"deleted": False}
    with pytest.raises(Permanent, match="No such file"):
        await react(files, "file.read", path=path)


async def test_bytes_travel_as_base64(files: Services, home: Path) -> None:
    data = bytes(range(256))
    await react(files, "file.write", path=f"{home}/b", text=base64.b64encode(data).decode(), encoding="base64")
    assert (home / "b").read_bytes() == data
    assert base64.b64decode((await react(files, "file.read", path=f"{home}/b", encoding="base64"))["base64"]) == data
    with pytest.raises(Permanent, match="no base64"):
        await react(files, "file.write", path=f"{home}/b", text="\xe4", encoding="base64")


async def test_a_file_that_is_written_keeps_its_rights_and_leaves_nothing_behind(files: Services, home: Path) -> None:
    (home / "a").write_text("old")
    (home / "a").chmod(0o640)
    await react(files, "file.write", path=f"{home}/a", text="new")
    assert ((home / "a").read_text(), (home / "a").stat().st_mode & 0o777) == ("new", 0o640)
    assert os.listdir(home) == ["a"]


async def test_files_are_copied_and_moved(files: Services, home: Path) -> None:
    (home / "a").write_text("1")
    assert await react(files, "file.copy", path=f"{home}/a", to=f"{home}/x/") == {"path": f"{home}/x/a", "size": 1}
    assert await react(files, "file.move", path=f"{home}/a", to=f"{home}/y/b") == {"path": f"{home}/y/b", "size": 1}
    assert (os.path.exists(home / "a"), (home / "x" / "a").read_text(), (home / "y" / "b").read_text()) == (
        False,
        "1",
        "1",
    )
    for name in ("copy", "move"):
        with pytest.raises(Permanent, match="File exists"):
            await react(files, f"file.{name}", path=f"{home}/x/a", to=f"{home}/y/b")
        (home / "x" / "a").write_text(name)
        await react(files, f"file.{name}", path=f"{home}/x/a", to=f"{home}/y/b", overwrite=True)
        assert (home / "y" / "b").read_text() == name
    assert sorted(os.listdir(home / "y")) == ["b"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second file system")
async def test_a_file_moves_to_another_file_system(files: Services, home: Path) -> None:
    other = Path("/dev/shm") / f"areabox-test-{os.getpid()}"
    other.mkdir()
    try:
        files._house.folders = Folders([home, other])
        (home / "a").write_text("1")
        await react(files, "file.move", path=f"{home}/a", to=f"{other}/a")
        assert ((other / "a").read_text(), os.listdir(home)) == ("1", [])
    finally:
        for name in os.listdir(other):
            (other / name).unlink()
        other.rmdir()


async def test_a_folder_is_listed(files: Services, home: Path) -> None:
    for number, name in enumerate(("b.txt", "a.txt", "c.pdf")):
        (home / name).write_text(name)
        os.utime(home / name, (number, number))
    found = await react(files, "file.list", folder=str(home), pattern="*.txt")
    assert [(one["name"], one["modified"]) for one in found["files"]] == [
        ("b.txt", "1970-01-01T00:00:00.000Z"),
        ("a.txt", "1970-01-01T00:00:01.000Z"),
    ]


# -- what is not allowed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["read", "write", "append", "delete", "copy", "move"])
async def test_nothing_outside_is_touched(files: Services, home: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (home / "in").write_text("i")
    (home / "link").symlink_to(outside / "secret")
    (home / "folder").symlink_to(outside)
    (home / "areabox").mkdir()
    (home / "areabox" / "areabox.key").write_text("k")
    more = {
        "write": {"text": "x"},
        "append": {"text": "x"},
        "copy": {"to": f"{home}/to"},
        "move": {"to": f"{home}/to"},
    }.get(name, {})
    for path in (
        f"{outside}/secret", f"{home}/../outside/secret", f"{home}/link", f"{home}/folder/secret", "/etc/hostname",
        f"{home}/areabox/areabox.key", f"{home}2/a",
    ):  # fmt: skip
        with pytest.raises(Permanent, match=r"lies in none of the folders|belongs to areabox itself"):
            await react(files, f"file.{name}", path=path, **more)
        if name in ("copy", "move"):
            with pytest.raises(Permanent, match=r"lies in none of the folders|belongs to areabox itself"):
                await react(files, f"file.{name}", path=f"{home}/in", to=path, overwrite=True)
    assert ((outside / "secret").read_text(), os.listdir(outside)) == ("s", ["secret"])
    with pytest.raises(InputError):
        await react(files, f"file.{name}", path="in", **more)


async def test_a_folder_itself_is_no_file(files: Services, home: Path) -> None:
    (home / "inner").mkdir()
    for path in (str(home), f"{home}/inner"):
        with pytest.raises(Permanent):
            await react(files, "file.delete", path=path)
        with pytest.raises(Permanent):
            await react(files, "file.read", path=path)


async def test_a_pipe_is_no_file_and_does_not_hang(files: Services, home: Path) -> None:
    os.mkfifo(home / "pipe")
    with pytest.raises(Permanent):
        await react(files, "file.read", path=f"{home}/pipe")
    with pytest.raises(Permanent):
        await react(files, "file.append", path=f"{home}/pipe", text="x")


def test_a_link_that_is_put_in_the_way_meanwhile_leads_nowhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "inner").mkdir()
    folders, judged = Folders([home]), Folders._judged

    def swap(self: Folders, path: str) -> Any:
        found = judged(self, path)
        (home / "inner").rmdir()
        (home / "inner").symlink_to(tmp_path)
        return found

    monkeypatch.setattr(Folders, "_judged", swap)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"), folders.opened(f"{home}/inner/a", make=True):
        pass


async def test_without_the_setting_no_file_is_touched(services: Services, home: Path) -> None:
    with pytest.raises(Permanent, match="the setting files_allow names"):
        await react(services, "file.write", path=f"{home}/a", text="x")
    with pytest.raises(Permanent, match="the setting files_allow names"):
        async with listen(services, "file.created", None, None, folder=str(home)) as events:
            await following(events)
