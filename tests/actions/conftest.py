"""A database file, the actions above it, and small stand-ins for what lies beyond the seams."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from areabox.actions.hooks import Hooks
from areabox.actions.inbox import Inbox, NewEvent, Started
from areabox.actions.listener import Listener
from areabox.actions.poller import Poller
from areabox.actions.schedule import Scheduler
from areabox.actions.subscriptions import Subscriptions, Wanted
from areabox.database import Unit
from areabox.database.sqlite import SqliteBackend
from tests.support import FakeClock


class Watched(SqliteBackend):
    """The real backend, which counts, and lets something happen just before a commit."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        super().__init__(path, clock, reserve_bytes=0)
        self.commits = 0
        self.reads = 0
        self.before_commit: Callable[[Unit], Any] | None = None
        self.published: list[Any] = []

    async def open(self) -> None:
        await super().open()
        self.db = sqlite3.connect(self.path, isolation_level=None)  # for what no module writes

    async def close(self) -> None:
        self.db.close()
        await super().close()

    async def read(self, sql: str, *args: Any) -> list[Any]:
        self.reads += 1
        return await super().read(sql, *args)

    async def commit(self, unit: Unit) -> bool:
        if self.before_commit is not None:
            hook, self.before_commit = self.before_commit, None
            await hook(unit)
        written = await super().commit(unit)
        self.commits += written
        self.published += unit.messages if written else []
        return written


class Runs:
    """A Starter that counts what it was asked to start, where it is on disk."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def start(self, unit: Unit, event: NewEvent) -> Started:
        if self.reason is None:
            unit.do(
                "insert into run (id, owner, area, version, event, trigger, state, started) "
                "values (?, ?, 'a', 1, ?, ?, 'queued', ?)",
                "r" + event.id, event.owner, event.id, event.text, event.at,
            )  # fmt: skip
        return Started(self.reason)


def operation(kind: str, **more: Any) -> SimpleNamespace:
    values = {
        "shared": True, "poll_ms": 900_000, "dedupe": "key", "fields": {}, "pushed": False, "renew_ms": None,
        "upgraded": dict,
    } | more  # fmt: skip
    return SimpleNamespace(kind=kind, **values)


class Catalogue:
    def __init__(self) -> None:
        self.actions = {
            "feed.entry": operation("poll"),
            "page.changed": operation("poll", dedupe="change"),
            "mqtt.message": operation("stream", dedupe=None),
            "box.file": operation("stream"),
            "schedule.cron": operation("schedule", shared=False, dedupe=None),
            "schedule.every": operation("schedule", shared=False, dedupe=None),
            "schedule.at": operation("schedule", shared=False, dedupe=None),
            "hook.called": operation(
                "hook", shared=False, dedupe=None, fields={"secret": SimpleNamespace(secret=True)}
            ),
            "hook.items": operation("hook", shared=False),
            "area.ended": operation("internal"),
        }

        for name, found in self.actions.items():
            found.id = name

    def action(self, name: str) -> Any:
        return self.actions.get(name)


class Seal:
    def seal(self, purpose: str, data: bytes) -> bytes:
        return purpose.encode() + b"|" + data[::-1]

    def open(self, purpose: str, data: bytes) -> bytes:
        assert data.startswith(purpose.encode() + b"|")
        return data[len(purpose) + 1 :][::-1]


class World:
    """Everything of the module, ready to use."""

    def __init__(self, backend: Any, clock: FakeClock) -> None:
        self.backend = backend
        self.clock = clock
        self.catalogue = Catalogue()
        self.runs = Runs()
        self.subscriptions = Subscriptions(backend, clock, self.catalogue, Seal(), zone="UTC")
        self.inbox = Inbox(backend, clock, self.runs, self.subscriptions)
        self.dead: list[tuple[str, str]] = []

    async def area(self, id: str, *wanted: Wanted, enabled: bool = True, owner: str = "u1") -> list[Any]:
        """Store an area with what it wants, as `apply` does."""
        for _ in range(5):
            unit = Unit()
            unit.do(
                "insert into area (id, owner, slug, name, head, enabled, created, updated) "
                "values (?, ?, ?, ?, 1, ?, 0, 0) on conflict (id) do update set enabled = excluded.enabled",
                id, owner, id, id, int(enabled),
            )  # fmt: skip
            found = await self.subscriptions.reconcile(unit, id, owner, wanted, enabled=enabled)
            if await self.backend.commit(unit):
                return found
        raise AssertionError("the area could not be stored")

    async def switch(self, id: str, on: bool) -> None:
        unit = Unit().do("update area set enabled = ? where id = ?", int(on), id)
        await (self.subscriptions.enable if on else self.subscriptions.disable)(unit, id)
        assert await self.backend.commit(unit)

    async def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.backend.read(sql, *args)]

    async def payloads(self) -> list[Any]:
        return [json.loads(row[0]) for row in await self.rows("select payload from event order by id")]

    async def count(self, table: str) -> int:
        return (await self.rows(f"select count(*) from {table}"))[0][0]

    def scheduler(self) -> Scheduler:
        return Scheduler(self.backend, self.clock, self.subscriptions, self.inbox)

    def poller(self, source: Any) -> Poller:
        return Poller(self.backend, self.clock, self.subscriptions, self.inbox, source, self._connections())

    def listener(self, source: Any) -> Listener:
        return Listener(self.backend, self.clock, self.subscriptions, self.inbox, source, self._connections())

    def hooks(self, source: Any) -> Hooks:
        return Hooks(self.backend, self.clock, self.subscriptions, self.inbox, source)

    def _connections(self) -> Any:
        async def dead(id: str, why: str) -> None:
            self.dead.append((id, why))

        return SimpleNamespace(dead=dead)


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    backend = Watched(tmp_path / "areabox.db", clock)
    await backend.open()
    yield World(backend, clock)
    await backend.close()
