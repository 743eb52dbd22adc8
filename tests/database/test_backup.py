"""A backup is whole or not there; what is restored was looked at, and sleeps."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from areabox.database import Unit, migrate
from areabox.database.backup import backup, restore
from areabox.database.sqlite import SqliteBackend
from areabox.errors import ConfigurationError, ConflictError, InputError
from tests.support import FakeClock

AREA = "insert into area (id, owner, slug, name, head, enabled, created, updated) values (?, 'o', ?, 'n', 1, 1, 0, 0)"


def query(path: Path, sql: str):
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(sql)


@pytest.fixture
async def copy(sqlite: SqliteBackend, tmp_path: Path) -> Path:
    await sqlite.commit(Unit().do(AREA, "a1", "one").do(AREA, "a2", "two"))
    target = tmp_path / "copy.db"
    backup(sqlite.path, target)
    return target


async def test_a_backup_is_one_private_file_that_tells_what_it_holds(sqlite: SqliteBackend, tmp_path: Path):
    await sqlite.commit(Unit().do(AREA, "a1", "one"))
    summary = backup(sqlite.path, tmp_path / "copy.db")
    assert (summary.areas, summary.runs, summary.schema) == (1, 0, migrate.known()[-1].number)
    assert summary.bytes == (tmp_path / "copy.db").stat().st_size
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "data"]
    assert query(tmp_path / "copy.db", "pragma journal_mode") == [("delete",)]
    assert query(tmp_path / "copy.db", "pragma auto_vacuum") == [(2,)]


async def test_every_row_that_was_acknowledged_before_a_backup_under_load_is_in_it(
    sqlite: SqliteBackend, tmp_path: Path
):
    written: list[int] = []
    stop = asyncio.Event()

    async def writer(start: int):
        number = start
        while not stop.is_set():
            assert await sqlite.commit(
                Unit().do("insert into meta (key, value) values (?, ?)", str(number), "x" * 2000)
            )
            written.append(number)
            number += 8

    tasks = [asyncio.create_task(writer(start)) for start in range(8)]
    try:
        for round in range(5):
            while len(written) < 200 * (round + 1):
                await asyncio.sleep(0)
            before = {str(number) for number in written}
            target = tmp_path / f"copy{round}.db"
            await asyncio.to_thread(backup, sqlite.path, target)
            inside = {row[0] for row in query(target, "select key from meta")}
            assert before <= inside
            assert restore(target, target, check_only=True).schema
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_a_backup_refuses_what_is_there_unless_told_otherwise(copy: Path, sqlite: SqliteBackend):
    with pytest.raises(ConflictError, match="exists already"):
        backup(sqlite.path, copy)
    assert backup(sqlite.path, copy, overwrite=True).areas == 2
    with pytest.raises(InputError, match="the database itself"):
        backup(sqlite.path, sqlite.path, overwrite=True)
    with pytest.raises(InputError, match="is a folder"):
        backup(sqlite.path, copy.parent, overwrite=True)
    with pytest.raises(InputError, match="cannot write into"):
        backup(sqlite.path, copy.parent / "nowhere" / "copy.db")


def test_a_backup_of_nothing_or_of_something_else_is_refused_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="there is no database"):
        backup(tmp_path / "areabox.db", tmp_path / "copy.db")
    (tmp_path / "letter.db").write_text("Dear Sir or Madam, " * 1000)
    with pytest.raises(ConfigurationError, match="not a database"):
        backup(tmp_path / "letter.db", tmp_path / "copy.db")
    change(tmp_path / "other.db", "create table t (x)")
    with pytest.raises(ConfigurationError, match="not a backup of areabox"):
        backup(tmp_path / "other.db", tmp_path / "copy.db")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["letter.db", "other.db"]


async def test_what_is_restored_holds_everything_and_is_paused(copy: Path, tmp_path: Path, clock: FakeClock):
    target = tmp_path / "new" / "areabox.db"
    summary = restore(copy, target)
    assert (summary.areas, summary.path) == (2, str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    other = SqliteBackend(target, clock, reserve_bytes=0)
    await other.open()
    try:
        assert [row[0] for row in await other.read("select slug from area order by slug")] == ["one", "two"]
        assert (await other.read("select value from meta where key = 'paused'"))[0][0] == "1"
        assert await other.commit(Unit().do(AREA, "a3", "three"))
    finally:
        await other.close()
    assert query(copy, "select count(*) from meta where key = 'paused'") == [(0,)], "the backup itself is untouched"


async def test_a_database_that_is_there_is_refused_or_moved_aside_whole(copy: Path, tmp_path: Path, clock: FakeClock):
    target = tmp_path / "new" / "areabox.db"
    restore(copy, target)
    change(target, "pragma journal_mode = wal; insert into meta (key, value) values ('old', '1')")
    with pytest.raises(ConflictError, match="there is a database"):
        restore(copy, target)
    restore(copy, target, overwrite=True)
    assert query(target, "select count(*) from meta where key = 'old'") == [(0,)]
    assert query(Path(f"{target}.replaced-1"), "select count(*) from meta where key = 'old'") == [(1,)]
    restore(copy, target, overwrite=True)
    assert Path(f"{target}.replaced-2").exists()


async def test_a_damaged_database_is_moved_aside_with_its_log(copy: Path, tmp_path: Path):
    target = tmp_path / "new" / "areabox.db"
    restore(copy, target)
    target.write_bytes(b"no database any more" * 100)
    Path(f"{target}-wal").write_bytes(b"a log that must not be taken for that of the new file")
    restore(copy, target, overwrite=True)
    assert not Path(f"{target}-wal").exists()
    assert Path(f"{target}.replaced-1").read_bytes().startswith(b"no database")
    assert Path(f"{target}.replaced-1-wal").exists()
    assert query(target, "select count(*) from area") == [(2,)]


async def test_nothing_is_restored_under_a_running_daemon(copy: Path, sqlite: SqliteBackend):
    with pytest.raises(ConfigurationError, match="another areabox"):
        restore(copy, sqlite.path, overwrite=True)


async def test_a_database_in_use_is_no_backup(sqlite: SqliteBackend, tmp_path: Path):
    await sqlite.commit(Unit().do(AREA, "a1", "one"))
    with pytest.raises(InputError, match="a database in use"):
        restore(sqlite.path, tmp_path / "new.db")


@pytest.mark.parametrize("size", [0, 10, 100, 4096, 5000, 40_000, -4096, -1])
async def test_a_truncated_file_is_refused_and_nothing_changes(copy: Path, tmp_path: Path, size: int):
    broken = tmp_path / "broken.db"
    broken.write_bytes(copy.read_bytes()[:size])
    target = tmp_path / "new" / "areabox.db"
    for check_only in (True, False):
        with pytest.raises(InputError, match=r"damaged|not a backup"):
            restore(broken, target, check_only=check_only)
    assert not target.exists()
    assert not list(tmp_path.rglob("*.partial*"))


async def test_a_file_with_random_damage_is_refused_or_sound(copy: Path, tmp_path: Path):
    whole = copy.read_bytes()
    broken = tmp_path / "broken.db"
    for page in range(0, len(whole), 4096 * 3):
        broken.write_bytes(whole[: page + 1] + b"\xff" * 200 + whole[page + 201 :])
        with pytest.raises(InputError):
            restore(broken, tmp_path / "x.db", check_only=True)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("create trigger t after insert on run begin delete from account; end", "trigger t"),
        ("create view v as select * from token", "view v"),
        ("create virtual table f using fts5(x)", "f"),
        ("alter table account add column evil text", "account"),
        ("drop index job_due", "job_due"),
        ("drop table job", "job"),
        ("drop table migration", "migration"),
        ("insert into migration values (9999, 'later', '', 0)", "newer"),
    ],
)
async def test_a_hostile_foreign_or_newer_file_is_refused(copy: Path, tmp_path: Path, sql: str, says: str):
    change(copy, sql)
    with pytest.raises(InputError, match=says):
        restore(copy, tmp_path / "new" / "areabox.db")
    assert not (tmp_path / "new" / "areabox.db").exists()


async def test_an_index_or_a_table_of_the_owner_is_no_harm(copy: Path, tmp_path: Path):
    change(copy, "create index mine on run (started); create table notes (x); analyze")
    assert restore(copy, tmp_path / "new.db").areas == 2


def test_a_file_that_is_missing_or_no_database_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="cannot read"):
        restore(tmp_path / "none.db", tmp_path / "new.db")
    (tmp_path / "letter.db").write_text("Dear Sir or Madam")
    with pytest.raises(InputError, match="no SQLite file"):
        restore(tmp_path / "letter.db", tmp_path / "new.db")
