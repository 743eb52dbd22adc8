"""How are writes grouped? One connection writes; whatever arrives while a commit is on its way joins the next one.

The statements of a batch run where the batch is made, one after the other, in microseconds; the commit, which waits
for the disk, runs in the writer's own thread, so that the loop never does. A Unit whose guard fails is undone alone.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from areabox.database import Unit
from areabox.errors import AreaboxError, ConflictError, StorageFullError

log = logging.getLogger(__name__)

BATCH_MAX = 512
INLINE_STATEMENTS_MAX = 2_000  # a batch with more of them runs in the thread, so that the loop goes on meanwhile
_FULL = ("database or disk is full", "disk I/O error", "readonly database")


class Call(NamedTuple):
    """One statement whose rows are wanted."""

    sql: str
    args: Sequence[Any]


class Item(NamedTuple):
    """What waits to be written, and who waits for it."""

    work: Unit | Call
    future: asyncio.Future[Any]


class _GuardError(Exception):
    """A statement touched another number of rows than it should."""


class Writer:
    """The one connection that writes, its batches and its thread."""

    def __init__(
        self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop, committed: Callable[[Sequence[Unit]], None],
        full: Callable[[], None],
    ) -> None:  # fmt: skip
        self._connection, self._loop = connection, loop
        self._committed, self._full = committed, full
        self._waiting: list[Item] = []
        self._busy = False
        self._scheduled = False
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="areabox-writer", daemon=True)
        self._thread.start()
        self.batches = self.units = 0

    def submit(self, work: Unit | Call) -> asyncio.Future[Any]:
        """Put work into the next commit; the future has True, False or rows once it is on disk."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(Item(work, future))
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy or not self._waiting:
            return
        batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        self._busy = True
        size = sum(len(item.work.statements) if isinstance(item.work, Unit) else 1 for item in batch)
        if size > INLINE_STATEMENTS_MAX:
            self._jobs.put(lambda: self._commit(batch, self._execute(batch)))
        else:
            results = self._execute(batch)
            self._jobs.put(lambda: self._commit(batch, results))

    def _execute(self, batch: Sequence[Item]) -> list[Any] | Exception:
        """Run the statements of a batch in one transaction, and return a result for each, or why none came to be."""
        try:
            self._connection.execute("begin immediate")
            try:
                return [self._run(item.work) for item in batch]
            except (_GuardError, sqlite3.IntegrityError):
                self._connection.execute("rollback")
                self._connection.execute("begin immediate")
                return [self._run_alone(item.work) for item in batch]
        except sqlite3.Error as error:
            self._rollback()
            return _translated(error)

    def _run(self, work: Unit | Call) -> Any:
        execute = self._connection.execute
        if isinstance(work, Call):
            return execute(work.sql, work.args).fetchall()
        for statement in work.statements:
            count = execute(statement.sql, statement.args).rowcount
            if statement.expect is not None and count != statement.expect:
                raise _GuardError
        return True

    def _run_alone(self, work: Unit | Call) -> Any:
        execute = self._connection.execute
        execute("savepoint unit")
        try:
            result = self._run(work)
        except _GuardError:
            result = False
            execute("rollback to unit")
        except sqlite3.IntegrityError as error:
            result = ConflictError(str(error))
            execute("rollback to unit")
        execute("release unit")
        return result

    def _commit(self, batch: Sequence[Item], results: list[Any] | Exception) -> None:
        """Commit in the writer's thread, and hand the results to the loop in one call."""
        if not isinstance(results, Exception):
            try:
                self._connection.execute("commit")
            except sqlite3.Error as error:
                self._rollback()
                results = _translated(error)
        if isinstance(results, StorageFullError):
            self._full()
        self._call_loop(self._done, batch, results)

    def _call_loop(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("a commit ended after its loop")

    def _done(self, batch: Sequence[Item], results: list[Any] | Exception) -> None:
        self._busy = False
        self.batches += 1
        self.units += len(batch)
        if isinstance(results, Exception):
            for item in batch:
                if not item.future.done():
                    item.future.set_exception(results)
        else:
            units = [i.work for i, result in zip(batch, results, strict=True) if result is True and isinstance(i.work, Unit)]
            self._committed(units)
            for item, result in zip(batch, results, strict=True):
                _resolve(item.future, result)
        if self._waiting:
            self._flush()

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")

    async def run(self, function: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run a function on the connection in the writer's thread, between two commits, outside a transaction."""
        while self._busy:
            await asyncio.sleep(0)
        self._busy = True
        future: asyncio.Future[Any] = self._loop.create_future()

        def job() -> None:
            try:
                result = function(self._connection)
            except sqlite3.Error as error:
                self._rollback()
                result = _translated(error)
            self._call_loop(self._ran, future, result)

        self._jobs.put(job)
        return await future

    def _ran(self, future: asyncio.Future[Any], result: Any) -> None:
        self._busy = False
        _resolve(future, result)
        if self._waiting:
            self._flush()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    async def close(self) -> None:
        """Write what was accepted, and end the thread."""
        while self._busy or self._waiting:
            await asyncio.sleep(0.001)
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _translated(error: sqlite3.Error) -> AreaboxError:
    text = str(error)
    if any(words in text for words in _FULL):
        return StorageFullError(f"nothing was stored: {text}; free some space, and areabox goes on by itself")
    return AreaboxError(f"the database refused: {text}")


