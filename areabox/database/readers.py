"""How are rows read while others write? On connections that cannot write; each sees the newest commit at its time."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite

from areabox.database import Row
from areabox.database.files import READING, STATEMENTS_KEPT, reading_uri
from areabox.database.refusals import refusal
from areabox.errors import AreaboxError

READERS = 2


class _Reader:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.connection = connection
        self.waiting = 0


class Readers:
    """The connections that only read; a query goes to the one that is least busy."""

    def __init__(self) -> None:
        self._readers: list[_Reader] = []

    async def open(self, path: Path) -> None:
        """Connect; the file is there already."""
        for _ in range(READERS):
            connection = await aiosqlite.connect(
                reading_uri(path), uri=True, isolation_level=None, cached_statements=STATEMENTS_KEPT
            )
            self._readers.append(_Reader(connection))
            connection.row_factory = sqlite3.Row
            await connection.executescript(READING)

    async def close(self) -> None:
        """Answer what was asked, and let go."""
        readers, self._readers = self._readers, []
        for reader in readers:
            await reader.connection.close()

    async def fetch(self, sql: str, args: tuple[Any, ...]) -> list[Row]:
        """Return the rows of a query."""
        if not self._readers:
            raise AreaboxError("the database is closed")
        reader = min(self._readers, key=_load)
        reader.waiting += 1
        try:
            return list(await reader.connection.execute_fetchall(sql, args))
        except sqlite3.Error as error:
            raise refusal(error) from error
        finally:
            reader.waiting -= 1


def _load(reader: _Reader) -> int:
    return reader.waiting
