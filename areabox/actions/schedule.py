"""What is due: fires schedules exactly once for each of their times.

The row is the truth: it says when the next time is, and is moved on in the transaction that stores the event. The heap
only spares the question. The event's key is its due time, so a clock that is set back lives through an hour twice and
fires once.
"""

from __future__ import annotations

import asyncio
import heapq
import logging

import msgspec

from areabox.actions import rows, triggers
from areabox.actions.inbox import Inbox
from areabox.actions.rows import Subscription
from areabox.actions.subscriptions import Subscriptions
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import InputError
from areabox.monitoring.loops import Bell

log = logging.getLogger(__name__)

FIRE_MAX = 500  # subscriptions in one tick
SLEEP_S_MAX = 10.0  # a wall clock that jumps is noticed within this time
READ_ALL_FROM = 50  # so many changed ones are read all together
SET_BACK_MS = 1_000
TOGETHER_S = 0.2  # after a firing, those that are due so soon are fired together: many share a commit, none is early

_STORED = "select 1 from event where subscription = ? and dedupe = ?"


class _Entry(msgspec.Struct):
    sub: Subscription
    spec: triggers.Spec
    next: int


class Scheduler:
    """The heap of schedules and the tick that fires what is due."""

    def __init__(
        self, backend: Backend, clock: Clock, subscriptions: Subscriptions, inbox: Inbox, bell: Bell | None = None
    ) -> None:
        self.bell = bell or Bell()
        self._backend = backend
        self._clock = clock
        self._subscriptions = subscriptions
        self._inbox = inbox
        self._heap: list[tuple[int, str]] = []
        self._entries: dict[str, _Entry] = {}
        self._changed: set[str] | None = None  # None: all may have
        self._seen_ms = 0

    def changed(self, id: str | None = None) -> None:
        """Look at a subscription again, or at all of them, at the next tick, which is now."""
        if id is None:
            self._changed = None
        elif self._changed is not None:
            self._changed.add(id)
        self.bell.ring()

    async def tick(self) -> float:
        """Fire what is due, and return the seconds until the next."""
        now_ms = self._clock.now_ms()
        if now_ms < self._seen_ms - SET_BACK_MS:
            self._entries.clear()  # the clock was set back: times that lay behind lie ahead
            self._changed = None
        self._seen_ms = now_ms
        await self._refresh(now_ms)
        due = self._pop(now_ms)
        if due:
            await self._fire_all(due, now_ms)
        if not self._heap:
            return SLEEP_S_MAX
        pause_s = max(self._heap[0][0] - self._clock.now_ms(), 0) / 1000
        return min(max(pause_s, TOGETHER_S if 0 < len(due) < FIRE_MAX else 0.0), SLEEP_S_MAX)

    def _pop(self, now_ms: int) -> list[_Entry]:
        due: list[_Entry] = []
        while self._heap and self._heap[0][0] <= now_ms and len(due) < FIRE_MAX:
            next_ms, id = heapq.heappop(self._heap)
            entry = self._entries.get(id)
            if entry is not None and entry.next == next_ms:
                due.append(entry)
        return due

    async def _fire_all(self, due: list[_Entry], now_ms: int) -> None:
        """Fire all of them; what fails is looked at again, and the loop is told."""
        outcomes = await asyncio.gather(*(self._fire(entry, now_ms) for entry in due), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            self._entries.clear()
            self._changed = None
            raise failures[0]

    async def _fire(self, entry: _Entry, now_ms: int) -> None:
        """Store the events of all times that are due and move the row on, in one transaction."""
        sub = entry.sub
        due, next_ms = triggers.due_times(entry.spec, entry.next, now_ms, sub.missed)
        while True:
            unit = Unit()
            after = rows.fired(unit, sub, next_ms, due[-1] if due else sub.last)
            for at_ms in due:
                stamp = triggers.stamp(at_ms)
                payload = {"due": stamp, "fired": triggers.stamp(now_ms)}
                self._inbox.add(unit, self._inbox.event(sub, payload, dedupe=stamp))
            if await self._backend.commit(unit):
                self._hold(after, entry.spec)
                return
            fresh = [at for at in due if not await self._backend.read(_STORED, sub.id, triggers.stamp(at))]
            if fresh == due:  # no time was stored before, so the row has changed: look at it again
                self.changed(sub.id)
                return
            due = fresh

    async def _refresh(self, now_ms: int) -> None:
        """Read again what has changed."""
        changed, self._changed = self._changed, set()
        if changed is None or len(changed) > READ_ALL_FROM:
            changed = await self._differing()
        for id in changed:
            self._entries.pop(id, None)
        found = [sub for sub in await self._read(changed) if sub is not None and sub.active and sub.kind == "schedule"]
        await asyncio.gather(*(self._look(sub, now_ms) for sub in found))

    async def _read(self, ids: set[str]) -> list[Subscription | None]:
        if len(ids) > READ_ALL_FROM:
            return [sub for sub in await self._subscriptions.active("schedule") if sub.id in ids]
        return [await self._subscriptions.load(id) for id in ids]

    async def _differing(self) -> set[str]:
        """Return those that are on or off, or at another version, since they were looked at."""
        versions = await self._subscriptions.versions("schedule")
        held = {id: entry.sub.version for id, entry in self._entries.items()}
        return {id for id in versions.keys() | held.keys() if versions.get(id) != held.get(id)}

    async def _look(self, sub: Subscription, now_ms: int) -> None:
        """Take one in, due when its row says, or sooner where the clock was set back; the row then says so, too."""
        try:
            spec = self._subscriptions.spec(sub)
        except InputError as error:
            log.warning("schedule %s cannot fire: %s", sub.id, error, extra={"subscription": sub.id})
            return
        if sub.next is not None and sub.next > now_ms:
            sooner = triggers.next_after(spec, now_ms)
            if sooner is not None and sooner < sub.next:
                unit = Unit()
                sub = rows.fired(unit, sub, sooner, sub.last)  # or a restart beyond that time would not know of it
                if not await self._backend.commit(unit):
                    self.changed(sub.id)
                    return
        self._hold(sub, spec)

    def _hold(self, sub: Subscription, spec: triggers.Spec) -> None:
        if sub.next is None:
            self._entries.pop(sub.id, None)  # it has fired for the last time
            return
        self._entries[sub.id] = _Entry(sub, spec, sub.next)
        heapq.heappush(self._heap, (sub.next, sub.id))
