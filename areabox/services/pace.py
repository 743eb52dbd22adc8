"""How fast may a service be asked? What its connector says, counted for each connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from areabox.clock import Clock
from areabox.errors import RateLimited
from areabox.sdk import Limits, duration_ms

_RATE = re.compile(r"(\d{1,9})/(\d*(?:ms|[smhdw]))")


class Pace:
    """A bucket of requests that fills evenly, and the places for those at once."""

    def __init__(self, clock: Clock, name: str, limits: Limits) -> None:
        self._clock, self._name = clock, name
        self._count, self._period_s = parse_rate(limits.rate) if limits.rate else (0, 1.0)
        self._left, self._at_s = float(self._count), clock.monotonic_s()
        self._places = asyncio.Semaphore(limits.concurrency) if limits.concurrency else None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place; raises `RateLimited` if there were too many requests lately."""
        if self._count:
            self._take()
        if self._places is None:
            yield
            return
        async with self._places:
            yield

    def _take(self) -> None:
        now_s = self._clock.monotonic_s()
        per_s = self._count / self._period_s
        self._left = min(self._left + (now_s - self._at_s) * per_s, self._count)
        self._at_s = now_s
        if self._left < 1:
            wait_s = (1 - self._left) / per_s
            raise RateLimited(f"{self._name} is asked {self._count} times in {self._period_s:g} s at most", wait_s)
        self._left -= 1


def parse_rate(text: str) -> tuple[int, float]:
    """Return how many requests in how many seconds: `5000/h`, `200/15m`; raises ValueError."""
    match = _RATE.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is not a rate; write 5000/h or 200/15m")
    period = match[2] if match[2][0].isdigit() else f"1{match[2]}"
    return int(match[1]), duration_ms(period) / 1000
