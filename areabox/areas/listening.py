"""Which subscription does a waiting step listen to? The one its area asked for, or one made for this run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from areabox.actions.rows import Subscription
from areabox.actions.subscriptions import Subscriptions, Wanted
from areabox.areas.state import RunState
from areabox.database import Backend, Unit
from areabox.errors import InputError

TRIES = 5


class Listening:
    """Finds and makes subscriptions for runs that wait."""

    def __init__(
        self, backend: Backend, subscriptions: Subscriptions,
        resolve: Callable[[str, str, str | None], Awaitable[str | None]],
    ) -> None:  # fmt: skip
        self._backend, self._subscriptions, self._resolve = backend, subscriptions, resolve

    async def for_wait(
        self, run: RunState, node: str, action: str, params: dict[str, Any], connection: str | None,
        every_ms: int | None,
    ) -> Subscription:  # fmt: skip
        """Return the subscription that a waiting step listens to, made and switched on if need be."""
        for found in await self._subscriptions.for_area(run.area):
            if found.role == "wait" and found.place == node and found.action == action and found.params == params:
                return await self.keep_on(found.id)
        operation = self._subscriptions.operation(action)
        id = None
        if connection is not None or getattr(operation, "needs_connection", False):
            id = await self._resolve(run.owner, action.partition(".")[0], connection)
        want = Wanted(place=node, role="wait", action=action, params=params, connection=id, every_ms=every_ms)
        for _ in range(TRIES):
            unit = Unit()
            found = await self._subscriptions.ensure(unit, run.owner, want)
            if not unit.statements or await self._backend.commit(unit):
                return found
        raise InputError(f"could not listen to {action}: others were faster each time")

    async def keep_on(self, id: str) -> Subscription:
        """Return a subscription, switched on again if its area was switched off or it looked as if nobody listened."""
        for _ in range(TRIES):
            found, unit = await self._subscriptions.load(id), Unit()
            if found is None:
                raise InputError("what it waits for is not listened to any more")
            found = self._subscriptions.switch_on(unit, found)
            if not unit.statements or await self._backend.commit(unit):
                return found
        raise InputError("could not listen to what it waits for: others were faster each time")
