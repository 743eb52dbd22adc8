"""Nothing grows without limit: what is old, too many or too large goes, in small bites, and the file shrinks.

Each module deletes its own rows; this only says when and how far. Ended runs also go by number and by the size of the
database, the oldest first.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from areabox.clock import Clock

log = logging.getLogger(__name__)

EVERY_S = 3600.0
AGAIN_S = 1.0  # after a tick that left something to do
BITE = 200  # rows and what hangs on them; one commit, which others wait for
BITES_MAX = 50

Prune = Callable[[int, int], Awaitable[int]]


class Sweep(NamedTuple):
    """Something that is forgotten after a while: `prune(before_ms, limit)` deletes and returns how many."""

    name: str
    keep_ms: int
    prune: Prune


class Space(NamedTuple):
    """How large the stored data may be, how large it is, and how its file gives space back."""

    limit_bytes: int
    used_bytes: Callable[[], Awaitable[int]]
    shrink: Callable[[], Awaitable[object]]


class Ended(NamedTuple):
    """How many ended runs may be kept, how many there are, and how the oldest go."""

    limit: int
    number: Callable[[], Awaitable[int]]
    prune: Prune


class Housekeeping:
    """Keeps the database within its limits."""

    def __init__(self, clock: Clock, sweeps: Sequence[Sweep], ended: Ended, space: Space) -> None:
        self._clock, self._sweeps, self._ended, self._space = clock, sweeps, ended, space

    async def tick(self) -> float:
        """Delete what may go, at most `BITES_MAX` bites of each kind; return seconds until the next tick."""
        gone, more = 0, False
        for sweep in self._sweeps:
            count, left = await self._bites(sweep.prune, self._clock.now_ms() - sweep.keep_ms)
            gone, more = gone + count, more or left
        for excess in (self._too_many, self._too_large):
            count, left = await excess()
            gone, more = gone + count, more or left
        if gone:
            await self._space.shrink()
            log.info("%d old rows deleted", gone, extra={"rows": gone})
        return AGAIN_S if more else EVERY_S

    async def _bites(self, prune: Prune, before_ms: int) -> tuple[int, bool]:
        """Return how many rows went, and whether there are more."""
        gone = 0
        for _ in range(BITES_MAX):
            count = await prune(before_ms, BITE)
            gone += count
            if count < BITE:
                return gone, False
        return gone, True

    async def _too_many(self) -> tuple[int, bool]:
        excess = min(await self._ended.number() - self._ended.limit, BITE * BITES_MAX)
        gone = 0
        while excess - gone > 0:
            count = await self._ended.prune(self._clock.now_ms(), min(excess - gone, BITE))
            if not count:
                break
            gone += count
        return gone, excess == BITE * BITES_MAX

    async def _too_large(self) -> tuple[int, bool]:
        gone = 0
        for _ in range(BITES_MAX):
            if await self._space.used_bytes() <= self._space.limit_bytes:
                return gone, False
            count = await self._ended.prune(self._clock.now_ms(), BITE)
            await self._space.shrink()  # before looking again, or far too much would go
            gone += count
            if not count:
                log.warning("the database is larger than retention_size, though no ended run is left to delete")
                return gone, False
        return gone, True
