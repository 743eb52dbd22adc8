"""Which sources are wanted, and by which areas.

One subscription stands for all areas of an owner that ask for the same action, parameters and connection; actions that
are not shared (schedules, webhooks) have one for each trigger. What changes rows takes the `Unit` first and is awaited,
since it reads before it writes: a Unit that is refused is built again from the start. One Unit may hold the changes of
many areas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from areabox.actions import rows, triggers
from areabox.actions.making import Catalogue, Maker, Operation, Seal, Wanted
from areabox.actions.rows import Kind, Subscription
from areabox.clock import Clock
from areabox.database import Backend, Unit, one

__all__ = ["Catalogue", "Due", "Operation", "Seal", "Subscription", "Subscriptions", "Wanted"]

SWEEP_ROWS = 500


class Due(NamedTuple):
    """When a subscription is next to be looked at."""

    id: str
    next: int | None
    every_ms: int | None
    baseline: bool


class Subscriptions:
    """The subscriptions of all areas."""

    def __init__(
        self, backend: Backend, clock: Clock, catalogue: Catalogue, seal: Seal | None = None, zone: str = "UTC"
    ) -> None:
        self._backend = backend
        self._maker = Maker(clock, catalogue, seal, zone)

    # -- reading ---------------------------------------------------------------------------------------------------

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
        found = await self._backend.read(rows.DUE, kind)
        return [Due(row["id"], row["next"], row["every_ms"], bool(row["baseline"])) for row in found]

    async def versions(self, kind: Kind) -> dict[str, int]:
        """Return the version of each active one of a kind."""
        return {row["id"]: row["version"] for row in await self._backend.read(rows.VERSIONS, kind)}

    async def internal(self, action: str) -> list[Subscription]:
        """Return the active ones of an action that areabox itself yields."""
        return [rows.read(row) for row in await self._backend.read(rows.INTERNAL, action)]

    async def of_connection(self, connection: str) -> list[Subscription]:
        """Return the active ones that use a connection."""
        return [rows.read(row) for row in await self._backend.read(rows.OF_CONNECTION, connection)]

    def operation(self, action: str) -> Operation:
        """Return what the catalogue knows of an action; raises `InputError`."""
        return self._maker.operation(action)

    def secrets(self, sub: Subscription) -> dict[str, Any]:
        """Return the secret parameters of one."""
        return self._maker.secrets(sub)

    def spec(self, sub: Subscription) -> triggers.Spec:
        """Return when a schedule fires; raises `InputError`."""
        return self._maker.spec(sub)

    # -- what areas and runs want ----------------------------------------------------------------------------------

    async def reconcile(
        self, unit: Unit, area_id: str, owner: str, wanted: Sequence[Wanted], *, enabled: bool = True
    ) -> list[Subscription]:
        """Make an area's subscriptions what its document wants, and return them in that order.

        What is wanted already keeps its cursor, its address and its times. What was off and is wanted again takes a
        baseline first. What nobody wants any more is switched off, and forgotten later.
        """
        return await _Reconciliation(self, unit, area_id, owner).run(wanted, enabled=enabled)

    async def ensure(self, unit: Unit, owner: str, want: Wanted) -> Subscription:
        """Have a source on for a run that waits for it (`wait_key` = "sub:" and its id), and return it."""
        sub = await self._by_identity(self._maker.identity("", owner, want), rows.Draft(unit))
        if sub is None:
            return self._maker.create(unit, "", owner, want, active=True)
        return self.switch_on(unit, sub)

    def switch_on(self, unit: Unit, sub: Subscription) -> Subscription:
        """Have just this source on, for a run that waits for it, and return it."""
        return sub if sub.active else self._maker.switch(unit, sub, active=True)

    async def enable(self, unit: Unit, area_id: str) -> None:
        """Switch an area's subscriptions on; polls take a baseline first, schedules go on from now."""
        for sub in _each_once(await self.for_area(area_id)):
            self._maker.switch(unit, sub, active=True)

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
            self._maker.switch(unit, rows.read(row), active=False)
            swept += await self._backend.commit(unit)
        return swept

    async def _drop(self, unit: Unit, area_id: str, sub: Subscription, draft: rows.Draft) -> None:
        if not await self._others(sub.id, area_id, draft):
            self._maker.switch(unit, sub, active=False)

    async def _others(self, id: str, area_id: str, draft: rows.Draft) -> bool:
        """Tell whether another enabled area or a waiting run needs it, after what the Unit says already."""
        listeners = {row[0] for row in await self._backend.read(rows.LISTENERS, id, f"sub:{id}")}
        return bool((listeners - draft.unlinked | draft.links.get(id, set())) - {area_id})

    async def _by_identity(self, identity: str, draft: rows.Draft) -> Subscription | None:
        if identity in draft.by_identity:
            return draft.subs[draft.by_identity[identity]]
        row = await one(self._backend, rows.BY_IDENTITY, identity)
        return None if row is None else draft.latest(rows.read(row))


class _Reconciliation:
    """One area's wishes on their way into a Unit."""

    def __init__(self, subscriptions: Subscriptions, unit: Unit, area_id: str, owner: str) -> None:
        self._all = subscriptions
        self._maker = subscriptions._maker  # noqa: SLF001 -- a part of it
        self._unit = unit
        self._area_id = area_id
        self._owner = owner
        self._draft = rows.Draft(unit)
        self._before: list[Subscription] = []
        self._chosen: dict[str, Subscription] = {}  # by id, as they will be

    async def run(self, wanted: Sequence[Wanted], *, enabled: bool) -> list[Subscription]:
        self._before = [self._draft.latest(sub) for sub in await self._all.for_area(self._area_id)]
        result = []
        for want in wanted:
            sub = await self._settle(want, wanted, enabled=enabled)
            self._chosen[sub.id] = sub
            result.append(msgspec.structs.replace(sub, place=want.place, role=want.role))
        for sub in _each_once(self._before):
            if sub.id not in self._chosen:
                await self._all._drop(self._unit, self._area_id, sub, self._draft)  # noqa: SLF001 -- a part of it
        self._unit.do(rows.UNLINK, self._area_id)
        for sub in result:
            self._unit.do(rows.LINK, self._area_id, sub.place, sub.role, sub.id)
        return result

    async def _settle(self, want: Wanted, wanted: Sequence[Wanted], *, enabled: bool) -> Subscription:
        """Return what a wish is met by: chosen for another place already, made new, or brought to what it is now."""
        identity = self._maker.identity(self._area_id, self._owner, want)
        for sub in self._chosen.values():
            if sub.identity == identity:
                return sub
        found = await self._find(identity, want, wanted)
        if found is None:
            return self._maker.create(self._unit, self._area_id, self._owner, want, active=enabled)
        others = await self._all._others(found.id, self._area_id, self._draft)  # noqa: SLF001 -- a part of it
        return self._maker.revise(
            self._unit, self._area_id, found, want, active=enabled or others, alone=not others
        )  # fmt: skip

    async def _find(self, identity: str, want: Wanted, wanted: Sequence[Wanted]) -> Subscription | None:
        """Return the subscription that fits: the same source, or this trigger's own under its former name."""
        found = await self._all._by_identity(identity, self._draft)  # noqa: SLF001 -- a part of it
        if found is not None:
            return found
        if self._maker.shared(want):
            return next((sub for sub in self._free() if self._maker.asks_for(sub, want)), None)
        kept, action = {(other.role, other.place) for other in wanted}, self._maker.operation(want.action).id
        renamed = [sub for sub in self._before if sub.action == action and (sub.role, sub.place) not in kept]
        return renamed[0] if len(renamed) == 1 and renamed[0].id not in self._chosen else None

    def _free(self) -> list[Subscription]:
        return [sub for sub in self._before if sub.id not in self._chosen]


def _each_once(subscriptions: list[Subscription]) -> list[Subscription]:
    return list({sub.id: sub for sub in subscriptions}.values())
