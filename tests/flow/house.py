"""The whole of areabox in a test's hand: a real SQLite file, a clock that stands still, no network."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from areabox.app import App, open_app
from areabox.areas.durations import parse_duration
from areabox.deployment.settings import load
from areabox.users.policy import Actor
from tests.support import FakeClock

HERE = Path(__file__).parent
TURNS_MAX = 20_000


class House:
    """An app whose workers run, and whose time goes on only by `advance`."""

    def __init__(self, app: App, clock: FakeClock, actor: Actor) -> None:
        self.app, self.clock, self.actor = app, clock, actor

    async def idle(self) -> None:
        """Wait until nothing is ready or under way."""
        for _ in range(TURNS_MAX):
            await self.app.worker.tick()
            stats = self.app.backend.stats()
            if not stats.ready and not stats.executing:
                rows = await self.app.backend.read("select count(*) from job where state = 'ready'")
                if not rows[0][0]:
                    return
                await self.app.worker.resync()
            await asyncio.sleep(0.001)
        raise AssertionError("it does not come to rest")

    async def apply(self, *documents: str) -> list[Any]:
        return await self.app.areas.apply(self.actor, [(f"document {i}", text) for i, text in enumerate(documents, 1)])

    async def send(self, area: str, trigger: Any = None, *, dry: bool = False) -> str:
        run_id = await self.app.runs.start(self.actor, area, {} if trigger is None else trigger, dry=dry)
        await self.idle()
        return run_id

    async def advance(self, duration: str) -> None:
        """Let time go by, stopping at whatever is due meanwhile."""
        end = self.clock.now + parse_duration(duration)
        while True:
            await self.idle()
            rows = await self.app.backend.read("select min(due) from job where state = 'waiting' and due <= ?", end)
            if rows[0][0] is None:
                break
            self.clock.now = max(self.clock.now, rows[0][0])
        self.clock.now = end
        await self.idle()

    async def happen(self, action: str, payload: dict[str, Any]) -> None:
        """Let something happen at every subscription of an action."""
        rows = await self.app.backend.read("select id from subscription where action = ? and active = 1", action)
        for row in rows:
            found = await self.app.subscriptions.load(row["id"])
            await self.app.inbox.receive(self.app.inbox.event(found, payload))
        await self.idle()

    async def run(self, run_id: str) -> dict[str, Any]:
        return await self.app.runs.get(self.actor, run_id)


@contextlib.asynccontextmanager
async def open_house(folder: Path, clock: FakeClock | None = None, *, work: bool = True) -> AsyncIterator[House]:
    """Open an areabox with the probe service and an owner; without `work` the test does the jobs itself."""
    clock = clock or FakeClock()
    (folder / "connectors").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "probe.py", folder / "connectors" / "probe.py")
    settings = load({"data_dir": str(folder), "timezone": "UTC"}, environ={})
    async with open_app(settings, role="cli", clock=clock) as app:
        account = await app.accounts.first_owner()
        if account is None:
            account = await app.accounts.create("owner@example.org", None, "owner", first=True)
        await app.worker.rescue()
        workers = asyncio.create_task(app.worker.run(slots=64) if work else asyncio.sleep(0))
        try:
            yield House(app, clock, account.actor())
        finally:
            workers.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await workers
