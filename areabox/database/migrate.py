"""How does a file get the schema that this version needs? Numbered SQL files, each whole or not at all.

Before the first statement the file is copied aside. A file that a newer areabox wrote is refused, and the copy that the
newer one made is named.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from pathlib import Path
from typing import NamedTuple

from areabox.errors import ConfigurationError
from areabox.resources import directory

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
    """Which migrations a file has, and which it lacks."""

    applied: list[str]
    pending: list[str]


def known(dialect: str = "sqlite") -> list[Migration]:
    """Return the migrations that this version has, in order."""
    found = []
    for path in sorted((directory("migrations") / dialect).glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return found


def migrate(connection: sqlite3.Connection, path: Path, now_ms: int, steps: list[Migration] | None = None) -> int:
    """Bring a file up to date and return how many migrations that took; raises ConfigurationError for a newer one."""
    steps = known() if steps is None else steps
    applied = _applied(connection)
    newest = steps[-1].number if steps else 0
    if applied and max(applied) > newest:
        raise ConfigurationError(_newer(path, max(applied), newest))
    pending = [step for step in steps if step.number not in applied]
    if pending and applied:
        copy_aside(connection, path, pending[0].number)
    for step in pending:
        _apply(connection, step, now_ms)
    return len(pending)


def status(connection: sqlite3.Connection) -> Status:
    """Return what a file has and lacks."""
    applied = _applied(connection)
    steps = known()
    return Status(
        [f"{number:04} {name}" for number, name in sorted(applied.items())],
        [f"{step.number:04} {step.name}" for step in steps if step.number not in applied],
    )


def _applied(connection: sqlite3.Connection) -> dict[int, str]:
    if not connection.execute("select 1 from sqlite_master where name = 'migration'").fetchone():
        if connection.execute("select 1 from sqlite_master limit 1").fetchone():
            raise ConfigurationError("the database file holds something else than areabox: it has no table `migration`")
        return {}
    return dict(connection.execute("select number, name from migration").fetchall())


def _apply(connection: sqlite3.Connection, step: Migration, now_ms: int) -> None:
    connection.execute("begin immediate")
    try:
        connection.execute(_TABLE)
        for statement in statements(step.sql):
            connection.execute(statement)
        connection.execute(
            "insert into migration (number, name, hash, at) values (?, ?, ?, ?)",
            (step.number, step.name, step.hash, now_ms),
        )
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def statements(sql: str) -> list[str]:
    """Split a script into its statements; SQLite itself says where one is complete."""
    found, current = [], ""
    for line in sql.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current.strip())
            current = ""
    if current.strip() and not all(line.strip().startswith("--") for line in current.splitlines() if line.strip()):
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
    copy = sqlite3.connect(partial)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    partial.chmod(0o600)
    sync(partial)
    partial.replace(target)
    sync(target.parent)
    return target


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _newer(path: Path, has: int, knows: int) -> str:
    copies = sorted(path.parent.glob(f"{path.name}.before-*"))
    copy = next((c for c in copies if int(c.name.rpartition("-")[2]) == knows + 1), copies[-1] if copies else None)
    hint = f"restore {copy}, which was copied aside before" if copy else "use that version, or restore a backup"
    return f"{path} was written by a newer areabox (schema {has}, this one knows {knows}): {hint}"
