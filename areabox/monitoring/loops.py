"""How a loop lives: a tick does the work and says how long to sleep; a bell ends the sleep early.

async def tick() -> float: ...      seconds until the next; tests call it
await run_loop("poller", tick, bell)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

SLEEP_MAX_S = 3600.0
PAUSE_AFTER_ERROR_S = (1.0, 60.0)


class Bell:
    """Wakes a loop before its time is up: a hint, never the only way to hear of work."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """End the sleep of whoever waits, or the next sleep if nobody does."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Sleep for `timeout_s` seconds or until the bell rings."""
        try:
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


async def run_loop(name: str, tick: Callable[[], Awaitable[float]], bell: Bell) -> None:
    """Tick, sleep, tick again, until cancelled; a tick that fails is logged and tried again after a growing pause."""
    failures = 0
    while True:
        try:
            pause_s = await tick()
            failures = 0
        except Exception:
            log.exception("the %s loop failed and goes on", name, extra={"loop": name})
            low, high = PAUSE_AFTER_ERROR_S
            pause_s, failures = min(low * 2**failures, high), failures + 1
        await bell.wait(min(pause_s, SLEEP_MAX_S))
