"""Which source is asked next, and what becomes of its answer.

The heap holds only when each subscription is due; its row is read when its turn comes. Times between polls are
measured on the monotonic clock, so a wall clock that jumps neither bursts nor starves. An answer without news writes
nothing. A source that fails is asked later and later; one whose connection is dead is left alone until it is renewed.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import heapq
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any, Protocol
from urllib.parse import urlsplit

from areabox.actions import rows
from areabox.actions.inbox import Inbox, Item, Progress, unique
from areabox.actions.making import POLL_MS_DEFAULT
from areabox.actions.rows import Subscription
from areabox.actions.subscriptions import Subscriptions
from areabox.actions.trouble import TELL_AFTER, Tell
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import (
    AreaboxError,
    AuthExpired,
    ConfigurationError,
    ConnectorError,
    InputError,
    Permanent,
    RateLimited,
    Transient,
)
from areabox.monitoring.loops import Bell
from areabox.services.answers import HINT

log = logging.getLogger(__name__)

SLOTS = 32  # polls at once
PER_SOURCE = 4  # … of one connection or host, so that a slow one does not hold all slots
TIMEOUT_S = 120.0  # of one poll with all its pages
ITEMS_MAX = 10_000  # of one poll
JITTER = 0.1
BACKOFF_MS_MAX = 3_600_000
RETRY_AFTER_MS_MAX = 86_400_000
RAMP_PER_S = 20.0  # overdue polls that start in a second, after areabox was off
STORAGE_PAUSE_S = 60.0
SLEEP_S_MAX = 60.0
RELOAD_FROM = 200
HINT_TIMES = 4  # how much longer than wished a source may have the wait


class Sources(Protocol):
    """Whoever calls connectors."""

    def poll(
        self, action_id: str, params: dict[str, Any], *, owner: str, connection: str | None, cursor: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield what a source lists, oldest first; changes `cursor` in place. Raises `ConnectorError`."""
        ...


class Connections(Protocol):
    """Whoever knows which connections work."""

    async def dead(self, id: str, why: str) -> None:
        """Note that a connection needs a person."""
        ...


class Delivered(Protocol):
    """Whoever knows which sources deliver their news as well."""

    def every_ms(self, sub: Subscription, begun_ms: int) -> int:
        """Return how long to wait after the poll that began then."""
        ...

    async def polled(self, sub: Subscription, begun_ms: int, news: int) -> None:
        """Judge by what a poll found whether all is delivered that should be."""
        ...


class Poller:
    """The heap of polls, and the tick that starts those that are due."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        subscriptions: Subscriptions,
        inbox: Inbox,
        sources: Sources,
        connections: Connections,
        bell: Bell | None = None,
        *,
        pushes: Delivered | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.bell = bell or Bell()
        self._pushes, self._tell = pushes, tell
        self._backend = backend
        self._clock = clock
        self._subscriptions = subscriptions
        self._inbox = inbox
        self._sources = sources
        self._connections = connections
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}  # the truth of the heap: monotonic seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._blocked: dict[str, deque[str]] = {}  # due, while their source is busy
        self._parked: set[str] = set()  # until their connection is renewed
        self._again: set[str] = set()  # due again before they ended
        self._changed: set[str] | None = None  # None: all may have

    def changed(self, id: str | None = None) -> None:
        """Look at a subscription again, or at all of them, now."""
        if id is None:
            self._changed = None
        elif self._changed is not None:
            self._changed.add(id)
        self.bell.ring()

    async def reconnected(self, connection: str) -> None:
        """Poll what was left alone while its connection was dead."""
        for sub in await self._subscriptions.of_connection(connection):
            self._parked.discard(sub.id)
            if sub.kind == "poll":
                self._schedule(sub.id, 0.0)
        self.bell.ring()

    def soon(self, id: str) -> None:
        """Poll a subscription now."""
        self._schedule(id, 0.0)
        self.bell.ring()

    async def tick(self) -> float:
        """Start the polls that are due and have a slot, and return the seconds until the next."""
        await self._refresh()
        now_s = self._clock.monotonic_s()
        while self._heap and self._heap[0][0] <= now_s and len(self._running) < SLOTS:
            due_s, id = heapq.heappop(self._heap)
            if self._due.get(id) == due_s and not self._is_running(id):
                await self._start(id)
        if not self._heap or len(self._running) >= SLOTS:
            return SLEEP_S_MAX  # whoever frees a slot rings
        return min(max(self._heap[0][0] - now_s, 0.0), SLEEP_S_MAX)

    def next_ms(self, id: str) -> int | None:
        """Return when a subscription is polled next, for people; its row knows it only roughly."""
        due_s = self._due.get(id)
        return None if due_s is None else self._clock.now_ms() + int((due_s - self._clock.monotonic_s()) * 1000)

    async def settle(self) -> None:
        """Wait until the polls that run now have ended."""
        while self._running:
            await asyncio.wait(self._running.values())

    async def close(self) -> None:
        """End the polls that run now; what they had is on disk or will be listed again."""
        for task in self._running.values():
            task.cancel()
        await self.settle()

    # -- when ------------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        changed, self._changed = self._changed, set()
        if changed is None or len(changed) > RELOAD_FROM:
            await self._load()
            return
        for id in changed:
            sub = await self._subscriptions.load(id)
            if sub is None or not sub.active or sub.kind != "poll":
                self._due.pop(id, None)
            else:
                self._schedule(id, self._wait_s(sub.next))

    async def _load(self) -> None:
        """Take in all polls, those that are known at the time that they had; overdue ones start one after the other."""
        self._heap.clear()
        before, self._due = self._due, {}
        overdue = 0
        for due in await self._subscriptions.due("poll"):
            every_s = (due.every_ms or POLL_MS_DEFAULT) / 1000
            if due.id in self._running or due.id in self._parked:
                continue  # it says itself when it goes on
            wait_s = self._wait_s(due.next)
            if due.id in before and not due.baseline:
                wait_s = min(max(before[due.id] - self._clock.monotonic_s(), 0.0), every_s)
            elif wait_s <= 0:
                wait_s = min(overdue / RAMP_PER_S, every_s)
                overdue += 1
            self._schedule(due.id, wait_s)

    def _wait_s(self, next_ms: int | None) -> float:
        return 0.0 if next_ms is None else max(next_ms - self._clock.now_ms(), 0) / 1000

    def _schedule(self, id: str, wait_s: float) -> None:
        due_s = self._clock.monotonic_s() + wait_s
        self._due[id] = due_s
        heapq.heappush(self._heap, (due_s, id))

    # -- one poll --------------------------------------------------------------------------------------------------

    def _is_running(self, id: str) -> bool:
        if id in self._running:
            self._again.add(id)
        return id in self._running

    async def _start(self, id: str) -> None:
        sub = await self._subscriptions.load(id)
        if sub is None or not sub.active or sub.kind != "poll":
            self._due.pop(id, None)
            return
        source = _source(sub)
        if self._busy[source] >= PER_SOURCE:
            self._blocked.setdefault(source, deque()).append(id)
            return
        self._busy[source] += 1
        task = asyncio.create_task(self._poll(sub), name=f"poll {sub.action}")
        self._running[id] = task
        task.add_done_callback(functools.partial(self._ended, id, source))

    def _ended(self, id: str, source: str, task: asyncio.Task[None]) -> None:
        del self._running[id]
        self._busy[source] -= 1
        self._unblock(source)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a poll could not be written down: %s", error, exc_info=error, extra={"subscription": id})
            self._schedule(id, STORAGE_PAUSE_S)
        if id in self._again:
            self._again.discard(id)
            self._schedule(id, 0.0)
        self.bell.ring()

    def _unblock(self, source: str) -> None:
        """Let as many of a source's polls go on as it has free places."""
        blocked, places = self._blocked.get(source, deque()), PER_SOURCE - self._busy[source]
        while blocked and places > 0:
            if (id := blocked.popleft()) in self._due:  # not switched off meanwhile
                self._schedule(id, 0.0)
                places -= 1
        if not blocked:
            self._blocked.pop(source, None)
        if not self._busy[source]:
            del self._busy[source]

    async def _poll(self, sub: Subscription) -> None:
        """Ask the source, store what is new, and say when to ask again."""
        cursor, items, begun_ms = copy.deepcopy(sub.cursor), list[Item](), self._clock.now_ms()
        try:
            dedupe = self._subscriptions.operation(sub.action).dedupe
            await self._ask(sub, cursor, items)
            if dedupe is not None:
                items = unique(items, dedupe)
        except AuthExpired as error:
            await self._fail(sub, error, items)
            if sub.connection is not None:
                self._due.pop(sub.id, None)
                self._parked.add(sub.id)
                await self._connections.dead(sub.connection, str(error))
        except (ConnectorError, InputError, ConfigurationError) as error:
            await self._fail(sub, error, items)
        else:
            wait_s = self._jittered(hinted_ms(self._every_ms(sub, begun_ms), cursor.pop(HINT, None)))
            progress = Progress(cursor=cursor, next=self._at(wait_s), baseline_done=sub.baseline)
            events = await self._inbox.put(sub, items, dedupe=dedupe, progress=progress)
            self._schedule(sub.id, wait_s)
            if self._tell is not None and sub.fails >= TELL_AFTER:
                self._tell(unit := Unit(), sub, None)
                await self._backend.commit(unit)
            if self._pushes is not None:
                await self._pushes.polled(sub, begun_ms, len(events))

    def _every_ms(self, sub: Subscription, begun_ms: int) -> int:
        wished_ms = sub.every_ms or POLL_MS_DEFAULT
        return wished_ms if self._pushes is None else self._pushes.every_ms(sub, begun_ms)

    async def _ask(self, sub: Subscription, cursor: dict[str, Any], items: list[Item]) -> None:
        params = sub.params | self._subscriptions.secrets(sub)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async for event in self._sources.poll(
                    sub.action, params, owner=sub.owner, connection=sub.connection, cursor=cursor
                ):
                    items.append(Item.of(event))
                    if len(items) > ITEMS_MAX:
                        raise Permanent(f"the source listed more than {ITEMS_MAX} items at once")
        except TimeoutError as error:
            raise Transient(f"the source was not read to its end within {TIMEOUT_S:.0f} s") from error

    async def _fail(self, sub: Subscription, error: AreaboxError, items: list[Item]) -> None:
        """Keep what came before the failure, but not the cursor: it is read again, and known then."""
        if items and not sub.baseline and isinstance(error, ConnectorError):
            await self._inbox.put(sub, items, dedupe=self._subscriptions.operation(sub.action).dedupe)
        fails = sub.fails + 1
        wait_s = self._jittered(backoff_ms(sub.every_ms or POLL_MS_DEFAULT, fails, error))
        unit = Unit()
        rows.update(unit, sub, fails=fails, error=str(error) or type(error).__name__, next=self._at(wait_s))
        if self._tell is not None and fails == TELL_AFTER and not isinstance(error, AuthExpired):
            self._tell(unit, sub, str(error))
        await self._backend.commit(unit)
        self._schedule(sub.id, wait_s)

    def _jittered(self, wait_ms: int) -> float:
        return wait_ms / 1000 * self._clock.uniform(1 - JITTER, 1 + JITTER)

    def _at(self, wait_s: float) -> int:
        return self._clock.now_ms() + int(wait_s * 1000)


def backoff_ms(every_ms: int, fails: int, error: AreaboxError) -> int:
    """Return how long a source that failed for the `fails`th time in a row is left alone."""
    wait_ms: int = min(every_ms << min(fails - 1, 16), max(every_ms, BACKOFF_MS_MAX))
    if isinstance(error, RateLimited) and error.retry_after_s:
        return max(wait_ms, min(int(error.retry_after_s * 1000), RETRY_AFTER_MS_MAX))
    return wait_ms


def hinted_ms(every_ms: int, hint_s: Any) -> int:
    """Return how long to wait where the source says for how long its answer stays as it is."""
    if not isinstance(hint_s, (int, float)) or hint_s * 1000 <= every_ms:
        return every_ms
    return min(int(hint_s * 1000), every_ms * HINT_TIMES)


def _source(sub: Subscription) -> str:
    """Return what a poll shares with others: its connection, else the host in its parameters, else its service."""
    if sub.connection is not None:
        return sub.connection
    for value in sub.params.values():
        if isinstance(value, str) and "://" in value:
            return urlsplit(value).netloc
    return sub.action
