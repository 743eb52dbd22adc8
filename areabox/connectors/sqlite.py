"""SQLite: the database files of other programs, in the folders that the operator names.

Tested against SQLite itself, by files that other connections write meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Annotated, Any
from urllib.parse import quote

from areabox.connectors import _sql
from areabox.sdk import Connector, Context, Field, Folders, Permanent, Transient

sqlite = Connector(
    "sqlite", "SQLite", about="Database files of other programs on this machine.", icon="database",
    docs="https://www.sqlite.org/lang.html", builtin=True,
)  # fmt: skip

BUSY_MS = 5_000  # how long another program may hold the database
STEPS = 10_000  # of the database's own machine, between two looks at the clock
_LATER = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL})

File = Annotated[
    str, Field("File", "Its whole path, in a folder that the operator allows (files_allow).", format="path",
               pattern=r"^/", placeholder="/srv/data/home.db", fixed=True),
]  # fmt: skip


def _mark(name: str, number: int) -> str:
    del number
    return f":{name}"


@sqlite.action("New row", poll="1m", sentence="a row is new in {file}", sample=_sql.ROW, check=_sql.one_of)
async def new_row(
    ctx: Context, file: File, table: _sql.Table = "", query: _sql.Sql = "", key: _sql.Column = "id"
) -> AsyncIterator[_sql.Row]:
    """Fires for each row of a table, or of a query, whose key is above all that were seen. What is there is old."""
    async def ask(sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        return (await _run(ctx, file, sql, values, _sql.BATCH))[0]

    source = _sql.source(table, query)
    async for row in _sql.new_rows(ctx, ask, source, key, late=False):  # one writes at a time
        yield row


@sqlite.action("Value changes", poll="1m", sentence="what {query} gives changes", sample=_sql.CHANGED)
async def value_changed(
    ctx: Context, file: File, query: _sql.Sql, values: _sql.Values = None
) -> AsyncIterator[_sql.Changed]:
    """Fires when the first column of the first row of a query is another value than before. No row is null."""
    rows, _ = await _run(ctx, file, query, values, 1)
    for event in _sql.changed(ctx, _sql.found(rows, 1).value):
        yield event


@sqlite.reaction("Query", sentence="ask {file}: {query}", effect="read", sample=_sql.ROWS)
async def query(
    ctx: Context, file: File, query: _sql.Sql, values: _sql.Values = None, limit: _sql.Limit = 100
) -> _sql.Rows:
    """Read rows. The file is opened for reading only."""
    rows, _ = await _run(ctx, file, query, values, limit + 1)
    return _sql.found(rows, limit)


@sqlite.reaction("Run a statement", sentence="run {statement} on {file}", sample=_sql.WRITTEN)
async def execute(ctx: Context, file: File, statement: _sql.Sql, values: _sql.Values = None) -> _sql.Written:
    """Change something by a statement of your own, in a transaction; what it returns (`returning`) is given, too."""
    return await _write(ctx, file, statement, values)


@sqlite.reaction("Insert a row", sentence="insert a row into {table}", sample=_sql.WRITTEN)
async def insert(ctx: Context, file: File, table: _sql.Table, values: _sql.Columns) -> _sql.Written:
    """Add a row to a table."""
    return await _write(ctx, file, *_sql.insertion(table, values))


@sqlite.reaction("Insert or change a row", sentence="set a row of {table}", effect="idempotent", sample=_sql.WRITTEN)
async def upsert(
    ctx: Context, file: File, table: _sql.Table, values: _sql.Columns, unique: _sql.Unique
) -> _sql.Written:
    """Add a row to a table, or change the one that has the same values in the columns of a unique index."""
    return await _write(ctx, file, *_sql.insertion(table, values, unique))


async def _write(ctx: Context, file: str, sql: str, values: Mapping[str, Any] | None) -> _sql.Written:
    rows, count = await _run(ctx, file, sql, values, _sql.ROWS_MAX, write=True)
    return _sql.Written(count, rows)


async def _run(
    ctx: Context, file: str, sql: str, values: Mapping[str, Any] | None, most: int, *, write: bool = False
) -> tuple[list[dict[str, Any]], int]:
    """Run a statement in a thread; return at most so many rows, and how many were touched."""
    assert ctx.host is not None
    given = {name: _sql.text_of(value) for name, value in (values or {}).items()}
    made, _ = _sql.bound("sqlite", sql, given, _mark)
    over = threading.Event()
    try:
        return await asyncio.to_thread(_ran, ctx.host.folders, file, made, given, most, over, write=write)
    finally:
        over.set()  # whoever is cancelled leaves no statement running


def _ran(
    folders: Folders, file: str, sql: str, values: dict[str, Any], most: int, over: threading.Event, *, write: bool
) -> tuple[list[dict[str, Any]], int]:
    until_s = time.monotonic() + _sql.TIMEOUT_S
    with _told(file), closing(_opened(folders, file, write=write)) as db:
        db.set_progress_handler(lambda: over.is_set() or time.monotonic() > until_s, STEPS)
        db.execute("begin immediate" if write else "begin")
        cursor = db.execute(sql, values)
        names = [column[0] for column in cursor.description or ()]
        rows = _sql.rows_of(names, cursor.fetchmany(most) if names else [])
        cursor.close()
        (count,) = db.execute("select changes()").fetchone()
        db.execute("commit")
        return rows, count


def _opened(folders: Folders, file: str, *, write: bool) -> sqlite3.Connection:
    """Open a file that is there, and nothing else beside it: `attach` and `vacuum into` would lead elsewhere."""
    path = folders.find(file)  # where links lead, so that none is left in it
    db = sqlite3.connect(
        f"file:{quote(str(path))}?mode={'rw' if write else 'ro'}", uri=True, timeout=BUSY_MS / 1000,
        isolation_level=None, cached_statements=0,
    )  # fmt: skip
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4 * _sql.BYTES_MAX)
        if not write:
            db.execute("pragma query_only = on")
        db.set_authorizer(_allowed)
    except BaseException:
        db.close()
        raise
    return db


def _allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Refuse what concerns the file or the process, and not what is stored in it."""
    harmless = second is None or first in ("table_info", "table_xinfo", "index_list", "index_info", "foreign_key_list")
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA and not harmless else sqlite3.SQLITE_OK


@contextmanager
def _told(file: str) -> Iterator[None]:
    """Raise what an error of the database means for a step."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            raise Permanent(f"the statement took longer than {_sql.TIMEOUT_S:.0f} s") from error
        if code == sqlite3.SQLITE_CANTOPEN:
            raise Permanent(f"{file} cannot be opened; is it there, and may areabox read it?") from error
        raise (Transient if code in _LATER else Permanent)(f"{file}: {error}") from error
    except (OverflowError, ValueError) as error:
        raise Permanent(f"{file}: {error}") from error
