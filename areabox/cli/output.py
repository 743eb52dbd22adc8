"""How answers look: JSON for programs, aligned columns for people."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click

CELL_MAX = 80


class Column(NamedTuple):
    """One column of a table: its title, and the value of a row."""

    title: str
    value: Callable[[Mapping[str, Any]], Any]


def column(title: str, key: str | None = None, show: Callable[[Any], Any] = lambda value: value) -> Column:
    """Return the column of one key; the title is the key in capitals unless it differs."""
    name = key or title.lower()
    return Column(title.upper(), lambda row: show(row.get(name)))


def when(title: str, key: str | None = None) -> Column:
    """Return the column of a time."""
    return column(title, key, local_time)


def print_json(value: Any) -> None:
    """Print JSON: indented for a person, in one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, ensure_ascii=False, indent=indent))


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print rows under their titles."""
    limit = CELL_MAX if sys.stdout.isatty() else None  # a program reads all of it
    cells = [[_cell(column.value(row), limit) for column in columns] for row in rows]
    widths = [max(map(len, [title, *texts])) for title, *texts in zip([c.title for c in columns], *cells, strict=True)]
    click.echo(click.style(_line([c.title for c in columns], widths), bold=True))
    for line in cells:
        click.echo(_line(line, widths))


def print_fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line, without the empty ones."""
    shown = [(name, _cell(value, None)) for name, value in pairs if value not in (None, "", [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {value}")


def local_time(value: str | None) -> str:
    """Return an RFC 3339 time as this machine's clock shows it."""
    if not value:
        return ""
    return dt.datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def plain_logs() -> Iterator[None]:
    """Print the warnings that are logged meanwhile as messages to the person, one line each."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Plain("areabox: %(message)s"))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Plain(logging.Formatter):
    """The message alone, without where in the program it came from."""

    def formatException(self, ei: Any) -> str:  # noqa: N802, ARG002 -- logging's name
        """Leave the traceback out."""
        return ""


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()


def _cell(value: Any, limit: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "".join(char if char.isprintable() else " " for char in text)  # a title from a feed must not move the cursor
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
