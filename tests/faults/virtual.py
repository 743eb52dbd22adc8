"""A machine in a test's hand: time that passes only when nobody has work, chance from a seed, a disk that can crash.

The clock of the loop moves when the loop would sleep, straight to the next timer, so ten hours take a second. The
database is one SQLite connection in memory without threads: the same SQL and the same groups of Units as the real one,
at moments that chance picks. What was committed stays when the process dies; all else goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import selectors
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from areabox.clock import encode_id
from areabox.database import Unit
from areabox.database import migrate as migrations
from areabox.database.refusals import GuardError, outcome
from areabox.database.sqlite import SqliteBackend
from areabox.database.writer import Call
from areabox.errors import StorageFullError

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


class Died(asyncio.CancelledError):
    """The process is dead: nothing of it goes on."""


class Selector(selectors.SelectSelector):
    """Waits for nothing from outside: instead of sleeping it moves the clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if timeout > 0:
            self.loop.now += timeout
            self.loop.naps += 1
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is simulated."""

    def __init__(self) -> None:
        self.now, self.naps = 0.0, 0
        selector = Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class SimulatedClock:
    """Time of the loop, ids and chance from a seed; it outlives the process."""

    def __init__(self, loop: VirtualLoop, seed: str) -> None:
        self._loop, self._chance, self._last = loop, random.Random(seed), 0

    def now_ms(self) -> int:
        return START_MS + int(self._loop.now * 1000)

    def monotonic_s(self) -> float:
        return self._loop.now

    def new_id(self) -> str:
        value = (self.now_ms() << 80) | self._chance.getrandbits(80)
        self._last = value if value > self._last else self._last + 1
        return encode_id(self._last)

    def uniform(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)

    def secret(self, length_bytes: int) -> bytes:
        return self._chance.randbytes(length_bytes)


class Trace:
    """Everything that happened, in order, as a hash."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines = 0
        self.kept: list[str] | None = None

    def note(self, *what: Any) -> None:
        text = repr(what)
        self.lines += 1
        self._hash.update(text.encode())
        if self.kept is not None:
            self.kept.append(text)

    def digest(self) -> str:
        return self._hash.hexdigest()


class Disk:
    """The file: what was committed, whatever happens to the process."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.db.row_factory = sqlite3.Row
        self.db.execute("pragma foreign_keys = on")
        migrations.migrate(self.db, Path("simulated.db"), START_MS)
        self.full = False
        self.commits = 0

    def rows(self, sql: str, *args: Any) -> list[Any]:
        return self.db.execute(sql, args).fetchall()


class Crashes(NamedTuple):
    """How often a commit is the last thing that a process does: before it, or after it and nobody was told."""

    before: float = 0.0
    unheard: float = 0.0
    heard: float = 0.0  # whoever waits for it is told, and gets no further than its next wait


class InlineBackend(SqliteBackend):
    """The `Backend` on a `Disk`: batches as the real writer makes them, at moments that chance picks."""

    def __init__(
        self, disk: Disk, clock: SimulatedClock, chance: random.Random, trace: Trace, crash: Callable[[], None],
        crashes: Crashes,
    ) -> None:  # fmt: skip
        super().__init__(Path("simulated.db"), clock, reserve_bytes=0)
        self.disk, self.chance, self.trace, self.crash, self.crashes = disk, chance, trace, crash, crashes
        self.dead = False
        self._queue: list[tuple[Unit | Call, asyncio.Future[Any]]] = []
        self._under_way = False

    # --- opening and closing --------------------------------------------------------------------------------------

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        await self._jobs.close()
        self.dead = True

    async def shrink(self) -> int:
        return 0

    async def used_bytes(self) -> int:
        return 0

    # --- reading --------------------------------------------------------------------------------------------------

    async def read(self, sql: str, *args: Any) -> list[Any]:
        """Run a query at some moment between the question and the answer."""
        moment = self.chance.random()
        if moment < 0.5:
            await self._pass(moment * 2)
        if self.dead:
            raise Died
        rows = self.disk.db.execute(sql, args).fetchall()
        if moment >= 0.5:
            await self._pass(moment * 2 - 1)
        return rows

    async def _pass(self, chance: float) -> None:
        await asyncio.sleep(0 if chance < 0.8 else chance / 200)

    # --- writing --------------------------------------------------------------------------------------------------

    async def commit(self, unit: Unit) -> bool:
        written: bool = await self._submit(unit)
        return written

    async def write(self, sql: str, *args: Any) -> list[Any]:
        rows: list[Any] = await self._submit(Call(sql, args))
        return rows

    def _submit(self, work: Unit | Call) -> asyncio.Future[Any]:
        if self.dead:
            raise Died
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append((work, future))
        self._begin()
        return future

    def _begin(self) -> None:
        if self._under_way or not self._queue:
            return
        self._under_way = True
        loop = asyncio.get_running_loop()
        if self.chance.random() < 0.7:
            loop.call_soon(self._flush)
        else:
            loop.call_later(self.chance.random() / 100, self._flush)

    def _flush(self) -> None:
        """Commit a batch, or die of it."""
        if self.dead:
            return
        fate = self.chance.random()
        if fate < self.crashes.before:
            self.crash()
            return
        batch, self._queue = self._queue, []
        if self.disk.full:
            results: list[Any] = [StorageFullError("nothing was stored: the disk is full") for _ in batch]
        else:
            self.disk.commits += 1
            self.disk.db.execute("begin immediate")
            results = [self._run(work) for work, _ in batch]
            self.disk.db.execute("commit")
        if fate < self.crashes.before + self.crashes.unheard:
            self.crash()
            return
        last = fate < self.crashes.before + self.crashes.unheard + self.crashes.heard
        loop = asyncio.get_running_loop()
        if self.chance.random() < 0.7:
            self._tell(batch, results, last)
        else:
            loop.call_later(self.chance.random() / 100, self._tell, batch, results, last)

    def _tell(self, batch: list[Any], results: list[Any], last: bool) -> None:
        if self.dead:
            return
        units: list[Unit] = []
        for (work, future), result in zip(batch, results, strict=True):
            if result is True and isinstance(work, Unit):
                units.append(work)
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        for unit in units:
            for act in unit.after:
                act()
            self._jobs.offer(unit.pointers)
            self._bus.tell(unit.messages)
        self._under_way = False
        self._begin()
        if last:
            asyncio.get_running_loop().call_soon(self.crash)

    def _run(self, work: Unit | Call) -> Any:
        """Run one piece of a batch, which is undone alone if it is refused."""
        db = self.disk.db
        db.execute("savepoint unit")
        try:
            if isinstance(work, Call):
                result: Any = db.execute(work.sql, work.args).fetchall()
            else:
                for statement in work.statements:
                    count = db.execute(statement.sql, statement.args).rowcount
                    if statement.expect is not None and count != statement.expect:
                        raise GuardError
                result = True
        except Exception as error:
            db.execute("rollback to unit")
            result = outcome(error)
        db.execute("release unit")
        self._note(work, result)
        return result

    def _note(self, work: Unit | Call, result: Any) -> None:
        if isinstance(work, Call):
            self.trace.note(work.sql, tuple(work.args), len(result) if isinstance(result, list) else result)
        else:
            self.trace.note([tuple(statement.args) for statement in work.statements], result is True)
