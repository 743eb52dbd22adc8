"""One process has the file, a full disk loses nothing that was acknowledged, and what was deleted is given back."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from areabox.database import Unit
from areabox.database.disk import check_filesystem, filesystem
from areabox.database.space import LOOK_EVERY_S, Space, quick_check
from areabox.database.sqlite import SqliteBackend
from areabox.errors import ConfigurationError, StorageFullError
from tests.support import FakeClock

PUT = "insert into meta (key, value) values (?, ?)"
RESERVE = 5 * 1024 * 1024


def put(key: str, size: int = 2000) -> Unit:
    return Unit().do(PUT, key, "x" * size)


async def keys(backend: SqliteBackend) -> set[str]:
    return {row[0] for row in await backend.read("select key from meta")}


# --- one process ------------------------------------------------------------------------------------------------------


async def test_a_second_process_is_refused_and_told_who_has_the_file(sqlite: SqliteBackend, clock: FakeClock):
    with pytest.raises(ConfigurationError, match=rf"another areabox \(pid {os.getpid()}\)"):
        await SqliteBackend(sqlite.path, clock).open()
    assert await sqlite.commit(put("a"))


async def test_the_lock_goes_with_the_process_however_it_ends(path: Path, clock: FakeClock):
    path.parent.mkdir()
    hold = f"import os\nfrom pathlib import Path\nfrom areabox.database.space import Space\nSpace(Path({str(path)!r}), 0).lock()\nos.kill(os.getpid(), 9)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", hold], check=False, cwd=root, timeout=30).returncode == -9
    backend = SqliteBackend(path, clock, reserve_bytes=0)
    await backend.open()
    await backend.close()
    await backend.open()
    await backend.close()


async def test_a_failed_opening_lets_go_of_the_lock(path: Path, clock: FakeClock):
    path.parent.mkdir()
    path.write_text("no database" * 1000)
    with pytest.raises(ConfigurationError):
        await SqliteBackend(path, clock).open()
    path.unlink()
    backend = SqliteBackend(path, clock, reserve_bytes=0)
    await backend.open()
    await backend.close()


async def test_nobody_else_can_read_what_is_stored(sqlite: SqliteBackend):
    await sqlite.commit(put("a"))
    for file in sqlite.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert stat.S_IMODE(sqlite.path.parent.stat().st_mode) == 0o700


def test_a_data_directory_that_cannot_be_made_is_a_matter_of_configuration(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot use"):
        Space(tmp_path / "file" / "areabox.db", 0).lock()


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "safe"),
    [
        ("ext4", True), ("btrfs", True), ("zfs", True), ("overlay", True), ("tmpfs", True), ("fuse.fuse-overlayfs", True),
        ("nfs4", False), ("cifs", False), ("smb3", False), ("fuse.sshfs", False), ("fuse.rclone", False),
    ],
)  # fmt: skip
def test_a_remote_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, safe: bool):
    mounts = tmp_path / "mounts"
    (tmp_path / "my disk" / "data").mkdir(parents=True)
    escaped = str(tmp_path / "my disk").replace(" ", "\\040")
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\n/dev/b {tmp_path}/my ext2 rw 0 0\n")
    assert filesystem(tmp_path / "my disk" / "data", mounts) == kind
    assert filesystem(tmp_path, mounts) == "ext4"
    monkeypatch.setattr("areabox.database.disk.filesystem", lambda folder: kind)
    if safe:
        check_filesystem(tmp_path)
    else:
        with pytest.raises(ConfigurationError, match=f"lies on {kind}"):
            check_filesystem(tmp_path)


def test_a_machine_without_a_list_of_mounts_is_taken_at_its_word(tmp_path: Path):
    assert filesystem(tmp_path, tmp_path / "none") == ""


async def test_a_damaged_file_is_found_when_it_is_opened(path: Path, clock: FakeClock):
    backend = SqliteBackend(path, clock, reserve_bytes=0)
    await backend.open()
    for n in range(200):
        await backend.commit(put(str(n)))
    await backend.close()
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 4096 // 2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xee" * 64
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged"):
        await SqliteBackend(path, clock, reserve_bytes=0).open()


def test_the_check_ends_when_its_time_is_over(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("create table t (x)")
        connection.executemany("insert into t values (?)", ((n,) for n in range(200_000)))
        quick_check(connection, tmp_path / "a.db", budget_s=-1.0)
        assert connection.execute("select count(*) from t").fetchone()[0] == 200_000


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB, where the tests may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
async def small(small_disk: Path, clock: FakeClock) -> AsyncIterator[SqliteBackend]:
    backend = SqliteBackend(small_disk / "areabox.db", clock, reserve_bytes=RESERVE)
    await backend.open()
    yield backend
    await backend.close()


async def fill(backend: SqliteBackend, size: int = 9000) -> set[str]:
    """Write until the disk is full, eight at a time; return what was acknowledged."""
    acknowledged: set[str] = set()

    async def writer(n: int) -> None:
        for i in range(5000):
            try:
                assert await backend.commit(put(f"{n}-{i}", size))
            except StorageFullError:
                return
            acknowledged.add(f"{n}-{i}")

    await asyncio.gather(*(writer(n) for n in range(8)))
    return acknowledged


async def test_a_full_disk_is_told_and_holds_what_was_acknowledged_and_nothing_else(
    small: SqliteBackend, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    reserve = small.path.with_name("areabox.db.reserve")
    ballast = small.path.with_name("ballast")
    assert reserve.stat().st_size == RESERVE
    ballast.write_bytes(b"x" * 8_000_000)
    acknowledged = await fill(small)
    assert len(acknowledged) > 100
    assert await keys(small) == acknowledged
    assert small.space.full
    assert not reserve.exists(), "given up, so that pruning can write"
    with pytest.raises(StorageFullError, match="free some space"):
        await small.commit(put("more", 1))
    with pytest.raises(StorageFullError):
        await small.write(f"{PUT} returning key", "more", "x")
    assert "more" not in await keys(small)

    clock.advance(int(LOOK_EVERY_S * 1000) + 1)
    with pytest.raises(StorageFullError):
        await small.commit(put("more", 1))
    ballast.unlink()
    with pytest.raises(StorageFullError):
        await small.commit(put("at once", 1)) if not small.space.recover() else None
    clock.advance(int(LOOK_EVERY_S * 1000) + 1)
    assert await small.commit(put("healed", 1)), "by itself"
    assert not small.space.full
    assert reserve.stat().st_size == RESERVE, "laid anew"
    assert await keys(small) == acknowledged | {"healed"}
    told = [record for record in caplog.records if record.name == "areabox.database.space"]
    assert [record.levelno for record in told] == [logging.ERROR, logging.WARNING], "once each"


async def test_pruning_makes_room_on_a_full_disk(small: SqliteBackend, clock: FakeClock):
    acknowledged = sorted(await fill(small))
    gone = set(acknowledged[: len(acknowledged) * 9 // 10])
    for start in range(0, len(gone), 50):
        unit = Unit()
        for key in sorted(gone)[start : start + 50]:
            unit.do("delete from meta where key = ?", key)
        assert await small.commit(unit), "only what deletes is let through"
    assert await small.shrink() > 0
    clock.advance(int(LOOK_EVERY_S * 1000) + 1)
    assert await small.commit(put("healed"))
    assert await keys(small) == set(acknowledged) - gone | {"healed"}
    assert small.path.with_name("areabox.db.reserve").exists()


async def test_after_a_full_disk_the_file_is_sound_and_opens_again(small: SqliteBackend, clock: FakeClock):
    acknowledged = await fill(small)
    await small.close()
    with closing(sqlite3.connect(small.path)) as connection:
        assert connection.execute("pragma integrity_check").fetchone()[0] == "ok"
    await small.open()
    assert await keys(small) == acknowledged


async def test_a_file_that_may_not_grow_is_like_a_full_disk(sqlite: SqliteBackend, clock: FakeClock):
    """As with a quota; this needs no root."""
    full: list[bool] = []
    sqlite._on_full = lambda: full.append(True)
    pages = await sqlite.read("select page_count from pragma_page_count")
    sqlite._connection.execute(f"pragma max_page_count = {pages[0][0] + 100}")
    acknowledged = await fill(sqlite)
    assert full
    assert await keys(sqlite) == acknowledged
    sqlite._connection.execute("pragma max_page_count = 1000000")
    clock.advance(int(LOOK_EVERY_S * 1000) + 1)
    assert await sqlite.commit(put("healed"))
    assert await keys(sqlite) == acknowledged | {"healed"}


async def test_those_who_wait_together_are_all_told(sqlite: SqliteBackend):
    pages = await sqlite.read("select page_count from pragma_page_count")
    sqlite._connection.execute(f"pragma max_page_count = {pages[0][0] + 3}")
    results = await asyncio.gather(*(sqlite.commit(put(str(n), 8000)) for n in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {StorageFullError}
    assert len({id(result) for result in results}) == 20
    assert await keys(sqlite) == set()


# --- giving back ------------------------------------------------------------------------------------------------------


async def test_shrinking_really_shrinks_the_file_while_others_write(sqlite: SqliteBackend):
    await asyncio.gather(*(sqlite.commit(put(str(n), 20_000)) for n in range(500)))
    assert sqlite.space.bytes() > 9_000_000
    used = await sqlite.used_bytes()
    assert used > 9_000_000
    await sqlite.commit(Unit().do("delete from meta"))
    assert await sqlite.used_bytes() < 1_000_000
    stop = asyncio.Event()

    async def others() -> int:
        written = 0
        while not stop.is_set():
            assert await sqlite.commit(put(f"other{written}", 10))
            written += 1
        return written

    writing = asyncio.create_task(others())
    lost = await sqlite.shrink()
    stop.set()
    assert await writing > 0
    assert lost > 8_000_000
    assert sqlite.path.stat().st_size < 1_500_000


async def test_shrinking_what_has_no_room_to_give_is_no_harm(sqlite: SqliteBackend):
    await sqlite.commit(put("a"))
    await sqlite.shrink()
    assert await sqlite.shrink() == 0
    assert await keys(sqlite) == {"a"}
