"""What do the databases share? Their forms, values bound to names, rows as JSON, and which rows and values are new.

A statement is written by a person and never put together from data: its field takes no templates, what it says `:name`
of is bound, and names of tables and columns are checked and quoted.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from areabox.sdk import Context, Event, Field, Permanent, Text

ROWS_MAX = 1_000
BYTES_MAX = 2 << 20  # of the rows that a query gives
SQL_MAX = 65_536
COLUMNS_MAX = 500
TIMEOUT_S = 20.0  # of one statement
BATCH, BATCHES = 1_000, 5  # rows that are read at once, and how often in one poll
BEHIND = 100  # numbers below the last one that are looked at again: their transactions may have ended later
BEHIND_S = 60.0  # the same, of a key that is a time

Mark = Callable[[str, int], str]
Ask = Callable[[str, Mapping[str, Any]], Awaitable[list[dict[str, Any]]]]

_PART = re.compile(r"[^\x00-\x1f\"`\[\].;\\]{1,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")
_QUOTES = r"'(?:[^']|'')*'" r'|"(?:[^"]|"")*"'
_SKIPPED = {
    "sqlite": rf"--[^\n]*|/\*.*?\*/|{_QUOTES}|`(?:[^`]|``)*`|\[[^\]]*\]",
    "postgres": r"--[^\n]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'"
    rf"|{_QUOTES}|\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$|::",
    "mysql": r"(?:--\s|\#)[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'" r'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|:=',
}


def check_name(text: str) -> None:
    """Raise ValueError unless a text may name a table or column, with its schema or database before it."""
    parts = text.split(".")
    if len(parts) > 3 or not all(map(_PART.fullmatch, parts)):
        raise ValueError(f"{text!r} is no name of a table or column")


def _check_columns(values: Mapping[str, Any]) -> None:
    if not 0 < len(values) <= COLUMNS_MAX:
        raise ValueError(f"one to {COLUMNS_MAX} columns are given")
    for name in values:
        check_name(name)


Sql = Annotated[
    Text,
    Field(
        "Statement", "Values as :name; they are given below, and never written into the statement.", fixed=True,
        max_length=SQL_MAX, placeholder="select name from device where id = :id",
    ),
]  # fmt: skip
Values = Annotated[
    dict[str, Any] | None,
    Field("Values", "What the statement calls :name, by these names.", example={"id": 7}),
]
Table = Annotated[str, Field("Table", "With its schema before a dot, if need be.", check=check_name, fixed=True,
                             placeholder="reading")]  # fmt: skip
Column = Annotated[str, Field("Key", "A column that only grows: a number that counts up, or a time.",
                              check=check_name, fixed=True, placeholder="id")]  # fmt: skip
Columns = Annotated[dict[str, Any], Field("Columns", "A value for each column.", check=_check_columns,
                                          example={"name": "lamp", "watts": 7})]  # fmt: skip
Unique = Annotated[list[str], Field("Told apart by", "The columns of a unique index: a row that has the same there is "
                                    "changed.", fixed=True, min_length=1, example=["name"])]  # fmt: skip
Limit = Annotated[int, Field("Rows", "At most so many.", ge=1, le=ROWS_MAX)]


class Rows(msgspec.Struct):
    """What a query gave."""

    rows: list[dict[str, Any]]  # by the names of the columns
    row: dict[str, Any] | None  # the first of them
    value: Any  # the first column of it
    count: int
    more: bool = False  # there were more than was asked for


class Written(msgspec.Struct):
    """What a statement did."""

    count: int  # the rows that it touched
    rows: list[dict[str, Any]] = []  # what it returned


class Row(Event):
    """A row that is new."""

    key: Any
    row: dict[str, Any]


class Changed(Event):
    """A value that is another one now."""

    value: Any
    old: Any


ROW = Row(id="42", key=42, row={"id": 42, "name": "lamp", "watts": 7.5})
CHANGED = Changed(id="1-6b86b273ff34fce1", value=12, old=11)
ROWS = Rows(rows=[{"name": "lamp", "watts": 7.5}], row={"name": "lamp", "watts": 7.5}, value="lamp", count=1)
WRITTEN = Written(1)


def found(rows: list[dict[str, Any]], limit: int) -> Rows:
    """Return what a query gave that was asked for one row more than `limit`; raises `Permanent` if it is too large."""
    kept = rows[:limit]
    if len(msgspec.json.encode(kept)) > BYTES_MAX:
        raise Permanent(f"the rows are larger than {BYTES_MAX >> 20} MiB; ask for fewer rows or columns")
    first = kept[0] if kept else None
    return Rows(kept, first, next(iter(first.values()), None) if first else None, len(kept), len(rows) > limit)


def one_of(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what is wrong where either a table or a query is to be given."""
    if bool(params.get("table")) == bool(params.get("query")):
        yield "table", "give either a table or a query"


# -- statements ----------------------------------------------------------------------------------------------------


def bound(dialect: str, sql: str, values: Mapping[str, Any] | None, mark: Mark) -> tuple[str, list[str]]:
    """Return a statement with each `:name` of `values` marked, and the names in the order of their marks.

    `mark` makes the mark of a name, whose number counts from 1 and is the same for the same name. What is quoted, a
    comment, or not among the values stays as it is. Raises `Permanent` for a value that the statement does not name.
    """
    given, names = values or {}, list[str]()

    def marked(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None or name not in given:
            return match[0]
        if name not in names:
            names.append(name)
        return mark(name, names.index(name) + 1)

    pattern = rf"(?:{_SKIPPED[dialect]})|(?<![\w:]):(?P<name>[A-Za-z_]\w*)"
    made = re.sub(pattern, marked, sql, flags=re.DOTALL)
    if unused := given.keys() - set(names):
        raise Permanent(f"the statement has no :{min(unused)}, for which a value is given")
    return made, names


def quoted(name: str, quote: str = '"') -> str:
    """Return a name of a table or column as a statement has it."""
    check_name(name)
    return ".".join(f"{quote}{part}{quote}" for part in name.split("."))


def insertion(table: str, columns: Mapping[str, Any], unique: list[str] | None = None, quote: str = '"') -> tuple[
    str, dict[str, Any]
]:  # fmt: skip
    """Return the statement that inserts a row, or changes the one that is like it in `unique`, and its values.

    Raises `Permanent` for names that are none.
    """
    try:
        _check_columns(columns)
        names = [quoted(name, quote) for name in columns]
        keys = [quoted(name, quote) for name in unique or ()]
        into = quoted(table, quote)
    except ValueError as error:
        raise Permanent(str(error)) from error
    if lacking := set(unique or ()) - set(columns):
        raise Permanent(f"the columns lack {min(lacking)}, by which rows are told apart")
    values = {f"v{number}": value for number, value in enumerate(columns.values())}
    sql = f"insert into {into} ({', '.join(names)}) values ({', '.join(f':{v}' for v in values)})"  # noqa: S608 -- quoted
    return sql + _instead(names, keys, quote), values


def _instead(names: list[str], keys: list[str], quote: str) -> str:
    """Return what is done where there is such a row already."""
    rest = [name for name in names if name not in keys]
    if not keys:
        return ""
    if quote == "`":  # MySQL and MariaDB; their unique indexes say by themselves which row is meant
        changes = ", ".join(f"{name} = values({name})" for name in rest) or f"{keys[0]} = {keys[0]}"
        return f" on duplicate key update {changes}"
    changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
    return f" on conflict ({', '.join(keys)}) do " + (f"update set {changes}" if changes else "nothing")


def source(table: str, query: str, quote: str = '"') -> str:
    """Return what rows are read from: a table, or a query in brackets."""
    return quoted(table, quote) if table else f"({query.rstrip().rstrip(';')}\n) as areabox_rows"


def text_of(value: Any) -> Any:
    """Return a value as a column can hold it: lists and mappings as JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, (dict, list)) else value


# -- values as JSON ------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return a value of a column as JSON has it.

    Times are RFC 3339 (without an offset where the database has none), durations seconds, bytes base64; a decimal
    number is a number where that loses nothing, and everything that JSON does not know is a text.
    """
    match value:
        case None | bool() | str():
            return value
        case int() | float() | Decimal():
            return _number(value)
        case datetime() | date() | time():
            text = value.isoformat()
            return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(inner) for inner in value]
    return str(value)


def _number(value: float | Decimal) -> int | float | str:
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if value.is_finite() and value == value.to_integral_value() and abs(value) < 1 << 53:
        return int(value)
    return float(value) if value.is_finite() and Decimal(repr(float(value))) == value else str(value)


def rows_of(columns: list[str], rows: list[Any]) -> list[dict[str, Any]]:
    """Return rows as mappings from their columns to JSON values; of columns of the same name the last one counts."""
    return [dict(zip(columns, map(plain, row), strict=True)) for row in rows]


# -- what is new ---------------------------------------------------------------------------------------------------


async def new_rows(
    ctx: Context, ask: Ask, source: str, key: str, quote: str = '"', *, late: bool = True
) -> AsyncIterator[Row]:
    """Yield the rows whose key is above what it was; the cursor keeps the last one.

    Where transactions run side by side (`late`), a key that was given out earlier may be seen later. So the last
    numbers, or the last minute, are looked at again, and who was seen is known by its id; the first time all are.
    A moment may have several rows, a number only one.
    """
    column = quoted(key, quote)
    if "last" not in ctx.cursor:
        newest = await ask(f"select max({column}) as k from {source}", {})  # noqa: S608 -- quoted
        ctx.cursor["last"] = newest[0]["k"] if newest else None
    last = ctx.cursor["last"]
    after = _before(last) if late and not ctx.cursor.get("more") else last
    for _ in range(BATCHES):
        above = "is not null" if after is None else f"{'>=' if _is_time(after) else '>'} :areabox_last"
        sql = f"select * from {source} where {column} {above} order by {column} limit {BATCH}"  # noqa: S608 -- quoted
        rows = await ask(sql, {} if after is None else {"areabox_last": after})
        for row in rows:
            yield _row(row, key)
        if rows:
            last = rows[-1][key]
            ctx.cursor["last"] = max(last, ctx.cursor["last"] or last) if isinstance(last, int) else last
        ctx.cursor["more"] = len(rows) == BATCH
        if not ctx.cursor["more"]:
            return
        if after == last:
            raise Permanent(f"{BATCH} rows have the same {key}; choose a column that grows with each row")
        after = last


def _row(row: dict[str, Any], key: str) -> Row:
    if key not in row:
        raise Permanent(f"the rows have no column {key}")
    value = row[key]
    return Row(id=f"{value}-{digest(row)}" if _is_time(value) else str(value), key=value, row=row)


def _before(last: Any) -> Any:
    """Return the key from which on rows are looked at again."""
    if isinstance(last, int):
        return last - BEHIND
    if not _is_time(last):
        return last
    earlier = datetime.fromisoformat(last) - timedelta(seconds=BEHIND_S)
    return plain(earlier.astimezone(UTC) if earlier.tzinfo else earlier)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(_TIME.match(value)) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def changed(ctx: Context, value: Any) -> Iterator[Changed]:
    """Yield a value that is another one than the last time, which the cursor keeps."""
    known, old = "value" in ctx.cursor, ctx.cursor.get("value")
    ctx.cursor["value"] = value
    if known and old != value:
        count = ctx.cursor["count"] = ctx.cursor.get("count", 0) + 1
        yield Changed(id=f"{count}-{digest(value)}", value=value, old=old)


def digest(value: Any) -> str:
    """Return a short text that is the same for the same JSON value."""
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=8).hexdigest()

