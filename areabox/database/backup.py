"""How does the one file come out whole, and back in? As a copy that is checked before it gets its name.

A backup is taken online, from a read-only connection, as of one moment; the daemon goes on writing. What is restored
is distrusted until it has been looked at: it must be a sound SQLite file with the tables of areabox, and nothing in it
may act by itself. The restored database is paused, so that what it had in mind long ago does not happen now.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from areabox.clock import SystemClock
from areabox.database import migrate
from areabox.database.disk import check_filesystem, publish, sync
from areabox.database.files import reading_uri
from areabox.database.space import Space
from areabox.errors import AreaboxError, ConfigurationError, ConflictError, InputError, StorageFullError

Objects = dict[tuple[str, str], str]  # SQL by kind and name
_MAGIC = b"SQLite format 3\0"
_SIDES = ("-wal", "-shm", "-journal")
_OF_SQLITE = {("table", "sqlite_sequence"), ("table", "sqlite_stat1"), ("table", "sqlite_stat4")}


class Summary(msgspec.Struct, frozen=True):
    """What a copy holds, and how long it took to make or to look at."""

    path: str
    bytes: int
    areas: int
    runs: int
    schema: int
    seconds: float


# --- out --------------------------------------------------------------------------------------------------------------


def backup(source: Path, target: Path, *, overwrite: bool = False) -> Summary:
    """Copy a database that may be in use into one file, readable by its owner only, and on disk when this returns.

    Raises ConfigurationError if there is no sound database, ConflictError if `target` exists and may not be
    overwritten, InputError if it cannot be written, and StorageFullError where there is no room.
    """
    began_s = SystemClock().monotonic_s()
    if not source.exists():
        raise ConfigurationError(f"there is no database at {source}")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the database itself; give another name for the backup")
    _refuse_existing(target, overwrite=overwrite)
    with _partial(target) as partial:
        _vacuum_into(source, partial)
        try:
            found = _inspect(partial, str(source))
        except InputError as error:
            raise ConfigurationError(str(error)) from error
        _refuse_existing(target, overwrite=overwrite)
        publish(partial, target)
    return _timed(found, target, began_s)


def _vacuum_into(source: Path, partial: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(reading_uri(source), uri=True, timeout=10)) as connection:
            connection.execute("vacuum into ?", (str(partial),))
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise StorageFullError(f"there is no room for the backup in {partial.parent}") from error
        raise ConfigurationError(f"{source} cannot be copied: {error}") from error


def _refuse_existing(target: Path, *, overwrite: bool) -> None:
    if target.is_dir():
        raise InputError(f"{target} is a folder; give the name of a file in it")
    if target.exists() and not overwrite:
        raise ConflictError(f"{target} exists already; give another name, or say --overwrite")


@contextlib.contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Yield an empty file of a temporary name beside `target`, and take it away if it is still there afterwards."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise InputError(f"cannot write into {target.parent}: {error.strerror}") from error
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
    except OSError as error:
        kind = StorageFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else InputError
        raise kind(f"cannot write {target}: {error.strerror}") from error
    finally:
        for side in ("", *_SIDES):
            partial.with_name(partial.name + side).unlink(missing_ok=True)


# --- back in ----------------------------------------------------------------------------------------------------------


def restore(source: Path, target: Path, *, check_only: bool = False, overwrite: bool = False) -> Summary:
    """Look at a backup and, unless only that is wanted, make it the database at `target`, paused.

    A database that is there is refused with ConflictError or, with `overwrite`, moved aside to `….replaced-N`. Raises
    InputError if `source` is no sound backup of this or an older areabox, and ConfigurationError if the data directory
    is in use or cannot be.
    """
    began_s = SystemClock().monotonic_s()
    _refuse_unlike(source)
    if check_only:
        return _timed(_inspect(source, str(source)), source, began_s)
    if target.exists() and target.samefile(source):
        raise InputError(f"{source} is the database itself, not a backup of it")
    space = Space(target, 0)
    space.lock()
    try:
        check_filesystem(target.parent)
        if target.exists() and not overwrite:
            raise ConflictError(f"there is a database at {target} already; say --overwrite to move it aside")
        with _partial(target) as partial:
            shutil.copyfile(source, partial)
            found = _inspect(partial, str(source))
            _pause(partial)
            _move_aside(target)
            publish(partial, target)
    finally:
        space.unlock()
    return _timed(found, target, began_s)


def _refuse_unlike(source: Path) -> None:
    """Refuse what is no single database file, without opening it as one."""
    try:
        if not _looks_like_sqlite(source):
            raise InputError(f"{source} is not a backup of areabox: it is no SQLite file")
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    for side in ("-wal", "-journal"):
        log = source.with_name(source.name + side)
        if log.exists() and log.stat().st_size:
            raise InputError(f"{source} is a database in use: {log.name} lies beside it; restore an `areabox backup`")


def _looks_like_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _pause(path: Path) -> None:
    """Make a copy one file without a log, and let the daemon do nothing by itself when it opens it."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma trusted_schema = off")
            connection.execute("pragma journal_mode = delete")
            connection.execute("insert or replace into meta (key, value) values ('paused', '1')")
    except sqlite3.Error as error:
        raise StorageFullError(f"cannot write into {path.parent}: {error}") from error


def _move_aside(target: Path) -> None:
    """Take away what lies at `target`: a log that stayed would be taken for the new file's."""
    if target.exists():
        if _looks_like_sqlite(target):
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(target)) as connection:
                connection.execute("pragma wal_checkpoint(truncate)")  # a damaged one goes with its log, as it is
        numbers = itertools.count(1)
        aside = next(path for n in numbers if not (path := target.with_name(f"{target.name}.replaced-{n}")).exists())
        for side in ("", "-wal", "-journal"):
            path = target.with_name(target.name + side)
            if path.exists():
                path.replace(aside.with_name(aside.name + side))
    for side in _SIDES:
        target.with_name(target.name + side).unlink(missing_ok=True)
    sync(target.parent)


# --- looking ----------------------------------------------------------------------------------------------------------


def _inspect(path: Path, called: str) -> Summary:
    """Return what a closed file holds; raises InputError if it is not a sound database of areabox."""
    try:
        with contextlib.closing(sqlite3.connect(f"{reading_uri(path)}&immutable=1", uri=True)) as connection:
            connection.execute("pragma trusted_schema = off")
            connection.execute("pragma cell_size_check = on")
            schema = _schema(connection, path, called)
            size, pages = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_size", "page_count"))
            if path.stat().st_size != size * pages:  # an empty last page may be cut without any check noticing
                raise InputError(f"{called} is damaged: it is not whole")
            problems = [row[0] for row in connection.execute("pragma integrity_check(5)")]
            if problems != ["ok"]:
                raise InputError(f"{called} is damaged: {'; '.join(problems)}")
            count = "select (select count(*) from area), (select count(*) from run)"
            areas, runs = connection.execute(count).fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{called} is damaged: {error}") from error
    return Summary(str(path), path.stat().st_size, areas, runs, schema, 0.0)


def _schema(connection: sqlite3.Connection, path: Path, called: str) -> int:
    """Return the schema's number; raises InputError where it is newer, foreign, or has more than areabox put there."""
    try:
        applied = migrate.applied(connection, path)
    except AreaboxError as error:
        raise InputError(f"{called} is not a backup of areabox: {error}") from error
    number, newest = max(applied, default=0), migrate.known()[-1].number
    if not number:
        raise InputError(f"{called} is not a backup of areabox: it is empty")
    if number > newest:
        raise InputError(f"{called} was written by a newer areabox (schema {number}, this one knows {newest})")
    _refuse_foreign(_objects(connection), _expected(number), called)
    return number


def _refuse_foreign(found: Objects, expected: Objects, called: str) -> None:
    """Refuse what lacks something of areabox, or has more than tables and indexes in addition."""
    for (kind, name), text in expected.items():
        if found.pop((kind, name), None) != text:
            raise InputError(f"{called} is not a backup of areabox: its {kind} {name} is missing or another one")
    for (kind, name), text in found.items():
        if kind not in {"table", "index"} or text.lower().startswith("create virtual"):
            raise InputError(f"{called} holds the {kind} {name}, which areabox did not make: it may act by itself")


def _objects(connection: sqlite3.Connection) -> Objects:
    """Return what a database consists of, without what SQLite itself adds."""
    rows = connection.execute("select type, name, sql from sqlite_master where sql is not null")
    return {(kind, name): _plain(sql) for kind, name, sql in rows if (kind, name) not in _OF_SQLITE}


def _plain(sql: str) -> str:
    """Return SQL without what means nothing: comments and the width of gaps."""
    return " ".join(" ".join(line.partition("--")[0] for line in sql.splitlines()).split())


@cache
def _expected(number: int) -> Objects:
    """Return what a database of a schema's number consists of."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for step in migrate.known():
            if step.number <= number:
                migrate.apply(connection, step, 0)
        return _objects(connection)


def _timed(found: Summary, path: Path, began_s: float) -> Summary:
    return msgspec.structs.replace(found, path=str(path), seconds=round(SystemClock().monotonic_s() - began_s, 3))
