"""The database in one file: one writer that groups commits, readers that only read, and the hot queue in memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import aiosqlite

from areabox.clock import Clock
from areabox.database import Handler, Message, Pointer, QueueStats, Row, Unit
from areabox.database import migrate as migrations
from areabox.database.bus import Bus
from areabox.database.hot import WINDOW, HotQueue
from areabox.database.space import Space
from areabox.database.writer import Call, Writer

log = logging.getLogger(__name__)

READERS = 2
WAL_MAX = 16 * 1024 * 1024  # bytes of write-ahead log after which it is copied back into the file
IDLE_S = 5.0
PRAGMAS = """
pragma journal_mode = wal;
pragma synchronous = full;
pragma foreign_keys = on;
pragma trusted_schema = off;
pragma cell_size_check = on;
pragma busy_timeout = 10000;
pragma journal_size_limit = 67108864;
pragma temp_store = memory;
pragma mmap_size = 0;
pragma wal_autocheckpoint = 0;
pragma cache_size = -8192;
"""
Refill = Callable[[str, int, int], Awaitable[list[Pointer]]]


def connect(path: Path) -> sqlite3.Connection:
    """Open the connection that writes; a new file gets its shape here."""
    new = not path.exists() or path.stat().st_size == 0
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.row_factory = sqlite3.Row
    if new:
        connection.execute("pragma auto_vacuum = incremental")
    connection.executescript(PRAGMAS)
    return connection


class SqliteBackend:
    """A `Backend` on one SQLite file."""

    dialect: Literal["sqlite", "postgres"] = "sqlite"

    def __init__(self, path: Path, clock: Clock, *, reserve_bytes: int = 8 * 1024 * 1024) -> None:
        self.path, self._clock = path, clock
        self.space = Space(path, reserve_bytes)
        self._hot, self._bus = HotQueue(), Bus()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers: list[aiosqlite.Connection] = []
        self._writer: Writer | None = None
        self._idle: asyncio.Task[None] | None = None
        self._dirty = False
        self.refill: Refill | None = None

    async def open(self) -> None:
        """Lock, check and migrate the file, and be ready to write."""
        await asyncio.to_thread(self.space.lock)
        try:
            connection = await asyncio.to_thread(self._prepare)
        except BaseException:
            self.space.unlock()
            raise
        self._writer = Writer(connection, asyncio.get_running_loop(), self._committed, self.space.release)
        self._connection = connection
        uri = f"file:{self.path.absolute().as_posix()}?mode=ro".replace("#", "%23")
        for _ in range(READERS):
            reader = await aiosqlite.connect(uri, uri=True, isolation_level=None, cached_statements=512)
            reader.row_factory = sqlite3.Row
            await reader.executescript("pragma query_only = on; pragma busy_timeout = 10000; pragma trusted_schema = off;")
            self._readers.append(reader)
        self._turn = itertools.cycle(self._readers)
        self._idle = asyncio.create_task(self._rest(), name="areabox-checkpoint")

    def _prepare(self) -> sqlite3.Connection:
        self.space.check()
        connection = connect(self.path)
        try:
            self.path.chmod(0o600)
            self.space.quick_check(connection)
            migrations.migrate(connection, self.path, self._clock.now_ms())
            self.space.reserve()
        except BaseException:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Write what was accepted, checkpoint and let go."""
        if self._writer is None:
            return
        if self._idle is not None:
            self._idle.cancel()
        for reader in self._readers:
            await reader.close()
        self._readers.clear()
        with contextlib.suppress(Exception):
            await self._writer.run(lambda c: c.execute("pragma wal_checkpoint(truncate)").fetchall())
        await self._writer.close()
        self._connection.close()
        self._writer = None
        self.space.unlock()

    # --- reading and writing ----------------------------------------------------------------------------------------------

    async def read(self, sql: str, *args: Any) -> list[Row]:
        """Run a query on a read-only connection; it sees every commit that was awaited before."""
        return list(await next(self._turn).execute_fetchall(sql, args))

    async def commit(self, unit: Unit) -> bool:
        """Write a Unit, on disk when this returns True; False: a guard failed and nothing was written."""
        assert self._writer is not None, "the database is not open"
        written: bool = await self._writer.submit(unit)
        return written

    async def write(self, sql: str, *args: Any) -> list[Row]:
        """Run one statement with `returning` through the same group commit, and return its rows."""
        assert self._writer is not None, "the database is not open"
        rows: list[Row] = await self._writer.submit(Call(sql, args))
        return rows

    def _committed(self, units: Sequence[Unit]) -> None:
        self._dirty = True
        for unit in units:
            if unit.pointers:
                self._hot.offer(unit.pointers)
                self._wake.set()
            if unit.messages:
                self._bus.tell(unit.messages)

    async def _rest(self) -> None:
        """Copy the write-ahead log back when nobody writes, or when it has grown."""
        while True:
            await asyncio.sleep(IDLE_S)
            if self._dirty and self._writer is not None:
                before = self._writer.batches
                self._dirty = False
                if self.space.wal_bytes() > WAL_MAX or before == getattr(self, "_rested", -1):
                    await self._checkpoint()
                elif self.space.wal_bytes():
                    self._dirty = True
                self._rested = self._writer.batches
            await asyncio.to_thread(self.space.reserve)

    async def _checkpoint(self) -> None:
        assert self._writer is not None
        with contextlib.suppress(Exception):
            await self._writer.run(lambda c: c.execute("pragma wal_checkpoint(passive)").fetchall())

    async def shrink(self) -> int:
        """Give free pages back to the disk; returns the bytes that the file lost."""
        assert self._writer is not None
        before = self.space.bytes()

        def vacuum(connection: sqlite3.Connection) -> None:
            connection.execute("pragma incremental_vacuum").fetchall()
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()

        await self._writer.run(vacuum)
        return before - self.space.bytes()

    # --- the hot queue ------------------------------------------------------------------------------------------------------

    def offer(self, pointers: Iterable[Pointer]) -> None:
        """Put jobs that are ready on disk already into the hot queue."""
        self._hot.offer(pointers)
        self._wake.set()

    async def consume(self, handler: Handler, *, slots: int) -> None:
        """Hand each pointer to `handler`, at most `slots` at once and fair among owners, until cancelled."""
        while True:
            while len(self._tasks) < slots and (pointer := self._hot.take()) is not None:
                task = asyncio.create_task(self._handle(handler, pointer))
                self._tasks.add(task)
            await self._fetch_spilled()
            self._wake.clear()
            if not len(self._hot) or len(self._tasks) >= slots:
                await self._wake.wait()

    async def _handle(self, handler: Handler, pointer: Pointer) -> None:
        try:
            await handler(pointer.job)
        except Exception:
            log.exception("a job's handler failed", extra={"job": pointer.job})
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)
            self._hot.done(pointer)
            self._wake.set()

    async def _fetch_spilled(self) -> None:
        thirsty = self._hot.thirsty()
        if thirsty is not None and self.refill is not None:
            owner, lane = thirsty
            self._hot.refill(owner, lane, await self.refill(owner, lane, WINDOW))

    # --- telling ------------------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, **body: Any) -> None:
        """Tell whoever watches `topic`, without writing."""
        self._bus.tell([Message(topic, body)])

    def subscribe(self, *topics: str) -> AsyncIterator[Message]:
        """Watch topics from now on; a watcher that is too slow loses the oldest messages."""
        return self._bus.watch(*topics)

    def stats(self) -> QueueStats:
        """Return how full the hot queue is."""
        return QueueStats(len(self._hot), self._hot.executing)
