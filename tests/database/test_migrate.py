"""A migration is whole or not there, whatever happens during it."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from areabox.database import migrate
from areabox.database.files import connect
from areabox.database.migrate import Migration
from areabox.database.sqlite import SqliteBackend
from areabox.errors import ConfigurationError
from tests.support import FakeClock

FIRST = Migration(1, "initial", "-- the first\ncreate table meta (key text primary key, value text not null);\n")
PARENT = Migration(
    2,
    "family",
    """
create table parent (id text primary key);
create table child (id text primary key, parent text not null references parent (id) on delete cascade);
insert into parent values ('p');
insert into child values ('c', 'p');
""",
)
REBUILD = Migration(
    3,
    "rebuild",
    """
create table parent_new (id text primary key, name text not null default '');
insert into parent_new (id) select id from parent;
drop table parent;
alter table parent_new rename to parent; -- what refers to it stays
create index parent_name on parent (name);
""",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "areabox.db"


def run(path: Path, *steps: Migration) -> int:
    with closing(connect(path)) as connection:
        return migrate.migrate(connection, path, 7, list(steps))


def query(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_shipped_schema_is_applied_once_and_recorded(path: Path):
    steps = migrate.known()
    assert run(path, *steps) == len(steps)
    assert run(path, *steps) == 0
    status = migrate.status(path)
    assert (status.number, status.pending, status.changed) == (steps[-1].number, [], [])
    assert status.applied[0] == "0001 initial"
    assert query(path, "select hash, at from migration where number = 1") == [(steps[0].hash, 7)]
    assert not list(path.parent.glob("*.before-*")), "a new file needs no copy"


def test_the_status_tells_what_is_pending_and_what_has_another_text(path: Path):
    run(path, FIRST)
    status = migrate.status(path, [FIRST._replace(sql="create table other (x);"), PARENT])
    assert (status.number, status.applied) == (1, ["0001 initial"])
    assert (status.pending, status.changed) == (["0002 family"], ["0001 initial"])
    with pytest.raises(ConfigurationError, match="there is no database"):
        migrate.status(path.with_name("none.db"))


def test_the_file_is_copied_aside_before_it_is_changed(path: Path):
    run(path, FIRST)
    with closing(connect(path)) as connection:
        connection.execute("insert into meta values ('a', '1')")
    run(path, FIRST, PARENT)
    copy = path.with_name("areabox.db.before-0002")
    assert query(copy, "select number from migration") == [(1,)]
    assert query(copy, "select key, value from meta") == [("a", "1")]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert query(copy, "pragma journal_mode") == [("delete",)]


def test_only_the_newest_copies_are_kept(path: Path):
    steps = [FIRST, *(Migration(n, "s", f"create table t{n} (x);") for n in range(2, 8))]
    for n in range(1, 8):
        run(path, *steps[:n])
    copies = sorted(copy.name[-4:] for copy in path.parent.glob("*.before-*"))
    assert copies == ["0005", "0006", "0007"]


def test_a_table_can_be_made_anew_without_taking_what_refers_to_it_along(path: Path):
    run(path, FIRST, PARENT, REBUILD)
    assert query(path, "select id, parent from child") == [("c", "p")]
    with closing(connect(path)) as connection:
        assert connection.execute("pragma foreign_keys").fetchone()[0] == 1
        connection.execute("delete from parent")
    assert query(path, "select * from child") == []


def test_a_migration_that_fails_leaves_the_old_schema(path: Path):
    run(path, FIRST, PARENT)
    wrong = REBUILD._replace(sql=REBUILD.sql + "insert into nothing_here values (1);")
    with pytest.raises(sqlite3.OperationalError):
        run(path, FIRST, PARENT, wrong)
    orphans = REBUILD._replace(sql="delete from parent;")
    with pytest.raises(ConfigurationError, match="rows of child without what they refer to"):
        run(path, FIRST, PARENT, orphans)
    assert migrate.status(path, [FIRST, PARENT, REBUILD]).number == 2
    assert query(path, "select * from parent") == [("p",)]
    assert run(path, FIRST, PARENT, REBUILD) == 1


KILLER = """
import os, sys
from contextlib import closing
from pathlib import Path
from areabox.database import migrate
from areabox.database.files import connect
from tests.database.test_migrate import FIRST, PARENT, REBUILD, run

path, n = Path(sys.argv[1]), 0
run(path, FIRST, PARENT)
while True:
    n += 1
    child = os.fork()
    if not child:
        left = n
        def killer(statement):
            global left
            left -= 1
            if not left:
                os._exit(9)
        with closing(connect(path)) as connection:
            connection.set_trace_callback(killer)
            migrate.migrate(connection, path, 7, [FIRST, PARENT, REBUILD])
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with closing(connect(path)) as connection:
        has = max(migrate.applied(connection, path))
        tables = {row[0] for row in connection.execute("select name from sqlite_master where name like 'parent%'")}
        rows = [tuple(row) for row in connection.execute("select * from parent")]
        sound = connection.execute("pragma integrity_check").fetchone()[0]
    print(n, ended, has, sorted(tables), rows, sound, flush=True)
    if not ended:
        break
"""


def test_a_kill_at_any_statement_leaves_the_old_or_the_new_schema(path: Path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(path)], check=False, cwd=root, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) > len(migrate.statements(REBUILD.sql)) + 5, "it was killed everywhere"
    found = [line.split(" ", 2)[1:] for line in lines]
    new = ["3 ['parent', 'parent_name'] [('p', '')] ok"]
    assert {ended for ended, _ in found[:-1]} == {"9"}
    committed = found.index(["9", *new])
    assert [rest for _, rest in found[:committed]] == ["2 ['parent'] [('p',)] ok"] * committed
    assert [rest for _, rest in found[committed:]] == new * (len(found) - committed)
    assert len(found) - committed <= 3, "only what comes after the commit"
    assert query(path.with_name("areabox.db.before-0003"), "select max(number) from migration") == [(2,)]


async def test_a_file_of_a_newer_areabox_is_refused_and_the_copy_is_named(path: Path, clock: FakeClock):
    newest = migrate.known()[-1].number
    later = Migration(newest + 1, "later", "create table later (x);")
    run(path, *migrate.known())
    run(path, *migrate.known(), later)
    with pytest.raises(ConfigurationError, match=rf"newer areabox.*restore .*areabox\.db\.before-{newest + 1:04}"):
        await SqliteBackend(path, clock).open()
    path.with_name(f"areabox.db.before-{newest + 1:04}").unlink()
    with pytest.raises(ConfigurationError, match=r"newer areabox.*restore a backup"):
        await SqliteBackend(path, clock).open()


async def test_a_file_of_another_program_is_refused_and_not_touched(path: Path, clock: FakeClock):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table theirs (x)")
    with pytest.raises(ConfigurationError, match="not one of areabox"):
        await SqliteBackend(path, clock).open()
    path.write_text("Dear Sir or Madam, " * 1000)
    with pytest.raises(ConfigurationError, match="not a database"):
        await SqliteBackend(path, clock).open()
    assert path.read_text().startswith("Dear Sir")


def test_a_script_is_split_where_a_statement_ends():
    sql = """
-- a comment; with a semicolon
create table t (a text); -- after it
create trigger x after insert on t begin
  delete from t where a = ';';
  delete from t;
end;
insert into t
  values ('a;b');
-- the end
"""
    found = migrate.statements(sql)
    assert [statement.splitlines()[-1].strip() for statement in found] == [
        "create table t (a text); -- after it",
        "end;",
        "values ('a;b');",
    ]
