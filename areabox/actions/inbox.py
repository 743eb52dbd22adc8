"""How something that happened becomes an event with its runs: whole, in one transaction, and once.

`Starter` is the seam to the composition above: it adds the runs and first jobs of an event to the same Unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from areabox.actions import rows
from areabox.actions.rows import Subscription
from areabox.actions.subscriptions import Subscriptions
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.database.blobs import pack
from areabox.errors import ConflictError, InputError

Dedupe = Literal["key", "change"] | None

BATCH_ITEMS = 100  # events in one Unit
TRIES = 8  # how often a Unit whose guard failed is built again
KEY_LENGTH_MAX = 200
REFRESH_MS = 7 * 86_400_000  # how old the note "still listed" may become before it is renewed
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024

_EVENT = """
insert into event (id, owner, subscription, action, dedupe, payload, at, depth, reason)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (subscription, dedupe) do nothing
"""
_SEEN_NEW = """
insert into seen (subscription, key, print, at) values (?, ?, ?, ?) on conflict (subscription, key) do nothing
"""
_SEEN_CHANGED = "update seen set print = ?, at = ? where subscription = ? and key = ? and print = ?"
_SEEN_LISTED = "update seen set at = ? where subscription = ? and key = ? and at < ?"
_SOME = ", ".join("?" * BATCH_ITEMS)
_SEEN_SOME = f"select key, print, at from seen where subscription = ? and key in ({_SOME})"  # noqa: S608 -- only `?`
_SEEN_ONE = "select print from seen where subscription = ? and key = ?"
_STORED_SOME = f"select dedupe from event where subscription = ? and dedupe in ({_SOME})"  # noqa: S608 -- only `?`


class Item(msgspec.Struct, frozen=True):
    """One thing that a source yielded: what it is known by, and what expressions see of it."""

    key: str
    payload: dict[str, Any]

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Item:
        """Make one of a connector's event; an empty `id` is not shown."""
        key = str(event.get("id") or "")
        return cls(key, dict(event) if key else {name: value for name, value in event.items() if name != "id"})


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is about to be stored; `text` is its payload in JSON, ready for a column."""

    id: str
    owner: str
    subscription: str | None
    action: str
    payload: dict[str, Any]
    text: str
    at: int
    dedupe: str
    depth: int = 0


class Started(msgspec.Struct, frozen=True):
    """What became of an event: `reason` says why no area took it, None if one did."""

    reason: str | None = None


class Starter(Protocol):
    """Whoever makes runs of events; it may be asked again for the same event if another was faster."""

    def start(self, unit: Unit, event: NewEvent) -> Started:
        """Add to `unit` the runs, first jobs and wake-ups that this event means."""
        ...


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a subscription got: written with the events it yielded, if nobody wrote it meanwhile."""

    cursor: dict[str, Any] | None = None  # None: as it was
    next: int | None = None
    baseline_done: bool = False


class _Known(NamedTuple):
    print: str
    at: int  # when the source last listed it; before 1970: its event is stored, but the note was lost


_STORED_ONLY = _Known("", -1)


class Inbox:
    """The one door through which events come in."""

    def __init__(self, backend: Backend, clock: Clock, starter: Starter, subscriptions: Subscriptions) -> None:
        self._backend = backend
        self._clock = clock
        self._starter = starter
        self._subscriptions = subscriptions

    def event(
        self,
        subscription: Subscription,
        payload: dict[str, Any],
        *,
        dedupe: str | None = None,
        depth: int = 0,
        text: str | None = None,
    ) -> NewEvent:
        """Make the event of a payload; without `dedupe` it is like no other."""
        id = self._clock.new_id()
        return NewEvent(
            id=id,
            owner=subscription.owner,
            subscription=subscription.id,
            action=subscription.action,
            payload=payload,
            text=encode(payload) if text is None else text,
            at=self._clock.now_ms(),
            dedupe=dedupe or id,
            depth=depth,
        )

    def add(self, unit: Unit, event: NewEvent) -> Started:
        """Add an event and what it starts to a Unit, guarded: stored before, the Unit is given up."""
        started = self._starter.start(unit, event)
        unit.do(
            _EVENT,
            event.id,
            event.owner,
            event.subscription,
            event.action,
            event.dedupe,
            pack(unit, event.id, event.text.encode()) if len(event.text) > 4096 else event.text,
            event.at,
            event.depth,
            started.reason,
            expect=1,
        )
        unit.publish("event", id=event.id, owner=event.owner, action=event.action, reason=started.reason)
        return started

    async def send(self, owner: str, action: str, payload: dict[str, Any], *, depth: int = 0) -> str:
        """Store an event that a person or program made up, and return its id."""
        id = self._clock.new_id()
        event = NewEvent(
            id=id, owner=owner, subscription=None, action=action, payload=payload, text=encode(payload),
            at=self._clock.now_ms(), dedupe=id, depth=depth,
        )  # fmt: skip
        for _ in range(TRIES):
            unit = Unit()
            self.add(unit, event)
            if await self._backend.commit(unit):
                return id
        raise ConflictError("the event could not be stored: others were faster each time")

    async def receive(self, event: NewEvent, delivery: str = "") -> str:
        """Store one event of a hook or stream, and return its id; a delivery seen before has the first one's."""
        for _ in range(TRIES):
            unit = Unit()
            if delivery:
                unit.do(_SEEN_NEW, event.subscription, delivery, event.id, event.at, expect=1)
            self.add(unit, event)
            if await self._backend.commit(unit):
                return event.id
            if delivery and (first := await self._backend.read(_SEEN_ONE, event.subscription, delivery)):
                return str(first[0]["print"])
        raise ConflictError("the event could not be stored: others were faster each time")

    async def put(
        self,
        subscription: Subscription,
        items: Sequence[Item],
        *,
        dedupe: Dedupe,
        progress: Progress | None = None,
        delivery: str = "",
    ) -> list[str]:
        """Store what is new among `items`, oldest first, and return the events' ids.

        The last batch carries `progress` and the name of the `delivery`, so that neither passes an item that is not on
        disk. A subscription that still takes its baseline remembers its items and fires nothing. Nothing new and no
        progress: no write.
        """
        events: list[str] = []
        batches = list(_batches(unique(items, dedupe))) or [[]]
        for batch in batches[:-1]:
            events += await self._put(subscription, batch, dedupe, None, "")
        return events + await self._put(subscription, batches[-1], dedupe, progress, delivery)

    async def _put(
        self, sub: Subscription, items: list[Item], dedupe: Dedupe, progress: Progress | None, delivery: str
    ) -> list[str]:
        current: Subscription | None = sub
        for attempt in range(TRIES):
            if current is None or not current.active or (current.baseline and not sub.baseline):
                return []  # switched off, or off and on again, while its source was read: not wanted any more
            if delivery and await self._backend.read(_SEEN_ONE, current.id, delivery):
                return []
            known = await self._known(current.id, items, dedupe, thorough=attempt > 0)
            unit, events = self._unit(current, items, dedupe, known)
            if delivery:
                unit.do(_SEEN_NEW, current.id, delivery, events[0] if events else "", self._clock.now_ms(), expect=1)
            if progress is not None and current.version == sub.version and (unit.statements or matters(progress, sub)):
                _advance(unit, current, progress, self._clock.now_ms())
            if not unit.statements or await self._backend.commit(unit):
                return events
            current = await self._subscriptions.load(sub.id)
        raise ConflictError(f"{len(items)} items of {sub.action} could not be stored: others were faster each time")

    async def _known(
        self, subscription: str, items: list[Item], dedupe: Dedupe, *, thorough: bool
    ) -> dict[str, _Known]:
        """Read what is remembered of the items; thorough: also where only the event itself is left to tell."""
        if dedupe is None or not items:
            return {}
        keys = [item.key for item in items]
        padded = keys + [keys[0]] * (BATCH_ITEMS - len(keys))
        known = {}
        if thorough and dedupe == "key":
            stored = await self._backend.read(_STORED_SOME, subscription, *padded)
            known = {row["dedupe"]: _STORED_ONLY for row in stored}
        seen = await self._backend.read(_SEEN_SOME, subscription, *padded)
        return known | {row["key"]: _Known(row["print"], row["at"]) for row in seen}

    def _unit(
        self, sub: Subscription, items: list[Item], dedupe: Dedupe, known: dict[str, _Known]
    ) -> tuple[Unit, list[str]]:
        unit, events, now = Unit(), list[str](), self._clock.now_ms()
        for item in items:
            print = fingerprint(item.payload) if dedupe == "change" else ""
            fires, before = not sub.baseline, known.get(item.key)
            if dedupe is not None:
                fires = fires and is_news(dedupe, before, print)
                note(unit, sub.id, item.key, print, before, now)
            if fires:
                event = self.event(sub, item.payload, dedupe=item.key if dedupe == "key" else None)
                self.add(unit, event)
                events.append(event.id)
        return unit, events


def _advance(unit: Unit, sub: Subscription, progress: Progress, now: int) -> None:
    rows.update(
        unit,
        sub,
        cursor=sub.cursor if progress.cursor is None else progress.cursor,
        baseline=sub.baseline and not progress.baseline_done,
        next=sub.next if progress.next is None else progress.next,
        last=now,
        fails=0,
        error=None,
    )


def matters(progress: Progress, sub: Subscription) -> bool:
    """Tell whether progress is worth a write where nothing else is written; an empty poll is not."""
    moved = progress.cursor is not None and progress.cursor != sub.cursor
    return moved or progress.baseline_done or sub.fails > 0 or sub.error is not None


def is_news(dedupe: Dedupe, before: _Known | None, print: str) -> bool:
    """Tell whether an item fires: a new key, or where changes count a known key with a new fingerprint."""
    if dedupe == "change":
        return before is not None and before.print != print
    return before is None


def note(unit: Unit, subscription: str, key: str, print: str, before: _Known | None, now: int) -> None:
    """Remember that the source lists `key`, guarded against another who remembers it at the same time."""
    if before is None or before is _STORED_ONLY:
        unit.do(_SEEN_NEW, subscription, key, print, now, expect=1)
    elif before.print != print:
        unit.do(_SEEN_CHANGED, print, now, subscription, key, before.print, expect=1)
    elif before.at < now - REFRESH_MS:
        unit.do(_SEEN_LISTED, now, subscription, key, now)


def unique(items: Sequence[Item], dedupe: Dedupe) -> list[Item]:
    """Return each key once, in the order of first appearance; where changes count, as it was last."""
    if dedupe is None:
        return list(items)
    found: dict[str, Item] = {}
    for item in items:
        key = short(item.key)
        if key not in found or dedupe == "change":
            found[key] = Item(key, item.payload)
    return list(found.values())


def short(key: str) -> str:
    """Return a key that fits an index: itself, or its beginning and a hash."""
    if not key:
        raise InputError("an item without an id cannot be told from others")
    if len(key) <= KEY_LENGTH_MAX:
        return key
    return f"{key[:100]}~{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


def fingerprint(payload: Mapping[str, Any]) -> str:
    """Return what changes when any field of a payload but its id does."""
    fields = {name: value for name, value in payload.items() if name != "id"}
    return hashlib.blake2b(msgspec.json.encode(fields, order="deterministic"), digest_size=12).hexdigest()


def encode(payload: Mapping[str, Any]) -> str:
    """Return a payload as JSON text; raises `InputError` if it is too large to keep."""
    text = msgspec.json.encode(payload)
    if len(text) > PAYLOAD_BYTES_MAX:
        raise InputError(f"the event is larger than {PAYLOAD_BYTES_MAX // 1024 // 1024} MiB")
    return text.decode()


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), BATCH_ITEMS):
        yield items[start : start + BATCH_ITEMS]
