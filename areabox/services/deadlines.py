"""Who cuts off what is not done in time? One timer for all calls that are under way, since one each costs more.

    entry = deadlines.begin(30.0)
    try:
        return await something()
    except asyncio.CancelledError:
        if entry.fired():       # it was cut off here, not cancelled by somebody else
            raise …
        raise
    finally:
        deadlines.end(entry)

A call is cut off up to `EVERY_S` late.
"""

from __future__ import annotations

import asyncio
from typing import Final

EVERY_S: Final = 0.1


class Entry:
    """One call that must be over by a time of the loop's clock."""

    __slots__ = ("cancelling", "cut", "task", "until_s")

    def __init__(self, task: asyncio.Task[object], until_s: float) -> None:
        self.task, self.until_s = task, until_s
        self.cancelling = task.cancelling()
        self.cut = False

    def fired(self) -> bool:
        """Tell whether the cancellation that has arrived is this deadline's own, and take it back then."""
        if not self.cut:
            return False
        self.cut = False
        return self.task.uncancel() <= self.cancelling


class Deadlines:
    """The calls of one kind that are under way."""

    def __init__(self) -> None:
        self._open: set[Entry] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, timeout_s: float) -> Entry:
        """Let the current task be cancelled once `timeout_s` have passed, unless `end` comes first."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        entry = Entry(task, loop.time() + timeout_s)
        self._open.add(entry)
        if self._timer is None:
            self._timer = loop.call_later(min(EVERY_S, max(timeout_s, 0.0)), self._look, loop)
        return entry

    def end(self, entry: Entry) -> None:
        """Forget a call; it is over."""
        self._open.discard(entry)
        if entry.cut:  # it was too late, and something else ended it
            entry.task.uncancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s, self._timer = loop.time(), None
        for entry in [entry for entry in self._open if entry.until_s <= now_s]:
            self._open.discard(entry)
            entry.cut = True
            entry.task.cancel()
        if self._open:
            self._timer = loop.call_later(EVERY_S, self._look, loop)
