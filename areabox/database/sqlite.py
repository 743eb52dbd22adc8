"""The database in one file: one writer that groups commits, readers that only read, and the hot queue in memory."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from areabox.clock import Clock
from areabox.database import Handler, Message, Pointer, QueueStats, Row, Unit
from areabox.database import migrate as migrations
from areabox.database.bus import Bus
from areabox.database.dispatch import Dispatcher, Refill
from areabox.database.files import LOG_LIMIT_BYTES, connect
from areabox.database.hot import HotQueue
from areabox.database.readers import Readers
from areabox.database.space import Space, check_filesystem, quick_check
from areabox.database.writer import Call, Writer
from areabox.errors import AreaboxError, ConfigurationError, StorageFullError

log = logging.getLogger(__name__)

_USED = """
select (page_count - freelist_count) * page_size from pragma_page_count, pragma_freelist_count, pragma_page_size
"""
LOG_LOOK_BATCHES = 16  # between two looks at the size of the write-ahead log
IDLE_S = 5.0  # without a write, after which the write-ahead log is copied back …
IDLE_WAL_BYTES = 1024 * 1024  # … if it is worth it: below that, one copying for many writes spares the disk
VACUUM_PAGES = 256  # at once, since others wait meanwhile
READERS_MS = 250  # how long readers are waited for, and all writers with them, so that the log can begin anew


class SqliteBackend:
    """A `Backend` on one SQLite file."""

    dialect: Literal["sqlite", "postgres"] = "sqlite"

    def __init__(
        self, path: Path, clock: Clock, *,
        reserve_bytes: int = 8 * 1024 * 1024, on_full: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.path, self._clock, self._on_full = path, clock, on_full
        self.space = Space(path, reserve_bytes, clock.monotonic_s)
        self._jobs, self._bus, self._readers = Dispatcher(HotQueue()), Bus(), Readers()
        self._writer: Writer | None = None
        self._care: asyncio.TimerHandle | None = None
        self._batches_seen = 0
        self._log_limit = LOG_LIMIT_BYTES

    # --- opening and closing --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Lock, check and migrate the file, and be ready to write."""
        await asyncio.to_thread(self.space.lock)
        try:
            self._connection = await asyncio.to_thread(self._prepare)
            try:
                await self._readers.open(self.path)
            except BaseException:
                await self._readers.close()
                self._connection.close()
                raise
        except BaseException:
            self.space.unlock()
            raise
        self._writer = Writer(
            self._connection, asyncio.get_running_loop(), committed=self._committed, failed=self._failed
        )

    def _prepare(self) -> sqlite3.Connection:
        check_filesystem(self.path.parent)
        try:
            connection = connect(self.path)
            try:
                quick_check(connection, self.path)
                migrations.migrate(connection, self.path, self._clock.now_ms())
                self.space.reserve()
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(f"{self.path} cannot be used: {error}") from error
        return connection

    async def close(self) -> None:
        """Write what was accepted, checkpoint and let go."""
        if self._writer is None:
            return
        await self._jobs.close()
        writer, self._writer = self._writer, None
        if self._care is not None:
            self._care.cancel()
        await writer.close()
        await self._readers.close()
        await asyncio.to_thread(self._connection.close)  # the last one out copies the log back
        self.space.unlock()

    # --- reading and writing --------------------------------------------------------------------------------------

    async def read(self, sql: str, *args: Any) -> list[Row]:
        """Run a query on a read-only connection; it sees every commit that was awaited before."""
        return await self._readers.fetch(sql, args)

    async def commit(self, unit: Unit) -> bool:
        """Write a Unit, on disk when this returns True; False: a guard failed and nothing was written."""
        writer = self._open_writer()
        if self.space.full and not self.space.recover():
            _refuse_growth(statement.sql for statement in unit.statements)
        written: bool = await writer.submit(unit)
        return written

    async def write(self, sql: str, *args: Any) -> list[Row]:
        """Run one statement with `returning` through the same group commit, and return its rows."""
        writer = self._open_writer()
        if self.space.full and not self.space.recover():
            _refuse_growth([sql])
        rows: list[Row] = await writer.submit(Call(sql, args))
        return rows

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise AreaboxError("the database is closed")
        return self._writer

    def _committed(self, units: Sequence[Unit]) -> None:
        for unit in units:
            for act in unit.after:
                act()
            if unit.pointers:
                self._jobs.offer(unit.pointers)
            if unit.messages:
                self._bus.tell(unit.messages)
        self.space.stored()
        if self._writer is not None and self._writer.batches % LOG_LOOK_BATCHES == 0:
            self._limit_log(self._writer)
        if self._care is None:
            self._care = asyncio.get_running_loop().call_later(IDLE_S, self._look_after)

    def _failed(self, error: AreaboxError) -> None:
        if isinstance(error, StorageFullError):
            if self._writer is not None and not self.space.full:
                self._writer.run(_make_use_of_log).add_done_callback(_report)
            self.space.release()
            if self._on_full is not None:
                self._on_full()

    # --- care of the file -----------------------------------------------------------------------------------------

    def _limit_log(self, writer: Writer) -> None:
        """Let the log begin anew if it grew beyond its limit, since readers that overlap never let it by themselves."""
        size = self.space.wal_bytes()
        if size <= LOG_LIMIT_BYTES:
            self._log_limit = LOG_LIMIT_BYTES
        elif size > self._log_limit:
            self._log_limit = 2 * size  # a reader that takes its time, such as a backup, is not waited for again soon
            writer.run(_restart_log).add_done_callback(_report)

    def _look_after(self) -> None:
        """Copy the log back once nobody writes any more; nothing wakes a process in which nothing was written."""
        self._care = None
        if self._writer is None:
            return
        if self._writer.batches != self._batches_seen:
            self._batches_seen = self._writer.batches
            self._care = asyncio.get_running_loop().call_later(IDLE_S, self._look_after)
        elif self.space.wal_bytes() >= IDLE_WAL_BYTES:
            self._writer.run(_checkpoint).add_done_callback(_report)

    async def used_bytes(self) -> int:
        """Return how much of the file holds something; what was deleted counts no more, though the file is as large."""
        rows = await self.read(_USED)
        return int(rows[0][0])

    async def shrink(self) -> int:
        """Give free pages back to the disk, in small bites; returns the bytes that the file lost."""
        before = self.space.bytes()
        while await self._open_writer().run(_vacuum_some):
            pass
        await self._open_writer().run(_cut)
        return before - self.space.bytes()

    # --- the hot queue --------------------------------------------------------------------------------------------

    @property
    def refill(self) -> Refill | None:
        """Return how the ready jobs of an owner are read, oldest first; `reactions` says it."""
        return self._jobs.refill

    @refill.setter
    def refill(self, refill: Refill) -> None:
        self._jobs.refill = refill

    def offer(self, pointers: Iterable[Pointer]) -> None:
        """Put jobs that are ready on disk already into the hot queue."""
        self._jobs.offer(pointers)

    async def consume(self, handler: Handler, *, slots: int) -> None:
        """Hand each pointer to `handler`, at most `slots` at once and fair among owners, until cancelled."""
        await self._jobs.consume(handler, slots)

    def drain(self) -> None:
        """Hand out no more; what is executing goes on."""
        self._jobs.drain()

    def stats(self) -> QueueStats:
        """Return how full the hot queue is."""
        return self._jobs.stats()

    # --- telling --------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, **body: Any) -> None:
        """Tell whoever watches `topic`, without writing."""
        self._bus.tell([Message(topic, body)])

    def subscribe(self, *topics: str) -> AsyncIterator[Message]:
        """Watch topics from now on; a watcher that is too slow loses the oldest messages."""
        return self._bus.watch(*topics)


def _refuse_growth(statements: Iterable[str]) -> None:
    """Let only what deletes go on while the disk is full, since the reserve is meant for it."""
    if not all(sql.lstrip()[:6].lower() == "delete" for sql in statements):
        raise StorageFullError("nothing was stored: the disk is full; free some space, and areabox goes on by itself")


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def _vacuum_some(connection: sqlite3.Connection) -> bool:
    """Cut some free pages off, and return whether there are more."""
    free: int = connection.execute("pragma freelist_count").fetchone()[0]
    if free and connection.execute("pragma auto_vacuum").fetchone()[0] == 2:
        connection.executescript(f"pragma incremental_vacuum({VACUUM_PAGES})")  # `execute` would take one step, a page
        return free > VACUUM_PAGES
    return False


def _make_use_of_log(connection: sqlite3.Connection) -> None:
    """Copy the log back into the room that the reserve left, but keep it as large: what deletes is written into it."""
    connection.execute("pragma wal_checkpoint(restart)").fetchall()


def _restart_log(connection: sqlite3.Connection) -> None:
    _waiting_for_readers(connection, "restart")


def _cut(connection: sqlite3.Connection) -> None:
    _waiting_for_readers(connection, "truncate")


def _waiting_for_readers(connection: sqlite3.Connection, mode: str) -> None:
    connection.execute(f"pragma busy_timeout = {READERS_MS}")
    try:
        connection.execute(f"pragma wal_checkpoint({mode})").fetchall()
    finally:
        connection.execute("pragma busy_timeout = 0")


def _report(checkpointed: asyncio.Future[None]) -> None:
    if not checkpointed.cancelled() and (error := checkpointed.exception()) is not None:
        log.warning("the write-ahead log could not be copied back: %s", error)
