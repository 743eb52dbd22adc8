"""One database, two engines: a file on the Pi, a server when scaled out. This page is all that the rest knows of it.

There are no interactive transactions. Whoever writes reads first, builds a `Unit` of guarded statements and commits it
whole; the engine may put many Units into one commit. A guard that fails means that another was faster: nothing of the
Unit was written, `commit` returns False, and the caller reads again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, Self

import msgspec

Row = Any  # a sequence of columns that also takes row["name"]


class Lane:
    """Which ready jobs go first."""

    NOW, RUN, BULK = 0, 1, 2


class Pointer(NamedTuple):
    """A job that may run now, as the hot queue knows it: the row is the truth, this only points at it."""

    job: str
    owner: str
    lane: int = Lane.RUN


class Message(NamedTuple):
    """Something that happened, for whoever watches; it may be lost."""

    topic: str
    body: dict[str, Any]


class Statement(NamedTuple):
    """SQL with `?` placeholders; `expect` is the row count without which the whole Unit is given up."""

    sql: str
    args: Sequence[Any]
    expect: int | None


class Unit:
    """A guarded transaction that is written whole or not at all, with what follows from it after the commit."""

    __slots__ = ("after", "messages", "pointers", "statements")

    def __init__(self) -> None:
        self.after: list[Callable[[], object]] = []
        self.statements: list[Statement] = []
        self.pointers: list[Pointer] = []
        self.messages: list[Message] = []

    def do(self, sql: str, *args: Any, expect: int | None = None) -> Self:
        """Add a statement; with `expect`, a guard on the number of rows that it touches."""
        self.statements.append(Statement(sql, args, expect))
        return self

    def push(self, pointer: Pointer) -> Self:
        """Offer a job to the workers, once this Unit is on disk."""
        self.pointers.append(pointer)
        return self

    def publish(self, topic: str, **body: Any) -> Self:
        """Tell whoever watches `topic`, once this Unit is on disk."""
        self.messages.append(Message(topic, body))
        return self

    def then(self, act: Callable[[], object]) -> Self:
        """Call `act`, which is quick and does not raise, once this Unit is on disk and before its jobs are offered."""
        self.after.append(act)
        return self

    def take(self, other: Unit) -> Self:
        """Add all of another Unit to this one."""
        self.statements += other.statements
        self.pointers += other.pointers
        self.messages += other.messages
        self.after += other.after
        return self


class QueueStats(msgspec.Struct, frozen=True):
    """How full the hot queue is: jobs waiting for a slot, and jobs that hold one."""

    ready: int
    executing: int


Handler = Callable[[str], Awaitable[None]]


class Backend(Protocol):
    """What the rest of areabox knows of its storage."""

    dialect: Literal["sqlite", "postgres"]

    async def open(self) -> None:
        """Open, migrate and be ready to write."""
        ...

    async def close(self) -> None:
        """Write what was accepted, checkpoint and let go."""
        ...

    async def read(self, sql: str, *args: Any) -> list[Row]:
        """Run a query on a read-only connection; it sees every commit that was awaited before."""
        ...

    async def commit(self, unit: Unit) -> bool:
        """Write a Unit, on disk when this returns True; False: a guard failed and nothing was written.

        Raises `ConflictError` where a UNIQUE or CHECK constraint refuses it and `StorageFullError` on a full disk;
        nothing was written then either.
        """
        ...

    async def write(self, sql: str, *args: Any) -> list[Row]:
        """Run one statement with `returning` through the same group commit, and return its rows."""
        ...

    def offer(self, pointers: Iterable[Pointer]) -> None:
        """Put jobs that are ready on disk already into the hot queue."""
        ...

    async def consume(self, handler: Handler, *, slots: int) -> None:
        """Hand each pointer to `handler`, at most `slots` at once and fair among owners, until cancelled."""
        ...

    async def publish(self, topic: str, **body: Any) -> None:
        """Tell whoever watches `topic`, without writing."""
        ...

    def subscribe(self, *topics: str) -> AsyncIterator[Message]:
        """Watch topics from now on; a watcher that is too slow loses the oldest messages."""
        ...

    def stats(self) -> QueueStats:
        """Return how full the hot queue is."""
        ...


async def one(backend: Backend, sql: str, *args: Any) -> Row | None:
    """Return the first row of a query, or None."""
    rows = await backend.read(sql, *args)
    return rows[0] if rows else None
