"""How does a file get the schema that this version needs? Numbered SQL files, each whole or not at all.

Before the first statement the file is copied aside. A file that a newer areabox wrote is refused, and the copy that the
newer one made is named.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import sqlite3
from pathlib import Path
from typing import NamedTuple

from areabox.database.disk import publish
from areabox.database.files import connect_reading
from areabox.errors import ConfigurationError
from areabox.resources import directory

log = logging.getLogger(__name__)

COPIES_KEPT = 3
_TABLE = """
create table if not exists migration (
  number bigint primary key,
  name text not null,
  hash text not null,
  at bigint not null
)
"""
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def hash(self) -> str:
        """Return what tells this text from any other."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Status(NamedTuple):
    """Which migrations a file has, which it lacks, and which of its own have another text by now."""

    applied: list[str]
    pending: list[str]
    changed: list[str]
    number: int
    """The newest that the file has; 0: it is empty."""


def known(dialect: str = "sqlite") -> list[Migration]:
    """Return the migrations that this version has, in order."""
    found = []
    for path in sorted((directory("migrations") / dialect).glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return found


def status(path: Path, steps: list[Migration] | None = None) -> Status:
    """Return what a file has and lacks, without touching it; raises ConfigurationError."""
    if not path.exists():
        raise ConfigurationError(f"there is no database at {path}")
    with contextlib.closing(connect_reading(path)) as connection:
        return compare(applied(connection, path), known() if steps is None else steps)


def compare(has: dict[int, Migration], steps: list[Migration]) -> Status:
    """Return what a file that `has` some migrations lacks of `steps`."""
    return Status(
        [_title(step) for step in has.values()],
        [_title(step) for step in steps if step.number not in has],
        [_title(step) for step in steps if step.number in has and has[step.number].sql != step.hash],
        max(has, default=0),
    )


def migrate(connection: sqlite3.Connection, path: Path, now_ms: int, steps: list[Migration] | None = None) -> int:
    """Bring a file up to date and return how many migrations that took; raises ConfigurationError for a newer one."""
    steps = known() if steps is None else steps
    has = applied(connection, path)
    check_not_newer(path, has, steps)
    for name in compare(has, steps).changed:
        log.warning("migration %s has another text than the one that made this database", name)
    pending = [step for step in steps if step.number not in has]
    if pending and has:
        copy_aside(connection, path, pending[0].number)
    if pending:
        connection.execute("pragma foreign_keys = off")  # a table that is made anew would take its children along
        try:
            for step in pending:
                apply(connection, step, now_ms)
        finally:
            connection.execute("pragma foreign_keys = on")
    return len(pending)


def applied(connection: sqlite3.Connection, path: Path) -> dict[int, Migration]:
    """Return the migrations that a file has, their hash in the place of their text; raises ConfigurationError."""
    try:
        tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
        if "migration" not in tables:
            if tables:
                raise ConfigurationError(f"{path} is a database, but not one of areabox: it has no table `migration`")
            return {}
        rows = connection.execute("select number, name, hash from migration order by number").fetchall()
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{path} is no areabox database, or is damaged: {error}") from error
    return {row[0]: Migration(*row) for row in rows}


def check_not_newer(path: Path, has: dict[int, Migration], steps: list[Migration]) -> None:
    """Refuse a file that a newer areabox wrote, and name the copy that it made; raises ConfigurationError."""
    newest, knows = max(has, default=0), steps[-1].number if steps else 0
    if newest <= knows:
        return
    copies = _copies(path)
    copy = next((copy for number, copy in copies if number > knows), None)
    hint = f"restore {copy}, which it copied aside before" if copy else "use that version, or restore a backup"
    raise ConfigurationError(f"{path} was written by a newer areabox (schema {newest}, this one knows {knows}): {hint}")


def apply(connection: sqlite3.Connection, step: Migration, now_ms: int) -> None:
    """Take one step, in one transaction with the record of it."""
    connection.execute("begin immediate")
    try:
        connection.execute(_TABLE)
        for statement in statements(step.sql):
            connection.execute(statement)
        _check_references(connection, step)
        connection.execute(
            "insert into migration (number, name, hash, at) values (?, ?, ?, ?)",
            (step.number, step.name, step.hash, now_ms),
        )
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _check_references(connection: sqlite3.Connection, step: Migration) -> None:
    broken = connection.execute("pragma foreign_key_check").fetchone()
    if broken is not None:
        raise ConfigurationError(f"migration {_title(step)} left rows of {broken[0]} without what they refer to")


def statements(sql: str) -> list[str]:
    """Split a script into its statements; SQLite itself says where one is complete, so a line may end only one."""
    found, current = [], ""
    for line in sql.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current.strip())
            current = ""
    if any(line.strip() and not line.strip().startswith("--") for line in current.splitlines()):
        found.append(current.strip())
    return found


def copy_path(path: Path, number: int) -> Path:
    """Return where the copy lies that was made before a migration."""
    return path.with_name(f"{path.name}.before-{number:04}")


def copy_aside(connection: sqlite3.Connection, path: Path, number: int) -> Path:
    """Copy a file as it is before a migration; the copy is complete and on disk when this returns."""
    target = copy_path(path, number)
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        partial.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(partial)) as copy:
            connection.backup(copy)
            copy.execute("pragma journal_mode = delete")  # so that it is one file
        publish(partial, target)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be copied aside before it is migrated: {error}") from error
    for _, old in _copies(path)[:-COPIES_KEPT]:
        old.unlink(missing_ok=True)
    return target


def _copies(path: Path) -> list[tuple[int, Path]]:
    """Return the copies that were made before migrations, the oldest first, with the number of the migration."""
    found = []
    for copy in path.parent.glob(f"{path.name}.before-*"):
        number = copy.name.rpartition("-")[2]
        if number.isdecimal():
            found.append((int(number), copy))
    return sorted(found)


def _title(step: Migration) -> str:
    return f"{step.number:04} {step.name}"
