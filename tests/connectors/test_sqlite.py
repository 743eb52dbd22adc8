"""`sqlite`, over real files that others write meanwhile."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from areabox.connectors import _sql
from areabox.connectors import sqlite as connector
from areabox.errors import Permanent, Transient
from areabox.services.calls import Services
from areabox.services.folders import Folders
from tests.connectors.calls import poll, react

TABLE = "create table reading (id integer primary key, name text unique, watts real, at text)"


@pytest.fixture
def services(alone: Services, tmp_path: Path) -> Services:
    (tmp_path / "home").mkdir()
    (tmp_path / "own").mkdir()
    alone._house.folders = Folders([tmp_path / "home"], kept_out=[tmp_path / "own"])
    return alone


class Db:
    """A database file, as the program sees it that it belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.run(TABLE)

    def run(self, sql: str, *args: Any) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            return db.execute(sql, args).fetchall()

    def add(self, *names: str) -> None:
        for name in names:
            self.run("insert into reading (name, watts) values (?, 7.5)", name)


@pytest.fixture
def db(services: Services, tmp_path: Path) -> Db:
    return Db(tmp_path / "home" / "a.db")


async def test_rows_are_read_by_names_and_values_are_bound(services: Services, db: Db) -> None:
    db.add("lamp", "o'neill'; drop table reading --")
    found = await react(services, "sqlite.query", file=db.path, query="select name, watts from reading order by id", limit=1)
    assert found == {"rows": [{"name": "lamp", "watts": 7.5}], "row": {"name": "lamp", "watts": 7.5}, "value": "lamp", "count": 1, "more": True}
    found = await react(
        services, "sqlite.query", file=db.path, query="select id from reading where name = :name",
        values={"name": "o'neill'; drop table reading --"},
    )  # fmt: skip
    assert found["value"] == 2


async def test_rows_are_inserted_and_changed(services: Services, db: Db) -> None:
    row = {"name": "lamp", "watts": 7}
    assert await react(services, "sqlite.insert", file=db.path, table="reading", values=row) == {"count": 1, "rows": []}
    with pytest.raises(Permanent, match="UNIQUE constraint failed"):
        await react(services, "sqlite.insert", file=db.path, table="reading", values=row)
    await react(services, "sqlite.upsert", file=db.path, table="reading", values=row | {"watts": 9, "at": ["a"]}, unique=["name"])
    assert db.run("select name, watts, at from reading") == [("lamp", 9.0, '["a"]')]
    done = await react(
        services, "sqlite.execute", file=db.path, statement="update reading set watts = :w returning name, watts", values={"w": 1},
    )  # fmt: skip
    assert done == {"count": 1, "rows": [{"name": "lamp", "watts": 1.0}]}
    assert (await react(services, "sqlite.execute", file=db.path, statement="create table other (a)"))["count"] == 0


async def test_new_rows_fire_once_and_those_that_were_there_do_not(services: Services, db: Db) -> None:
    db.add("old")
    cursor: dict[str, Any] = {}
    asked = {"file": db.path, "table": "reading"}
    assert await poll(services, "sqlite.new_row", cursor, **asked) == []
    db.add("lamp", "door")
    events = await poll(services, "sqlite.new_row", cursor, **asked)
    assert [(event["id"], event["key"], event["row"]["name"]) for event in events] == [("2", 2, "lamp"), ("3", 3, "door")]
    assert await poll(services, "sqlite.new_row", cursor, **asked) == []


async def test_a_table_that_is_empty_at_first_fires_with_its_first_row(services: Services, db: Db) -> None:
    cursor: dict[str, Any] = {}
    assert await poll(services, "sqlite.new_row", cursor, file=db.path, table="reading") == []
    db.add("lamp")
    assert len(await poll(services, "sqlite.new_row", cursor, file=db.path, table="reading")) == 1


async def test_rows_of_a_query_with_a_time_as_their_key_are_told_apart(services: Services, db: Db) -> None:
    cursor: dict[str, Any] = {}
    asked = {"file": db.path, "query": "select name, at from reading where watts > 5; ", "key": "at"}
    await poll(services, "sqlite.new_row", cursor, **asked)
    for name in ("lamp", "door"):
        db.run("insert into reading (name, watts, at) values (?, 9, '2026-01-01 12:00:00')", name)
    db.run("insert into reading (name, watts, at) values ('off', 0, '2026-01-01 12:00:00')")
    events = await poll(services, "sqlite.new_row", cursor, **asked)
    assert [event["row"]["name"] for event in events] == ["lamp", "door"]
    assert len({event["id"] for event in events}) == 2
    assert {event["id"] for event in await poll(services, "sqlite.new_row", cursor, **asked)} == {event["id"] for event in events}


async def test_many_rows_are_read_in_turns(services: Services, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sql, "BATCH", 3)
    monkeypatch.setattr(_sql, "BATCHES", 2)
    cursor: dict[str, Any] = {}
    await poll(services, "sqlite.new_row", cursor, file=db.path, table="reading")
    db.add(*"abcdefgh")
    assert len(await poll(services, "sqlite.new_row", cursor, file=db.path, table="reading")) == 6
    assert len(await poll(services, "sqlite.new_row", cursor, file=db.path, table="reading")) == 2
    db.run("update reading set at = '2026-01-01 12:00:00'")
    with pytest.raises(Permanent, match="3 rows have the same at; choose a column that grows with each row"):
        await poll(services, "sqlite.new_row", {"last": None}, file=db.path, table="reading", key="at")


async def test_a_value_fires_when_it_is_another_one(services: Services, db: Db) -> None:
    cursor: dict[str, Any] = {}
    asked = {"file": db.path, "query": "select count(*) from reading"}
    assert await poll(services, "sqlite.value_changed", cursor, **asked) == []
    db.add("lamp")
    (event,) = await poll(services, "sqlite.value_changed", cursor, **asked)
    assert (event["value"], event["old"]) == (1, 0)
    assert await poll(services, "sqlite.value_changed", cursor, **asked) == []
    db.run("delete from reading")
    (again,) = await poll(services, "sqlite.value_changed", cursor, **asked)
    db.add("lamp")
    assert len({event["id"], again["id"], *[e["id"] for e in await poll(services, "sqlite.value_changed", cursor, **asked)]}) == 3


@pytest.mark.parametrize("sql", ["delete from reading", "create table x (a)", "pragma user_version = 7", "pragma query_only = off"])
async def test_a_query_changes_nothing(services: Services, db: Db, sql: str) -> None:
    db.add("lamp")
    with pytest.raises(Permanent):
        await react(services, "sqlite.query", file=db.path, query=sql)
    assert db.run("select count(*) from reading") == [(1,)]


@pytest.mark.parametrize("sql", ["attach '{other}' as x", "vacuum into '{other}'", "pragma journal_mode = wal", "pragma temp_store_directory = '/tmp'",
                                 "select load_extension('{other}')", "select 1; select 2"])  # fmt: skip
async def test_no_statement_leads_out_of_the_file(services: Services, db: Db, tmp_path: Path, sql: str) -> None:
    other = tmp_path / "other.db"
    with pytest.raises(Permanent):
        await react(services, "sqlite.execute", file=db.path, statement=sql.format(other=other))
    assert not other.exists()


@pytest.mark.parametrize("name", ["own/areabox.db", "elsewhere.db", "home/link.db", "home/none.db", "home/text.db"])
async def test_only_files_of_the_allowed_folders_are_opened_and_none_is_made(services: Services, db: Db, tmp_path: Path, name: str) -> None:
    Db(tmp_path / "own" / "areabox.db")
    Db(tmp_path / "elsewhere.db")
    (tmp_path / "home" / "link.db").symlink_to(tmp_path / "elsewhere.db")
    (tmp_path / "home" / "text.db").write_text("no database, however long one reads it, and long enough for a header of it" * 9)
    for action in ("query", "execute"):
        field = "query" if action == "query" else "statement"
        with pytest.raises(Permanent):
            await react(services, f"sqlite.{action}", file=str(tmp_path / name), **{field: "select 1 from sqlite_master"})
    assert not (tmp_path / "home" / "none.db").exists()


async def test_without_the_setting_there_are_no_files_at_all(alone: Services, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="files_allow"):
        await react(alone, "sqlite.query", file=str(tmp_path / "a.db"), query="select 1")


async def test_a_database_that_is_held_is_tried_again_later(services: Services, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "BUSY_MS", 20)
    with contextlib.closing(sqlite3.connect(db.path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(Transient, match="database is locked"):
            await react(services, "sqlite.execute", file=db.path, statement="delete from reading")


async def test_a_statement_without_an_end_is_ended(services: Services, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sql, "TIMEOUT_S", 0.1)
    endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n"
    with pytest.raises(Permanent, match="the statement took longer than"):
        await react(services, "sqlite.query", file=db.path, query=endless)


async def test_a_change_that_fails_changes_nothing(services: Services, db: Db) -> None:
    db.add("lamp", "door")
    with pytest.raises(Permanent, match="UNIQUE"):
        await react(services, "sqlite.execute", file=db.path, statement="update reading set name = 'same'")
    assert db.run("select name from reading order by 1") == [("door",), ("lamp",)]
