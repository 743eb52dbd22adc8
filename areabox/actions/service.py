"""The module as a whole: what app.py opens, runs and closes, and whom others tell of changes.

actions = Actions(backend, clock, subscriptions=…, inbox=…, services=…, connections=…)
await actions.open()            hooks may be received from now on
await actions.run()             schedules, polls and streams, until cancelled
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from areabox.actions.hooks import Deliveries, Hooks
from areabox.actions.inbox import Inbox
from areabox.actions.listener import Listener, Streams
from areabox.actions.making import Seal
from areabox.actions.poller import Connections, Poller, Sources
from areabox.actions.pushes import Pushes, Webhooks
from areabox.actions.schedule import Scheduler
from areabox.actions.subscriptions import Subscriptions
from areabox.actions.trouble import Tell
from areabox.clock import Clock
from areabox.database import Backend
from areabox.monitoring.loops import Bell, run_loop

SWEEP_S = 600.0


class Services(Sources, Streams, Deliveries, Webhooks, Protocol):
    """Whoever calls connectors."""


class Actions:
    """All sources of events."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        *,
        subscriptions: Subscriptions,
        inbox: Inbox,
        services: Services,
        connections: Connections,
        seal: Seal | None = None,
        public_url: str | None = None,
        tell: Tell | None = None,
    ) -> None:
        self._backend = backend
        self._subscriptions = subscriptions
        self.pushes = pushes = Pushes(backend, clock, subscriptions, services, seal, public_url)
        self.hooks = Hooks(backend, clock, subscriptions, inbox, services, pushes=pushes, public_url=public_url)
        self.scheduler = Scheduler(backend, clock, subscriptions, inbox)
        self.poller = Poller(backend, clock, subscriptions, inbox, services, connections, pushes=pushes, tell=tell)
        pushes.soon = self.poller.soon
        self.listener = Listener(backend, clock, subscriptions, inbox, services, connections, tell=tell)

    async def open(self) -> None:
        """Be ready to receive."""
        await self.pushes.open()
        await self.hooks.open()

    async def run(self) -> None:
        """Fire, poll and listen, until cancelled."""
        watch = self._backend.subscribe("subscription")  # before the first look, so that nothing is missed

        async def hear() -> float:
            message = await anext(watch)
            await self._look(message.body["id"], message.body["kind"])
            return 0.0

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run_loop("schedule", self.scheduler.tick, self.scheduler.bell))
                tasks.create_task(run_loop("poller", self.poller.tick, self.poller.bell))
                tasks.create_task(run_loop("listener", self.listener.tick, self.listener.bell))
                tasks.create_task(run_loop("pushes", self.pushes.tick, self.pushes.bell))
                tasks.create_task(run_loop("hooks", self.hooks.tick, Bell()))
                tasks.create_task(run_loop("sweep", self._sweep, Bell()))
                tasks.create_task(run_loop("changes", hear, Bell()))
        finally:
            await self.close()

    async def close(self) -> None:
        """End what is under way; what it had is on disk, or comes again."""
        await self.poller.close()
        await self.listener.close()
        await self.hooks.tick()

    async def changed(self) -> None:
        """Look at everything again: subscriptions were changed by one who told nobody."""
        await self.hooks.open()
        self.pushes.changed()
        self.scheduler.changed()
        self.poller.changed()
        self.listener.changed()

    async def reconnected(self, connection: str) -> None:
        """Go on with what waited for a connection."""
        self.hooks.reconnected(connection)
        await self.poller.reconnected(connection)
        await self.listener.reconnected(connection)
        await self.pushes.reconnected(connection)

    async def _look(self, id: str, kind: str) -> None:
        if kind == "hook":
            await self.hooks.changed(id)
        elif kind == "schedule":
            self.scheduler.changed(id)
        elif kind == "poll":
            self.poller.changed(id)
            self.pushes.changed(id)
        elif kind == "stream":
            self.listener.changed(id)

    async def _sweep(self) -> float:
        await self._subscriptions.sweep()
        return SWEEP_S
