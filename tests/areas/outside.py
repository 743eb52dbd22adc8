"""The third parties in a test's hand: every reaction comes here, and a test sees what is under way."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from areabox.database import Unit
from tests.flow.house import House

TURNS_MAX = 20_000


class Outside:
    """Answers every reaction with its parameters, after a few turns of the loop or when the test opens the gate."""

    def __init__(self, house: House, *, turns: int = 3) -> None:
        self.turns, self.live, self.most = turns, 0, 0
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.keys: list[str] = []
        self.gate: asyncio.Event | None = None
        self.failing: dict[Any, list[Exception]] = {}
        house.app.flow._reacting._services = self  # type: ignore[assignment]

    async def react(self, _reaction: str, params: dict[str, Any], *, key: str, **_: Any) -> Any:
        value = params.get("value")
        self.keys.append(key)
        self.begun.append(value)
        self.live += 1
        self.most = max(self.most, self.live)
        try:
            if self.gate is not None:
                await self.gate.wait()
            for _ in range(self.turns):
                await asyncio.sleep(0)
            if self.failing.get(value):
                raise self.failing[value].pop(0)
        finally:
            self.live -= 1
        self.ended.append(value)
        return {"value": value}


async def until(condition: Any) -> None:
    """Let the loop turn until something is true."""
    for _ in range(TURNS_MAX):
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it does not become true")


async def states(house: House, *ids: str) -> list[str]:
    """Return the states of runs as their rows tell."""
    rows = await house.app.backend.read("select id, state from run order by id")
    found = {row["id"]: row["state"] for row in rows}
    return [found[id] for id in ids] if ids else list(found.values())


async def counts(house: House, *tables: str) -> dict[str, int]:
    """Return the tables of live things that hold rows, and how many."""
    names = tables or ("job", "scope", "layer", "slot", "collected")
    found = {name: (await house.app.backend.read(f"select count(*) from {name}"))[0][0] for name in names}
    return {name: count for name, count in found.items() if count}


def shake(house: House, seed: int, turns: int = 12) -> None:
    """Let every read and every answer of the database take its time, by chance, so that tasks overtake each other."""
    backend, random = house.app.backend, Random(seed)
    read, commit = backend.read, backend.commit

    async def pause() -> None:
        for _ in range(random.randrange(turns)):
            await asyncio.sleep(0)

    async def slow_read(sql: str, *args: Any) -> list[Any]:
        await pause()
        rows = await read(sql, *args)
        await pause()
        return rows

    async def slow_commit(unit: Unit) -> bool:
        written = await commit(unit)
        await pause()
        return written

    backend.read, backend.commit = slow_read, slow_commit  # type: ignore[method-assign]
