"""How are writes grouped? One connection writes; whatever arrives while a commit is on its way joins the next one.

The statements of a batch run where the batch is made, one after the other, in microseconds; the commit, which waits
for the disk, runs in the writer's own thread, so that the loop never does. A Unit whose guard fails, or whose statement
the database refuses, is undone alone; when the disk refuses, nothing of the batch is written.

What was accepted is written, even if whoever waited for it was cancelled meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from areabox.database import Unit
from areabox.database.refusals import GuardError, breaks_off, is_busy, outcome, refusal
from areabox.errors import AreaboxError

log = logging.getLogger(__name__)

BATCH_MAX = 512
INLINE_STATEMENTS_MAX = 2_000  # a batch with more of them runs in the thread, so that the loop goes on meanwhile
BUSY_MS = 10_000  # how long the thread waits for another program that holds the file; the loop never waits

Results = list[Any] | AreaboxError  # one for each of a batch, or why there are none


class Call(NamedTuple):
    """One statement whose rows are wanted."""

    sql: str
    args: Sequence[Any]


class Item(NamedTuple):
    """What waits to be written, and who waits for it."""

    work: Unit | Call
    future: asyncio.Future[Any]


class Exclusive(NamedTuple):
    """What waits to have the connection for itself, between two commits."""

    function: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


class _BusyError(Exception):
    """Another program holds the file."""


class Writer:
    """The one connection that writes, its batches and its thread.

    `committed` is called on the loop with the Units of each batch that is on disk, `failed` with the error of a batch
    that is not.
    """

    def __init__(
        self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop, *,
        committed: Callable[[Sequence[Unit]], None], failed: Callable[[AreaboxError], None],
    ) -> None:  # fmt: skip
        self._connection, self._loop = connection, loop
        self._committed, self._failed = committed, failed
        self._waiting: list[Item] = []
        self._exclusive: deque[Exclusive] = deque()
        self._exclusive_next = False
        self._busy = False
        self._scheduled = False
        self._drained: asyncio.Future[None] | None = None
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="areabox-writer", daemon=True)
        self._thread.start()
        self.batches = self.units = 0

    # --- taking in ------------------------------------------------------------------------------------------------

    def submit(self, work: Unit | Call) -> asyncio.Future[Any]:
        """Put work into the next commit; the future has True, False or rows once it is on disk."""
        self._refuse_closed()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(Item(work, future))
        self._schedule()
        return future

    def run(self, function: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        """Run a function on the connection in the writer's thread, between two commits, outside a transaction."""
        self._refuse_closed()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._exclusive.append(Exclusive(function, future))
        self._schedule()
        return future

    async def close(self) -> None:
        """Write what was accepted, and end the thread; the connection stays open."""
        self._refuse_closed()
        self._drained = self._loop.create_future()
        self._schedule()
        await self._drained
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _refuse_closed(self) -> None:
        if self._drained is not None:
            raise AreaboxError("the database is closed")

    def _schedule(self) -> None:
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """Begin what is next, if anything is: a batch, and in turn with batches whoever wants the connection alone."""
        self._scheduled = False
        if self._busy:
            return
        if self._exclusive and (self._exclusive_next or not self._waiting):
            self._busy, self._exclusive_next = True, False
            exclusive = self._exclusive.popleft()
            self._jobs.put(lambda: self._run_exclusive(exclusive))
        elif self._waiting:
            self._busy = self._exclusive_next = True
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            self._begin(batch)
        elif self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- a batch --------------------------------------------------------------------------------------------------

    def _begin(self, batch: Sequence[Item]) -> None:
        size = sum(len(item.work.statements) if isinstance(item.work, Unit) else 1 for item in batch)
        results: Results | None = None
        if size <= INLINE_STATEMENTS_MAX:
            with contextlib.suppress(_BusyError):  # the thread has the patience for it
                results = self._execute(batch)
        if results is None or self._connection.in_transaction:
            self._jobs.put(lambda: self._commit(batch, results))
        else:
            self._loop.call_soon(self._done, batch, results)

    def _execute(self, batch: Sequence[Item]) -> Results:
        """Run the statements of a batch in one transaction; it is left open if there is something to commit."""
        try:
            self._open_transaction()
            return [self._run(item.work) for item in batch]
        except _BusyError:
            raise
        except Exception as error:  # noqa: BLE001 -- it goes to whoever waits
            refused = self._undone(error)
            if breaks_off(error):
                return refused
            return [outcome(error)] if len(batch) == 1 else self._execute_apart(batch)

    def _execute_apart(self, batch: Sequence[Item]) -> Results:
        try:
            self._open_transaction()
            return [self._run_apart(item.work) for item in batch]
        except _BusyError:
            raise
        except Exception as error:  # noqa: BLE001 -- it goes to whoever waits
            return self._undone(error)

    def _execute_patiently(self, batch: Sequence[Item]) -> Results:
        self._connection.execute(f"pragma busy_timeout = {BUSY_MS}")
        try:
            return self._execute(batch)
        except _BusyError:
            return AreaboxError(f"nothing was stored: another program held the database for {BUSY_MS // 1000} s")
        finally:
            self._connection.execute("pragma busy_timeout = 0")

    def _open_transaction(self) -> None:
        try:
            self._connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                raise _BusyError from error
            raise

    def _run(self, work: Unit | Call) -> Any:
        execute = self._connection.execute
        if isinstance(work, Call):
            return execute(work.sql, work.args).fetchall()
        for statement in work.statements:
            count = execute(statement.sql, statement.args).rowcount
            if statement.expect is not None and count != statement.expect:
                raise GuardError
        return True

    def _run_apart(self, work: Unit | Call) -> Any:
        execute = self._connection.execute
        execute("savepoint unit")
        try:
            result = self._run(work)
        except Exception as error:
            if breaks_off(error) or not self._connection.in_transaction:
                raise
            result = outcome(error)
            execute("rollback to unit")
        execute("release unit")
        return result

    # --- in the thread --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _commit(self, batch: Sequence[Item], results: Results | None) -> None:
        """Commit, run before what was not run on the loop, and hand the results to the loop in one call."""
        try:
            if results is None:
                results = self._execute_patiently(batch)
            if self._connection.in_transaction:
                self._connection.execute("commit")
        except Exception as error:  # noqa: BLE001 -- it goes to whoever waits
            results = self._undone(error)
        self._call_loop(self._done, batch, results)

    def _run_exclusive(self, exclusive: Exclusive) -> None:
        try:
            result = exclusive.function(self._connection)
        except Exception as error:  # noqa: BLE001 -- it goes to whoever waits
            result = self._undone(error)
        self._call_loop(self._ran, exclusive.future, result)

    def _undone(self, error: Exception) -> AreaboxError:
        try:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
        except sqlite3.Error:
            log.exception("a transaction could not be rolled back")
        return refusal(error)

    def _call_loop(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("a commit ended after its loop")

    # --- and back on the loop -------------------------------------------------------------------------------------

    def _done(self, batch: Sequence[Item], results: Results) -> None:
        self._busy = False
        self.batches += 1
        self.units += len(batch)
        if isinstance(results, AreaboxError):
            for item in batch:
                _resolve(item.future, type(results)(*results.args))
            self._failed(results)
        else:
            units: list[Unit] = []
            for (work, future), result in zip(batch, results, strict=True):
                if result is True and isinstance(work, Unit):
                    units.append(work)
                _resolve(future, result)
            self._committed(units)
        self._next()

    def _ran(self, future: asyncio.Future[Any], result: Any) -> None:
        self._busy = False
        if isinstance(result, AreaboxError):
            self._failed(result)
        _resolve(future, result)
        self._next()


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
