"""Each call to the database fails once, one after the other: the scenario ends as it would have, none missing, none double.

A call fails because the disk is full, because a guard says that another was faster, or because whoever waits for it is
cancelled, as a stop does; in the last two the process goes on as it would. Then, for the same call, the process dies.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from areabox.database import Unit
from areabox.errors import StorageFullError
from tests.faults.simulation import Process, Simulation
from tests.faults.verdict import judge
from tests.faults.virtual import InlineBackend

FULL = os.environ.get("AREABOX_FAULTS") == "full"
EVERY = 1 if FULL else 30  # the suite tries every 30th call, others for each way to fail
AREAS: list[dict[str, Any]] = [
    {"area": "c0", "name": "c0", "mode": "queued", "when": [{"area.called": {}}], "then": [
        {"wait": "5s"}, {"world.do": {"mark": "{{ run.id }}|c"}, "id": "c"}, {"return": "{{ trigger.n }}"}]},
    {"area": "a0", "name": "a0", "when": [{"webhook.received": {}}], "then": [
        {"set": {"n": 0}},
        {"each": "[1, 2]", "as": "i0", "at_once": 2, "id": "all", "then": [
            {"world.do": {"mark": "{{ run.id }}|d|{{ i0 }}"}, "id": "d"},
            {"call": "c0", "with": {"n": "{{ i0 }}"}, "id": "sub"}]},
        {"parallel": [[{"wait": "10s", "id": "w"}], [{"world.act": {"mark": "{{ run.id }}|a"}, "id": "a"}]], "id": "side"},
        {"return": "{{ steps.all | sum }}"}]},
    {"area": "a1", "name": "a1", "mode": "queued", "when": [{"schedule.every": {"every": "40s"}, "missed": "each"}], "then": [
        {"world.do": {"mark": "{{ run.id }}|e"}, "id": "e"}]},
    {"area": "a2", "name": "a2", "when": [{"world.listed": {"feed": "a"}, "every": "1m"}], "then": [
        {"collect": {"window": "30s", "at_most": 3}, "id": "digest"}, {"world.do": {"mark": "{{ run.id }}|f"}, "id": "f"}]},
]  # fmt: skip


class FailingBackend(InlineBackend):
    """Fails the n-th call that any process of a simulation makes."""

    scenario: Scenario

    async def read(self, sql: str, *args: Any) -> list[Any]:
        if self.scenario.fails() and self.scenario.way == "cancelled":
            self._cancel()
        return await super().read(sql, *args)

    async def commit(self, unit: Unit) -> bool:
        if self.scenario.fails():
            match self.scenario.way:
                case "full":
                    await asyncio.sleep(0)
                    raise StorageFullError("nothing was stored: the disk is full")
                case "guard" if any(statement.expect is not None for statement in unit.statements):
                    await asyncio.sleep(0)
                    return False
                case "cancelled":
                    self._cancel()
        return await super().commit(unit)

    async def write(self, sql: str, *args: Any) -> list[Any]:
        if self.scenario.fails():
            if self.scenario.way == "full":
                await asyncio.sleep(0)
                raise StorageFullError("nothing was stored: the disk is full")
            if self.scenario.way == "cancelled":
                self._cancel()
        return await super().write(sql, *args)

    def _cancel(self) -> None:
        """End the process as SIGTERM does, with the task that made this call in the middle of it."""
        self.scenario.stop_now()


class Scenario(Simulation):
    """Three deliveries, six minutes, no other faults."""

    def __init__(self, way: str, nth: int) -> None:
        super().__init__(0, 0.0, areas=AREAS)
        self.way, self.nth, self.calls, self.counting = way, nth, 0, False
        self.stopping: asyncio.Event

    def fails(self) -> bool:
        if not self.counting:
            return False
        self.calls += 1
        return self.calls == self.nth

    def stop_now(self) -> None:
        self.stopping.set()

    async def _main(self) -> None:
        self._outside(asyncio.current_task())
        self.faults, self.stopping = False, asyncio.Event()
        feed = self.internet.feeds["a"]
        feed.append(0.0)
        process = await self._begin()
        await asyncio.sleep(61)
        self.counting = True
        watch = self._spawn(self._restarts())
        for number in range(1, 4):
            feed.append(self.loop.now)
            await self._deliver("a0", number, json.dumps({"n": number}).encode())
            await asyncio.sleep(50)
        await asyncio.sleep(200)
        self.counting = False
        watch.cancel()
        assert self.process is not None
        process = self.process
        await self._within(process, process.stop())
        await self._bury(process)
        await self._settle()

    async def _begin(self) -> Process:
        self.process = process = Process(self)
        process.backend.__class__ = FailingBackend
        process.backend.scenario = self  # type: ignore[attr-defined]
        await self._within(process, process.boot())
        return process

    async def _restarts(self) -> None:
        """Stop the process when its turn has come, and start another."""
        await self.stopping.wait()
        process = self.process
        assert process is not None
        if process.app is not None:
            await self._within(process, process.stop())
        await self._bury(process)
        await asyncio.sleep(1)
        await self._begin()


def wrongs(way: str, nth: int) -> tuple[int, list[str]]:
    scenario = Scenario(way, nth)
    scenario.play()
    found = judge(scenario)
    states = {row["state"] for row in scenario.disk.rows("select state from run where ended is not null")}
    if states - {"done", "collected"} and way != "cancelled":
        found.append(f"runs ended as {states}")
    if len(scenario.acknowledged) != 3:
        found.append(f"{len(scenario.acknowledged)} deliveries were acknowledged")
    return scenario.calls, found


@pytest.mark.parametrize("way", ["full", "guard", "cancelled"])
def test_whichever_call_fails_everything_ends_as_it_should(way: str) -> None:
    calls, found = wrongs(way, 0)
    assert not found, found
    assert calls > 100
    first = 1 + ["full", "guard", "cancelled"].index(way)
    failed = {nth: found for nth in range(first, calls + 1, EVERY) if (found := wrongs(way, nth)[1])}
    print(f"{way}: {len(range(first, calls + 1, EVERY))} of {calls} calls failed, {len(failed)} with consequences")
    assert not failed, "\n".join(f"call {nth}: {line}" for nth, lines in failed.items() for line in lines[:4])
