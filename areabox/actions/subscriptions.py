"""Which sources are wanted, and by which areas.

One subscription stands for all areas of an owner that ask for the same action, parameters and connection; actions that
are not shared (schedules, webhooks) have one for each trigger. What changes rows takes the `Unit` first and is awaited,
since it reads before it writes: a Unit that is refused is built again from the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from areabox.actions import rows, triggers
from areabox.actions.rows import Kind, Missed, Role, Subscription
from areabox.clock import Clock, encode_id
from areabox.database import Backend, Unit, one
from areabox.errors import InputError

POLL_MS_MIN = 1_000
POLL_MS_DEFAULT = 900_000
SWEEP_ROWS = 500


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger, or one step that waits, asks for."""

    place: str  # the trigger's id, or the step's
    action: str
    params: dict[str, Any] = {}
    role: Role = "trigger"
    connection: str | None = None  # its id
    every_ms: int | None = None
    missed: Missed = "latest"
    shared: bool | None = None  # None: as the action declares


class Operation(Protocol):
    """What must be known of an action."""

    @property
    def id(self) -> str:
        """Its name of today."""
        ...

    @property
    def kind(self) -> str:
        """How it happens: poll, stream, schedule, hook or internal."""
        ...

    @property
    def shared(self) -> bool:
        """Whether areas that ask for the same share it."""
        ...

    @property
    def poll_ms(self) -> int | None:
        """How often it is polled unless the area says."""
        ...

    @property
    def dedupe(self) -> Literal["key", "change"] | None:
        """What makes an item news."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """Its form; the value of a field that is `secret` is stored encrypted."""
        ...


class Catalogue(Protocol):
    """Which actions there are."""

    def action(self, name: str) -> Operation | None:
        """Return the action of that id."""
        ...


class Seal(Protocol):
    """Encrypts what must not lie open in the database."""

    def seal(self, purpose: str, data: bytes) -> bytes:
        """Encrypt for one purpose, which must be given again to open it."""
        ...

    def open(self, purpose: str, data: bytes) -> bytes:
        """Decrypt what `seal` gave."""
        ...


class Due(NamedTuple):
    """When a subscription is next to be looked at."""

    id: str
    next: int | None
    every_ms: int | None


class Subscriptions:
    """The subscriptions of all areas."""

    def __init__(
        self, backend: Backend, clock: Clock, catalogue: Catalogue, seal: Seal | None = None, zone: str = "UTC"
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._catalogue = catalogue
        self._seal = seal
        self._zone = zone

    async def load(self, id: str) -> Subscription | None:
        """Return one, as it is now."""
        row = await one(self._backend, rows.BY_ID, id)
        return None if row is None else rows.read(row)

    async def by_hook(self, key: str) -> Subscription | None:
        """Return the one whose address ends in `key`."""
        row = await one(self._backend, rows.BY_HOOK, key)
        return None if row is None else rows.read(row)

    async def for_area(self, area_id: str) -> list[Subscription]:
        """Return an area's, each with its place in the document."""
        return [rows.read_placed(row) for row in await self._backend.read(rows.OF_AREA, area_id)]

    async def active(self, kind: Kind) -> list[Subscription]:
        """Return all of a kind that somebody listens to."""
        return [rows.read(row) for row in await self._backend.read(rows.ACTIVE, kind)]

    async def due(self, kind: Kind) -> list[Due]:
        """Return when each active one of a kind is due, soonest first."""
        return [Due(row["id"], row["next"], row["every_ms"]) for row in await self._backend.read(rows.DUE, kind)]

    async def internal(self, action: str) -> list[Subscription]:
        """Return the active ones of an action that areabox itself yields."""
        return [rows.read(row) for row in await self._backend.read(rows.INTERNAL, action)]

    async def of_connection(self, connection: str) -> list[Subscription]:
        """Return the active ones that use a connection."""
        return [rows.read(row) for row in await self._backend.read(rows.OF_CONNECTION, connection)]

    def operation(self, action: str) -> Operation:
        """Return what the catalogue knows of an action; raises `InputError`."""
        operation = self._catalogue.action(action)
        if operation is None:
            raise InputError(f"there is no action {action}")
        return operation

    def secrets(self, sub: Subscription) -> dict[str, Any]:
        """Return the secret parameters of one."""
        if sub.secret is None or self._seal is None:
            return {}
        found: dict[str, Any] = msgspec.json.decode(self._seal.open(_purpose(sub.id), sub.secret))
        return found

    def spec(self, sub: Subscription) -> triggers.Spec:
        """Return when a schedule fires."""
        return triggers.spec(sub.params, anchor=sub.cursor.get("anchor", sub.created), seed=sub.id, zone=self._zone)

    async def reconcile(
        self, unit: Unit, area_id: str, owner: str, wanted: Sequence[Wanted], *, enabled: bool = True
    ) -> list[Subscription]:
        """Make an area's subscriptions what its document wants, and return them in that order.

        What is wanted already keeps its cursor, its address and its times. What was off and is wanted again takes a
        baseline first. What nobody wants any more is switched off, and forgotten later.
        """
        draft = rows.Draft(unit)
        before = [draft.latest(sub) for sub in await self.for_area(area_id)]
        chosen: dict[str, Subscription] = {}  # by id, as they will be
        order: list[str] = []
        for want in wanted:
            sub = await self._find(area_id, owner, want, before, wanted, draft)
            if sub is None or sub.id not in chosen:
                sub = await self._settle(unit, area_id, owner, want, sub, draft, enabled=enabled, chosen=chosen)
            chosen.setdefault(sub.id, sub)
            order.append(sub.id)
        for sub in _each_once(before):
            if sub.id not in chosen:
                await self._drop(unit, area_id, sub, draft)
        unit.do(rows.UNLINK, area_id)
        for want, id in zip(wanted, order, strict=True):
            unit.do(rows.LINK, area_id, want.place, want.role, id)
        return [
            msgspec.structs.replace(chosen[id], place=want.place, role=want.role)
            for want, id in zip(wanted, order, strict=True)
        ]

    async def ensure(self, unit: Unit, owner: str, want: Wanted) -> Subscription:
        """Have a source on for a run that waits for it (`wait_key` = "sub:" and its id), and return it."""
        sub = await self._by_identity(self._identity("", owner, want), rows.Draft(unit))
        if sub is None:
            return self._create(unit, "", owner, want, active=True)
        return sub if sub.active else self._switch(unit, sub, active=True)

    async def enable(self, unit: Unit, area_id: str) -> None:
        """Switch an area's subscriptions on; polls take a baseline first, schedules go on from now."""
        for sub in _each_once(await self.for_area(area_id)):
            self._switch(unit, sub, active=True)

    async def disable(self, unit: Unit, area_id: str) -> None:
        """Switch off an area's subscriptions that no other enabled area and no waiting run needs."""
        draft = rows.Draft(unit)
        for sub in _each_once(await self.for_area(area_id)):
            await self._drop(unit, area_id, draft.latest(sub), draft)

    async def release(self, unit: Unit, area_id: str) -> None:
        """Let go of all that an area wanted, since it is deleted."""
        await self.disable(unit, area_id)
        unit.do(rows.UNLINK, area_id)

    async def sweep(self) -> int:
        """Switch off what neither an enabled area nor a waiting run needs any more, and return how many."""
        swept = 0
        for row in await self._backend.read(rows.IDLE, SWEEP_ROWS):
            unit = Unit()
            self._switch(unit, rows.read(row), active=False)
            swept += await self._backend.commit(unit)
        return swept

    # -- one of them -----------------------------------------------------------------------------------------------

    async def _find(
        self,
        area_id: str,
        owner: str,
        want: Wanted,
        before: list[Subscription],
        wanted: Sequence[Wanted],
        draft: rows.Draft,
    ) -> Subscription | None:
        """Return the subscription that fits: the same source, or this trigger's own under its old or new name."""
        sub = await self._by_identity(self._identity(area_id, owner, want), draft)
        if sub is not None or self._shared(want):
            return sub
        kept = {(other.role, other.place) for other in wanted}
        renamed = [old for old in before if old.action == self.operation(want.action).id and (old.role, old.place) not in kept]
        return renamed[0] if len(renamed) == 1 else None

    async def _settle(
        self,
        unit: Unit,
        area_id: str,
        owner: str,
        want: Wanted,
        sub: Subscription | None,
        draft: rows.Draft,
        *,
        enabled: bool,
        chosen: Mapping[str, Subscription],
    ) -> Subscription:
        """Create what is new, or bring what is there to what is wanted now."""
        if sub is None:
            same = self._identity(area_id, owner, want)
            twin = next((known for known in chosen.values() if known.identity == same), None)
            return twin or self._create(unit, area_id, owner, want, active=enabled)
        others = await self._others(sub.id, area_id, draft)
        return self._revise(unit, area_id, sub, want, active=enabled or others, alone=not others)

    def _create(self, unit: Unit, area_id: str, owner: str, want: Wanted, *, active: bool) -> Subscription:
        operation, now, id = self.operation(want.action), self._clock.now_ms(), self._clock.new_id()
        params, secret = self._sealed(id, operation, want.params)
        sub = Subscription(
            id=id,
            owner=owner,
            identity=self._identity(area_id, owner, want),
            action=operation.id,
            params=params,
            connection=want.connection,
            kind=operation.kind,  # type: ignore[arg-type]
            every_ms=_interval(operation, want.every_ms),
            missed=want.missed,
            hook=self._key() if operation.kind == "hook" else None,
            secret=secret,
            cursor={"anchor": now} if operation.kind == "schedule" else {},
            baseline=operation.kind == "poll",
            active=active,
            created=now,
        )
        if active:
            sub = msgspec.structs.replace(sub, next=self._next(sub))
        rows.insert(unit, sub)
        return sub

    def _revise(
        self, unit: Unit, area_id: str, sub: Subscription, want: Wanted, *, active: bool, alone: bool
    ) -> Subscription:
        """Take over new parameters and times; also bumps the version, against another who switches it off now."""
        operation = self.operation(want.action)
        params, secret = self._sealed(sub.id, operation, want.params)
        wished = _interval(operation, want.every_ms)
        every_ms = wished if alone or wished is None or sub.every_ms is None else min(wished, sub.every_ms)
        cursor = sub.cursor
        if sub.kind == "schedule" and params != sub.params:
            cursor = {"anchor": self._clock.now_ms()}
        changed = msgspec.structs.replace(
            sub,
            identity=self._identity(area_id, sub.owner, want),
            params=params,
            secret=sub.secret if self.secrets(sub) == _secrets(operation, want.params) else secret,
            every_ms=every_ms,
            missed=want.missed,
            cursor=cursor,
            connection=want.connection,
        )
        again = params != sub.params or want.missed != sub.missed or (active and not sub.active)
        times = self._switched(changed, active=active) if again or active != sub.active else {}
        return rows.update(unit, sub, **_fields(changed, _REVISED), **times)

    def _switch(self, unit: Unit, sub: Subscription, *, active: bool) -> Subscription:
        return rows.update(unit, sub, **(self._switched(sub, active=active) if active != sub.active else {}))

    def _switched(self, sub: Subscription, *, active: bool) -> dict[str, Any]:
        """Return the columns of one that goes on or off, or starts anew."""
        if not active:
            return {"active": False, "next": None}
        baseline = sub.kind == "poll"
        return {"active": True, "baseline": baseline, "next": self._next(sub), "fails": 0, "error": None}

    async def _drop(self, unit: Unit, area_id: str, sub: Subscription, draft: rows.Draft) -> None:
        if not await self._others(sub.id, area_id, draft):
            self._switch(unit, sub, active=False)

    async def _others(self, id: str, area_id: str, draft: rows.Draft) -> bool:
        """Tell whether another enabled area or a waiting run needs it, as it will be after what the Unit says."""
        listeners = {row[0] for row in await self._backend.read(rows.LISTENERS, id, f"sub:{id}")}
        return bool((listeners - draft.unlinked | draft.links.get(id, set())) - {area_id})

    async def _by_identity(self, identity: str, draft: rows.Draft) -> Subscription | None:
        if identity in draft.by_identity:
            return draft.subs[draft.by_identity[identity]]
        row = await one(self._backend, rows.BY_IDENTITY, identity)
        return None if row is None else draft.latest(rows.read(row))

    def _next(self, sub: Subscription) -> int | None:
        """Return when one that is switched on now is first due; what is not timed never is."""
        now = self._clock.now_ms()
        if sub.kind == "schedule":
            return triggers.next_after(self.spec(sub), now)
        return now if sub.kind == "poll" else None

    def _shared(self, want: Wanted) -> bool:
        return self.operation(want.action).shared if want.shared is None else want.shared

    def _identity(self, area_id: str, owner: str, want: Wanted) -> str:
        of = () if self._shared(want) else (area_id, want.role, want.place)
        return rows.identity(owner, self.operation(want.action).id, want.params, want.connection, of)

    def _sealed(self, id: str, operation: Operation, params: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
        """Return the parameters that may lie open, and the others encrypted."""
        secret = _secrets(operation, params)
        if not secret:
            return params, None
        if self._seal is None:
            raise InputError("a secret cannot be stored without a key")
        opened = {name: value for name, value in params.items() if name not in secret}
        return opened, self._seal.seal(_purpose(id), msgspec.json.encode(secret))

    def _key(self) -> str:
        return encode_id(int.from_bytes(self._clock.secret(16), "big"))


_REVISED = ("identity", "params", "secret", "every_ms", "missed", "cursor", "connection")


def _fields(sub: Subscription, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(sub, name) for name in names}


def _secrets(operation: Operation, params: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in params.items()
        if value and getattr(operation.fields.get(name), "secret", False)
    }  # fmt: skip


def _interval(operation: Operation, every_ms: int | None) -> int | None:
    if operation.kind != "poll":
        return None
    return max(every_ms or operation.poll_ms or POLL_MS_DEFAULT, POLL_MS_MIN)


def _each_once(subscriptions: list[Subscription]) -> list[Subscription]:
    return list({sub.id: sub for sub in subscriptions}.values())


def _purpose(id: str) -> str:
    return f"subscription|secret|{id}"
